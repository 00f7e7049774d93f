/** What an op is on WebGPU: it takes buffers, records dispatches and returns a buffer. */
import type { Operand } from "../../backend.ts";
import { LANES } from "../../../kernels/elementwise.ts";
import type { Kernel, Storage } from "../../../kernels/kernel.ts";
import { type DType, ELEMENT_BYTES } from "../../dtype.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { type BufferView, type GpuBuffer, whole } from "../buffers.ts";
import type { Gpu, Word } from "../gpu.ts";
import { batchSlices, flatGroups, type Slice } from "../limits.ts";

/** An input or a gradient. */
export type GpuOperand = Operand<GpuBuffer>;

/** Forward and backward of an op. */
export interface GpuOp<Attributes> {
  /**
   * Whether the kernels that these inputs take read and write float16. Where they do not (the default), the backend
   * converts float16 inputs to float32 before the op, and its output back after it.
   */
  keepsFloat16?(
    gpu: Gpu,
    inputs: readonly (GpuOperand | null)[],
    attributes: Attributes,
    direction: "forward" | "backward",
  ): boolean;
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
export function output(gpu: Gpu, shape: Shape, label: string, dtype: DType = "float32"): GpuBuffer {
  return gpu.buffers.take(ELEMENT_BYTES[dtype] * sizeOf(shape), label);
}

/** How kernels see a tensor's elements. */
export function storageOf({ dtype }: { readonly dtype?: DType }): Storage {
  return dtype === "float16" ? "f16" : "f32";
}

/** Bytes of one of a tensor's elements. */
export function bytesOf({ dtype = "float32" }: { readonly dtype?: DType }): number {
  return ELEMENT_BYTES[dtype];
}

/**
 * Runs of elements for elementwise kernels, each within one binding of every buffer.
 * @param elementBytes of each buffer; default: float32 alone
 * @param period a run begins at a multiple of it; default 1
 */
export function flatSlices(
  gpu: Gpu,
  elements: number,
  elementBytes: readonly number[] = [4],
  period = 1,
): Slice[] {
  const block = period === 1
    ? gpu.limits.minStorageBufferOffsetAlignment / Math.min(...elementBytes)
    : period;
  const blockBytes = elementBytes.map((bytes) => bytes * block);
  return batchSlices(Math.ceil(elements / block), blockBytes, gpu.limits).map(({ first, count }) => ({
    first: first * block,
    count: Math.min(count * block, elements - first * block),
  }));
}

/** A buffer that an elementwise kernel reads or writes. */
export interface Elements {
  readonly handle: GpuBuffer;
  readonly dtype?: DType;
  /** Whether it is bound as a whole, because one element meets all, or because the kernel looks elsewhere in it. */
  readonly single?: boolean;
}

/**
 * Dispatches an elementwise kernel over all elements; `buffers` in the order of its bindings.
 * @param period elements after which the kernel does the same again: slices begin there. Default 1
 */
export function overElements(
  gpu: Gpu,
  kernel: Kernel,
  elements: number,
  buffers: readonly Elements[],
  words: readonly Word[] = [],
  period = 1,
): void {
  const bytes = buffers.filter(({ single }) => !single).map(bytesOf);
  for (const { first, count } of flatSlices(gpu, elements, bytes, period)) {
    const fours = Math.ceil(count / LANES);
    const views = buffers.map((buffer): BufferView =>
      buffer.single ? whole(buffer.handle) : elementsOf(buffer, first, count)
    );
    gpu.dispatch(kernel, views, flatGroups(Math.ceil(fours / kernel.workgroupSize), gpu.limits), [
      fours,
      ...words,
    ]);
  }
}

/** `count` elements from element `first` on, in whole groups of four: a buffer has the bytes. */
export function elementsOf(buffer: Elements, first: number, count: number): BufferView {
  const bytes = bytesOf(buffer);
  return { of: buffer.handle, offset: first * bytes, bytes: Math.ceil(count / LANES) * LANES * bytes };
}
