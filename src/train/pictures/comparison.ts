/**
 * The same network with different convolutions, side by side.
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

/** One trained network. */
export interface ComparisonRow {
  /** Its convolution: `dcls`, `standard`, `dilated`. */
  conv: string;
  /** Learnable numbers. */
  parameters: number;
  /** Share of right answers on the test images, 0 to 1. */
  accuracy: number;
  /** Training speed. */
  imagesPerSecond: number;
}

/** The first convolution stands out, the ones that it is compared with share the quieter colours. */
const barColors = [colors.blue, colors.sky, "#9AA0A6", colors.purple, colors.green, colors.vermillion];

/** One panel: a bar per row from 0, with its value in words at its end. */
function barPanel(
  rows: readonly ComparisonRow[],
  title: string,
  axisTitle: string,
  value: (row: ComparisonRow) => number,
  label: (row: ComparisonRow) => string,
  isFirst: boolean,
): Panel {
  const values = rows.map((row) => ({ conv: row.conv, value: value(row), label: label(row) }));
  const [, most] = extent(values.map((row) => row.value)) ?? [0, 0];
  const names = rows.map((row) => row.conv);
  return {
    title,
    width: 210,
    height: { step: 38 },
    data: { values },
    encoding: {
      y: {
        field: "conv",
        type: "nominal",
        sort: names,
        axis: {
          title: null,
          labels: isFirst,
          ticks: false,
          domain: false,
          labelFontSize: 12.5,
          labelPadding: 8,
        },
      },
      x: {
        field: "value",
        type: "quantitative",
        // A third of the width stays free for the values at the bars' ends.
        scale: { domain: [0, most > 0 ? most * 1.45 : 1], nice: false },
        axis: {
          title: axisTitle,
          tickCount: 4,
          format: "~s",
          labelExpr: "datum.value === 0 ? '0' : datum.label",
        },
      },
    },
    layer: [
      {
        mark: { type: "bar", height: 22 },
        encoding: {
          color: {
            field: "conv",
            type: "nominal",
            scale: { domain: names, range: names.map((_, i) => barColors[i % barColors.length]) },
            legend: null,
          },
        },
      },
      {
        mark: { type: "text", align: "left", dx: 5, fontSize: 11.5, color: colors.ink },
        encoding: { text: { field: "label", type: "nominal" } },
      },
    ],
  };
}

/** The specification behind {@link drawComparison}. */
export function comparisonPicture(
  rows: readonly ComparisonRow[],
  title = "The same network with other convolutions",
): Picture {
  for (const key of ["parameters", "accuracy", "imagesPerSecond"] as const) {
    requireFinite("the comparison", `the ${key} of the rows`, rows.map((row) => row[key]));
  }
  if (rows.length === 0) return emptyPicture(title, "no runs");
  const whole = (value: number): string => Math.round(value).toLocaleString("en-US");
  return {
    title: heading(title),
    spacing: 34,
    hconcat: [
      barPanel(
        rows,
        "Test error",
        "wrong answers (%): less is better",
        (row) => (1 - row.accuracy) * 100,
        (row) => `${((1 - row.accuracy) * 100).toFixed(2)} %`,
        true,
      ),
      barPanel(
        rows,
        "Training speed",
        "images/s: more is better",
        (row) => row.imagesPerSecond,
        (row) => whole(row.imagesPerSecond),
        false,
      ),
      barPanel(
        rows,
        "Parameters",
        "learnable numbers",
        (row) => row.parameters,
        (row) => whole(row.parameters),
        false,
      ),
    ],
  };
}

/**
 * Bars of test error, training speed and parameters, one per convolution. The error is drawn and not the accuracy,
 * because bars start at 0 and accuracies near 100 % would all look alike.
 *
 * @returns an SVG file; without rows it says so
 * @throws RangeError if a value is not finite
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await drawComparison([
 *   { conv: "dcls", parameters: 61_210, accuracy: 0.9887, imagesPerSecond: 1480 },
 *   { conv: "standard", parameters: 61_402, accuracy: 0.9861, imagesPerSecond: 1720 },
 * ]);
 * assert.match(svg, />1\.13 %</);
 * assert.match(svg, />61,402</);
 * ```
 */
export async function drawComparison(rows: readonly ComparisonRow[], title?: string): Promise<string> {
  return await renderSvg(comparisonPicture(rows, title));
}
