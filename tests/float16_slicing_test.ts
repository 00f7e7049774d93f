/** float16 tensors larger than a binding, of odd extents: two bytes an element, where offsets are multiples of 256. */
import { init } from "../src/backend.ts";
import type { Shape } from "../src/spec.ts";
import { FOUND_DEVICE } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import type { CaseTensor } from "./cases.ts";
import { HALF_LAYER_TOLERANCE, NO_FLOAT16 } from "./support/float16.ts";
import { type LayerArguments, runLayer } from "./support/layer_run.ts";
import { drawValues } from "./support/random_layers.ts";
import { normError } from "./support/relative_error.ts";
import { watchDevice } from "./support/watched_device.ts";
import { compareOp, half, type Input, integers, runnerOf, SmallGpu, uniform } from "./webgpu_compare.ts";

/** A test on WebGPU where it has float16. */
function halfTest(name: string, body: () => Promise<void>): void {
  const ignore = NO_FLOAT16 !== null;
  Deno.test({ name: `${name} [webgpu]${ignore ? ` (skipped: ${NO_FLOAT16})` : ""}`, ignore, fn: body });
}

halfTest("float16: tensors larger than a binding are cut, of odd extents too", async () => {
  const gpu = new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info), runner = runnerOf(gpu);
  const halves = (shape: Shape): Input => half(uniform(shape));
  for (const shape of [[301, 5, 3], [141, 96, 2], [400, 10]]) {
    const C = [shape[1]];
    await compareOp(runner, "layerNorm", { epsilon: 1e-6 }, halves(shape), uniform(C), uniform(C));
    await compareOp(runner, "scaleResidual", {}, halves(shape), halves(shape), uniform(C));
  }
  for (const shape of [[9001], [3, 4099]]) {
    await compareOp(runner, "cast", { dtype: "float16" }, uniform(shape));
    await compareOp(runner, "cast", { dtype: "float32" }, halves(shape));
    await compareOp(runner, "unary", { kind: "gelu", scale: 1, offset: 0 }, halves(shape));
    await compareOp(runner, "binary", { kind: "mul" }, halves(shape), halves(shape));
    await compareOp(runner, "binary", { kind: "div" }, halves([1]), half(uniform(shape, 1, 2)));
    await compareOp(runner, "sum", {}, half(uniform(shape, 0, 1)));
  }
  await compareOp(runner, "crossEntropy", { labelSmoothing: 0.1 }, halves([600, 10]), integers([600], 10));
  await compareOp(runner, "correctCount", {}, half(integers([600, 11], 3)), integers([600], 11));
  gpu.bindingSize = 20480;
  await compareOp(runner, "pad", { padding: [1, 2], mode: "circular" }, halves([181, 4, 3, 3]));
  for (const shape of [[801, 3, 5], [81, 6, 70], [41, 8, 8, 8]]) {
    await compareOp(runner, "globalAveragePool", {}, half(uniform(shape, 0, 1)));
  }
  assertEquals(gpu.buffers.memory.buffers, 0);
});

/** Items of an odd number of elements, as an offset can only begin at every 128th element, and patches. */
const CUT: [string, LayerArguments & { inputShape: Shape }][] = [
  ["items that begin anywhere", {
    module: "Dcls2d",
    inChannels: 3,
    outChannels: 3,
    options: { kernelCount: 2, dilatedKernelSize: 3, padding: 1, version: "gauss" },
    inputShape: [389, 3, 7, 9],
  }],
  ["strided groups, reflected", {
    module: "Dcls2d",
    inChannels: 6,
    outChannels: 2,
    options: {
      kernelCount: 3,
      dilatedKernelSize: 5,
      padding: 2,
      stride: [2, 3],
      groups: 2,
      version: "v1",
      paddingMode: "reflect",
    },
    inputShape: [389, 6, 5, 7],
  }],
  ["patches", {
    module: "Dcls2d",
    inChannels: 3,
    outChannels: 4,
    options: { kernelCount: 2, dilatedKernelSize: [3, 2], stride: [3, 2], version: "max" },
    inputShape: [385, 3, 10, 9],
  }],
];
for (const [what, layer] of CUT) {
  halfTest(`float16: a batch beyond one binding is cut: ${what}`, async () => {
    const drawn = drawValues({ ...layer, seed: 7 });
    const rounded = ({ shape, data }: CaseTensor): CaseTensor => ({ shape, data: data.map(Math.f16round) });
    const values = { ...drawn, input: rounded(drawn.input), gradient: rounded(drawn.gradient) };
    await init({ backend: "reference" });
    const expected = await runLayer(layer, values);
    const { device, seen } = watchDevice(FOUND_DEVICE!.device, { maxStorageBufferBindingSize: 2 ** 17 });
    await init({ device });
    const actual = await runLayer(layer, { ...values, dtype: "float16" });
    assert(seen.offsets > 0);
    for (const [name, { data }] of expected) {
      const error = normError(actual.get(name)!.data, data);
      assert(
        error <= HALF_LAYER_TOLERANCE,
        `${name}: error ${error} in norm, at most ${HALF_LAYER_TOLERANCE}`,
      );
    }
  });
}
