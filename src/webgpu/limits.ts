/** One function per hardware limit. */
import type { Kernel } from "../../kernels/kernel.ts";

/** A run of batch items. */
export interface Slice {
  readonly first: number;
  readonly count: number;
}

/** Spreads `count` workgroups over x and y where one axis cannot hold them; kernels number them with `flatId`. */
export function flatGroups(count: number, limits: GPUSupportedLimits): [number, number, number] {
  const most = limits.maxComputeWorkgroupsPerDimension;
  if (count <= most) return [count, 1, 1];
  const y = Math.ceil(count / most);
  if (y > most) {
    throw new RangeError(`Cannot dispatch: at most ${most * most} workgroups are possible, got ${count}`);
  }
  return [Math.ceil(count / y), y, 1];
}

/**
 * Cuts a batch into runs of items such that every tensor's run fits one binding and starts at an aligned offset.
 * @param itemBytes bytes of one item in each tensor that is cut
 */
export function batchSlices(
  count: number,
  itemBytes: readonly number[],
  limits: GPUSupportedLimits,
): Slice[] {
  const most = limits.maxStorageBufferBindingSize;
  const largest = Math.max(4, ...itemBytes);
  if (largest * count <= most) return count > 0 ? [{ first: 0, count }] : [];
  const align = limits.minStorageBufferOffsetAlignment;
  // Items per step such that each tensor's step is a multiple of the alignment.
  const step = Math.max(...itemBytes.map((bytes) => align / commonDivisor(align, bytes)));
  const run = Math.floor(most / largest / step) * step;
  if (run === 0) {
    throw new RangeError(
      `Cannot bind a batch item: ${step} items of ${largest} bytes must fit the adapter's ` +
        `maxStorageBufferBindingSize of ${most}`,
    );
  }
  const slices: Slice[] = [];
  for (let first = 0; first < count; first += run) {
    slices.push({ first, count: Math.min(run, count - first) });
  }
  return slices;
}

/** Throws where a kernel needs more workgroup memory or invocations than the adapter has: Deno would not notice. */
export function checkWorkgroup(kernel: Kernel, limits: GPUSupportedLimits): void {
  const { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: invocations } = limits;
  if (kernel.workgroupBytes > bytes) {
    throw new RangeError(
      `Cannot build kernel ${kernel.label}: the adapter has ${bytes} bytes of workgroup memory, it needs ` +
        `${kernel.workgroupBytes}`,
    );
  }
  if (kernel.workgroupSize > invocations) {
    throw new RangeError(
      `Cannot build kernel ${kernel.label}: the adapter runs ${invocations} invocations per workgroup, it needs ` +
        `${kernel.workgroupSize}`,
    );
  }
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
