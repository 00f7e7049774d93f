/**
 * Where the kernels' elements went, along each axis.
 * @module
 */
import { axisName, cells, requireSize } from "./cells.ts";
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

/** Positions of one layer (or stage) along one axis. */
export interface LayerPositions {
  /** Name of the layer or stage. */
  layer: string;
  /** Spatial axis along which the positions move. */
  axis: number;
  /** Learned positions, in kernel cells from the centre cell. */
  values: ArrayLike<number>;
  /** The positions before training. */
  initial?: ArrayLike<number>;
}

/** Share, in percent, of the values in each bin of `width` around the multiples of `width`. */
function shares(
  values: ArrayLike<number>,
  [first, last]: readonly [number, number],
  width: number,
): number[] {
  const offset = Math.round(first / width);
  const counts = new Array<number>(Math.round(last / width) - offset + 1).fill(0);
  for (let i = 0; i < values.length; i++) counts[Math.round(values[i] / width) - offset]++;
  return counts.map((count) => values.length === 0 ? 0 : 100 * count / values.length);
}

/** One histogram: learned positions as bars, the initial ones as an outline over them. */
function histogramPanel(entry: LayerPositions, size: readonly number[]): Panel {
  const [first, last] = cells(size[entry.axis]);
  const [least, most] = extent(entry.values, entry.initial ?? []) ?? [0, 0];
  // At most about 70 bins; halves and quarters of a cell so that whole cells stay the centres of bins.
  const width = size[entry.axis] <= 17 ? 0.25 : size[entry.axis] <= 35 ? 0.5 : 1;
  // Positions that were not clamped may lie beyond the kernel: they are drawn where they are.
  const range = [Math.min(first, Math.floor(least)), Math.max(last, Math.ceil(most))] as const;
  const bins = (values: ArrayLike<number>, series: string) =>
    shares(values, range, width).map((share, bin) => {
      const centre = (Math.round(range[0] / width) + bin) * width;
      return { series, share, start: centre - width / 2, end: centre + width / 2 };
    });
  const learned = bins(entry.values, "learned");
  const initial = entry.initial === undefined ? [] : bins(entry.initial, "initial");
  const [, highest] = extent([...learned, ...initial].map(({ share }) => share)) ?? [0, 100];
  const domain = [range[0] - 0.5, range[1] + 0.5];
  return {
    title: `${entry.layer}, ${axisName(entry.axis, size.length)}`,
    width: 300,
    height: 130,
    encoding: {
      x: {
        field: "start",
        type: "quantitative",
        scale: { domain, nice: false },
        axis: { title: "position (kernel cells from the centre)", grid: false, tickMinStep: 1, tickCount: 9 },
      },
      y: {
        field: "share",
        type: "quantitative",
        scale: { domain: [0, highest > 0 ? highest : 100], nice: true },
        axis: { title: "elements (%)", tickCount: 4 },
      },
      color: {
        field: "series",
        type: "nominal",
        scale: {
          domain: initial.length === 0 ? ["learned"] : ["learned", "initial"],
          range: [colors.sky, colors.vermillion],
        },
        legend: { title: null, orient: "bottom", direction: "horizontal", symbolType: "square" },
      },
    },
    layer: [
      {
        data: { values: learned.filter(({ share }) => share > 0) },
        mark: { type: "rect" },
        encoding: { x2: { field: "end" }, y2: { datum: 0 } },
      },
      ...(initial.length === 0 ? [] : [{
        // An outline needs its last edge, too.
        data: {
          values: [...initial, { ...initial[initial.length - 1], start: initial[initial.length - 1].end }],
        },
        mark: { type: "line" as const, interpolate: "step-after" as const, strokeWidth: 1.5 },
      }]),
    ],
  };
}

/** The specification behind {@link drawPositionHistogram}. */
export function histogramPicture(
  positions: readonly LayerPositions[],
  size: readonly number[],
  title = "Learned positions",
): Picture {
  const what = "the position histogram";
  requireSize(what, size);
  for (const { layer, axis, values, initial } of positions) {
    if (!Number.isSafeInteger(axis) || axis < 0 || axis >= size.length) {
      throw new RangeError(
        `Cannot draw ${what}: axis must be from 0 to ${size.length - 1}, got ${axis} for ${layer}`,
      );
    }
    requireFinite(what, `the positions of ${layer} on axis ${axis}`, values);
    requireFinite(what, `the initial positions of ${layer} on axis ${axis}`, initial ?? []);
  }
  if (positions.every(({ values }) => values.length === 0)) return emptyPicture(title, "no positions");
  return {
    title: heading(title, `kernel of ${size.join(" x ")} cells`),
    columns: new Set(positions.map(({ axis }) => axis)).size,
    concat: positions.map((entry) => histogramPanel(entry, size)),
  };
}

/**
 * Histograms of the learned positions, in percent of the elements, with the initial ones as an outline: one panel per
 * entry, a line of panels holding the axes of a layer.
 *
 * @param positions in the order in which they are to be drawn: layer by layer, axis by axis
 * @param size the dilated kernel size, per spatial axis
 * @returns an SVG file; without positions it says so
 * @throws RangeError if a position is not finite, an axis is not one of the kernel's, or a size not positive
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await drawPositionHistogram([{ layer: "stage 1", axis: 0, values: [-3, 0.5, 2.25], initial: [0, 0, 0] }], [7]);
 * assert.match(svg, />stage 1, axis 0</);
 * ```
 */
export async function drawPositionHistogram(
  positions: readonly LayerPositions[],
  size: readonly number[],
  title?: string,
): Promise<string> {
  return await renderSvg(histogramPicture(positions, size, title));
}
