/** pointwise products by every plan (tiles as on GPUs, registers with and without subgroups), against the reference. */
import type { BackendInfo } from "../src/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import { compareOp, half, type Runner, runnerOf, runOp, SmallGpu, uniform } from "./webgpu_compare.ts";

/** What the plans are chosen by: this adapter as it is, as if it were a GPU, and as if it had no subgroups. */
const AS: Readonly<Record<string, (info: BackendInfo) => BackendInfo>> = {
  "as it is": (info) => info,
  "as a GPU": (info) => ({ ...info, software: false }),
  "without subgroups": (info) => ({ ...info, software: true, features: [] }),
};

/** Shapes of x, and output channels: with every extent whole and in runs of 4, and with none. */
const PRODUCTS: [x: Shape, outChannels: number][] = [[[2, 16, 4, 8], 32], [[3, 17, 7, 7], 33]];
/** Further ones, where pipelines are made in less than a second. */
const MORE: typeof PRODUCTS = [[[0, 3, 4], 5], [[1, 1, 1], 1], [[1, 64, 13, 20], 97]];

/** Positions of what is not finite. */
const spoilt = (data: Float32Array | null): number[] =>
  [...data!].flatMap((value, i) => Number.isFinite(value) ? [] : i);

for (const [what, of] of Object.entries(AS)) {
  const made = (): Gpu => new Gpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info));
  // one device for all: pipelines are made once
  let shared: Gpu | null = null;
  const runner = (): Runner => runnerOf(shared ??= made());

  webgpuTest(`gemm: pointwise, output and gradients, ${what}`, async () => {
    for (const [shape, M] of what === "as it is" ? [...PRODUCTS, ...MORE] : PRODUCTS) {
      const x = uniform(shape), weight = uniform([M, shape[1]]);
      await compareOp(runner(), "pointwise", {}, x, weight, uniform([M]));
      if (M === 33) await compareOp(runner(), "pointwise", {}, x, weight, null);
    }
  });

  webgpuTest(`gemm: pointwise, NaN and Inf stay in their pixel, ${what}`, async () => {
    for (const [shape, M] of PRODUCTS) {
      for (const bad of [NaN, Infinity]) {
        const x = uniform(shape), y: Shape = [shape[0], M, ...shape.slice(2)];
        // in the last channel of the last pixel of image 0: what a step beyond the edge would touch
        x.data[sizeOf(shape.slice(1)) - 1] = bad;
        const inputs = [x, uniform([M, shape[1]]), uniform([M])];
        const gradient = uniform(y), needs = [true, true, true];
        const run = (on: Runner): ReturnType<typeof runOp> =>
          runOp(on, "pointwise", {}, inputs, gradient, needs);
        const [expected, actual] = [await run(new ReferenceBackend()), await run(runner())];
        assert(spoilt(expected[0]).length === M && spoilt(expected[2]).length === M);
        expected.forEach((values, i) =>
          assertEquals(spoilt(actual[i]), spoilt(values), `${what}, ${shape}, ${bad}, result ${i}`)
        );
      }
    }
  });
}

webgpuTest("gemm: pointwise in slices, long dispatches folded", async () => {
  const gpu = new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info), runner = runnerOf(gpu);
  await compareOp(runner, "pointwise", {}, uniform([150, 5, 3]), uniform([4, 5]), uniform([4]));
  await compareOp(runner, "pointwise", {}, uniform([70, 8, 4, 4]), uniform([16, 8]), uniform([16]));
  assertEquals(gpu.buffers.memory.buffers, 0);
});

webgpuTest("gemm: float16 images as on GPUs", async () => {
  const info = { ...FOUND_DEVICE!.info, software: false };
  const runner = runnerOf(new Gpu(FOUND_DEVICE!.device, info));
  if (!info.dtypes.includes("float16")) return; // float16_test says so
  for (const [shape, M] of PRODUCTS) {
    const weight = uniform([M, shape[1]]), bias = uniform([M]);
    await compareOp(runner, "pointwise", {}, half(uniform(shape)), weight, bias);
  }
  const attributes = { stride: [1, 2], padding: [1, 1], dilation: [1, 1], groups: 2 };
  await compareOp(
    runner,
    "convolution",
    attributes,
    half(uniform([2, 24, 5, 7])),
    uniform([26, 12, 3, 3]),
    null,
  );
});
