/** channelSum on WebGPU: the reduction behind the gradients of biases and of per-channel scales. */
import {
  CHANNEL_SUM_BLOCK,
  channelSum as stage1,
  channelSumChunks as stage2,
} from "../../../kernels/channelSum.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";

/** Workgroups that keep a large device busy; more would only make more partial sums. */
const WORKGROUPS = 2048;

/**
 * out[c] = sum over n, p of a[n, c, p], times b[n, c, p] where b is given, as a new buffer of C elements.
 * @param a `[N, C, P]`
 * @param b of the same shape, or null
 */
export function channelSum(
  gpu: Gpu,
  a: GpuBuffer,
  b: GpuBuffer | null,
  N: number,
  C: number,
  P: number,
): GpuBuffer {
  if (N * C * P === 0) return gpu.upload(new Float32Array(C), "channelSum of nothing");
  const slices = batchSlices(N, [4 * C * P], gpu.limits);
  const elements = slices[0].count * P;
  const blocks = Math.ceil(elements / CHANNEL_SUM_BLOCK);
  const run = Math.ceil(blocks / Math.max(1, Math.floor(WORKGROUPS / C))) * CHANNEL_SUM_BLOCK;
  const chunks = slices.map(({ count }) => Math.ceil(count * P / run));
  const chunksInAll = chunks.reduce((sum, count) => sum + count);
  const kernel = gpu.kernel(`channelSum ${P} ${b !== null}`, () => stage1(P, b !== null));
  const partial = gpu.buffers.take(4 * C * chunksInAll, "channelSum");
  let done = 0;
  slices.forEach(({ first, count }, i) => {
    const inputs = (b ? [a, b] : [a]).map((buffer) => part(buffer, first, count, 4 * C * P));
    const words = [count, C, run, chunks[i], done, chunksInAll];
    gpu.dispatch(kernel, [...inputs, partial], flatGroups(C * chunks[i], gpu.limits), words);
    done += chunks[i];
  });
  if (chunksInAll === 1) return partial;
  const out = gpu.buffers.take(4 * C, "channelSum");
  const adder = gpu.kernel("channelSumChunks", stage2);
  gpu.dispatch(adder, [partial, out], flatGroups(C, gpu.limits), [C, chunksInAll]);
  gpu.buffers.release(partial);
  return out;
}
