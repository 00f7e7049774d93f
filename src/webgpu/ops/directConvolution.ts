/** Direct convolutions on WebGPU, forward and both gradients: which of the direct kernels, and their dispatches. */
import { mirroredGeometry } from "../../../kernels/convBackwardInput.ts";
import { convBackwardKernel, tapRows } from "../../../kernels/convBackwardKernel.ts";
import {
  convolution,
  type ConvolutionGeometry,
  type TapOrder,
  tileOf,
} from "../../../kernels/convolution.ts";
import { rowConvolution } from "../../../kernels/rowConvolution.ts";
import { rowKernelGradient } from "../../../kernels/rowKernelGradient.ts";
import { windowConvolution, windowTile } from "../../../kernels/windowConvolution.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import {
  chooseDirect,
  chooseKernelGradient,
  type DirectChoice,
  type KernelGradientChoice,
} from "../chooseDirect.ts";
import type { Gpu } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { batchRuns, overTwoAxes } from "./batchRuns.ts";
import { reduceChunks } from "./chunks.ts";
import { batchedInput, batchedOutput, dispatchItems } from "./direct.ts";
import { bytesOf, type Elements, storageOf } from "./op.ts";
import { slide, slideKernelGradient } from "./slidingConvolution.ts";

/** Invocations that keep a device busy; more chunks of the batch than that gain nothing. */
const BUSY = { gpu: 2 ** 17, software: 2 ** 12 };
/** Workgroups that keep a GPU busy. */
const GROUPS = 400;

/**
 * y = convolution of x.
 * @param others kernel and, where there is one, bias, both float32
 * @param choice default: the fastest here
 */
export function directConvolution(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: Elements,
  others: readonly GpuBuffer[],
  y: Elements,
  choice: DirectChoice = chooseDirect(gpu, geometry, count),
): void {
  run(gpu, geometry, choice, "forward", count, x, others, y);
}

/** The gradient to the input, as a new buffer kept as dy is. */
export function directInputGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  dy: Elements,
  taps: GpuBuffer,
  choice: DirectChoice = chooseDirect(gpu, mirroredGeometry(geometry), count),
): GpuBuffer {
  const { inChannels, input } = geometry;
  const dx = gpu.buffers.take(count * inChannels * sizeOf(input) * bytesOf(dy), "convBackwardInput");
  run(gpu, mirroredGeometry(geometry), choice, "mirrored", count, dy, [taps], { ...dy, handle: dx });
  return dx;
}

function run(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  choice: DirectChoice,
  taps: TapOrder,
  count: number,
  x: Elements,
  others: readonly GpuBuffer[],
  y: Elements,
): void {
  if (choice.kernel === "sliding") return slide(gpu, geometry, choice.plan, taps, count, x, others, y);
  const { outChannels, output } = geometry, bias = others.length > 1, storage = storageOf(x);
  const key = JSON.stringify([choice, geometry, taps, bias, storage]);
  for (const part of batchRuns(gpu, count, [batchedInput(geometry, x), batchedOutput(geometry, y)])) {
    switch (choice.kernel) {
      case "rows": {
        const { layout } = choice;
        const kernel = gpu.kernel(key, () => rowConvolution(geometry, layout, bias, taps, storage));
        dispatchItems(gpu, kernel, part, others, part.count, layout.images, outChannels);
        break;
      }
      case "window": {
        const kernel = gpu.kernel(key, () => windowConvolution(geometry, bias, taps, storage));
        const items = part.count * windowTile(geometry).perPlane;
        dispatchItems(gpu, kernel, part, others, items, kernel.workgroupSize, outChannels);
        break;
      }
      case "strips": {
        const kernel = gpu.kernel(key, () => convolution(geometry, bias, taps, storage));
        const { strip, block } = tileOf(geometry);
        const items = part.count * output[0] * output[1] * Math.ceil(output[2] / strip);
        dispatchItems(gpu, kernel, part, others, items, kernel.workgroupSize, outChannels / block);
      }
    }
  }
}

/** The gradient to the kernel, as a new float32 buffer. */
export function directKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: Elements,
  dy: Elements,
  choice: KernelGradientChoice = chooseKernelGradient(gpu, geometry, count),
): GpuBuffer {
  if (choice.kernel === "sliding") return slideKernelGradient(gpu, geometry, choice.plan, count, x, dy);
  const { inChannels, outChannels, groups, size } = geometry, storage = storageOf(x);
  const tensors = [batchedInput(geometry, x), batchedOutput(geometry, dy)];
  const elements = outChannels * (inChannels / groups) * sizeOf(size);
  const key = `kernel gradient ${JSON.stringify([choice, geometry, storage])}`;
  if (choice.kernel === "rows") {
    const { plan } = choice, { images } = plan.x;
    const kernel = gpu.kernel(key, () => rowKernelGradient(geometry, plan, storage));
    return reduceChunks(gpu, kernel.label, count, tensors, elements, (run) => {
      const batches = Math.ceil(run.count / images);
      const wanted = Math.min(
        batches,
        Math.ceil(GROUPS / groups),
        gpu.limits.maxComputeWorkgroupsPerDimension,
      );
      const chunk = images * Math.ceil(batches / wanted);
      const slots = Math.ceil(run.count / chunk);
      return { kernel, groups: [slots, ...overTwoAxes(groups, gpu)], words: [run.count, chunk], slots };
    });
  }
  const kernel = gpu.kernel(key, () => convBackwardKernel(geometry, storage));
  const rows = tapRows(geometry), busy = gpu.info.software ? BUSY.software : BUSY.gpu;
  return reduceChunks(gpu, kernel.label, count, tensors, elements, (run) => {
    const wanted = Math.max(1, Math.min(run.count, Math.floor(busy / rows)));
    const most = gpu.limits.maxComputeWorkgroupsPerDimension;
    const chunk = Math.max(Math.ceil(run.count / wanted), Math.ceil(run.count / most));
    const slots = Math.ceil(run.count / chunk);
    const [across, deep] = flatGroups(Math.ceil(rows / kernel.workgroupSize), gpu.limits);
    return { kernel, groups: [across, slots, deep], words: [run.count, chunk], slots };
  });
}
