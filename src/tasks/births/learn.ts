/**
 * Two delays that look for the week: a causal `Dcls1d` with two Gaussian elements learns at which lags the past tells
 * the present.
 *
 * A run is one output channel. Channels share nothing but the input, and AdamW treats every number alone, so several
 * seeds learn side by side in one layer exactly as they would one after the other, in the time of one.
 * @module
 */
import { keep, noGrad, readAll, type Tensor, tensor, tidy } from "../../../mod.ts";
import { Dcls1d } from "../../nn/mod.ts";
import { AdamW, warmupCosine } from "../../optim/mod.ts";
import { createRandom } from "../../random.ts";
import type { LagRun } from "../../train/pictures.ts";
import type { DailySeries } from "./series.ts";

/** Longest lag, in days: four weeks and a day, so that no lag of whole weeks lies at the border. */
export const LONGEST_LAG = 29;
const WEEK = 7;
/** Lags per run. */
const TAPS = 2;
/**
 * Spreads in cells, less the 0.27 that `gauss` adds. The first is wide enough to feel a week from three days away
 * and narrow enough to tell one week from the next (at 2.3 days a fifth of the week's rhythm is left). The last is the
 * layer's own initial one: an element much narrower than half a cell sees a single day, so its place within that day
 * hardly matters and drifts by up to 0.3.
 */
const FIRST_SPREAD = 2, LAST_SPREAD = 0.23, SPREAD_OFFSET = 0.27;
/** Share of the steps over which the spread narrows; during the rest the lags settle. */
const ANNEALING = 0.7;
const WEIGHT_RATE = 0.02;
/** In days per step, at the start. */
const POSITION_RATE = 0.3;
/** Days that a start keeps away from whole weeks: where it sat on one, there would be nothing to find. */
const AWAY = 2;
/** Points of a path. */
const PATH_POINTS = 60;
/** Steps between two reads of the loss: each costs a wait of about 10 ms on WebGPU. */
const REPORT_EVERY = 20;

/** Options of {@linkcode learnLags}. */
export interface LearnOptions {
  readonly seeds: readonly number[];
  /** Steps of each of the two trainings. */
  readonly steps: number;
  /** Called now and then with the training under way, the steps it has done, and the mean loss of the runs. */
  readonly report?: (lags: "learned" | "frozen", step: number, loss: number) => void;
  /** Stops the work, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a run learned, its path included. */
export interface LearnedRun extends LagRun {
  /** The lags at the start, in days. */
  readonly start: readonly number[];
  /** The lags learned, in days, shortest first. */
  readonly lags: readonly number[];
}

/** Inputs and targets of a span of days: x `[1, 1, days + LONGEST_LAG - 1]`, y `[1, runs, days]`. */
interface Span {
  readonly x: Tensor;
  readonly y: Tensor;
}

/**
 * Cell i of the kernel holds the weight of the day LONGEST_LAG - i before; positions count from the centre cell.
 * The map is its own inverse.
 */
function lagOf(position: number): number {
  return LONGEST_LAG - Math.floor(LONGEST_LAG / 2) - position;
}

/**
 * Where a seed's lags start: each within its half of the kernel (days 1 to 14, 15 to 28), so that the two seldom meet
 * in one week, and at least {@linkcode AWAY} days from whole weeks.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const [first, second] = startingLags(3);
 * assert(first >= 2 && first <= 12 && second >= 16 && second <= 26);
 * assert(Math.abs(first - 7) >= 2 && Math.abs(second - 21) >= 2);
 * ```
 */
export function startingLags(seed: number): number[] {
  const random = createRandom(seed);
  return Array.from({ length: TAPS }, (_, half) => {
    const week = 2 * half + random.integer(2);
    return week * WEEK + AWAY + (WEEK - 2 * AWAY) * random.uniform();
  });
}

/** How far a lag is from the nearest whole week (the first week at least), in days. */
export function daysFromWeek(lag: number): number {
  return Math.abs(lag - WEEK * Math.max(1, Math.round(lag / WEEK)));
}

/** The days from `first` to before `end`, each to be told from the LONGEST_LAG days before it. */
function span({ values }: DailySeries, first: number, end: number, runs: number): Span {
  const days = end - first;
  const y = new Float32Array(runs * days);
  for (let run = 0; run < runs; run++) y.set(values.subarray(first, end), run * days);
  return {
    x: tensor(values.subarray(first - LONGEST_LAG, end - 1), [1, 1, days + LONGEST_LAG - 1]),
    y: tensor(y, [1, runs, days]),
  };
}

/** Squared errors, `[1, runs, days]`. */
function squaredErrors(layer: Dcls1d, { x, y }: Span): Tensor {
  return layer.forward(x).sub(y).square();
}

/** SIG after that share of the steps: the whole spread shrinks by equal factors. */
function spreadAt(share: number): number {
  const first = FIRST_SPREAD + SPREAD_OFFSET, last = LAST_SPREAD + SPREAD_OFFSET;
  return first * (last / first) ** Math.min(1, share / ANNEALING) - SPREAD_OFFSET;
}

/** Lets signals and other events in: backends on the CPU read without leaving the loop of promises. */
function eventLoop(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** One training of all runs; with `lags` frozen the weights alone learn. */
async function trainRuns(
  layer: Dcls1d,
  training: Span,
  lags: "learned" | "frozen",
  { steps, report, signal }: LearnOptions,
): Promise<LagRun["path"][]> {
  const runs = layer.spec.outChannels;
  const optimizer = new AdamW([
    { parameters: [layer.weight, layer.bias!], learningRate: WEIGHT_RATE },
    ...lags === "learned" ? [{ parameters: [layer.P], learningRate: POSITION_RATE }] : [],
  ], { weightDecay: 0 });
  const schedule = warmupCosine({ totalSteps: steps });
  const positions: { step: number; P: Tensor }[] = [];
  // Reading waits for the device: the path is copied on it and read once at the end, the loss now and then.
  const every = (interval: number, step: number): boolean => step === steps || step % interval === 0;
  for (let step = 0; step <= steps; step++) {
    if (every(Math.ceil(steps / PATH_POINTS), step)) {
      positions.push({
        step,
        P: noGrad(() => keep(layer.P.mul(1))),
      });
    }
    if (step === steps) break;
    layer.SIG!.assign(new Float32Array(layer.SIG!.size).fill(spreadAt(step / steps)));
    const loss = tidy(() => {
      const total = squaredErrors(layer, training).sum().mul(runs / training.y.size);
      total.backward();
      return total;
    });
    optimizer.step(schedule(step));
    layer.clampParameters();
    layer.zeroGrad();
    if (every(REPORT_EVERY, step + 1)) {
      report?.(lags, step + 1, await loss.item() / runs);
      await eventLoop();
    }
    loss.dispose();
    signal?.throwIfAborted();
  }
  const read = await readAll(positions.map(({ P }) => P));
  for (const { P } of positions) P.dispose();
  optimizer.dispose();
  return Array.from({ length: runs }, (_, run) =>
    positions.map(({ step }, i) => ({
      step,
      lags: Array.from(read[i].subarray(run * TAPS, (run + 1) * TAPS), lagOf),
    })));
}

/** Mean squared error of each run. */
async function testErrors(layer: Dcls1d, test: Span): Promise<number[]> {
  const errors = tidy(() => noGrad(() => squaredErrors(layer, test)));
  const values = await errors.data();
  errors.dispose();
  const [, runs, days] = test.y.shape;
  return Array.from({ length: runs }, (_, run) => {
    let sum = 0;
    for (let day = 0; day < days; day++) sum += values[run * days + day];
    return sum / days;
  });
}

/**
 * Learns the lags of every seed, and beside them the same layers with their lags frozen at the start: same starts,
 * same weights (one half each), same spreads, same steps.
 *
 * @param series at least LONGEST_LAG + 1 training days
 * @throws what `options.signal` was aborted with
 */
export async function learnLags(series: DailySeries, options: LearnOptions): Promise<LearnedRun[]> {
  const { seeds } = options;
  const runs = seeds.length;
  const starts = seeds.map(startingLags);
  const training = span(series, LONGEST_LAG, series.trainingDays, runs);
  const test = span(series, series.trainingDays, series.values.length, runs);
  const results: { paths: LagRun["path"][]; errors: number[] }[] = [];
  for (const lags of ["learned", "frozen"] as const) {
    const layer = new Dcls1d(1, runs, {
      kernelCount: TAPS,
      dilatedKernelSize: LONGEST_LAG,
      version: "gauss",
      seed: 0,
    });
    layer.weight.assign(new Float32Array(runs * TAPS).fill(1 / TAPS));
    layer.bias!.assign(new Float32Array(runs));
    layer.P.assign(starts.flat().map(lagOf));
    const paths = await trainRuns(layer, training, lags, options);
    results.push({ paths, errors: await testErrors(layer, test) });
    layer.dispose();
  }
  for (const each of [training.x, training.y, test.x, test.y]) each.dispose();
  const [learned, frozen] = results;
  return seeds.map((seed, run) => ({
    seed,
    start: starts[run],
    lags: Array.from(learned.paths[run].at(-1)!.lags).sort((a, b) => a - b),
    path: learned.paths[run],
    learnedError: learned.errors[run],
    frozenError: frozen.errors[run],
  }));
}
