/** constructKernel on WebGPU: one dispatch forward, one backward. */
import {
  blocksPerRow,
  cellBlocks,
  type ConstructionPlan,
  constructKernel as forwardKernel,
} from "../../../kernels/constructKernel.ts";
import { constructKernelBackward, elementsPerRow } from "../../../kernels/constructKernelBackward.ts";
import { INTERPOLATION } from "../../interpolation.ts";
import type { ConstructKernelAttributes } from "../../ops/constructKernel.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { type GpuOp, type GpuOperand, output } from "./op.ts";

function planOf({ version, spreadOffset, size, weightShape }: ConstructKernelAttributes): ConstructionPlan {
  return { version, spreadOffset, size, kernelCount: weightShape.at(-1)! };
}

const keyOf = ({ version, spreadOffset, size, kernelCount }: ConstructionPlan): string =>
  `${version} ${spreadOffset} ${size.join("x")} ${kernelCount}`;

const rowsOf = ({ weightShape }: ConstructKernelAttributes): number => sizeOf(weightShape.slice(0, -1));

/** weight, P and, where the version reads it, SIG. */
const sources = (
  inputs: readonly (GpuOperand | null)[],
  { version }: ConstructKernelAttributes,
): GpuBuffer[] => inputs.slice(0, INTERPOLATION[version].spread ? 3 : 2).map((input) => input!.handle);

/** Cells that an invocation computes, and invocations of a workgroup. */
const onDevice = (gpu: Gpu): { cells: number; workgroupSize: number } =>
  gpu.info.software ? { cells: 64, workgroupSize: 8 } : { cells: 32, workgroupSize: 64 };

/** One invocation a block of cells, and, backward, an element. */
export const constructKernel: GpuOp<ConstructKernelAttributes> = {
  forward(gpu, inputs, attributes, shape) {
    const plan = planOf(attributes), rows = rowsOf(attributes);
    const { cells, workgroupSize } = onDevice(gpu), cut = cellBlocks(plan.size, cells, workgroupSize);
    const kernel = gpu.kernel(`constructKernel ${keyOf(plan)}`, () => forwardKernel(plan, cut));
    const dense = output(gpu, shape, "kernel");
    const groups = flatGroups(Math.ceil(rows * blocksPerRow(cut) / workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [...sources(inputs, attributes), dense], groups, [rows]);
    return dense;
  },
  backward(gpu, gradient, inputs, attributes) {
    const plan = planOf(attributes), rows = rowsOf(attributes), { workgroupSize } = onDevice(gpu);
    // lanes that only fill a subgroup cost more than sharing saves where a row has few elements
    const share = gpu.sharesLoads && plan.kernelCount >= 4;
    const kernel = gpu.kernel(
      `constructKernelBackward ${keyOf(plan)}`,
      () => constructKernelBackward(plan, share, workgroupSize),
    );
    const from = sources(inputs, attributes);
    const gradients = from.map((_, i) => output(gpu, inputs[i]!.shape, `gradient ${i} of constructKernel`));
    const groups = flatGroups(Math.ceil(rows * elementsPerRow(plan, share) / workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [gradient.handle, ...from, ...gradients], groups, [rows]);
    return inputs.map((_, i) => gradients[i] ?? null);
  },
};
