/** What the direct kernels have in common: how their tensors are cut, and their dispatches over items and channels. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { type Batched, type BatchRun, overTwoAxes } from "./batchRuns.ts";
import { bytesOf, type Elements } from "./op.ts";

/** x of a convolution. */
export function batchedInput({ inChannels, input }: ConvolutionGeometry, x: Elements): Batched {
  return { buffer: x.handle, item: inChannels * sizeOf(input), elementBytes: bytesOf(x) };
}

/** y of a convolution. */
export function batchedOutput({ outChannels, output }: ConvolutionGeometry, y: Elements): Batched {
  return { buffer: y.handle, item: outChannels * sizeOf(output), elementBytes: bytesOf(y) };
}

/**
 * Dispatches a kernel of parameters { items, first, xStart, yStart } over one run of the batch: workgroups of `each`
 * items along x, one dispatch after the other where x cannot hold them, and blocks of channels along y, then z.
 * @param others kernel and, where there is one, bias
 */
export function dispatchItems(
  gpu: Gpu,
  kernel: Kernel,
  { views: [x, y], starts }: BatchRun,
  others: readonly GpuBuffer[],
  items: number,
  each: number,
  blocks: number,
): void {
  const most = gpu.limits.maxComputeWorkgroupsPerDimension, [down, deep] = overTwoAxes(blocks, gpu);
  const groups = Math.ceil(items / each);
  for (let first = 0; first < groups; first += most) {
    const across = Math.min(most, groups - first);
    gpu.dispatch(kernel, [x, ...others, y], [across, down, deep], [items, first, ...starts]);
  }
}
