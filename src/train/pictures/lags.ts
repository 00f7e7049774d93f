/**
 * The lags that a one-dimensional DCLS layer learned on daily counts of births.
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

/** One training run of the demo. */
export interface LagRun {
  /** Names the run, below its bars. */
  seed: number;
  /** The learned lags, in days, after some of the steps; every entry has as many. */
  path: readonly { readonly step: number; readonly lags: ArrayLike<number> }[];
  /** Mean squared error on the test days with learned lags. */
  learnedError: number;
  /** The same with the lags frozen where they started. */
  frozenError: number;
}

const dayOfWeek = 7;

/** Lags over steps, one line per lag and run, between rules at whole weeks. */
function pathPanel(runs: readonly LagRun[]): Panel {
  const values = runs.flatMap(({ seed, path }) =>
    path.flatMap(({ step, lags }) =>
      Array.from(lags, (days, i) => ({ step, days, lag: `lag ${i + 1}`, line: `${seed}/${i}` }))
    )
  );
  const names = [...new Set(values.map(({ lag }) => lag))];
  const [least, most] = extent(values.map(({ days }) => days)) ?? [0, 0];
  const weeks = Math.max(4, Math.ceil(most / dayOfWeek));
  const [, lastStep] = extent(values.map(({ step }) => step)) ?? [0, 1];
  const scale = { domain: [Math.min(0, least), weeks * dayOfWeek + 2], nice: false };
  const y = { field: "days", type: "quantitative" as const, scale };
  const ends = runs.flatMap(({ path }) =>
    path.slice(-1).flatMap(({ step, lags }) => Array.from(lags, (days) => ({ step, days })))
  );
  return {
    title: "Learned lags",
    width: 460,
    height: 300,
    layer: [
      {
        data: { values: Array.from({ length: weeks }, (_, i) => ({ days: (i + 1) * dayOfWeek })) },
        mark: { type: "rule", strokeDash: [5, 4], color: colors.grey },
        encoding: { y },
      },
      {
        data: { values },
        mark: { type: "line", strokeWidth: 1.8, opacity: 0.85 },
        encoding: {
          x: {
            field: "step",
            type: "quantitative",
            scale: { domain: [0, Math.max(1, lastStep)], nice: false },
            axis: { title: "step", grid: false, format: ",d", tickMinStep: 1, tickCount: 6 },
          },
          y: {
            ...y,
            axis: {
              title: "lag (days; dashed: whole weeks)",
              grid: false,
              values: Array.from({ length: weeks + 1 }, (_, i) => i * dayOfWeek),
            },
          },
          color: {
            field: "lag",
            type: "nominal",
            scale: { domain: names, range: [colors.blue, colors.vermillion, colors.green, colors.purple] },
            legend: { title: null, orient: "bottom", direction: "horizontal", symbolType: "stroke" },
          },
          detail: { field: "line", type: "nominal" },
        },
      },
      {
        data: { values: ends },
        mark: { type: "point", filled: true, size: 36, opacity: 1, color: colors.ink },
        encoding: { x: { field: "step", type: "quantitative" }, y },
      },
    ],
  };
}

/** Test errors of each run, learned beside frozen. */
function errorPanel(runs: readonly LagRun[]): Panel {
  const values = runs.flatMap(({ seed, learnedError, frozenError }) => [
    { seed: `${seed}`, lags: "learned lags", error: learnedError },
    { seed: `${seed}`, lags: "frozen lags", error: frozenError },
  ]);
  const [, most] = extent(values.map(({ error }) => error)) ?? [0, 1];
  const names = ["learned lags", "frozen lags"];
  return {
    title: "Error on the test days",
    width: Math.max(140, 76 * runs.length),
    height: 300,
    data: { values },
    encoding: {
      x: {
        field: "seed",
        type: "nominal",
        sort: null,
        scale: { paddingInner: 0.25 },
        axis: { title: "seed", labelAngle: 0, ticks: false },
      },
      xOffset: { field: "lags", type: "nominal", sort: names },
      y: {
        field: "error",
        type: "quantitative",
        scale: { domain: [0, most > 0 ? most * 1.06 : 1], nice: false },
        axis: { title: "mean squared error", tickCount: 6 },
      },
    },
    layer: [
      {
        mark: { type: "bar" },
        encoding: {
          color: {
            field: "lags",
            type: "nominal",
            scale: { domain: names, range: [colors.green, "#B8BDC4"] },
            legend: { title: null, orient: "bottom", direction: "horizontal", symbolType: "square" },
          },
        },
      },
      {
        mark: { type: "text", dy: -6, fontSize: 10.5, color: colors.ink },
        encoding: { text: { field: "error", type: "quantitative", format: ".2f" } },
      },
    ],
  };
}

/** The specification behind {@link drawLags}. */
export function lagsPicture(
  runs: readonly LagRun[],
  title = "Daily births: learned lags",
): Picture {
  const what = "the learned lags";
  for (const { seed, path, learnedError, frozenError } of runs) {
    requireFinite(what, `the steps of seed ${seed}`, path.map(({ step }) => step));
    for (const { step, lags } of path) requireFinite(what, `the lags of seed ${seed} at step ${step}`, lags);
    requireFinite(what, `the errors (learned, frozen) of seed ${seed}`, [learnedError, frozenError]);
  }
  if (runs.length === 0) return emptyPicture(title, "no runs");
  return {
    title: heading(title, `${runs.length} ${runs.length === 1 ? "run" : "runs"}, dots: the last step`),
    hconcat: [pathPanel(runs), errorPanel(runs)],
    resolve: { scale: { color: "independent" } },
  };
}

/**
 * The lags of each run in days over the steps, between dashed rules at whole weeks, beside the test errors with
 * learned and with frozen lags.
 *
 * @returns an SVG file; without runs it says so
 * @throws RangeError if a lag, a step or an error is not finite
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const path = [{ step: 0, lags: [15.2, 24.5] }, { step: 400, lags: [7.03, 20.98] }];
 * const svg = await drawLags([{ seed: 0, path, learnedError: 0.196, frozenError: 1.146 }]);
 * assert.match(svg, />0\.20<.*>1\.15</s);
 * ```
 */
export async function drawLags(runs: readonly LagRun[], title?: string): Promise<string> {
  return await renderSvg(lagsPicture(runs, title));
}
