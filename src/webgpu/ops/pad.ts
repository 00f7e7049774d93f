/** pad on WebGPU. */
import { pad as forwardKernel, padBackward, type PadGeometry } from "../../../kernels/pad.ts";
import type { PadAttributes } from "../../ops/pad.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { part } from "../buffers.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { bytesOf, type GpuOp, output, storageOf } from "./op.ts";

/** The geometry, and the key that says all of it. */
function geometryOf(shape: Shape, { padding, mode }: PadAttributes): { geometry: PadGeometry; key: string } {
  const extents = shape.slice(2);
  return { geometry: { extents, padding, mode }, key: `${mode} ${extents.join("x")} ${padding.join("x")}` };
}

/** One dispatch over the elements of the output, or of the input's gradient. */
export const pad: GpuOp<PadAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x], attributes, shape) {
    const { geometry, key } = geometryOf(x!.shape, attributes);
    const y = output(gpu, shape, "pad", x!.dtype);
    const storage = storageOf(x!), bytes = bytesOf(x!);
    const [from, to] = [sizeOf(geometry.extents), sizeOf(shape.slice(2))];
    const kernel = gpu.kernel(`pad ${key} ${storage}`, () => forwardKernel(geometry, storage));
    for (const { first, count } of batchSlices(shape[0] * shape[1], [bytes * from, bytes * to], gpu.limits)) {
      const groups = flatGroups(Math.ceil(count * to / kernel.workgroupSize), gpu.limits);
      const views = [part(x!.handle, first, count, bytes * from), part(y, first, count, bytes * to)];
      gpu.dispatch(kernel, views, groups, [count * to]);
    }
    return y;
  },
  backward(gpu, dy, [x], attributes) {
    const { geometry, key } = geometryOf(x!.shape, attributes);
    const dx = output(gpu, x!.shape, "pad dx", x!.dtype);
    const storage = storageOf(x!), bytes = bytesOf(x!);
    const [from, to] = [sizeOf(dy.shape.slice(2)), sizeOf(geometry.extents)];
    const kernel = gpu.kernel(`padBackward ${key} ${storage}`, () => padBackward(geometry, storage));
    const planes = dy.shape[0] * dy.shape[1];
    for (const { first, count } of batchSlices(planes, [bytes * from, bytes * to], gpu.limits)) {
      const groups = flatGroups(Math.ceil(count * to / kernel.workgroupSize), gpu.limits);
      const views = [part(dy.handle, first, count, bytes * from), part(dx, first, count, bytes * to)];
      gpu.dispatch(kernel, views, groups, [count * to]);
    }
    return [dx];
  },
};
