/** Depthwise convolution of whole planes through the FFT. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { Kernel, Storage } from "../../../kernels/kernel.ts";
import { type PlaneAxis, planeLength } from "../../../kernels/planeAxis.ts";
import {
  planeConvBackward,
  planeConvolution,
  type PlanePlan,
  planeTiles,
} from "../../../kernels/planeConvolution.ts";
import { fftPlan, twiddles } from "../../../kernels/planeFft.ts";
import { planeKernelGradient, planeSpectrum } from "../../../kernels/planeSpectrum.ts";
import { cutAxis, type TilePlan, tilePlan } from "../../../kernels/planeTiles.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, type Slice } from "../limits.ts";
import { lineBackward, lineForward } from "./planeLines.ts";

/** Planes whose transforms a workgroup's invocations share, for GPUs, or tiles that go line by line, for software adapters. */
export type TransformPlan = PlanePlan | TilePlan;

const STORAGE_BYTES: Readonly<Record<Storage, number>> = { f32: 4, f16: 2 };

/** Transforms that tiles may have, and the least results of a tile that are worth its halo. */
const CUT_LENGTHS = [32, 48, 64, 72];
const LEAST_STEP = 8;

/** Workgroups that fill a large GPU about three deep, and the longest run of pairs that pays (see the kernel's header). */
const GROUPS = 384;
const LONGEST_RUN = 16;

const tilePlans = new Map<string, TilePlan | null>();

/** `tilePlan`, remembered: layers ask for theirs at every step. */
function tilesFor(rows: PlaneAxis, columns: PlaneAxis, bytes: number, storage: Storage): TilePlan | null {
  const key = [rows, columns].map((axis) => Object.values(axis).join()).join("|") + ` ${bytes} ${storage}`;
  let plan = tilePlans.get(key);
  if (plan === undefined) tilePlans.set(key, plan = tilePlan(rows, columns, bytes, storage));
  return plan;
}

/** The plan of a depthwise, stride-1, undilated 2-d convolution whose planes an FFT serves, or null. */
export function planePlan(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  storage: Storage = "f32",
): TransformPlan | null {
  const { inChannels, outChannels, groups, input, output, size, stride, padding, dilation } = geometry;
  const depthwise = inChannels === groups && outChannels === groups;
  const flat = input[0] === 1 && size[0] === 1 && padding[0] === 0;
  if (!depthwise || !flat || stride.some((s) => s !== 1) || dilation.some((d) => d !== 1)) return null;
  const axis = (a: number): PlaneAxis => ({
    input: input[a],
    output: output[a],
    size: size[a],
    padding: padding[a],
  });
  const rows = axis(1), columns = axis(2);
  const { maxComputeWorkgroupStorageSize: bytes, maxComputeInvocationsPerWorkgroup: invocations } =
    gpu.limits;
  // A spectrum is bound as a whole.
  const fits = (area: number): boolean => 8 * groups * area <= gpu.limits.maxStorageBufferBindingSize;
  if (gpu.sharesLoads) {
    const plan = tilesFor(rows, columns, bytes, storage);
    return plan && fits(plan.rows.L * plan.columns.L) ? plan : null;
  }
  if (groups > gpu.limits.maxComputeWorkgroupsPerDimension) return null; // one a channel, in a row
  const length = Math.max(planeLength(rows), planeLength(columns));
  const fft = fftPlan(length, Math.max(columns.input, columns.output), bytes, invocations);
  const plan: PlanePlan | null = fft
    ? { rows: cutAxis(rows, fft.L), columns: cutAxis(columns, fft.L), fft, storage }
    : cutPlan(rows, columns, bytes, invocations, storage);
  return plan && fits(plan.fft.L ** 2) ? plan : null;
}

/** The tiles of larger planes: those whose transforms are the least work. */
function cutPlan(
  rows: PlaneAxis,
  columns: PlaneAxis,
  bytes: number,
  invocations: number,
  storage: Storage,
): PlanePlan | null {
  let best: PlanePlan | null = null, least = Infinity;
  for (const L of CUT_LENGTHS) {
    const [r, c] = [rows, columns].map((axis) => cutAxis(axis, L));
    const fft = fftPlan(L, c.cut ? L : Math.max(c.input, c.output), bytes, invocations);
    if (!fft || [r, c].some(({ cut, step }) => cut && step < LEAST_STEP)) continue;
    const plan = { rows: r, columns: c, fft, storage };
    const work = planeTiles(plan, rows.output > rows.input ? "output" : "input") * L * L;
    if (work < least) [best, least] = [plan, work];
  }
  return best;
}

const keyOf = ({ rows, columns, fft, storage }: PlanePlan): string =>
  [rows, columns].map((axis) => Object.values(axis).join()).join("|") +
  `|${fft.L} ${fft.pitch} ${fft.halves} ${storage}`;

const tableOf = (gpu: Gpu, { fft: { L } }: PlanePlan): GpuBuffer =>
  gpu.constant(`twiddles ${L}`, () => twiddles(L));

/** The kernel's spectrum, as a new buffer. */
function spectrumOf(gpu: Gpu, plan: PlanePlan, channels: number, taps: GpuBuffer): GpuBuffer {
  const kernel = gpu.kernel(`planeSpectrum ${keyOf(plan)}`, () => planeSpectrum(plan));
  const spectrum = gpu.buffers.take(8 * channels * plan.fft.L ** 2, "spectrum");
  gpu.dispatch(kernel, [taps, tableOf(gpu, plan), spectrum], [Math.ceil(channels / 2), 1, 1], [channels]);
  return spectrum;
}

/** How many pairs, or tiles of them, a workgroup takes in turn, and how many workgroups that makes, at most `most`. */
function runsOf(
  { count }: Slice,
  channels: number,
  tiles: number,
  most = Infinity,
): { run: number; runs: number } {
  const items = Math.ceil(count / 2) * tiles;
  const filling = Math.min(LONGEST_RUN, Math.floor(items * channels / GROUPS));
  const run = Math.max(1, filling, Math.ceil(items / most));
  return { run, runs: Math.ceil(items / run) };
}

const planeBytes = ({ storage }: PlanePlan, channels: number, extents: readonly number[]): number =>
  STORAGE_BYTES[storage] * channels * sizeOf(extents);

function transformed(
  gpu: Gpu,
  plan: PlanePlan,
  kernel: Kernel,
  side: "input" | "output",
  geometry: ConvolutionGeometry,
  count: number,
  from: { buffer: GpuBuffer; bytes: number },
  to: { buffer: GpuBuffer; bytes: number },
  taps: GpuBuffer,
  others: readonly GpuBuffer[],
): void {
  const channels = geometry.groups, spectrum = spectrumOf(gpu, plan, channels, taps);
  for (const slice of batchSlices(count, [from.bytes, to.bytes], gpu.limits)) {
    const { run, runs } = runsOf(slice, channels, planeTiles(plan, side));
    const views = [
      part(from.buffer, slice.first, slice.count, from.bytes),
      spectrum,
      tableOf(gpu, plan),
      ...others,
      part(to.buffer, slice.first, slice.count, to.bytes),
    ];
    gpu.dispatch(kernel, views, [channels, runs, 1], [channels, slice.count, run]);
  }
  gpu.buffers.release(spectrum);
}

/** y = convolution of x; `others` is the bias, where there is one. */
export function planeForward(
  gpu: Gpu,
  plan: TransformPlan,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  taps: GpuBuffer,
  bias: GpuBuffer | null,
  y: GpuBuffer,
): void {
  if (!("fft" in plan)) return lineForward(gpu, plan, geometry, count, x, taps, bias, y);
  const { groups: channels, input, output } = geometry;
  const kernel = gpu.kernel(
    `planeConvolution ${bias !== null} ${keyOf(plan)}`,
    () => planeConvolution(plan, bias !== null),
  );
  const from = { buffer: x, bytes: planeBytes(plan, channels, input) };
  const to = { buffer: y, bytes: planeBytes(plan, channels, output) };
  transformed(gpu, plan, kernel, "output", geometry, count, from, to, taps, bias ? [bias] : []);
}

/** The gradients to the input and to the kernel, each where wanted: both take one pass over x and dy. */
export function planeBackward(
  gpu: Gpu,
  plan: TransformPlan,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  taps: GpuBuffer,
  dy: GpuBuffer,
  wants: { readonly input: boolean; readonly kernel: boolean },
): { dx: GpuBuffer | null; dtaps: GpuBuffer | null } {
  if (!("fft" in plan)) return lineBackward(gpu, plan, geometry, count, x, taps, dy, wants);
  const { groups: channels, input, output } = geometry;
  const xBytes = planeBytes(plan, channels, input), yBytes = planeBytes(plan, channels, output);
  const dx = wants.input ? gpu.buffers.take(count * xBytes, "planeConvolution to input") : null;
  if (dx && !wants.kernel) {
    const kernel = gpu.kernel(
      `planeConvolution to input ${keyOf(plan)}`,
      () => planeConvolution(plan, false, true),
    );
    const from = { buffer: dy, bytes: yBytes }, to = { buffer: dx, bytes: xBytes };
    transformed(gpu, plan, kernel, "input", geometry, count, from, to, taps, []);
    return { dx, dtaps: null };
  }
  if (!wants.kernel) return { dx: null, dtaps: null };
  const kernel = gpu.kernel(
    `planeConvBackward ${dx !== null} ${keyOf(plan)}`,
    () => planeConvBackward(plan, dx !== null),
  );
  const spectrum = dx ? spectrumOf(gpu, plan, channels, taps) : null;
  const slices = batchSlices(count, [xBytes, yBytes], gpu.limits);
  const tiles = planeTiles(plan, "input");
  const runBytes = 8 * channels * plan.fft.L ** 2; // all sums are bound at once
  const most = Math.max(1, Math.floor(gpu.limits.maxStorageBufferBindingSize / runBytes / slices.length));
  const shares = slices.map((slice) => runsOf(slice, channels, tiles, most));
  const total = shares.reduce((sum, { runs }) => sum + runs, 0);
  const partial = gpu.buffers.take(Math.max(1, total) * runBytes, "spectral sums");
  let done = 0;
  slices.forEach((slice, i) => {
    const { run, runs } = shares[i];
    const views = [
      part(x, slice.first, slice.count, xBytes),
      part(dy, slice.first, slice.count, yBytes),
      tableOf(gpu, plan),
      ...(spectrum ? [spectrum] : []),
      partial,
      ...(dx ? [part(dx, slice.first, slice.count, xBytes)] : []),
    ];
    gpu.dispatch(kernel, views, [channels, runs, 1], [channels, slice.count, run, done]);
    done += runs;
  });
  const dtaps = gpu.buffers.take(4 * channels * sizeOf(geometry.size), "planeKernelGradient");
  const last = gpu.kernel(`planeKernelGradient ${keyOf(plan)}`, () => planeKernelGradient(plan));
  gpu.dispatch(last, [partial, tableOf(gpu, plan), dtaps], [channels, 1, 1], [channels, total]);
  gpu.buffers.release(partial);
  if (spectrum) gpu.buffers.release(spectrum);
  return { dx, dtaps };
}
