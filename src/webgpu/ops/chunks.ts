/** Reductions over the batch in two stages: partial sums of chunks of items, then the sum of the chunks. */
import { sumChunks } from "../../../kernels/convBackwardKernel.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";

/** Invocations that keep a device busy; more chunks than that gain nothing. */
const BUSY = 2 ** 17;

/** A kernel that writes partial[first + chunk][element], and what it reads. */
export interface ChunkedReduction {
  readonly kernel: Kernel;
  /** Buffers cut along the batch, and the bytes of one item in each. */
  readonly batched: readonly { buffer: GpuBuffer; itemBytes: number }[];
  readonly count: number;
  /** Invocations per chunk. */
  readonly invocations: number;
  /** Elements of the result. */
  readonly elements: number;
}

/** Runs both stages; the result is a new buffer. */
export function reduceChunks(gpu: Gpu, reduction: ChunkedReduction): GpuBuffer {
  const { kernel, batched, count, invocations, elements } = reduction;
  const out = gpu.buffers.take(4 * elements, kernel.label);
  const slices = batchSlices(count, batched.map(({ itemBytes }) => itemBytes), gpu.limits);
  const wanted = Math.max(
    1,
    Math.min(count, Math.floor((gpu.info.software ? BUSY / 32 : BUSY) / invocations)),
  );
  const chunk = Math.max(
    1,
    Math.ceil(count / wanted),
    Math.ceil(count / gpu.limits.maxComputeWorkgroupsPerDimension),
  );
  const chunks = slices.map((slice) => Math.ceil(slice.count / chunk));
  const total = chunks.reduce((a, b) => a + b, 0);
  const partial = total === 1 ? out : gpu.buffers.take(4 * elements * Math.max(1, total), "partial sums");
  let first = 0;
  slices.forEach((slice, i) => {
    const views = batched.map(({ buffer, itemBytes }) => part(buffer, slice.first, slice.count, itemBytes));
    const [across, deep] = flatGroups(Math.ceil(invocations / kernel.workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [...views, partial], [across, chunks[i], deep], [slice.count, chunk, first]);
    first += chunks[i];
  });
  if (total !== 1) {
    const sum = gpu.kernel("sumChunks", sumChunks);
    const groups = flatGroups(Math.ceil(elements / sum.workgroupSize), gpu.limits);
    gpu.dispatch(sum, [partial, out], groups, [elements, total]);
    gpu.buffers.release(partial);
  }
  return out;
}
