/** Photographs in memory: 8 bits for each of red, green and blue. */

/** An image. */
export interface Photo {
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** `[height, width, 3]`, row-major, 0 to 255. */
  readonly data: Uint8Array;
}

/**
 * Turns an image the way EXIF's orientation says it is to be seen.
 * @param orientation 1 (as it is) to 8: 2 mirrored, 3 upside down, 4 both, 6 and 8 a quarter turn right and left, 5 and
 * 7 mirrored too
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { orient } from "./photo.ts";
 * const wide = { width: 2, height: 1, data: Uint8Array.of(1, 1, 1, 2, 2, 2) };
 * assert.deepEqual(orient(wide, 6), { width: 1, height: 2, data: Uint8Array.of(1, 1, 1, 2, 2, 2) });
 * assert.deepEqual(orient(wide, 3).data, Uint8Array.of(2, 2, 2, 1, 1, 1));
 * ```
 */
export function orient(photo: Photo, orientation: number): Photo {
  if (orientation === 1) return photo;
  const { width, height, data } = photo;
  const turned = orientation >= 5;
  const flipX = [2, 3, 7, 8].includes(orientation), flipY = [3, 4, 6, 7].includes(orientation);
  const [outWidth, outHeight] = turned ? [height, width] : [width, height];
  const out = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < outHeight; y++) {
    for (let x = 0; x < outWidth; x++, to += 3) {
      const [column, row] = turned ? [y, x] : [x, y];
      const from = 3 * ((flipY ? height - 1 - row : row) * width + (flipX ? width - 1 - column : column));
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { width: outWidth, height: outHeight, data: out };
}
