/** The sliding kernels on WebGPU: convolution, its gradient to the input, and its gradient to the kernel. */
import type { ConvolutionGeometry, TapOrder } from "../../../kernels/convolution.ts";
import { slidingConvolution } from "../../../kernels/slidingConvolution.ts";
import { slidingKernelGradient } from "../../../kernels/slidingKernelGradient.ts";
import {
  gradientChunk,
  type SlidingPlan,
  slidingPlan,
  tapPlanes,
  upright,
} from "../../../kernels/slidingPlan.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchRuns, overTwoAxes } from "./batchRuns.ts";
import { reduceChunks } from "./chunks.ts";
import { batchedInput, batchedOutput, dispatchItems } from "./direct.ts";
import { type Elements, storageOf } from "./op.ts";

/**
 * Invocations of a workgroup: one subgroup. On llvmpipe larger ones are no faster (128 x 96 x 7²: 8 to 64 within noise), and
 * one that is not filled costs as much as a full one.
 */
const SIZE = 8;
/** Images beyond which a plan would not change. */
const MANY = 16;

const plans = new Map<string, SlidingPlan | null>();

/**
 * The plan for a batch, null where there is none; found once, since the search takes milliseconds. Batches share it up to
 * the next power of two, so that an epoch's last one compiles nothing.
 */
export function slidingPlanFor(
  geometry: ConvolutionGeometry,
  count: number,
  of: "convolution" | "kernelGradient",
): SlidingPlan | null {
  const images = Math.min(MANY, 2 ** Math.ceil(Math.log2(Math.max(1, count))));
  const key = `${of} ${images} ${JSON.stringify(geometry)}`;
  let plan = plans.get(key);
  if (plan === undefined) plans.set(key, plan = slidingPlan(upright(geometry), images, of));
  return plan;
}

/** y = convolution of x, or with mirrored taps and geometry the gradient to the input; `others`: kernel and, where there is one, bias. */
export function slide(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  plan: SlidingPlan,
  taps: TapOrder,
  count: number,
  x: Elements,
  others: readonly GpuBuffer[],
  y: Elements,
): void {
  const turned = upright(geometry), { outChannels, output } = turned;
  const options = { bias: others.length > 1, taps, share: gpu.sharesLoads, storage: storageOf(x) };
  const kernel = gpu.kernel(
    `slidingConvolution ${JSON.stringify([turned, plan, options])}`,
    () => slidingConvolution(turned, plan, options, SIZE),
  );
  for (const run of batchRuns(gpu, count, [batchedInput(turned, x), batchedOutput(turned, y)])) {
    const lanes = run.count * output[0] * plan.strips * plan.runs;
    dispatchItems(gpu, kernel, run, others, lanes, SIZE, outChannels / plan.block);
  }
}

/** The gradient to the kernel, as a new buffer. */
export function slideKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  plan: SlidingPlan,
  count: number,
  x: Elements,
  dy: Elements,
): GpuBuffer {
  const turned = upright(geometry), { size } = turned, planes = tapPlanes(turned);
  const options = { share: gpu.sharesLoads, storage: storageOf(x) };
  const tensors = [batchedInput(turned, x), batchedOutput(turned, dy)];
  const elements = planes * size[1] * size[2];
  const kernel = gpu.kernel(
    `slidingKernelGradient ${JSON.stringify([turned, plan, options])}`,
    () => slidingKernelGradient(turned, plan, options, SIZE),
  );
  return reduceChunks(gpu, kernel.label, count, tensors, elements, (run) => {
    const pieces = plan.strips * plan.runs, most = SIZE * gpu.limits.maxComputeWorkgroupsPerDimension;
    const chunk = Math.max(gradientChunk(turned, plan, run.count), Math.ceil(run.count * pieces / most));
    const lanes = pieces * Math.ceil(run.count / chunk), workgroups = Math.ceil(lanes / SIZE);
    return {
      kernel,
      groups: [workgroups, ...overTwoAxes(planes, gpu)],
      words: [lanes, run.count, chunk],
      slots: options.share ? workgroups : lanes,
    };
  });
}
