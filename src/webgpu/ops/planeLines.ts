/** Depthwise convolution of whole planes through the FFT by lines: for software adapters (kernels/planeLines.ts). */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import { planeLineBackward, planeLineConvolution } from "../../../kernels/planeLineConvolution.ts";
import { planeLineGradient, planeLineSpectrum, tapTwiddles } from "../../../kernels/planeLineSpectrum.ts";
import { type TilePlan, tilesAlong } from "../../../kernels/planeTiles.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";

/** Workgroups that keep the cores of most machines busy, and few enough to spare each its start. */
const GROUPS = 32;

const tableOf = (gpu: Gpu, plan: TilePlan): GpuBuffer =>
  gpu.constant(`tap twiddles ${plan.key}`, () => tapTwiddles(plan));

/** The kernel's spectrum, as a new buffer. */
function spectrumOf(gpu: Gpu, plan: TilePlan, channels: number, taps: GpuBuffer): GpuBuffer {
  const kernel = gpu.kernel(`planeLineSpectrum ${plan.key}`, () => planeLineSpectrum(plan));
  const spectrum = gpu.buffers.take(8 * channels * plan.rows.L * plan.columns.L, "spectrum");
  gpu.dispatch(kernel, [taps, tableOf(gpu, plan), spectrum], flatGroups(channels, gpu.limits), [channels]);
  return spectrum;
}

/** How `count` images are shared out: workgroups, runs of items in a channel, channels a workgroup takes in turn. */
interface Shares {
  readonly groups: readonly [number, number, number];
  readonly words: readonly number[];
}

function sharesOf(
  gpu: Gpu,
  { rows, columns }: TilePlan,
  side: "input" | "output",
  count: number,
  channels: number,
  mostRuns = Infinity,
): Shares {
  const items = Math.ceil(count / 2) * tilesAlong(rows, rows[side]) * tilesAlong(columns, columns[side]);
  const most = gpu.limits.maxComputeWorkgroupsPerDimension;
  const runs = Math.max(1, Math.min(items, Math.ceil(GROUPS / channels), most, mostRuns));
  const run = Math.ceil(items / runs);
  const turns = Math.max(1, Math.floor(channels / GROUPS), Math.ceil(channels / most));
  return {
    groups: [Math.ceil(channels / turns), items === 0 ? 0 : Math.ceil(items / run), 1],
    words: [channels, count, run, turns],
  };
}

/** A tensor that is cut over the batch. */
interface Batched {
  readonly buffer: GpuBuffer;
  readonly bytes: number;
}

const elementBytes = ({ storage }: TilePlan): number => storage === "f16" ? 2 : 4;

function transformed(
  gpu: Gpu,
  plan: TilePlan,
  kernel: Kernel,
  side: "input" | "output",
  channels: number,
  count: number,
  from: Batched,
  to: Batched,
  taps: GpuBuffer,
  others: readonly GpuBuffer[],
): void {
  const spectrum = spectrumOf(gpu, plan, channels, taps);
  for (const slice of batchSlices(count, [from.bytes, to.bytes], gpu.limits)) {
    const { groups, words } = sharesOf(gpu, plan, side, slice.count, channels);
    const views = [
      part(from.buffer, slice.first, slice.count, from.bytes),
      spectrum,
      tableOf(gpu, plan),
      ...others,
      part(to.buffer, slice.first, slice.count, to.bytes),
    ];
    gpu.dispatch(kernel, views, groups, words);
  }
  gpu.buffers.release(spectrum);
}

/** y = convolution of x; `bias` where there is one. */
export function lineForward(
  gpu: Gpu,
  plan: TilePlan,
  { groups: channels, input, output }: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  taps: GpuBuffer,
  bias: GpuBuffer | null,
  y: GpuBuffer,
): void {
  const kernel = gpu.kernel(
    `planeLineConvolution ${bias !== null} ${plan.key}`,
    () => planeLineConvolution(plan, bias !== null),
  );
  const bytes = elementBytes(plan) * channels;
  const from = { buffer: x, bytes: bytes * sizeOf(input) }, to = { buffer: y, bytes: bytes * sizeOf(output) };
  transformed(gpu, plan, kernel, "output", channels, count, from, to, taps, bias ? [bias] : []);
}

/** The gradients to the input and to the kernel, each where wanted: both take one pass over x and dy. */
export function lineBackward(
  gpu: Gpu,
  plan: TilePlan,
  { groups: channels, input, output, size }: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  taps: GpuBuffer,
  dy: GpuBuffer,
  wants: { readonly input: boolean; readonly kernel: boolean },
): { dx: GpuBuffer | null; dtaps: GpuBuffer | null } {
  const bytes = elementBytes(plan) * channels;
  const from: Batched = { buffer: x, bytes: bytes * sizeOf(input) };
  const gradient: Batched = { buffer: dy, bytes: bytes * sizeOf(output) };
  const dx = wants.input ? gpu.buffers.take(count * from.bytes, "planeLineConvolution to input") : null;
  if (!wants.kernel) {
    if (!dx) return { dx: null, dtaps: null };
    const kernel = gpu.kernel(
      `planeLineConvolution to input ${plan.key}`,
      () => planeLineConvolution(plan, false, true),
    );
    const to = { buffer: dx, bytes: from.bytes };
    transformed(gpu, plan, kernel, "input", channels, count, gradient, to, taps, []);
    return { dx, dtaps: null };
  }
  const kernel = gpu.kernel(
    `planeLineBackward ${dx !== null} ${plan.key}`,
    () => planeLineBackward(plan, dx !== null),
  );
  const spectrum = dx ? spectrumOf(gpu, plan, channels, taps) : null;
  const channelBytes = 8 * plan.rows.L * plan.columns.L;
  const cut = batchSlices(count, [from.bytes, gradient.bytes], gpu.limits);
  // All sums are bound at once.
  const allRuns = Math.floor(gpu.limits.maxStorageBufferBindingSize / (channels * channelBytes));
  const mostRuns = Math.max(1, Math.floor(allRuns / cut.length));
  const slices = cut.map((slice) => ({
    slice,
    ...sharesOf(gpu, plan, "input", slice.count, channels, mostRuns),
  }));
  const runs = slices.reduce((sum, { groups }) => sum + groups[1], 0);
  const most = Math.max(1, ...slices.map(({ groups }) => groups[0] * groups[1]));
  const partial = gpu.buffers.take(Math.max(1, runs) * channels * channelBytes, "spectral sums");
  const transforms = gpu.buffers.take(most * channelBytes, "transforms");
  let done = 0;
  for (const { slice, groups, words } of slices) {
    const views = [
      part(x, slice.first, slice.count, from.bytes),
      part(dy, slice.first, slice.count, gradient.bytes),
      tableOf(gpu, plan),
      ...(spectrum ? [spectrum] : []),
      transforms,
      part(partial, done, groups[1], channels * channelBytes),
      ...(dx ? [part(dx, slice.first, slice.count, from.bytes)] : []),
    ];
    gpu.dispatch(kernel, views, groups, words);
    done += groups[1];
  }
  const dtaps = gpu.buffers.take(4 * channels * sizeOf(size), "planeLineGradient");
  const last = gpu.kernel(`planeLineGradient ${plan.key}`, () => planeLineGradient(plan));
  gpu.dispatch(last, [partial, tableOf(gpu, plan), dtaps], flatGroups(channels, gpu.limits), [
    channels,
    runs,
  ]);
  for (const used of [partial, transforms, spectrum]) if (used) gpu.buffers.release(used);
  return { dx, dtaps };
}
