/** Reductions over the batch in two stages: partial sums of chunks of items, then the sum of the chunks. */
import { sumChunks } from "../../../kernels/convBackwardKernel.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { type Batched, type BatchRun, batchRuns } from "./batchRuns.ts";

/**
 * How a kernel is dispatched over one run: workgroups, its first parameters (the slot and the run's starts follow), and
 * the partial sums it writes.
 */
export interface ChunkedRun {
  readonly kernel: Kernel;
  readonly groups: readonly [number, number, number];
  readonly words: readonly number[];
  readonly slots: number;
}

/**
 * Runs both stages; the result is a new buffer.
 * @param elements of the result
 * @param plan says how to run what was cut
 */
export function reduceChunks(
  gpu: Gpu,
  label: string,
  count: number,
  tensors: readonly Batched[],
  elements: number,
  plan: (run: BatchRun) => ChunkedRun,
): GpuBuffer {
  const runs = batchRuns(gpu, count, tensors).map((run) => ({ ...run, ...plan(run) }));
  const total = runs.reduce((sum, { slots }) => sum + slots, 0);
  const out = gpu.buffers.take(4 * elements, label);
  const partial = total === 1 ? out : gpu.buffers.take(4 * elements * Math.max(1, total), "partial sums");
  let slot = 0;
  for (const { kernel, views, groups, words, starts, slots } of runs) {
    gpu.dispatch(kernel, [...views, partial], groups, [...words, slot, ...starts]);
    slot += slots;
  }
  if (total !== 1) {
    const sum = gpu.kernel("sumChunks", sumChunks);
    const groups = flatGroups(Math.ceil(elements / sum.workgroupSize), gpu.limits);
    gpu.dispatch(sum, [partial, out], groups, [elements, total]);
    gpu.buffers.release(partial);
  }
  return out;
}
