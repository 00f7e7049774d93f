/** channelSum on WebGPU: the reduction behind the gradients of biases and of per-channel scales. */
import { sumPlanes as planesKernel, sumSamples as samplesKernel } from "../../../kernels/channelSum.ts";
import { type BufferView, type GpuBuffer, part, whole } from "../buffers.ts";
import type { Storage } from "../../../kernels/kernel.ts";
import type { DType } from "../../dtype.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { bytesOf, storageOf } from "./op.ts";

/** Invocations wanted before a batch is cut no further. */
const INVOCATIONS = 16384;
/** The fewest samples that a chunk adds: a partial sum is written and read again; a CPU has few cores to feed. */
const LEAST_RUN = { gpu: 8, software: 32 };

const leastRun = (gpu: Gpu): number => LEAST_RUN[gpu.info.software ? "software" : "gpu"];

/** How many runs of samples to give to different invocations, where one sample occupies `size` of them. */
export function sampleChunks(gpu: Gpu, samples: number, size: number): { run: number; chunks: number } {
  const wanted = Math.min(Math.ceil(INVOCATIONS / size), Math.ceil(samples / leastRun(gpu)));
  const run = Math.ceil(samples / wanted);
  return { run, chunks: Math.ceil(samples / run) };
}

/** out[first + c] = scale * sum over n, p of a[n, c, p] (times b[n, c, p]), one workgroup a channel; out is kept as `to`. */
export function sumPlanes(
  gpu: Gpu,
  inputs: readonly BufferView[],
  out: GpuBuffer,
  first: number,
  N: number,
  C: number,
  P: number,
  scale = 1,
  storage: Storage = "f32",
  to: Storage = "f32",
): void {
  const kernel = gpu.kernel(
    `channelSum planes ${inputs.length} ${storage} ${to}`,
    () => planesKernel(inputs.length === 2, storage, to),
  );
  const shift = Math.min(Math.ceil(Math.log2(P)), Math.log2(kernel.workgroupSize));
  const words = [N, C, P, shift, first, { f32: scale }];
  gpu.dispatch(kernel, [...inputs, whole(out)], flatGroups(C, gpu.limits), words);
}

/** [slices, C] to [C]; releases what it was given, unless that is the answer. */
export function addSlices(gpu: Gpu, sums: GpuBuffer, slices: number, C: number): GpuBuffer {
  if (slices === 1) return sums;
  let out: GpuBuffer;
  if (slices * C === 0) out = gpu.upload(new Float32Array(C), "channelSum of nothing");
  else sumPlanes(gpu, [whole(sums)], out = gpu.buffers.take(4 * C, "channelSum"), 0, slices, C, 1);
  gpu.buffers.release(sums);
  return out;
}

/**
 * out[c] = sum over n, p of a[n, c, p], times b[n, c, p] where b is given, as a new float32 buffer of C elements.
 * @param a `[N, C, P]`
 * @param b of the same shape, or null
 * @param dtype of a and b
 */
export function channelSum(
  gpu: Gpu,
  a: GpuBuffer,
  b: GpuBuffer | null,
  N: number,
  C: number,
  P: number,
  dtype: DType = "float32",
): GpuBuffer {
  const size = C * P, itemBytes = bytesOf({ dtype }) * size, storage = storageOf({ dtype });
  const kernel = gpu.kernel(
    `channelSum samples ${b !== null} ${storage}`,
    () => samplesKernel(b !== null, storage),
  );
  const slices = size === 0 ? [] : batchSlices(N, [itemBytes], gpu.limits);
  const sums = gpu.buffers.take(4 * C * slices.length, "channelSum");
  slices.forEach(({ first, count }, i) => {
    const inputs = (b ? [a, b] : [a]).map((buffer) => part(buffer, first, count, itemBytes));
    if (count < leastRun(gpu)) return sumPlanes(gpu, inputs, sums, i * C, count, C, P, 1, storage);
    const { run, chunks } = sampleChunks(gpu, count, size);
    const partial = gpu.buffers.take(4 * size * chunks, "channelSum");
    const [x, y] = flatGroups(Math.ceil(size / kernel.workgroupSize), gpu.limits);
    gpu.dispatch(kernel, [...inputs, whole(partial)], [x, y, chunks], [size, count, run]);
    sumPlanes(gpu, [whole(partial)], sums, i * C, chunks, C, P);
    gpu.buffers.release(partial);
  });
  return addSlices(gpu, sums, slices.length, C);
}
