/**
 * How a training run went: loss, accuracy and learning rate over steps.
 * @module
 */
import {
  colors,
  emptyPicture,
  extent,
  heading,
  type Panel,
  type Picture,
  renderSvg,
  requireFinite,
} from "./render.ts";
import { logTicks, padded, smooth, thin } from "./series.ts";

/** One training step. */
export interface CurveRow {
  /** Steps done since the run began. */
  step: number;
  /** Epoch, counted from 1. */
  epoch: number;
  /** Training loss of the step. */
  loss: number;
  /** Learning rate of the step. */
  learningRate: number;
}

/** One evaluation on the test images. */
export interface CurveEvaluation {
  /** Epochs done. */
  epoch: number;
  /** Steps done. */
  step: number;
  /** Share of right answers, 0 to 1. */
  accuracy: number;
  /** Loss on the test images. */
  loss: number;
}

/** Series of the loss panel, with their colours; the legend follows this order. */
const lossSeries = {
  "training, every step": "#9CCBE8",
  "training, smoothed": colors.blue,
  "test": colors.vermillion,
} as const;

/** What the panels have in common: one axis of steps, labelled under the last of them. */
interface Frame {
  lastStep: number;
  isLast: boolean;
}

const width = 620;

/** The axis of steps. */
function stepAxis({ lastStep, isLast }: Frame) {
  return {
    field: "step",
    type: "quantitative" as const,
    scale: { domain: [0, lastStep], nice: false },
    axis: {
      title: isLast ? "step" : null,
      labels: isLast,
      ticks: isLast,
      format: ",d",
      tickMinStep: 1,
      tickCount: 8,
    },
  };
}

/** Loss of every step, smoothed, and on the test images. */
function lossPanel(rows: readonly CurveRow[], evaluations: readonly CurveEvaluation[], frame: Frame): Panel {
  const losses = rows.map((row) => row.loss);
  const [least, most] = extent(losses, evaluations.map((row) => row.loss)) ?? [0, 1];
  // A logarithm shows the late, small losses as well as the first ones; it needs positive values and a range.
  const isLog = least > 0 && most > 4 * least;
  const smoothed = isLog ? smooth(losses.map(Math.log)).map(Math.exp) : smooth(losses);
  const kept = thin(losses);
  const values = [
    ...kept.map((i) => ({ step: rows[i].step, value: losses[i], series: "training, every step" })),
    ...kept.map((i) => ({ step: rows[i].step, value: smoothed[i], series: "training, smoothed" })),
    ...evaluations.map(({ step, loss }) => ({ step, value: loss, series: "test" })),
  ];
  const present = Object.entries(lossSeries).filter(([name]) => values.some(({ series }) => series === name));
  const domain = isLog ? [least / 1.1, most * 1.1] as [number, number] : padded([least, most]);
  const only = (name: keyof typeof lossSeries) => [{ filter: `datum.series === '${name}'` }];
  return {
    title: "Loss",
    width,
    height: 230,
    data: { values },
    encoding: {
      x: stepAxis(frame),
      y: {
        field: "value",
        type: "quantitative",
        scale: isLog ? { type: "log", domain, nice: false } : { domain, nice: true, zero: false },
        axis: isLog
          ? { title: "cross entropy (log scale)", values: logTicks(domain), format: "~g" }
          : { title: "cross entropy", tickCount: 6 },
      },
      color: {
        field: "series",
        type: "nominal",
        scale: { domain: present.map(([name]) => name), range: present.map(([, color]) => color) },
        legend: { title: null, symbolType: "stroke", orient: "top-right" },
      },
    },
    layer: [
      {
        transform: only("training, every step"),
        mark: { type: "line", strokeWidth: 1, point: rows.length < 30 ? { size: 14 } : false },
      },
      {
        transform: only("training, smoothed"),
        mark: { type: "line", strokeWidth: 2.2, point: rows.length === 1 },
      },
      {
        transform: only("test"),
        mark: { type: "line", strokeWidth: 1.6, point: { size: 34, filled: true } },
      },
    ],
  };
}

/** Accuracy after each evaluation, with its value. */
function accuracyPanel(evaluations: readonly CurveEvaluation[], frame: Frame): Panel {
  const percent = evaluations.map((row) => row.accuracy * 100);
  // Every point has its number while there is room for it, else the last one alone.
  const labelled = evaluations.length <= 10 ? 0 : evaluations.length - 1;
  return {
    title: "Accuracy on the test images",
    width,
    height: 150,
    data: {
      values: evaluations.map(({ step }, i) => ({
        step,
        percent: percent[i],
        label: i >= labelled ? percent[i].toFixed(2) : "",
      })),
    },
    encoding: {
      x: stepAxis(frame),
      y: {
        field: "percent",
        type: "quantitative",
        scale: { domain: padded(extent(percent) ?? [0, 100]), zero: false, nice: false },
        // The air above may pass 100 %, the labels may not.
        axis: {
          title: "right answers (%)",
          tickCount: 5,
          labelExpr: "datum.value <= 100 ? datum.label : ''",
        },
      },
    },
    layer: [
      {
        mark: {
          type: "line",
          strokeWidth: 2,
          color: colors.green,
          point: { size: 40, filled: true, color: colors.green },
        },
      },
      {
        mark: { type: "text", dx: -5, dy: -8, align: "right", fontSize: 11, color: colors.ink },
        encoding: { text: { field: "label", type: "nominal" } },
      },
    ],
  };
}

/** Learning rate of every step. */
function ratePanel(rows: readonly CurveRow[], frame: Frame): Panel {
  const rates = rows.map((row) => row.learningRate);
  const [, largest] = extent(rates) ?? [0, 0];
  return {
    title: "Learning rate",
    width,
    height: 70,
    data: { values: thin(rates).map((i) => ({ step: rows[i].step, rate: rates[i] })) },
    mark: { type: "line", strokeWidth: 2, color: colors.grey, point: rows.length === 1 },
    encoding: {
      x: stepAxis(frame),
      y: {
        field: "rate",
        type: "quantitative",
        scale: { domain: [0, largest > 0 ? largest : 1], nice: true },
        axis: { title: "rate", tickCount: 3, format: "~g" },
      },
    },
  };
}

/** The specification behind {@link drawCurves}. */
export function curvesPicture(
  rows: readonly CurveRow[],
  evaluations: readonly CurveEvaluation[],
  title: string,
): Picture {
  const what = "the training curves";
  for (const name of ["step", "loss", "learningRate"] as const) {
    requireFinite(what, `the ${name} of the rows`, rows.map((row) => row[name]));
  }
  for (const name of ["step", "accuracy", "loss"] as const) {
    requireFinite(what, `the ${name} of the evaluations`, evaluations.map((row) => row[name]));
  }
  if (rows.length === 0 && evaluations.length === 0) return emptyPicture(title, "no steps yet");
  const [, last] = extent(rows.map((row) => row.step), evaluations.map((row) => row.step)) ?? [0, 1];
  const panels: ((frame: Frame) => Panel)[] = [(frame) => lossPanel(rows, evaluations, frame)];
  if (evaluations.length > 0) panels.push((frame) => accuracyPanel(evaluations, frame));
  if (rows.length > 0) panels.push((frame) => ratePanel(rows, frame));
  return {
    title: heading(title),
    spacing: 14,
    vconcat: panels.map((panel, i) =>
      panel({ lastStep: Math.max(1, last), isLast: i === panels.length - 1 })
    ),
  };
}

/**
 * Training loss (raw and smoothed; logarithmic where the values are positive and span a factor of 4), test loss, test
 * accuracy and learning rate over steps.
 *
 * @param rows one per training step, in the order of the steps
 * @param evaluations one per evaluation, in the order of the steps
 * @returns an SVG file; with no rows and no evaluations it says so
 * @throws RangeError if a value is not finite
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rows = [1, 2, 3].map((step) => ({ step, epoch: 1, loss: 2.3 / step, learningRate: 1e-3 * step }));
 * const svg = await drawCurves(rows, [{ epoch: 1, step: 3, accuracy: 0.981, loss: 0.07 }], "mnist, dcls");
 * assert.match(svg, />mnist, dcls</);
 * assert.match(svg, />98\.10</);
 * ```
 */
export async function drawCurves(
  rows: readonly CurveRow[],
  evaluations: readonly CurveEvaluation[],
  title: string,
): Promise<string> {
  return await renderSvg(curvesPicture(rows, evaluations, title));
}
