/** constructKernel on WebGPU: one dispatch forward, one backward. */
import { type ConstructionPlan, constructKernel as forwardKernel } from "../../../kernels/constructKernel.ts";
import { constructKernelBackward } from "../../../kernels/constructKernelBackward.ts";
import { INTERPOLATION } from "../../interpolation.ts";
import type { ConstructKernelAttributes } from "../../ops/constructKernel.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
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

/** Rows are spread over workgroups. */
export const constructKernel: GpuOp<ConstructKernelAttributes> = {
  forward(gpu, inputs, attributes, shape) {
    const plan = planOf(attributes), rows = rowsOf(attributes);
    const kernel = gpu.kernel(`constructKernel ${keyOf(plan)}`, () => forwardKernel(plan));
    const dense = output(gpu, shape, "kernel");
    gpu.dispatch(kernel, [...sources(inputs, attributes), dense], flatGroups(rows, gpu.limits), [rows]);
    return dense;
  },
  backward(gpu, gradient, inputs, attributes) {
    const plan = planOf(attributes), rows = rowsOf(attributes);
    const kernel = gpu.kernel(`constructKernelBackward ${keyOf(plan)}`, () => constructKernelBackward(plan));
    const from = sources(inputs, attributes);
    const gradients = from.map((_, i) => output(gpu, inputs[i]!.shape, `gradient ${i} of constructKernel`));
    gpu.dispatch(kernel, [gradient.handle, ...from, ...gradients], flatGroups(rows, gpu.limits), [rows]);
    return inputs.map((_, i) => gradients[i] ?? null);
  },
};
