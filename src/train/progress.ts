/**
 * How far a training run is: one line rewritten in place on a terminal, plain lines elsewhere.
 *
 * Nothing here runs on a timer: training holds the event loop for whole steps, so a timer would fire late, and
 * it would keep the process alive. A line is written when `update` is called and its time has come.
 * @module
 */
import { formatLine } from "./progress_line.ts";

export { formatDuration } from "./progress_line.ts";

/** Where the lines go. */
export interface ProgressOutput {
  /** Writes `text` at once, whole. */
  write(text: string): void;
  /** Whether a line can be rewritten in place. */
  isTerminal(): boolean;
  /** Width in characters; asked at every line, since windows are resized. */
  columns(): number;
}

/** Options of {@link createProgress}. */
export interface ProgressOptions {
  /** Steps of the whole run. */
  total: number;
  /** First word of every line: `train`. */
  label: string;
  /** Epochs of the whole run, for `epoch 2/5` and for the spacing of plain lines. Default: 1. */
  epochs?: number;
  /** Steps already done when this process began (after a resume): they do not count for the time left. Default: 0. */
  startStep?: number;
  /** Default: the standard output. */
  output?: ProgressOutput;
  /** Clock in milliseconds. Default: `performance.now`. */
  now?: () => number;
}

/** Where a run stands. */
export interface ProgressState {
  /** Steps done since the run began. */
  step: number;
  /** Epoch under way, counted from 1. */
  epoch: number;
  /** Training loss of the step. */
  loss?: number;
  /** Share of right answers, 0 to 1. */
  accuracy?: number;
  /** Training speed. */
  imagesPerSecond?: number;
}

/** A live progress line. */
export interface Progress {
  /** Shows `state` if the last line is old enough, else keeps it for later. Cheap: call it every step. */
  update(state: ProgressState): void;
  /** Prints a line of its own; a live line continues below it. */
  log(line: string): void;
  /** Shows the last state and ends the live line. More calls do nothing. */
  stop(): void;
}

/** Milliseconds between two rewrites of the live line: ten a second. */
const liveInterval = 100;
/** Milliseconds between two plain lines, at least. */
const plainInterval = 10_000;
/** Share of an epoch between two plain lines, at least. */
const plainShare = 0.1;
/** Milliseconds between the samples from which the speed is taken, and how many are kept: the last minute. */
const sampleInterval = 1000;
const sampleCount = 60;

/** The standard output. Needs no permission. */
const standardOutput: ProgressOutput = {
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
  },
  isTerminal: () => Deno.stdout.isTerminal(),
  columns: () => Deno.consoleSize().columns || 80, // 0 where the terminal does not know
};

/** Seconds per step over the last minute, from the times at which steps were done. */
class Pace {
  #samples: { time: number; step: number }[];

  constructor(time: number, step: number) {
    this.#samples = [{ time, step }];
  }

  /** Takes note of the steps done; null while there is nothing to tell a speed from. */
  secondsPerStep(time: number, step: number): number | null {
    const first = this.#samples[0];
    // Less than a second tells nothing: the first step also compiles kernels.
    const pace = step > first.step && time - first.time >= sampleInterval
      ? (time - first.time) / 1000 / (step - first.step)
      : null;
    if (time - this.#samples[this.#samples.length - 1].time >= sampleInterval) {
      this.#samples.push({ time, step });
      if (this.#samples.length > sampleCount) this.#samples.shift();
    }
    return pace;
  }
}

/**
 * A progress line for a training run. On a terminal it is rewritten in place, at most ten times a second, and
 * cut to the window's width. Elsewhere plain lines are printed: the first state, then one when both 10 s and
 * a tenth of an epoch have passed, and the last state at `stop()`. Needs no permission.
 *
 * @throws RangeError unless `total` and `startStep` are non-negative integers and `epochs` is a positive one
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * let text = "";
 * const output = { write: (s: string) => void (text += s), isTerminal: () => false, columns: () => 80 };
 * const progress = createProgress({ total: 200, label: "train", epochs: 2, output });
 * progress.update({ step: 1, epoch: 1, loss: 2.3, accuracy: 0.1, imagesPerSecond: 4321 });
 * progress.log("epoch 1: test accuracy 97.10 %");
 * progress.stop();
 * assert.match(text, /^train  epoch 1\/2  step   1\/200    0 %  loss 2.3000  accuracy 10.0 %  4,321 images\/s/);
 * assert.match(text, /\nepoch 1: test accuracy 97.10 %\n$/);
 * ```
 */
export function createProgress(options: ProgressOptions): Progress {
  const { total, label, epochs = 1, startStep = 0, output = standardOutput } = options;
  const now = options.now ?? ((): number => performance.now());
  for (
    const [name, value, least] of [["total", total, 0], ["epochs", epochs, 1], [
      "startStep",
      startStep,
      0,
    ]] as const
  ) {
    if (!Number.isSafeInteger(value) || value < least) {
      throw new RangeError(
        `Cannot create a progress line: ${name} must be an integer of at least ${least}, got ${value}`,
      );
    }
  }
  const live = output.isTerminal();
  const pace = new Pace(now(), startStep);
  let last: ProgressState | null = null;
  let shown: ProgressState | null = null;
  let shownAt = -Infinity;
  let secondsLeft: number | null = null;
  let lineIsOpen = false;
  let stopped = false;

  const show = (state: ProgressState, time: number): void => {
    // One column stays free: a full line would wrap on terminals that move on after the last column.
    const width = live ? Math.max(1, output.columns() - 1) : Infinity;
    const line = formatLine({ label, total, epochs }, state, secondsLeft, width);
    output.write(live ? `\r${line}\x1b[K` : `${line}\n`);
    lineIsOpen = live;
    shown = state;
    shownAt = time;
  };
  const isDue = (state: ProgressState, time: number): boolean => {
    if (shown === null) return true;
    if (live) return time - shownAt >= liveInterval;
    return time - shownAt >= plainInterval && state.step - shown.step >= plainShare * (total / epochs);
  };
  return {
    update(state: ProgressState): void {
      if (stopped) return;
      const time = now();
      const secondsPerStep = pace.secondsPerStep(time, state.step);
      if (secondsPerStep !== null) secondsLeft = secondsPerStep * Math.max(0, total - state.step);
      last = { ...state };
      if (isDue(last, time)) show(last, time);
    },
    log(line: string): void {
      output.write(lineIsOpen ? `\r\x1b[K${line}\n` : `${line}\n`);
      lineIsOpen = false;
      // The live line comes back below at once, whatever the time: otherwise the screen looks finished.
      if (live && last !== null && !stopped) show(last, now());
    },
    stop(): void {
      if (stopped) return;
      if (last !== null && last !== shown) show(last, now());
      if (lineIsOpen) output.write("\n");
      lineIsOpen = false;
      stopped = true;
    },
  };
}
