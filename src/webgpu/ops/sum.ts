/** sum on WebGPU, and the reduction that other ops use. */
import { expand, sum as sumKernel, SUM_RUN } from "../../../kernels/sum.ts";
import type { SumAttributes } from "../../ops/sum.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { flatSlices, type GpuOp, output } from "./op.ts";

/** The sum of the first `elements` of a buffer, as a new buffer of one element. */
export function sumAll(gpu: Gpu, x: GpuBuffer, elements: number): GpuBuffer {
  if (elements === 0) return gpu.upload(Float32Array.of(0), "sum of nothing");
  const kernel = gpu.kernel("sum", sumKernel);
  let from = x, left = elements;
  do {
    const slices = flatSlices(gpu, left);
    const runs = slices.map(({ count }) => Math.ceil(count / SUM_RUN));
    const partial = gpu.buffers.take(4 * runs.reduce((a, b) => a + b), "sum");
    let done = 0;
    slices.forEach(({ first, count }, i) => {
      gpu.dispatch(kernel, [part(from, first, count, 4), partial], flatGroups(runs[i], gpu.limits), [
        count,
        done,
      ]);
      done += runs[i];
    });
    if (from !== x) gpu.buffers.release(from);
    from = partial;
    left = done;
  } while (left > 1);
  return from;
}

/** All elements into one. */
export const sum: GpuOp<SumAttributes> = {
  forward: (gpu, [x]) => sumAll(gpu, x!.handle, sizeOf(x!.shape)),
  backward(gpu, dy, [x]) {
    const dx = output(gpu, x!.shape, "expand");
    const kernel = gpu.kernel("expand", expand);
    for (const { first, count } of flatSlices(gpu, sizeOf(x!.shape))) {
      const groups = flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits);
      gpu.dispatch(kernel, [dy.handle, part(dx, first, count, 4)], groups, [count]);
    }
    return [dx];
  },
};
