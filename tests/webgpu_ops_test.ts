/** The ops between the convolutions on WebGPU, forward and every gradient, against the float64 reference. */
import type { Operand } from "../src/backend.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "../src/ops/mod.ts";
import type { PadAttributes } from "../src/ops/pad.ts";
import { createRandom } from "../src/random.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { channelSum } from "../src/webgpu/ops/channelSum.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import {
  compareOp,
  definitionOf,
  differentiable,
  given,
  type Input,
  integers,
  runnerOf,
  runOp,
  SmallGpu,
  TOLERANCE,
  uniform,
} from "./webgpu_compare.ts";
import { Gpu } from "../src/webgpu/gpu.ts";

const EPSILON = { epsilon: 1e-6 };

/** Shapes `[N, C, ...spatial]`: empty, single, odd, and on both sides of where a kernel changes its mapping. */
const SHAPES: Shape[] = [
  [0, 3, 4],
  [1, 1, 1],
  [5, 1, 3, 3],
  [5, 3, 7],
  [1, 96, 5, 5],
  [2, 97, 3],
  [5, 64, 3, 3],
  [3, 65, 2, 2, 2],
  [5, 3, 65],
  [1, 3, 17, 19],
  [37, 16, 7, 7],
  [23, 5, 300],
];
const dice = createRandom(5);
for (let i = 0; i < 8; i++) {
  // From 3 channels on: of 2, layerNorm makes 1 and -1 whatever they are, and the gradient is nothing but rounding.
  SHAPES.push([1 + dice.integer(12), 3 + dice.integer(40), 1 + dice.integer(9), 1 + dice.integer(20)]);
}

webgpuTest("layerNorm: output and gradients", async (backend) => {
  for (const shape of [...SHAPES, [5, 10], [0, 96]]) {
    const C = [shape[1]];
    await compareOp(backend, "layerNorm", EPSILON, uniform(shape), uniform(C), uniform(C));
  }
});

webgpuTest("layerNorm: channels far from 0 keep their variance", async (backend) => {
  for (const C of [16, 96, 97, 300]) {
    const x = uniform([2, C, 5], 99, 101), weight = uniform([C]), bias = uniform([C]);
    const gradient = uniform(x.shape), needs = [true, true, true];
    const run = (runner: Parameters<typeof runOp>[0]): ReturnType<typeof runOp> =>
      runOp(runner, "layerNorm", EPSILON, [x, weight, bias], gradient, needs);
    const [expected, actual] = [await run(new ReferenceBackend()), await run(backend)];
    // x itself has steps of 8e-6 here, and the mean is rounded to them.
    expected.forEach((values, i) => assertClose(`${C} channels, ${i}`, actual[i]!, values!, 1e-4));
  }
});

webgpuTest("scaleResidual: output and gradients", async (backend) => {
  for (const shape of [...SHAPES, [5, 10], [0, 96]]) {
    await compareOp(backend, "scaleResidual", {}, uniform(shape), uniform(shape), uniform([shape[1]]));
  }
});

webgpuTest("scaleResidual: a prime number of channels, more than a row of workgroups", async (backend) => {
  const shape = [2, 65_537, 1];
  await compareOp(backend, "scaleResidual", {}, uniform(shape), uniform(shape), uniform([shape[1]]));
});

webgpuTest("globalAveragePool: output and gradients", async (backend) => {
  for (const shape of SHAPES) await compareOp(backend, "globalAveragePool", {}, uniform(shape));
});

webgpuTest("crossEntropy: output and gradients", async (backend) => {
  for (const [N, M] of [[1, 1], [1, 10], [5, 3], [128, 10], [5, 64], [5, 65], [3, 1000], [300, 7]]) {
    for (const labelSmoothing of [0, 0.1, 1]) {
      const labels = integers([N], M);
      await compareOp(backend, "crossEntropy", { labelSmoothing }, uniform([N, M], -9, 9), labels);
    }
  }
});

webgpuTest("crossEntropy: logits far from 0 neither overflow nor vanish", async (backend) => {
  for (const [low, high] of [[900, 910], [-910, -900], [-200, 200]]) {
    const logits = uniform([5, 10], low, high);
    await compareOp(backend, "crossEntropy", { labelSmoothing: 0.1 }, logits, integers([5], 10));
  }
});

webgpuTest("correctCount: ties go to the first, NaN and impossible labels never count", async (backend) => {
  for (const [N, M] of [[0, 10], [1, 1], [5, 3], [128, 10], [200, 65], [1000, 2]]) {
    await compareOp(backend, "correctCount", {}, integers([N, M], 3), integers([N], M));
  }
  const rows = [[1, 3, 3], [1, 3, 3], [NaN, 3, 1], [1, 3, NaN], [3, 1, 1], [3, 1, 1], [-1, -2, -3]];
  const labels = given([7], 1, 2, 1, 1, 3, -1, 0);
  const inputs = [given([7, 3], ...rows.flat()), labels];
  const [count] = await runOp(backend, "correctCount", {}, inputs, uniform([]), [false, false]);
  assertEquals(count, Float32Array.of(2));
});

webgpuTest("repulsiveLoss: output and gradient, coincident elements too", async (backend) => {
  for (const shape of [[2, 5], [1, 3, 1, 2], [2, 96, 1, 34], [3, 5, 2, 7], [2, 7, 1, 1]]) {
    const P = uniform(shape, -1.5, 1.5), K = shape[shape.length - 1];
    if (K > 4) { // The first two elements of every row lie on one another.
      for (let row = 0; row < P.data.length; row += K) P.data[row + 1] = P.data[row];
    }
    await compareOp(backend, "repulsiveLoss", {}, P);
  }
});

webgpuTest("pad: output and gradient, every mode and number of axes", async (backend) => {
  const cases: [Shape, Shape][] = [
    [[5, 3, 7], [3]],
    [[1, 1, 4, 5], [3, 4]],
    [[2, 3, 5, 4], [0, 2]],
    [[0, 3, 5, 4], [2, 2]],
    [[2, 2, 3, 4, 5], [1, 2, 3]],
    [[5, 96, 9, 3], [4, 1]],
  ];
  for (const mode of ["reflect", "replicate", "circular"] as const) {
    for (const [shape, padding] of cases) {
      const attributes: PadAttributes = {
        mode,
        padding: padding.map((p, a) => Math.min(p, shape[a + 2] - 1)),
      };
      await compareOp(backend, "pad", attributes, uniform(shape));
    }
    const most = mode === "replicate" ? [4, 9] : mode === "circular" ? [1, 5] : [0, 4];
    await compareOp(backend, "pad", { mode, padding: most }, uniform([2, 3, 1, 5]));
  }
});

/** channelSum of one tensor and of the product of two, against plain sums. */
async function compareChannelSum(gpu: Gpu, shape: Shape): Promise<void> {
  const [N, C] = shape, P = sizeOf(shape.slice(2));
  const inputs = [uniform(shape), uniform(shape)];
  for (const count of [1, 2]) {
    const used = inputs.slice(0, count);
    const [a, b = null] = used.map(({ data }) => gpu.upload(data, "input"));
    const sums = channelSum(gpu, a, b, N, C, P);
    const expected = new Float64Array(C);
    used[0].data.forEach((value, i) => {
      expected[Math.floor(i / P) % C] += count === 1 ? value : value * used[1].data[i];
    });
    const [actual] = await gpu.read([sums]);
    assertClose(`channelSum ${shape} of ${count}`, actual, expected, TOLERANCE);
    for (const buffer of [a, b, sums]) if (buffer) gpu.buffers.release(buffer);
  }
}

webgpuTest("channelSum: one tensor, and the product of two", async () => {
  const gpu = new Gpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  for (const shape of [...SHAPES, [1000, 10], [130, 3, 1]]) await compareChannelSum(gpu, shape);
  assertEquals(gpu.buffers.memory.buffers, 0);
});

/** One case of every op here, small. */
const ONE_EACH: [OpName, unknown, Input[]][] = [
  ["layerNorm", EPSILON, [uniform([9, 3, 5]), uniform([3]), uniform([3])]],
  ["layerNorm", EPSILON, [uniform([9, 97, 5]), uniform([97]), uniform([97])]],
  ["crossEntropy", { labelSmoothing: 0.1 }, [uniform([9, 10]), integers([9], 10)]],
  ["crossEntropy", { labelSmoothing: 0 }, [uniform([9, 70]), integers([9], 70)]],
  ["correctCount", {}, [uniform([9, 10]), integers([9], 10)]],
  ["repulsiveLoss", {}, [uniform([2, 3, 1, 6])]],
  ["globalAveragePool", {}, [uniform([9, 3, 5])]],
  ["globalAveragePool", {}, [uniform([9, 3, 70])]],
  ["scaleResidual", {}, [uniform([9, 3, 5]), uniform([9, 3, 5]), uniform([3])]],
  ["pad", { padding: [2, 1], mode: "reflect" }, [uniform([3, 2, 4, 4])]],
];

webgpuTest("a NaN in any input reaches the output and every gradient it belongs to", async (backend) => {
  for (const [name, attributes, inputs] of ONE_EACH) {
    if (name === "correctCount") continue; // It counts: see its own test.
    const shape = definitionOf(name).outputShape(inputs.map((input) => input.shape), attributes);
    const needs = differentiable(name, inputs);
    for (let i = 0; i < inputs.length; i++) {
      const spoilt = inputs.map(({ shape, data }) => ({ shape, data: data.slice() }));
      spoilt[i].data[spoilt[i].data.length >> 1] = NaN;
      const attempt = attributes as OpTable[typeof name];
      const run = (runner: Parameters<typeof runOp>[0]): ReturnType<typeof runOp> =>
        runOp(runner, name, attempt, spoilt, { shape, data: new Float32Array(sizeOf(shape)).fill(1) }, needs);
      const [expected, actual] = [await run(new ReferenceBackend()), await run(backend)];
      assert(expected[0]!.some(Number.isNaN), `${name}: the reference keeps a NaN of input ${i}`);
      expected.forEach((values, k) => {
        const where = (data: Float32Array | null): number[] =>
          [...data ?? []].flatMap((v, j) => v === v ? [] : j);
        assertEquals(where(actual[k]), where(values), `${name}, NaN in input ${i}, result ${k}`);
      });
    }
  }
});

webgpuTest("only the gradients that are asked for are made", async (backend) => {
  for (const [name, attributes, inputs] of ONE_EACH) {
    const shape = definitionOf(name).outputShape(inputs.map((input) => input.shape), attributes);
    const all = differentiable(name, inputs), gradient = uniform(shape);
    const run = (needs: boolean[]): ReturnType<typeof runOp> =>
      runOp(backend, name, attributes as OpTable[typeof name], inputs, gradient, needs);
    const full = await run(all);
    for (let only = 0; only < inputs.length; only++) {
      if (!all[only]) continue;
      const some = await run(all.map((_, i) => i === only));
      assertEquals(some.slice(1), full.slice(1).map((values, i) => i === only ? values : null), name);
    }
  }
});

webgpuTest("50 times forward and backward leave no buffer behind", async (backend) => {
  for (const [name, attributes, inputs] of ONE_EACH) {
    const shape = definitionOf(name).outputShape(inputs.map((input) => input.shape), attributes);
    const operands = inputs.map(({ shape, data }): Operand => ({
      shape,
      handle: backend.upload(data, shape),
    }));
    const gradient: Operand = { shape, handle: backend.upload(uniform(shape).data, shape) };
    const before = backend.memory();
    for (let step = 0; step < 50; step++) {
      const attempt = attributes as OpTable[typeof name];
      const output = backend.forward(name, operands, attempt, shape);
      const gradients = backend.backward(name, gradient, operands, attempt, differentiable(name, inputs));
      for (const handle of [output, ...gradients]) if (handle) backend.release(handle);
    }
    await backend.read([gradient]);
    const { buffers, bytes } = backend.memory();
    assertEquals({ buffers, bytes }, { buffers: before.buffers, bytes: before.bytes }, name);
    for (const { handle } of [...operands, gradient]) backend.release(handle);
  }
});

webgpuTest(
  "tensors larger than a binding are cut, dispatches too long are folded",
  async () => {
    const gpu = new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info), runner = runnerOf(gpu);
    const cut: Shape = [150, 5, 3], wide: Shape = [70, 96, 2];
    for (const shape of [cut, wide, [200, 10]]) {
      await compareChannelSum(gpu, shape);
      const C = [shape[1]];
      await compareOp(runner, "layerNorm", EPSILON, uniform(shape), uniform(C), uniform(C));
      await compareOp(runner, "scaleResidual", {}, uniform(shape), uniform(shape), uniform(C));
    }
    await compareOp(runner, "crossEntropy", { labelSmoothing: 0.1 }, uniform([300, 10]), integers([300], 10));
    await compareOp(runner, "correctCount", {}, integers([300, 10], 3), integers([300], 10));
    gpu.bindingSize = 20480;
    await compareOp(runner, "pad", { padding: [1, 2], mode: "circular" }, uniform([90, 4, 3, 3]));
    await compareOp(runner, "crossEntropy", { labelSmoothing: 0.1 }, uniform([150, 70]), integers([150], 70));
    for (const shape of [[400, 3, 5], [40, 6, 70], [20, 8, 8, 8]]) {
      await compareOp(runner, "globalAveragePool", {}, uniform(shape));
    }
    assertEquals(gpu.buffers.memory.buffers, 0);
  },
);

/** Runs an update some times on both and compares all operands. */
async function compareUpdate<N extends UpdateName>(
  backend: Pick<ReferenceBackend, "upload" | "update" | "read" | "release">,
  name: N,
  attempts: UpdateTable[N][],
  ...inputs: Input[]
): Promise<void> {
  const [expected, actual] = await Promise.all([new ReferenceBackend(), backend].map(async (runner) => {
    const operands = inputs.map(({ shape, data }) => ({ shape, handle: runner.upload(data, shape) }));
    for (const attributes of attempts) runner.update(name, operands, attributes);
    const data = await runner.read(operands);
    for (const { handle } of operands) runner.release(handle);
    return data;
  }));
  expected.forEach((values, i) => {
    if (values.length > 0) assertClose(`${name} operand ${i}`, actual[i], values, TOLERANCE, inputs[i].shape);
  });
}

webgpuTest("adamW: five steps of the parameter and both moments", async (backend) => {
  const options = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05 };
  const steps = [1, 2, 3, 4, 5].map((step) => [{ ...options, learningRate: 0.01 / step, step }]);
  for (const shape of [[0], [1], [5], [96, 1, 7], [70000]]) {
    const [m, v] = [uniform(shape, -0.1, 0.1), uniform(shape, 0, 0.1)];
    await compareUpdate(backend as ReferenceBackend, "adamW", steps, uniform(shape), uniform(shape), m, v);
    // From zero moments, where the corrections matter most.
    const zeros = { shape, data: new Float32Array(sizeOf(shape)) };
    await compareUpdate(
      backend as ReferenceBackend,
      "adamW",
      steps,
      uniform(shape),
      uniform(shape),
      zeros,
      zeros,
    );
  }
});

webgpuTest("clamp: every axis to its own bounds, and NaN stays", async (backend) => {
  for (const [low, high] of [[[-1], [1]], [[-2, 0], [1, 0.5]], [[-3, -1, 0], [2, 1, 0]]]) {
    const P = uniform([low.length, 33, 2, 5], -4, 4);
    await compareUpdate(backend as ReferenceBackend, "clamp", [{ low, high }], P);
  }
  const P = backend.upload(Float32Array.of(NaN, 5, -Infinity, Infinity, NaN, -5), [2, 3]);
  const operand = { shape: [2, 3], handle: P };
  backend.update("clamp", [operand], { low: [-1, -2], high: [1, 2] });
  assertEquals([...(await backend.read([operand]))[0]], [NaN, 1, -1, 2, NaN, -2]);
  backend.release(P);
});

webgpuTest("assign: copies, and later changes of the source do not show", async (backend) => {
  for (const shape of [[0], [1], [5, 3], [300, 7]]) {
    const inputs = [uniform(shape), uniform(shape)];
    await compareUpdate(backend as ReferenceBackend, "assign", [{}], ...inputs);
  }
});
