/** sum on WebGPU, and the reduction that other ops use. */
import { expand, sum as sumKernel, SUM_RUN } from "../../../kernels/sum.ts";
import type { DType } from "../../dtype.ts";
import type { SumAttributes } from "../../ops/sum.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import {
  bytesOf,
  type Elements,
  elementsOf,
  flatSlices,
  type GpuOp,
  output,
  overElements,
  storageOf,
} from "./op.ts";

/** The sum of the first `elements` of a buffer, as a new float32 buffer of one element. */
export function sumAll(gpu: Gpu, x: GpuBuffer, elements: number, dtype?: DType): GpuBuffer {
  if (elements === 0) return gpu.upload(Float32Array.of(0), "sum of nothing");
  let from: Elements = { handle: x, dtype }, left = elements;
  do {
    const storage = storageOf(from), bytes = bytesOf(from);
    const kernel = gpu.kernel(`sum ${storage}`, () => sumKernel(storage));
    const slices = flatSlices(gpu, left, [bytes]);
    const runs = slices.map(({ count }) => Math.ceil(count / SUM_RUN));
    const partial = gpu.buffers.take(4 * runs.reduce((a, b) => a + b), "sum");
    let done = 0;
    slices.forEach(({ first, count }, i) => {
      const views = [elementsOf(from, first, count), partial];
      gpu.dispatch(kernel, views, flatGroups(runs[i], gpu.limits), [count, done]);
      done += runs[i];
    });
    if (from.handle !== x) gpu.buffers.release(from.handle);
    from = { handle: partial };
    left = done;
  } while (left > 1);
  return from.handle;
}

/** All elements into one. */
export const sum: GpuOp<SumAttributes> = {
  keepsFloat16: () => true,
  forward: (gpu, [x]) => sumAll(gpu, x!.handle, sizeOf(x!.shape), x!.dtype),
  backward(gpu, dy, [x]) {
    const { shape, dtype } = x!, storage = storageOf(x!);
    const dx = { handle: output(gpu, shape, "expand", dtype), dtype };
    const kernel = gpu.kernel(`expand ${storage}`, () => expand(storage));
    overElements(gpu, kernel, sizeOf(shape), [{ ...dy, single: true }, dx]);
    return [dx.handle];
  },
};
