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
import { type GpuOp, output } from "./op.ts";
import { planes } from "./planes.ts";

/** One dispatch, one invocation or one workgroup a plane. */
export const globalAveragePool: GpuOp<GlobalAveragePoolAttributes> = {
  forward(gpu, [x], _attributes, shape) {
    const P = planes(x!.shape).pixels;
    if (P === 0) return gpu.upload(new Float32Array(sizeOf(shape)), "globalAveragePool of nothing");
    const y = output(gpu, shape, "globalAveragePool");
    for (const { first, count } of batchSlices(sizeOf(shape), [4 * P, 4], gpu.limits)) {
      const xView = part(x!.handle, first, count, 4 * P);
      if (P > PLANE) {
        sumPlanes(gpu, [xView], y, first, 1, count, P, 1 / P);
        continue;
      }
      const kernel = gpu.kernel(`globalAveragePool ${P}`, () => forwardKernel(P));
      const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
      gpu.dispatch(kernel, [xView, part(y, first, count, 4)], groups, [count]);
    }
    return y;
  },
  backward(gpu, dy, [x]) {
    const P = planes(x!.shape).pixels;
    const dx = output(gpu, x!.shape, "globalAveragePool dx");
    if (P === 0) return [dx];
    for (const { first, count } of batchSlices(sizeOf(dy.shape), [4 * P, 4], gpu.limits)) {
      const kernel = gpu.kernel(`globalAveragePoolBackward ${P}`, () => globalAveragePoolBackward(P));
      const invocations = P > PLANE ? count * P : count;
      const groups = flatGroups(Math.ceil(invocations / kernel.workgroupSize), gpu.limits);
      const views = [part(dy.handle, first, count, 4), part(dx, first, count, 4 * P)];
      gpu.dispatch(kernel, views, groups, [invocations]);
    }
    return [dx];
  },
};
