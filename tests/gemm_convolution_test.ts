/** Convolutions as implicit GEMM by every plan, whatever the chooser would pick, against the reference. */
import { groupExtents } from "../kernels/implicitGemm.ts";
import type { BackendInfo } from "../src/backend.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { geometryOf } from "../src/webgpu/ops/convolution.ts";
import {
  implicitForward,
  implicitInputGradient,
  implicitKernelGradient,
} from "../src/webgpu/ops/implicitGemm.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assertClose, assertEquals } from "./assert.ts";
import { type Input, runOp, SmallGpu, TOLERANCE, uniform } from "./webgpu_compare.ts";

/** What the plans are chosen by: this adapter as it is, as if it were a GPU, and as if it had no subgroups. */
const AS: Readonly<Record<string, (info: BackendInfo) => BackendInfo>> = {
  "as it is": (info) => info,
  "as a GPU": (info) => ({ ...info, software: false }),
  "without subgroups": (info) => ({ ...info, software: true, features: [] }),
};

interface Case {
  readonly x: Shape;
  readonly kernel: Shape;
  readonly attributes: ConvolutionAttributes;
}

function define(x: Shape, kernel: Shape, more: Partial<ConvolutionAttributes> = {}): Case {
  const axes = x.length - 2, all = (value: number): number[] => new Array(axes).fill(value);
  return {
    x,
    kernel,
    attributes: { stride: all(1), padding: all(0), dilation: all(1), groups: 1, ...more },
  };
}

const CASES: readonly Case[] = [
  define([2, 3, 13], [40, 3, 5], { stride: [2], padding: [3] }),
  define([2, 4, 9, 8], [6, 4, 3, 2], { padding: [2, 1], dilation: [2, 3] }),
  // strides and dilations with a common divisor: cells that no tap meets
  define([2, 3, 11, 12], [4, 3, 3, 2], { stride: [2, 4], dilation: [2, 2], padding: [0, 1] }),
  define([3, 6, 5, 7], [9, 2, 3, 3], { padding: [1, 1], stride: [2, 2], groups: 3 }),
  define([2, 4, 5, 6, 7], [6, 2, 2, 3, 2], {
    stride: [2, 1, 3],
    dilation: [1, 2, 2],
    padding: [1, 0, 2],
    groups: 2,
  }),
];
/** Further ones, where pipelines are made in a tenth of a second. */
const MORE: readonly Case[] = [
  define([0, 3, 9], [5, 3, 4]),
  define([2, 1, 40], [1, 1, 25]),
  define([3, 140, 33], [50, 140, 25]),
  define([2, 3, 3, 2], [4, 3, 5, 4], { padding: [2, 2] }),
  define([2, 3, 4, 3], [4, 3, 2, 2], { padding: [3, 4] }),
  define([3, 3, 6, 6], [3, 1, 3, 3], { padding: [1, 1], groups: 3 }),
  define([2, 16, 5, 6, 7], [33, 16, 2, 3, 2]),
];
/** Fewer where every pipeline takes a second to make. */
const ON_GPUS: readonly Case[] = [
  CASES[2],
  CASES[3],
  define([2, 8, 6, 8], [9, 8, 3, 3], { padding: [1, 1] }),
];
const CASES_OF: Readonly<Record<string, readonly Case[]>> = {
  "as it is": [...CASES, ...MORE],
  "as a GPU": ON_GPUS,
  "without subgroups": [CASES[0], CASES[2], CASES[3]],
};

/** Output and both gradients by implicit GEMM, into buffers full of NaN. */
async function runImplicit(
  gpu: Gpu,
  tested: Case,
  inputs: readonly Input[],
  dy: Input,
): Promise<Float32Array[]> {
  const geometry = geometryOf(tested.x, tested.kernel, tested.attributes), count = tested.x[0];
  const spoil = [dy, inputs[0], inputs[1]].map(({ data }) => gpu.upload(data.slice().fill(NaN), "spoilt"));
  for (const buffer of spoil) gpu.buffers.release(buffer);
  const [x, kernel, bias, gradient] = [...inputs, dy].map(({ data }) => gpu.upload(data, "input"));
  const y = gpu.buffers.take(4 * sizeOf(dy.shape), "output");
  implicitForward(gpu, geometry, count, x, [kernel, bias], y);
  const dx = implicitInputGradient(gpu, geometry, count, gradient, kernel);
  const dkernel = implicitKernelGradient(gpu, geometry, count, x, gradient);
  const results = await gpu.read([y, dx, dkernel]);
  for (const buffer of [x, kernel, bias, gradient, y, dx, dkernel]) gpu.buffers.release(buffer);
  assertEquals(gpu.buffers.memory.buffers, 0);
  return results;
}

function drawInputs({ x, kernel }: Case): Input[] {
  return [uniform(x), uniform(kernel), uniform([kernel[0]])];
}

function outputShape(tested: Case): Shape {
  const axes = tested.x.length - 2;
  return [
    tested.x[0],
    tested.kernel[0],
    ...geometryOf(tested.x, tested.kernel, tested.attributes).output.slice(3 - axes),
  ];
}

async function compare(gpu: Gpu, tested: Case): Promise<void> {
  const inputs = drawInputs(tested), dy = uniform(outputShape(tested));
  const all = [true, true, false];
  const expected = await runOp(new ReferenceBackend(), "convolution", tested.attributes, inputs, dy, all);
  const actual = await runImplicit(gpu, tested, inputs, dy);
  const what = JSON.stringify(tested);
  ["output", "gradient to x", "gradient to kernel"].forEach((name, i) => {
    if (expected[i]!.length === 0) assertEquals(actual[i].length, 0);
    else assertClose(`${name} of ${what}`, actual[i], expected[i]!, TOLERANCE);
  });
}

for (const [what, of] of Object.entries(AS)) {
  webgpuTest(`gemm: convolution, output and gradients, ${what}`, async () => {
    const gpu = new Gpu(FOUND_DEVICE!.device, of(FOUND_DEVICE!.info));
    for (const tested of CASES_OF[what]) await compare(gpu, tested);
  });
}

webgpuTest("gemm: convolution in slices, long dispatches folded", async () => {
  const gpu = new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  await compare(gpu, define([150, 2, 9], [3, 2, 4], { padding: [2] }));
  await compare(gpu, define([140, 2, 3, 4], [4, 1, 2, 3], { stride: [2, 1], padding: [1, 1], groups: 2 }));
});

webgpuTest("gemm: convolution, NaN and Inf stay in their image and in their window", async () => {
  const gpu = new Gpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  const tested = define([3, 5, 7, 6], [4, 5, 3, 3], { padding: [1, 1] });
  const { inputCells } = groupExtents(geometryOf(tested.x, tested.kernel, tested.attributes));
  for (const bad of [NaN, Infinity]) {
    const inputs = drawInputs(tested), dy = uniform(outputShape(tested));
    inputs[0].data[2 * 5 * inputCells - 1] = bad; // the last cell of image 1
    dy.data[4 * inputCells - 1] = bad; // and of image 0
    const expected = await runOp(new ReferenceBackend(), "convolution", tested.attributes, inputs, dy, [
      true,
      true,
      false,
    ]);
    const actual = await runImplicit(gpu, tested, inputs, dy);
    const where = (data: Float32Array): number[] => [...data].flatMap((v, i) => Number.isFinite(v) ? [] : i);
    assertEquals(where(actual[0]), where(expected[0]!), `output, ${bad}`);
    assertEquals(where(actual[1]), where(expected[1]!), `gradient to x, ${bad}`);
  }
});
