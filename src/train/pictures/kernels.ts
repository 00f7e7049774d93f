/**
 * The learned kernels themselves, as heat maps in a grid.
 * @module
 */
import { colors, emptyPicture, extent, heading, type Picture, renderSvg, requireFinite } from "./render.ts";

/** One element of a DCLS kernel. */
export interface KernelPoint {
  /** Position along axis 0, in kernel cells from the centre cell floor(height / 2), as in P. */
  row: number;
  /** Position along axis 1, in kernel cells from the centre cell floor(width / 2). */
  column: number;
  /** Decides whether the dot is filled (0 or more) or open (negative). */
  weight: number;
}

/** One constructed kernel. */
export interface KernelImage {
  /** A few words above it: `stage 1, channel 3`. */
  name: string;
  /** [height, width] in cells. A 1-d kernel has height 1. */
  shape: readonly [height: number, width: number];
  /** Row by row, height x width values. */
  values: ArrayLike<number>;
  /** Its elements, drawn as dots: filled where the weight is positive, open where it is negative. */
  points?: readonly KernelPoint[];
}

/** Side of a cell in pixels: kernels of 7 x 7 and of 31 x 31 cells take about the same room, and flat ones fit. */
function cellSide(height: number, width: number): number {
  const side = Math.min(18, 110 / Math.sqrt(height * width), 600 / Math.max(height, width));
  return Math.max(1, Math.floor(side));
}

/** A kernel's place in the grid. */
interface Placed {
  kernel: KernelImage;
  /** Cell coordinates of the kernel's first cell. */
  left: number;
  top: number;
  /** Largest magnitude of its values, 1 where all are 0. */
  scale: number;
}

/** Checks a kernel and gives the largest magnitude of its values. */
function measure({ name, shape, values, points = [] }: KernelImage): number {
  const what = `kernel ${name}`;
  const [height, width] = shape;
  if (![height, width].every((extent) => Number.isSafeInteger(extent) && extent > 0)) {
    throw new RangeError(
      `Cannot draw ${what}: its shape must be two positive integers, got [${shape.join(", ")}]`,
    );
  }
  if (values.length !== height * width) {
    throw new RangeError(
      `Cannot draw ${what}: it must have ${height} x ${width} = ${
        height * width
      } values, got ${values.length}`,
    );
  }
  requireFinite(what, "its values", values);
  for (const key of ["row", "column", "weight"] as const) {
    requireFinite(what, `the ${key} of its points`, points.map((point) => point[key]));
  }
  const [least, most] = extent(values) ?? [0, 0];
  return Math.max(Math.abs(least), Math.abs(most));
}

/** The specification behind {@link drawKernels}. */
export function kernelsPicture(kernels: readonly KernelImage[], title: string): Picture {
  if (kernels.length === 0) return emptyPicture(title, "no kernels");
  const magnitudes = kernels.map(measure);
  const height = Math.max(...kernels.map(({ shape }) => shape[0]));
  const width = Math.max(...kernels.map(({ shape }) => shape[1]));
  const side = cellSide(height, width);
  // Room for the name above and for air, in cells. Names are about 6 pixels a letter wide.
  const letters = Math.max(...kernels.map(({ name }) => name.length + 9));
  const gapX = Math.ceil(14 / side);
  const gapY = Math.ceil(30 / side);
  const pitchX = Math.max(width, Math.ceil(letters * 5.6 / side)) + gapX;
  const pitchY = height + gapY;
  const across = Math.max(1, Math.min(kernels.length, 8, Math.round(960 / (pitchX * side))));
  const placed: Placed[] = kernels.map((kernel, i) => ({
    kernel,
    left: (i % across) * pitchX,
    top: Math.floor(i / across) * pitchY,
    scale: magnitudes[i] > 0 ? magnitudes[i] : 1,
  }));
  const right = across * pitchX - gapX;
  const bottom = Math.ceil(kernels.length / across) * pitchY - gapY;

  // Cells overlap by a little: renderers leave hairlines between neighbours that only touch.
  const overlap = 0.04;
  const cells = placed.flatMap(({ kernel: { shape, values }, left, top, scale }) =>
    // Cells of 0 are the ground's colour: a sparse kernel keeps the file small.
    Array.from(values, (value, i) => ({ i, value })).filter(({ value }) => value !== 0).map((
      { i, value },
    ) => ({
      x: left + i % shape[1],
      y: top + Math.floor(i / shape[1]),
      x2: left + i % shape[1] + 1 + overlap,
      y2: top + Math.floor(i / shape[1]) + 1 + overlap,
      value: value / scale,
    }))
  );
  const frames = placed.map(({ kernel: { name, shape }, left, top }, i) => ({
    x: left,
    y: top,
    x2: left + shape[1],
    y2: top + shape[0],
    name: `${name}  ±${Number(magnitudes[i].toPrecision(2))}`,
  }));
  const dots = placed.flatMap(({ kernel: { shape, points = [] }, left, top }) =>
    points.map(({ row, column, weight }) => ({
      x: left + column + Math.floor(shape[1] / 2) + 0.5,
      y: top + row + Math.floor(shape[0] / 2) + 0.5,
      fill: weight >= 0 ? colors.ink : "#FFFFFF",
    }))
  );
  const x = {
    field: "x",
    type: "quantitative" as const,
    scale: { domain: [0, right], nice: false },
    axis: null,
  };
  const y = {
    field: "y",
    type: "quantitative" as const,
    scale: { domain: [0, bottom], nice: false, reverse: true },
    axis: null,
  };
  return {
    title: heading(
      title,
      "each kernel on its own scale, its largest magnitude beside its name",
      ...(dots.length > 0 ? ["dots: elements; filled: weight of 0 or more, open: negative weight"] : []),
    ),
    width: right * side,
    height: bottom * side,
    layer: [
      {
        data: { values: frames },
        mark: { type: "rect", fill: "#F7F7F7" },
        encoding: { x, y, x2: { field: "x2" }, y2: { field: "y2" } },
      },
      {
        data: { values: cells },
        mark: { type: "rect" },
        encoding: {
          x,
          y,
          x2: { field: "x2" },
          y2: { field: "y2" },
          color: {
            field: "value",
            type: "quantitative",
            scale: { domain: [-1, 0, 1], range: [...divergingColors], interpolate: "lab" },
            legend: {
              title: "value / largest magnitude of its kernel",
              orient: "bottom",
              direction: "horizontal",
              gradientLength: 240,
              values: [-1, -0.5, 0, 0.5, 1],
            },
          },
        },
      },
      {
        data: { values: frames },
        mark: { type: "rect", fill: null, stroke: "#9AA0A6", strokeWidth: 0.75 },
        encoding: { x, y, x2: { field: "x2" }, y2: { field: "y2" } },
      },
      {
        data: { values: frames },
        mark: { type: "text", align: "left", baseline: "bottom", dy: -4, fontSize: 10.5, color: colors.ink },
        encoding: { x, y, text: { field: "name", type: "nominal" } },
      },
      {
        data: { values: dots },
        mark: {
          type: "point",
          filled: true,
          opacity: 1,
          size: Math.max(6, Math.min(40, side * side * 0.16)),
          stroke: colors.ink,
          strokeWidth: 0.8,
        },
        encoding: { x, y, fill: { field: "fill", type: "nominal", scale: null } },
      },
    ],
  };
}

/** Blue below 0, red above, near white at 0: ends of equal lightness, apart with every kind of colour blindness. */
const divergingColors = ["#2166AC", "#F7F7F7", "#B2182B"] as const;

/**
 * Kernels as heat maps in a grid, blue for negative and red for positive values, each on its own scale around 0.
 * Every cell that is not 0 is a mark of its own: more than about a hundred kernels make a file of many megabytes.
 *
 * @returns an SVG file; without kernels it says so
 * @throws RangeError if a value or a point is not finite, or there are not height x width values
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await drawKernels(
 *   [{ name: "stage 1", shape: [1, 3], values: [0.5, 0, -1], points: [{ row: 0, column: 1, weight: -1 }] }],
 *   "Learned kernels",
 * );
 * assert.match(svg, />stage 1  ±1</);
 * ```
 */
export async function drawKernels(kernels: readonly KernelImage[], title: string): Promise<string> {
  return await renderSvg(kernelsPicture(kernels, title));
}
