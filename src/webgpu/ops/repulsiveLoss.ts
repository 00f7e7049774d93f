/** repulsiveLoss on WebGPU. Positions are parameters: they fit one binding. */
import { repulsiveLoss as forwardKernel, repulsiveLossBackward } from "../../../kernels/repulsiveLoss.ts";
import type { RepulsiveLossAttributes } from "../../ops/repulsiveLoss.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { flatGroups } from "../limits.ts";
import { type GpuOp, output } from "./op.ts";
import { sumAll } from "./sum.ts";

/** Axes, kernel count, elements, and the weight with which each element meets another. */
function elementsOf(shape: Shape): { axes: number; K: number; count: number; weight: number } {
  const K = shape[shape.length - 1];
  const count = sizeOf(shape.slice(1));
  return { axes: shape[0], K, count, weight: 1 / (Math.max(K - 1, 1) * Math.max(count, 1)) };
}

/** Forward in two dispatches, the losses of the elements and their sum; backward in one. */
export const repulsiveLoss: GpuOp<RepulsiveLossAttributes> = {
  forward(gpu, [P]) {
    const { axes, K, count, weight } = elementsOf(P!.shape);
    if (axes * count === 0) return gpu.upload(Float32Array.of(0), "repulsiveLoss of nothing");
    const losses = gpu.buffers.take(4 * count, "repulsiveLoss losses");
    const kernel = gpu.kernel(`repulsiveLoss ${axes} ${K}`, () => forwardKernel(axes, K));
    const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [P!.handle, losses], groups, [count, { f32: weight }]);
    const loss = sumAll(gpu, losses, count);
    gpu.buffers.release(losses);
    return loss;
  },
  backward(gpu, dy, [P]) {
    const { axes, K, count, weight } = elementsOf(P!.shape);
    const dP = output(gpu, P!.shape, "repulsiveLoss dP");
    if (axes * count === 0) return [dP];
    const kernel = gpu.kernel(`repulsiveLossBackward ${axes} ${K}`, () => repulsiveLossBackward(axes, K));
    const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [P!.handle, dy.handle, dP], groups, [count, { f32: weight }]);
    return [dP];
  },
};
