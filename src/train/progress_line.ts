/**
 * The text of a progress line.
 * @module
 */
import type { ProgressState } from "./progress.ts";

/**
 * `47 s`, `2:05`, `1:02:05`.
 *
 * @param seconds rounded up, so that work that is not done never has 0 s left
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([46.2, 125, 3725].map(formatDuration), ["47 s", "2:05", "1:02:05"]);
 * ```
 */
export function formatDuration(seconds: number): string {
  const whole = Math.ceil(Math.max(0, seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Four significant digits at most, and the same width from one step to the next. */
function formatLoss(loss: number): string {
  if (!Number.isFinite(loss)) return String(loss);
  const size = Math.abs(loss);
  return size !== 0 && (size < 1e-3 || size >= 1e4) ? loss.toExponential(2) : loss.toFixed(4);
}

/** `[=====>    ]`, `width` characters in all. */
function bar(share: number, width: number): string {
  const inner = width - 2;
  const full = Math.min(inner, Math.floor(share * inner));
  const head = full < inner ? ">" : "";
  return `[${"=".repeat(full)}${head}${" ".repeat(inner - full - head.length)}]`;
}

/** What stays the same from line to line. */
export interface LineFrame {
  label: string;
  /** Steps of the whole run. */
  total: number;
  /** Epochs of the whole run. */
  epochs: number;
}

/**
 * The line for `state`, in at most `width` characters; Infinity means a plain line, without a bar. Where room
 * is short the bar goes first, then images/s, accuracy and the step.
 */
export function formatLine(
  { label, total, epochs }: LineFrame,
  state: ProgressState,
  secondsLeft: number | null,
  width: number,
): string {
  const share = total > 0 ? Math.min(1, Math.max(0, state.step / total)) : 1;
  const { loss, accuracy, imagesPerSecond } = state;
  const speed = imagesPerSecond === undefined || !Number.isFinite(imagesPerSecond)
    ? null
    : imagesPerSecond.toLocaleString("en-US", { maximumFractionDigits: imagesPerSecond < 10 ? 1 : 0 });
  // In the order in which they stand; the larger `rank` goes first where there is no room.
  const parts = [
    { rank: 1, text: label },
    { rank: 2, text: `epoch ${state.epoch}/${epochs}` },
    { rank: 4, text: `step ${String(state.step).padStart(String(total).length)}/${total}` },
    { rank: 0, text: `${String(Math.floor(share * 100)).padStart(3)} %` },
    { rank: 2, text: loss === undefined ? "" : `loss ${formatLoss(loss)}` },
    { rank: 5, text: accuracy === undefined ? "" : `accuracy ${(accuracy * 100).toFixed(1)} %` },
    { rank: 6, text: speed === null ? "" : `${speed} images/s` },
    { rank: 3, text: secondsLeft === null ? "" : `${formatDuration(secondsLeft)} left` },
  ].filter((part) => part.text !== "");
  const join = (): string => parts.map((part) => part.text).join("  ");
  while (parts.length > 1 && join().length > width) {
    const worst = parts.reduce((a, b) => b.rank >= a.rank ? b : a);
    parts.splice(parts.indexOf(worst), 1);
  }
  const room = Math.min(22, width - join().length - 2);
  if (room >= 8 && parts.length > 1 && Number.isFinite(width)) {
    parts.splice(1, 0, { rank: 9, text: bar(share, room) });
  }
  return join().slice(0, Math.max(0, width));
}
