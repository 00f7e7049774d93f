/**
 * Bicubic resampling as Pillow does it, to the bit: the cubic convolution kernel with a = -1/2, stretched by the
 * scale where the image shrinks (so that nothing aliases), weights in fixed point of 22 bits, first along the rows,
 * then along the columns, rounded to 8 bits after each.
 *
 * Source: R. Keys, "Cubic convolution interpolation for digital image processing" (1981), and the behaviour of
 * Pillow's `Image.resize(..., BICUBIC)`, which the tests hold this to.
 */
import type { Photo } from "./photo.ts";

/** Bits behind the point of a weight: 8 bits of value and 2 of room for overshoot stay within 32. */
const PRECISION = 22;

/** Keys' kernel with a = -1/2; 0 from a distance of 2 on. */
export function cubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** What a run of output samples takes from the input. */
interface Taps {
  /** First input sample of each output sample, and how many. */
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** Weights times 2^22, `width` for each output sample. */
  readonly weights: Int32Array;
  readonly width: number;
}

function taps(inSize: number, outSize: number, from: number, to: number): Taps {
  const scale = inSize / outSize;
  const stretch = Math.max(scale, 1);
  const support = 2 * stretch;
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(to - from), count = new Int32Array(to - from);
  const weights = new Int32Array((to - from) * width);
  for (let i = 0; i < to - from; i++) {
    const centre = (from + i + 0.5) * scale;
    first[i] = Math.max(0, Math.trunc(centre - support + 0.5));
    count[i] = Math.min(inSize, Math.trunc(centre + support + 0.5)) - first[i];
    const values = Array.from({ length: count[i] }, (_, k) => cubic((k + first[i] - centre + 0.5) / stretch));
    const sum = values.reduce((total, value) => total + value, 0);
    values.forEach((value, k) => {
      const scaled = value / sum * 2 ** PRECISION;
      weights[i * width + k] = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
    });
  }
  return { first, count, weights, width };
}

function clip(sum: number): number {
  const value = sum >> PRECISION;
  return value < 0 ? 0 : value > 255 ? 255 : value;
}

/** A part of an image: where it starts and its extents. */
export interface Window {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resizes an image; only the part within `window` is computed.
 * @param width columns of the whole result
 * @param height rows of the whole result
 * @param window which part of the result to return. Default: all of it
 * @throws {RangeError} if width or height is no positive integer, or the window reaches out of the result
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { resizeBicubic } from "./resize.ts";
 * const grey = { width: 8, height: 6, data: new Uint8Array(8 * 6 * 3).fill(77) };
 * assert.deepEqual(resizeBicubic(grey, 3, 2).data, new Uint8Array(3 * 2 * 3).fill(77));
 * ```
 */
export function resizeBicubic(photo: Photo, width: number, height: number, window?: Window): Photo {
  const part = window ?? { left: 0, top: 0, width, height };
  const counts = [width, height, part.width, part.height];
  if (
    !counts.every((count) => Number.isSafeInteger(count) && count > 0) ||
    !(part.left >= 0 && part.top >= 0 && part.left + part.width <= width && part.top + part.height <= height)
  ) {
    throw new RangeError(
      `Cannot resize an image: the window must lie within the result, got ${part.width} x ${part.height} from ` +
        `${part.left}, ${part.top} in ${width} x ${height}`,
    );
  }
  const columns = taps(photo.width, width, part.left, part.left + part.width);
  const rows = taps(photo.height, height, part.top, part.top + part.height);
  // Only the input rows that the window needs.
  const begin = rows.first[0];
  const end = rows.first[part.height - 1] + rows.count[part.height - 1];
  const half = 1 << (PRECISION - 1);
  const { data } = photo;
  const rowLength = 3 * part.width;
  const narrow = new Uint8Array((end - begin) * rowLength);
  const { first, count, weights } = columns;
  for (let y = begin, to = 0; y < end; y++) {
    for (let x = 0; x < part.width; x++, to += 3) {
      let red = half, green = half, blue = half;
      let from = 3 * (y * photo.width + first[x]);
      for (let k = x * columns.width, last = k + count[x]; k < last; k++, from += 3) {
        const weight = weights[k];
        red += data[from] * weight;
        green += data[from + 1] * weight;
        blue += data[from + 2] * weight;
      }
      narrow[to] = clip(red);
      narrow[to + 1] = clip(green);
      narrow[to + 2] = clip(blue);
    }
  }
  const out = new Uint8Array(part.height * rowLength);
  const sums = new Int32Array(rowLength);
  for (let y = 0; y < part.height; y++) {
    sums.fill(half);
    for (let k = 0; k < rows.count[y]; k++) {
      const weight = rows.weights[y * rows.width + k];
      const from = (rows.first[y] - begin + k) * rowLength;
      for (let x = 0; x < rowLength; x++) sums[x] += narrow[from + x] * weight;
    }
    for (let x = 0; x < rowLength; x++) out[y * rowLength + x] = clip(sums[x]);
  }
  return { width: part.width, height: part.height, data: out };
}
