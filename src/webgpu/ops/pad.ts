/** pad on WebGPU. */
import { pad as forwardKernel, padBackward, type PadGeometry } from "../../../kernels/pad.ts";
import type { PadAttributes } from "../../ops/pad.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { part } from "../buffers.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { type GpuOp, output } from "./op.ts";

/** The geometry, and the key that says all of it. */
function geometryOf(shape: Shape, { padding, mode }: PadAttributes): { geometry: PadGeometry; key: string } {
  const extents = shape.slice(2);
  return { geometry: { extents, padding, mode }, key: `${mode} ${extents.join("x")} ${padding.join("x")}` };
}

/** One dispatch over the elements of the output, or of the input's gradient. */
export const pad: GpuOp<PadAttributes> = {
  forward(gpu, [x], attributes, shape) {
    const { geometry, key } = geometryOf(x!.shape, attributes);
    const y = output(gpu, shape, "pad");
    const [from, to] = [sizeOf(geometry.extents), sizeOf(shape.slice(2))];
    const kernel = gpu.kernel(`pad ${key}`, () => forwardKernel(geometry));
    for (const { first, count } of batchSlices(shape[0] * shape[1], [4 * from, 4 * to], gpu.limits)) {
      const groups = flatGroups(Math.ceil(count * to / kernel.workgroupSize), gpu.limits);
      const views = [part(x!.handle, first, count, 4 * from), part(y, first, count, 4 * to)];
      gpu.dispatch(kernel, views, groups, [count * to]);
    }
    return y;
  },
  backward(gpu, dy, [x], attributes) {
    const { geometry, key } = geometryOf(x!.shape, attributes);
    const dx = output(gpu, x!.shape, "pad dx");
    const [from, to] = [sizeOf(dy.shape.slice(2)), sizeOf(geometry.extents)];
    const kernel = gpu.kernel(`padBackward ${key}`, () => padBackward(geometry));
    for (const { first, count } of batchSlices(dy.shape[0] * dy.shape[1], [4 * from, 4 * to], gpu.limits)) {
      const groups = flatGroups(Math.ceil(count * to / kernel.workgroupSize), gpu.limits);
      const views = [part(dy.handle, first, count, 4 * from), part(dx, first, count, 4 * to)];
      gpu.dispatch(kernel, views, groups, [count * to]);
    }
    return [dx];
  },
};
