/** globalAveragePool on WebGPU. */
import {
  globalAveragePool as forwardKernel,
  globalAveragePoolBackward,
  PLANE,
} from "../../../kernels/globalAveragePool.ts";
import type { GlobalAveragePoolAttributes } from "../../ops/globalAveragePool.ts";
import { sizeOf } from "../../spec.ts";
import { part } from "../buffers.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { sumPlanes } from "./channelSum.ts";
import { bytesOf, type GpuOp, output, storageOf } from "./op.ts";
import { planes } from "./planes.ts";

/** One dispatch, one invocation or one workgroup a plane. */
export const globalAveragePool: GpuOp<GlobalAveragePoolAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x], _attributes, shape) {
    const P = planes(x!.shape).pixels;
    if (P === 0) { // zeros, the same bits either way
      return gpu.upload(new Float32Array(sizeOf(shape)), "globalAveragePool of nothing");
    }
    const { dtype } = x!, storage = storageOf(x!), bytes = bytesOf(x!);
    const y = output(gpu, shape, "globalAveragePool", dtype);
    for (const { first, count } of batchSlices(sizeOf(shape), [bytes * P, bytes], gpu.limits)) {
      const xView = part(x!.handle, first, count, bytes * P);
      if (P > PLANE) {
        sumPlanes(gpu, [xView], y, first, 1, count, P, 1 / P, storage, storage);
        continue;
      }
      const kernel = gpu.kernel(`globalAveragePool ${P} ${storage}`, () => forwardKernel(P, storage));
      const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
      gpu.dispatch(kernel, [xView, part(y, first, count, bytes)], groups, [count]);
    }
    return y;
  },
  backward(gpu, dy, [x]) {
    const P = planes(x!.shape).pixels;
    const dx = output(gpu, x!.shape, "globalAveragePool dx", x!.dtype);
    if (P === 0) return [dx];
    const storage = storageOf(x!), bytes = bytesOf(x!);
    const kernel = gpu.kernel(
      `globalAveragePoolBackward ${P} ${storage}`,
      () => globalAveragePoolBackward(P, storage),
    );
    for (const { first, count } of batchSlices(sizeOf(dy.shape), [bytes * P, bytes], gpu.limits)) {
      const invocations = P > PLANE ? count * P : count;
      const groups = flatGroups(Math.ceil(invocations / kernel.workgroupSize), gpu.limits);
      const views = [part(dy.handle, first, count, bytes), part(dx, first, count, bytes * P)];
      gpu.dispatch(kernel, views, groups, [invocations]);
    }
    return [dx];
  },
};
