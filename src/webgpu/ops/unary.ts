/** unary on WebGPU. */
import { unary as forwardKernel, unaryBackward } from "../../../kernels/unary.ts";
import type { UnaryAttributes } from "../../ops/unary.ts";
import { sizeOf } from "../../spec.ts";
import { part } from "../buffers.ts";
import { flatGroups } from "../limits.ts";
import { flatSlices, type GpuOp, output } from "./op.ts";

/** One dispatch over all elements. */
export const unary: GpuOp<UnaryAttributes> = {
  forward(gpu, [x], { kind, scale, offset }, shape) {
    const y = output(gpu, shape, "unary");
    const kernel = gpu.kernel(`unary ${kind}`, () => forwardKernel(kind));
    for (const { first, count } of flatSlices(gpu, sizeOf(shape))) {
      const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
      const views = [part(x!.handle, first, count, 4), part(y, first, count, 4)];
      gpu.dispatch(kernel, views, groups, [count, { f32: scale }, { f32: offset }]);
    }
    return y;
  },
  backward(gpu, dy, [x], { kind, scale, offset }) {
    const dx = output(gpu, x!.shape, "unaryBackward");
    const kernel = gpu.kernel(`unaryBackward ${kind}`, () => unaryBackward(kind));
    for (const { first, count } of flatSlices(gpu, sizeOf(x!.shape))) {
      const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
      const views = [x!.handle, dy.handle, dx].map((buffer) => part(buffer, first, count, 4));
      gpu.dispatch(kernel, views, groups, [count, { f32: scale }, { f32: offset }]);
    }
    return [dx];
  },
};
