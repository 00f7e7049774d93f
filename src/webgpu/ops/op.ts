/** What an op is on WebGPU: it takes buffers, records dispatches and returns a buffer. */
import type { Operand } from "../../backend.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, type Slice } from "../limits.ts";

/** An input or a gradient. */
export type GpuOperand = Operand<GpuBuffer>;

/** Forward and backward of an op. */
export interface GpuOp<Attributes> {
  forward(
    gpu: Gpu,
    inputs: readonly (GpuOperand | null)[],
    attributes: Attributes,
    outputShape: Shape,
  ): GpuBuffer;
  backward(
    gpu: Gpu,
    gradient: GpuOperand,
    inputs: readonly (GpuOperand | null)[],
    attributes: Attributes,
    needs: readonly boolean[],
  ): (GpuBuffer | null)[];
}

/** An in-place update. */
export type GpuUpdate<Attributes> = (
  gpu: Gpu,
  operands: readonly GpuOperand[],
  attributes: Attributes,
) => void;

/** A new buffer for a tensor of this shape. */
export function output(gpu: Gpu, shape: Shape, label: string): GpuBuffer {
  return gpu.buffers.take(4 * sizeOf(shape), label);
}

/** Runs of elements for elementwise kernels, each within one binding. */
export function flatSlices(gpu: Gpu, elements: number): Slice[] {
  const block = gpu.limits.minStorageBufferOffsetAlignment / 4;
  return batchSlices(Math.ceil(elements / block), [4 * block], gpu.limits).map(({ first, count }) => ({
    first: first * block,
    count: Math.min(count * block, elements - first * block),
  }));
}
