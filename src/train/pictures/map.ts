/**
 * Where the kernels' elements went, as maps over the kernel's cells.
 * @module
 */
import { axisName, cells, requireSize } from "./cells.ts";
import {
  emptyPicture,
  extent,
  heading,
  type Panel,
  type Picture,
  renderSvg,
  requireFinite,
} from "./render.ts";

/** Positions of one 2-d layer (or stage). */
export interface LayerMap {
  /** Name of the layer or stage. */
  layer: string;
  /** Positions along axis 0, in kernel cells from the centre cell. */
  rows: ArrayLike<number>;
  /** Positions along axis 1, in the same order. */
  columns: ArrayLike<number>;
}

/** From nothing to much: lightness falls all the way, so that the order is seen without telling colours apart. */
const densityColors = ["#FFFFFF", "#CFE8F3", "#7CC0DC", "#2E86C1", "#1A4E96", "#0B1F4B"] as const;

/** One map: the share of the elements in each cell. */
function mapPanel(map: LayerMap, size: readonly number[], most: number, pixels: number): Panel {
  // Cells overlap by a little: renderers leave hairlines between neighbours that only touch.
  const overlap = 0.04;
  const values = cellShares(map, size).flatMap((line, row) =>
    line.map((share, column) => ({
      top: row - Math.floor(size[0] / 2) - 0.5,
      left: column - Math.floor(size[1] / 2) - 0.5,
      bottom: row - Math.floor(size[0] / 2) + 0.5 + overlap,
      right: column - Math.floor(size[1] / 2) + 0.5 + overlap,
      share,
    }))
  ).filter(({ share }) => share > 0);
  const axis = (direction: 0 | 1) => {
    const [first, last] = cells(size[direction]);
    return {
      type: "quantitative" as const,
      scale: { domain: [first - 0.5, last + 0.5], nice: false, reverse: direction === 0 },
      axis: { title: axisName(direction, 2), grid: false, tickMinStep: 1, tickCount: 7, domain: false },
    };
  };
  return {
    title: map.layer,
    width: pixels * size[1],
    height: pixels * size[0],
    view: { stroke: "#9AA0A6" },
    data: { values },
    mark: { type: "rect" },
    encoding: {
      x: { field: "left", ...axis(1) },
      x2: { field: "right" },
      y: { field: "top", ...axis(0) },
      y2: { field: "bottom" },
      color: {
        field: "share",
        type: "quantitative",
        // The square root keeps a wide, thin cloud visible beside a stage that stayed in the middle.
        scale: { type: "sqrt", interpolate: "rgb", range: [...densityColors], domain: [0, most] },
        legend: { title: "elements in the cell (%)", orient: "bottom", gradientLength: 200, tickCount: 5 },
      },
    },
  };
}

/** Share, in percent, of the elements whose position is nearest to each cell; beyond the kernel: its edge. */
function cellShares(map: LayerMap, size: readonly number[]): number[][] {
  const counts = Array.from({ length: size[0] }, () => new Array<number>(size[1]).fill(0));
  const cell = (position: number, direction: 0 | 1): number =>
    Math.min(size[direction] - 1, Math.max(0, Math.round(position) + Math.floor(size[direction] / 2)));
  for (let i = 0; i < map.rows.length; i++) counts[cell(map.rows[i], 0)][cell(map.columns[i], 1)]++;
  return counts.map((line) => line.map((count) => 100 * count / Math.max(1, map.rows.length)));
}

/** The specification behind {@link drawPositionMap}. */
export function mapPicture(
  maps: readonly LayerMap[],
  size: readonly number[],
  title = "Where the elements are",
): Picture {
  const what = "the position map";
  requireSize(what, size);
  if (size.length !== 2) {
    throw new RangeError(`Cannot draw ${what}: the kernel must have 2 axes, got size [${size.join(", ")}]`);
  }
  for (const { layer, rows, columns } of maps) {
    if (rows.length !== columns.length) {
      throw new RangeError(
        `Cannot draw ${what}: ${layer} must have as many rows as columns, got ${rows.length} and ${columns.length}`,
      );
    }
    requireFinite(what, `the rows of ${layer}`, rows);
    requireFinite(what, `the columns of ${layer}`, columns);
  }
  const filled = maps.filter(({ rows }) => rows.length > 0);
  if (filled.length === 0) return emptyPicture(title, "no positions");
  const [, most] = extent(...filled.map((map) => cellShares(map, size).flat())) ?? [0, 1];
  const pixels = Math.max(4, Math.min(24, Math.floor(220 / Math.max(...size))));
  return {
    title: heading(title, `kernel of ${size.join(" x ")} cells`),
    columns: Math.min(4, filled.length),
    concat: filled.map((map) => mapPanel(map, size, most, pixels)),
  };
}

/**
 * Maps of the learned positions of 2-d kernels: how many of a layer's elements, in percent, are in each cell. One
 * scale of colours for all layers. Positions beyond the kernel count for its edge, layers without any are left out.
 *
 * @param maps one per layer or stage
 * @param size the dilated kernel size, [rows, columns]
 * @returns an SVG file; without positions it says so
 * @throws RangeError if a position is not finite, rows and columns differ in number, or size is not two positive integers
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await drawPositionMap([{ layer: "stage 1", rows: [-3, 0.5], columns: [1, 2.25] }], [7, 7]);
 * assert.match(svg, />stage 1</);
 * ```
 */
export async function drawPositionMap(
  maps: readonly LayerMap[],
  size: readonly number[],
  title?: string,
): Promise<string> {
  return await renderSvg(mapPicture(maps, size, title));
}
