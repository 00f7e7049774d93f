/** Batches beyond the binding limit, for kernels that are told where their first element lies. */
import type { BufferView, GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";

/** A tensor that is cut along its batch. */
export interface Batched {
  readonly buffer: GpuBuffer;
  /** Elements of one item, and bytes of one element. */
  readonly item: number;
  readonly elementBytes: number;
}

/** A run of batch items: what to bind of every tensor, and the element of the binding at which the run begins. */
export interface BatchRun {
  readonly first: number;
  readonly count: number;
  readonly views: readonly BufferView[];
  readonly starts: readonly number[];
}

/**
 * Cuts a batch into runs that fit one binding each. A binding begins at the aligned offset at or below its run, so that
 * items of any size can be cut.
 * @throws {RangeError} where one item, with what lies before it, is larger than a binding
 */
export function batchRuns({ limits }: Gpu, count: number, tensors: readonly Batched[]): BatchRun[] {
  const most = limits.maxStorageBufferBindingSize, align = limits.minStorageBufferOffsetAlignment;
  const bytes = tensors.map(({ item, elementBytes }) => item * elementBytes), largest = Math.max(4, ...bytes);
  const aligned = bytes.every((size) => size % align === 0);
  const run = largest * count <= most ? count : Math.floor((aligned ? most : most - align) / largest);
  if (run === 0 && count > 0) {
    throw new RangeError(
      `Cannot bind a batch item: an item of ${largest} bytes${
        aligned ? "" : ` and ${align} before it`
      } must fit ` +
        `the adapter's maxStorageBufferBindingSize of ${most}`,
    );
  }
  const runs: BatchRun[] = [];
  for (let first = 0; first < count; first += run) {
    const items = Math.min(run, count - first);
    const offsets = bytes.map((size) => Math.floor(first * size / align) * align);
    runs.push({
      first,
      count: items,
      views: tensors.map(({ buffer }, i) => ({
        of: buffer,
        offset: offsets[i],
        bytes: Math.max(4, (first + items) * bytes[i] - offsets[i]),
      })),
      starts: tensors.map(({ elementBytes }, i) => (first * bytes[i] - offsets[i]) / elementBytes),
    });
  }
  return runs;
}

/** Spreads `count` workgroups of one kind over y and z. */
export function overTwoAxes(count: number, { limits }: Gpu): [y: number, z: number] {
  const most = limits.maxComputeWorkgroupsPerDimension, z = Math.ceil(count / most);
  if (z > most) {
    throw new RangeError(`Cannot dispatch: at most ${most * most} workgroups are possible, got ${count}`);
  }
  return [Math.ceil(count / Math.max(1, z)), z];
}
