/** The fused ops of a ConvNeXt block by tiles as on GPUs and in registers, against the reference. */
import type { BackendInfo } from "../src/backend.ts";
import type { OpTable } from "../src/ops/mod.ts";
import type { Shape } from "../src/spec.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import { compareOp, type Input, runnerOf, runOp, SmallGpu, uniform } from "./webgpu_compare.ts";

/** What the plans are chosen by: this adapter as it is, and as if it were a GPU. */
const AS: Readonly<Record<string, (info: BackendInfo) => BackendInfo>> = {
  "as it is": (info) => info,
  "as a GPU": (info) => ({ ...info, software: false }),
};

/** Shapes of x, and output channels: on both sides of where a plan changes, with remainders and without. */
const PRODUCTS: [x: Shape, outChannels: number][] = [
  [[0, 3, 4], 5],
  [[4, 5], 3],
  [[2, 16, 4, 8], 32],
  [[3, 17, 7, 7], 33],
  [[1, 3, 2, 2], 100],
];
/** Fewer where every pipeline takes a second to make, or differs little. */
const FEWER = PRODUCTS.slice(2, 4);

type LayerNormPointwise = OpTable["layerNormPointwise"];

/** x with channels that differ: of nearly equal ones the gradient is nothing but rounding. */
function image(shape: Shape): Input {
  const x = uniform(shape), [, channels] = shape, pixels = x.data.length / (shape[0] * channels);
  return { shape, data: x.data.map((value, i) => value + 2 * (Math.floor(i / pixels) % channels % 3)) };
}

function norm([, C]: Shape, M: number, bias: boolean): (Input | null)[] {
  return [uniform([C]), uniform([C]), uniform([M, C]), bias ? uniform([M]) : null];
}

function residual([N, C, ...spatial]: Shape, M: number, all: boolean): (Input | null)[] {
  const [bias, keep] = all ? [uniform([M]), uniform([N], 0, 2)] : [null, null];
  return [uniform([M, C]), bias, all || N > 2 ? uniform([M]) : null, uniform([N, M, ...spatial]), keep];
}

for (const [what, of] of Object.entries(AS)) {
  const products = what === "as it is" ? PRODUCTS : FEWER;
  const start = (): ReturnType<typeof runnerOf> =>
    runnerOf(new Gpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info)));

  webgpuTest(`fused ops: layerNormPointwise, output and gradients, ${what}`, async () => {
    const runner = start();
    for (const [i, [shape, M]] of products.entries()) { // every pipeline takes some tenths of a second to make
      const attributes: LayerNormPointwise = { epsilon: 1e-6, activation: i % 2 === 0 ? "gelu" : "none" };
      await compareOp(runner, "layerNormPointwise", attributes, image(shape), ...norm(shape, M, i % 2 === 0));
    }
  });

  webgpuTest(`fused ops: pointwiseResidual, output and gradients, ${what}`, async () => {
    const runner = start();
    for (const [i, [shape, M]] of products.entries()) {
      const activation = i % 2 === 0 ? "gelu" : "none";
      await compareOp(
        runner,
        "pointwiseResidual",
        { activation },
        uniform(shape, -3, 3),
        ...residual(shape, M, i % 2 === 0),
      );
    }
  });

  webgpuTest(`fused ops: in slices, long dispatches folded, nothing left behind, ${what}`, async () => {
    const gpu = new SmallGpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info)), runner = runnerOf(gpu);
    for (const [shape, M] of [[[70, 8, 4, 4], 16]] as [Shape, number][]) {
      const attributes: LayerNormPointwise = { epsilon: 1e-6, activation: "gelu" };
      await compareOp(runner, "layerNormPointwise", attributes, image(shape), ...norm(shape, M, true));
      await compareOp(
        runner,
        "pointwiseResidual",
        { activation: "gelu" },
        uniform(shape),
        ...residual(shape, M, true),
      );
    }
    assertEquals(gpu.buffers.memory.buffers, 0);
  });

  webgpuTest(`fused ops: NaN and Inf stay in their pixel, ${what}`, async () => {
    const runner = start();
    for (const [shape, M] of [FEWER[0]]) {
      const pixels = shape[2] * shape[3];
      for (const bad of [NaN, Infinity]) {
        for (const op of ["layerNormPointwise", "pointwiseResidual"] as const) {
          const x = image(shape);
          x.data[3 * pixels + 2] = bad; // sample 0, pixel 2
          const outShape = [shape[0], M, ...shape.slice(2)], dy = uniform(outShape);
          const attributes = {
            epsilon: 1e-6,
            activation: "gelu",
          } as const;
          const others = op === "layerNormPointwise" ? norm(shape, M, true) : residual(shape, M, true);
          const [y, dx] = await runOp(runner, op, attributes, [x, ...others], dy, [true]);
          y!.forEach((value, i) => {
            const spoilt = i < M * pixels && i % pixels === 2;
            assertEquals(Number.isFinite(value), !spoilt, `${op} ${bad}: y[${i}]`);
          });
          dx!.forEach((value, i) => {
            if (i % pixels !== 2 || i >= shape[1] * pixels) {
              assert(Number.isFinite(value), `${op} ${bad}: dx[${i}]`);
            }
          });
        }
      }
    }
  });
}

webgpuTest(
  "fused ops: channels far from 0, and one far from the others, keep their digits",
  async (backend) => {
    for (const [C, M] of [[16, 5], [97, 400]]) {
      const x = uniform([2, C, 3, 5], 99, 101), one = uniform([2, C, 3, 5]);
      one.data.fill(1e4, 0, 15); // channel 0 of sample 0
      for (const input of [x, one]) {
        const inputs = [input, ...norm(input.shape, M, true)],
          attributes = { epsilon: 1e-6, activation: "none" } as const;
        const dy = uniform([2, M, 3, 5]), needs = inputs.map(() => true);
        const run = (runner: Parameters<typeof runOp>[0]): ReturnType<typeof runOp> =>
          runOp(runner, "layerNormPointwise", attributes, inputs, dy, needs);
        const [expected, actual] = [await run(new ReferenceBackend()), await run(backend)];
        expected.forEach((values, i) => assertClose(`${C} channels, ${i}`, actual[i]!, values!, 1e-4));
      }
    }
  },
);
