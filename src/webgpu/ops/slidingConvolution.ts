/** The sliding kernels on WebGPU: convolution, its gradient to the input, and its gradient to the kernel. */
import type { ConvolutionGeometry, TapOrder } from "../../../kernels/convolution.ts";
import { slidingConvolution } from "../../../kernels/slidingConvolution.ts";
import { slidingKernelGradient } from "../../../kernels/slidingKernelGradient.ts";
import {
  gradientChunks,
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

/** Invocations of a workgroup at most: subgroups of 8 that are idle cost as much as busy ones. */
const SIZE = 64;

const plans = new Map<string, SlidingPlan | null>();

/** The plan for a batch, null where there is none; found once, since the search takes milliseconds. */
export function slidingPlanFor(
  geometry: ConvolutionGeometry,
  count: number,
  of: "convolution" | "kernelGradient",
): SlidingPlan | null {
  const key = `${of} ${count} ${JSON.stringify(geometry)}`;
  let plan = plans.get(key);
  if (plan === undefined) plans.set(key, plan = slidingPlan(upright(geometry), count, of));
  return plan;
}

const workgroupOf = (lanes: number): number => Math.min(SIZE, Math.max(8, Math.ceil(lanes / 8) * 8));

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
  for (const run of batchRuns(gpu, count, [batchedInput(turned, x), batchedOutput(turned, y)])) {
    const lanes = run.count * output[0] * plan.strips * plan.runs, size = workgroupOf(lanes);
    const kernel = gpu.kernel(
      `slidingConvolution ${JSON.stringify([turned, plan, options, size])}`,
      () => slidingConvolution(turned, plan, options, size),
    );
    dispatchItems(gpu, kernel, run, others, lanes, size, outChannels / plan.block);
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
  return reduceChunks(gpu, "slidingKernelGradient", count, tensors, elements, (run) => {
    const { chunk, chunks } = gradientChunks(turned, plan, run.count);
    const lanes = plan.strips * plan.runs * chunks, workgroup = workgroupOf(lanes);
    return {
      kernel: gpu.kernel(
        `slidingKernelGradient ${JSON.stringify([turned, plan, options, workgroup])}`,
        () => slidingKernelGradient(turned, plan, options, workgroup),
      ),
      groups: [Math.ceil(lanes / workgroup), ...overTwoAxes(planes, gpu)],
      words: [lanes, run.count, chunk],
      slots: options.share ? Math.ceil(lanes / 8) : lanes,
    };
  });
}
