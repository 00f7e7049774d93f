/**
 * How the sliding kernels cut a convolution into invocations: pure arithmetic, see slidingConvolution.ts.
 *
 * They slide along axis 1 and keep strips of axis 2. A signal, with an axis 1 of one cell, is stood upright first
 * (`upright`): the same memory, looked at as a column, so that it is read once and not once for every strip it borders on.
 */
import { type Axis, axisOf, cellsOf, insideMeetings, meetings, usedTaps } from "./axis.ts";
import type { ConvolutionGeometry } from "./convolution.ts";
import { range } from "./kernel.ts";

/** What one invocation computes: a strip of columns by a run of rows, for a block of output channels. */
export interface SlidingPlan {
  /** Output columns; a multiple of the spread where there are several strips. */
  readonly strip: number;
  readonly strips: number;
  /** Output rows; a multiple of the spread where there are several runs. */
  readonly rows: number;
  readonly runs: number;
  /** Output channels of one group. */
  readonly block: number;
  /** Steps of the slide in one turn of the loop: sums move up once a turn. */
  readonly steps: number;
}

/** The slide along one axis. Row r of a turn's input rows meets, by tap k, sum number `slot`. */
export interface Slide {
  readonly meets: readonly { readonly row: number; readonly k: number; readonly slot: number }[];
  /** Input rows and output rows that a turn goes on by. */
  readonly inputs: number;
  readonly outputs: number;
  /** Sums that wait: of output rows turn * outputs + lowest + slot, counted from the run's first. */
  readonly slots: number;
  readonly lowest: number;
  /** The turns: [first, last] in which anything is read or finished, and the last that reads. */
  readonly first: number;
  readonly lastRead: number;
  readonly last: number;
}

/** The slide over a run of `rows` output rows, all of them where `runs` is 1. */
export function slideOf(axis: Axis, rows: number, runs: number, steps: number): Slide {
  const { stride, spread, padding, dilation } = axis;
  const inputs = stride * steps, outputs = spread * steps;
  const found = range(inputs).flatMap((row) =>
    usedTaps(axis).map((k) => ({ row, k, slot: (row * spread + padding - k * dilation) / stride }))
  ).filter(({ slot }) => Number.isInteger(slot));
  const lowest = Math.min(...found.map(({ slot }) => slot), found.length ? Infinity : 0);
  const slots = Math.max(outputs, ...found.map(({ slot }) => slot - lowest + 1));
  const meets = found.map(({ row, k, slot }) => ({ row, k, slot: slot - lowest }));
  const firstMeeting = Math.ceil(-(lowest + slots - 1) / outputs);
  const firstFinished = Math.ceil((1 - outputs - lowest) / outputs);
  const last = Math.floor((rows - 1 - lowest) / outputs);
  if (runs > 1) return { meets, inputs, outputs, slots, lowest, first: firstMeeting, lastRead: last, last };
  // The whole axis: nothing above its first row and below its last need be visited.
  const first = Math.max(firstMeeting, Math.min(0, firstFinished));
  return {
    meets,
    inputs,
    outputs,
    slots,
    lowest,
    first,
    lastRead: Math.max(first - 1, Math.min(last, Math.floor((axis.input - 1) / inputs))),
    last,
  };
}

/**
 * Multiply-adds and elements read in the code of one turn. Compile time on llvmpipe, 17x17: 4046 multiply-adds 2.0 s (the
 * kernel's gradient 5.8), 2312 1.1 s (3.0), at the same speed. Only where nothing else is left (31x31) may there be twice as many.
 * A second step in a turn, which spares but half of the moves, may not cost that.
 */
const CODE = { multiplies: 2400, reads: 64 };
const MOST_CODE = { multiplies: 4800, reads: 64 };
const CODE_OF_STEPS = { multiplies: 1500, reads: 48 };

/** Cycles of a subgroup of 8 lanes for an element that each lane reads or writes. */
const ELEMENT = 80;

/** The geometry with a trailing axis of one cell where axis 1 has but one: the same elements in memory. */
export function upright(geometry: ConvolutionGeometry): ConvolutionGeometry {
  const { input, output, size, padding } = geometry;
  if (input[1] !== 1 || output[1] !== 1 || size[1] !== 1 || padding[1] !== 0 || input[2] === 1) {
    return geometry;
  }
  const turn = (list: readonly number[]): number[] => [list[0], list[2], list[1]];
  const { stride, dilation, spread } = geometry;
  return {
    ...geometry,
    input: turn(input),
    output: turn(output),
    size: turn(size),
    stride: turn(stride),
    padding: turn(padding),
    dilation: turn(dilation),
    ...(spread ? { spread: turn(spread) } : {}),
  };
}

/** What a turn of a plan holds. */
function turnOf(geometry: ConvolutionGeometry, { strip, strips, rows, runs, steps }: SlidingPlan): {
  readonly slide: Slide;
  readonly multiplies: number;
  readonly reads: number;
} {
  const across = axisOf(geometry, 2), slide = slideOf(axisOf(geometry, 1), rows, runs, steps);
  const met = strips === 1 ? insideMeetings(across) : meetings(across, strip);
  return { slide, multiplies: slide.meets.length * met.length, reads: cellsOf(met).length };
}

/** Whether its code is short enough, and its sums few enough for a stack that stays in the cache. */
function isShort(geometry: ConvolutionGeometry, plan: SlidingPlan, limit: typeof CODE): boolean {
  const { slide, multiplies, reads } = turnOf(geometry, plan);
  const most = plan.steps > 1 ? CODE_OF_STEPS : limit;
  return plan.block * multiplies <= most.multiplies && reads * slide.inputs <= most.reads &&
    slide.slots * plan.strip * plan.block <= 512;
}

/** Cycles of a subgroup that walks down one strip of one plane: what is read, multiplied, moved and written. */
function walkCycles(geometry: ConvolutionGeometry, plan: SlidingPlan, planes: number): number {
  const { slide, multiplies, reads } = turnOf(geometry, plan);
  const turns = slide.lastRead - slide.first + 1, { strip, block, rows, runs } = plan;
  const rowsRead = runs === 1 ? Math.min(geometry.input[1], turns * slide.inputs) : turns * slide.inputs;
  return planes * (rowsRead * reads * ELEMENT + turns * block * multiplies) +
    turns * block * slide.slots * strip + rows * strip * block * ELEMENT;
}

/** Cycles of the convolution: a subgroup takes its time whether its lanes are busy or not, and two cores share them. */
function convolutionCycles(geometry: ConvolutionGeometry, plan: SlidingPlan, count: number): number {
  const { inChannels, outChannels, groups, size, output } = geometry, { slide } = turnOf(geometry, plan);
  const planes = inChannels / groups * size[0], turns = slide.lastRead - slide.first + 1;
  const taps = plan.block * size[1] * size[2] * ELEMENT / 8 * (planes === 1 ? 1 : planes * turns);
  const lanes = count * output[0] * plan.strips * plan.runs;
  const subgroups = Math.max(2, Math.ceil(lanes / 8) * outChannels / plan.block);
  return subgroups * (taps + walkCycles(geometry, plan, planes));
}

/** Images that one lane of the kernel's gradient walks down: few enough that a subgroup is filled, and both cores have work. */
export function gradientChunk(geometry: ConvolutionGeometry, plan: SlidingPlan, count: number): number {
  const wanted = 8 * Math.max(1, Math.ceil(16 / tapPlanes(geometry)));
  return Math.max(1, Math.floor(count / Math.ceil(wanted / (plan.strips * plan.runs))));
}

/** Cycles of the kernel's gradient; a sum costs about half an element, once a lane. */
function gradientCycles(geometry: ConvolutionGeometry, plan: SlidingPlan, count: number): number {
  const chunk = gradientChunk(geometry, plan, count), chunks = Math.ceil(count / chunk);
  const { size, output } = geometry;
  const subgroups = Math.ceil(plan.strips * plan.runs * chunks / 8) * tapPlanes(geometry);
  return Math.max(2, subgroups) *
    (size[1] * size[2] * ELEMENT / 2 + chunk * output[0] * walkCycles(geometry, plan, 1));
}

/** Planes of taps of a kernel, one for every output channel, input channel of its group, and depth. */
export function tapPlanes({ outChannels, inChannels, groups, size }: ConvolutionGeometry): number {
  return outChannels * (inChannels / groups) * size[0];
}

function candidates(geometry: ConvolutionGeometry, blocks: readonly number[]): SlidingPlan[] {
  const down = axisOf(geometry, 1), across = axisOf(geometry, 2);
  const whole = (n: number, spread: number): number => Math.ceil(n / spread) * spread;
  const widths = [4, 8, 14, ...range(8).map((n) => Math.ceil(across.output / (n + 1)))]
    .map((width) => width >= across.output ? across.output : whole(width, across.spread));
  const heights = range(7).map((n) => whole(Math.ceil(down.output / 2 ** n), down.spread))
    .map((height, n) => n === 0 ? down.output : height).filter((height, n) => n === 0 || height >= 4);
  const plans = [...new Set(widths)].filter((strip) => strip <= 32 && strip >= Math.min(4, across.output))
    .flatMap((strip) =>
      heights.flatMap((rows) =>
        (strip <= 4 ? [1, 2, 4, 8] : [1, 2]).flatMap((steps) =>
          blocks.map((block) => ({
            strip,
            strips: Math.ceil(across.output / strip),
            rows,
            runs: Math.ceil(down.output / rows),
            block,
            steps,
          }))
        )
      )
    );
  const short = plans.filter((plan) => isShort(geometry, plan, CODE));
  return short.length > 0 ? short : plans.filter((plan) => isShort(geometry, plan, MOST_CODE));
}

/**
 * The plan of slidingConvolution (or of slidingKernelGradient) that takes the fewest cycles by count, for a batch of
 * `count`; null where all have too much code.
 * @param geometry upright
 */
export function slidingPlan(
  geometry: ConvolutionGeometry,
  count: number,
  of: "convolution" | "kernelGradient" = "convolution",
): SlidingPlan | null {
  const perGroup = geometry.outChannels / geometry.groups;
  const blocks = of === "convolution" ? [4, 3, 2, 1].filter((b) => perGroup % b === 0) : [1];
  const cycles = (plan: SlidingPlan): number => {
    // Lanes in one image read nearby memory; lanes in several often fall on the same cache lines (16 x 64 x 16000: 1.15 times).
    const near = plan.strips * plan.runs >= 8 ? 1 : 1.1;
    return near * (of === "convolution" ? convolutionCycles : gradientCycles)(geometry, plan, count);
  };
  const plans = candidates(geometry, blocks).map((plan) => ({ plan, cycles: cycles(plan) }));
  return plans.length ? plans.reduce((a, b) => b.cycles < a.cycles ? b : a).plan : null;
}
