/**
 * Series of samples, interleaved: contenders take turns, so that what disturbs the machine for a while disturbs all.
 * @module
 */
import process from "node:process";
import { type DeviceTimer, sampleTimes, type Span } from "./timed_device.ts";

/** Times of one contender, in milliseconds per call. */
export interface Times {
  readonly median: number;
  readonly min: number;
  readonly samples: number;
  /** Wall time of the series per call, JavaScript and one wait per series included: median over the series. */
  readonly wall: number;
  /**
   * Processor time of all threads of this process per call, likewise. Where the work runs on the CPU it tells of a
   * disturbed machine: over the number of cores it is what the wall's time would be, undisturbed and fully parallel.
   */
  readonly processor: number;
  /** The clock behind median and min. */
  readonly clock: "timestamps" | "wall";
}

/** Something that is timed. */
export interface Contender {
  /** Queues or runs it once. */
  readonly run: () => void;
  /** Ends once all that was queued has run; null for what runs at once. */
  readonly wait: (() => Promise<void>) | null;
  /** The device's timer, where it grants timestamps. */
  readonly timer: DeviceTimer | null;
  /** Called before each series; must leave nothing unsubmitted. */
  readonly before?: () => void | Promise<void>;
}

/** How long to measure. */
export interface Effort {
  /** Turns that each contender gets. */
  readonly rounds: number;
  /** Length of one series, from one sample to {@linkcode MOST_SAMPLES}. */
  readonly milliseconds: number;
}

const MOST_SAMPLES = 24;
/** Turns of contenders that need longer than two series for one call. */
const SLOW_ROUNDS = 2;

/** The middle value; of an even number, the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value below which the share `p` lies, by nearest rank. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)];
}

interface Series {
  /** Per sample where each was timed, else one mean. */
  readonly times: readonly number[];
  readonly wall: number;
  readonly processor: number;
}

/** Processor time of this process since its start, in milliseconds. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

async function runSeries({ run, wait, timer, before }: Contender, samples: number): Promise<Series> {
  await before?.();
  const used = processorTime(), started = performance.now();
  const perCall = (): Pick<Series, "wall" | "processor"> => ({
    wall: (performance.now() - started) / samples,
    processor: (processorTime() - used) / samples,
  });
  if (!wait) {
    const times = Array.from({ length: samples }, () => {
      const started = performance.now();
      run();
      return performance.now() - started;
    });
    return { times, ...perCall() };
  }
  timer?.start("sample");
  for (let i = 0; i < samples; i++) {
    timer?.mark();
    run();
  }
  await wait();
  const spent = perCall();
  return { times: timer ? sampleTimes(await timer.take()) : [spent.wall], ...spent };
}

/** Measures the contenders in turns, after one untimed call of each that tells how many samples fit a series. */
export async function interleave(contenders: readonly Contender[], effort: Effort): Promise<Times[]> {
  const counts: number[] = [], rounds: number[] = [];
  for (const contender of contenders) {
    await contender.before?.();
    await contender.wait?.();
    const { wall } = await runSeries(contender, contender.wait ? 3 : 1);
    rounds.push(wall > 2 * effort.milliseconds ? Math.min(SLOW_ROUNDS, effort.rounds) : effort.rounds);
    const count = Math.max(1, Math.ceil(effort.milliseconds / Math.max(1e-3, wall)));
    // Without timestamps a wait's 10 ms are part of the mean: more calls behind one wait.
    counts.push(Math.min(contender.wait && !contender.timer ? 200 : MOST_SAMPLES, count));
  }
  const series: Series[][] = contenders.map(() => []);
  for (let round = 0; round < effort.rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      if (round >= rounds[i]) continue;
      series[i].push(await runSeries(contender, counts[i]));
    }
  }
  return series.map((all, i) => {
    const times = all.flatMap((one) => one.times);
    return {
      median: median(times),
      min: Math.min(...times),
      samples: times.length,
      wall: median(all.map((one) => one.wall)),
      processor: median(all.map((one) => one.processor)),
      clock: contenders[i].timer ? "timestamps" : "wall",
    };
  });
}

/** Times of each dispatch of one call, by kernel: medians over a few calls. A dispatch gets a pass of its own here. */
export async function profile(contender: Contender, calls = 5): Promise<Span[]> {
  const { run, wait, timer, before } = contender;
  if (!timer || !wait) return [];
  await before?.();
  await wait();
  timer.start("dispatch");
  for (let i = 0; i < calls; i++) {
    timer.mark();
    run();
  }
  await wait();
  const spans = await timer.take();
  const perCall = Array.from({ length: calls }, (_, call) => spans.filter(({ sample }) => sample === call));
  return perCall[0].map(({ label }, i) => ({
    sample: 0,
    label,
    milliseconds: median(perCall.map((of) => of[i]?.milliseconds ?? NaN)),
  }));
}
