/** pointwise products by every plan (tiles as on GPUs, registers with and without subgroups), against the reference. */
import type { BackendInfo } from "../src/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import { compareOp, runnerOf, runOp, SmallGpu, uniform } from "./webgpu_compare.ts";

/** What the plans are chosen by: this adapter as it is, as if it were a GPU, and as if it had no subgroups. */
const AS: Readonly<Record<string, (info: BackendInfo) => BackendInfo>> = {
  "as it is": (info) => info,
  "as a GPU": (info) => ({ ...info, software: false }),
  "without subgroups": (info) => ({ ...info, software: true, features: [] }),
};

/** Shapes of x, and output channels. */
const PRODUCTS: [x: Shape, outChannels: number][] = [
  [[0, 3, 4], 5],
  [[1, 1, 1], 1],
  [[3, 17, 5, 5], 33],
  [[1, 64, 13, 20], 97],
  [[131, 4, 2, 2], 8],
];
/** Fewer where every pipeline takes a second to make. */
const ON_GPUS: typeof PRODUCTS = [[[0, 3, 4], 5], [[2, 16, 4, 8], 32], [[3, 17, 7, 7], 33], [
  [1, 20, 13, 20],
  97,
]];

for (const [what, of] of Object.entries(AS)) {
  webgpuTest(`gemm: pointwise, output and gradients, ${what}`, async () => {
    const runner = runnerOf(new Gpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info)));
    for (const [shape, M] of what === "as a GPU" ? ON_GPUS : PRODUCTS) {
      const x = uniform(shape), weight = uniform([M, shape[1]]);
      await compareOp(runner, "pointwise", {}, x, weight, uniform([M]));
      await compareOp(runner, "pointwise", {}, x, weight, null);
    }
  });

  webgpuTest(`gemm: pointwise in slices, long dispatches folded, ${what}`, async () => {
    const gpu = new SmallGpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info)), runner = runnerOf(gpu);
    for (
      const [shape, M] of [[[150, 5, 3], 4], [[70, 8, 4, 4], 16]] as [Shape, number][]
    ) {
      await compareOp(runner, "pointwise", {}, uniform(shape), uniform([M, shape[1]]), uniform([M]));
    }
    assertEquals(gpu.buffers.memory.buffers, 0);
  });

  webgpuTest(`gemm: pointwise, NaN and Inf stay in their pixel, ${what}`, async () => {
    const runner = runnerOf(new Gpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info)));
    for (
      const [shape, M] of [[[3, 5, 7, 7], 9], [[2, 16, 4, 4], 4], [[2, 19, 4, 8], 100]] as [Shape, number][]
    ) {
      for (const bad of [NaN, Infinity]) {
        const x = uniform(shape), y: Shape = [shape[0], M, ...shape.slice(2)];
        const pixels = sizeOf(shape.slice(2));
        // in the last channel of the last pixel of image 0: what a step beyond the edge would touch
        x.data[shape[1] * pixels - 1] = bad;
        const inputs = [x, uniform([M, shape[1]]), uniform([M])];
        const gradient = uniform(y), needs = [true, true, true];
        const [expected, actual] = [
          await runOp(new ReferenceBackend(), "pointwise", {}, inputs, gradient, needs),
          await runOp(runner, "pointwise", {}, inputs, gradient, needs),
        ];
        const where = (data: Float32Array | null): number[] =>
          [...data!].flatMap((value, i) => Number.isFinite(value) ? [] : i);
        assert(where(expected[0]).length === M && where(expected[2]).length === M);
        expected.forEach((values, i) =>
          assertEquals(where(actual[i]), where(values), `${what}, ${shape}, ${bad}, result ${i}`)
        );
      }
    }
  });
}
