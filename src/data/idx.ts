/**
 * IDX, the format of MNIST and its relatives: a big-endian magic number (0x0803 for bytes in three axes, images;
 * 0x0801 for bytes in one, labels), one 32-bit extent per axis, then the bytes.
 *
 * Source: http://yann.lecun.com/exdb/mnist/ (section "file formats").
 */

/** Images of one file. */
export interface IdxImages {
  /** Grey values from 0 (background) to 255, `[count, rows, columns]`, row-major. */
  readonly images: Uint8Array;
  /** Number of images. */
  readonly count: number;
  /** Height of an image, in pixels. */
  readonly rows: number;
  /** Width of an image, in pixels. */
  readonly columns: number;
}

const MAGIC_IMAGES = 0x0803;
const MAGIC_LABELS = 0x0801;

function refuse(file: string, rule: string): never {
  throw new SyntaxError(`Cannot read ${file}: ${rule}`);
}

/** Checks magic number and length, and gives the extents. */
function readExtents(bytes: Uint8Array, file: string, magic: number, axes: number, what: string): number[] {
  const header = 4 + 4 * axes;
  if (bytes.length < header) {
    refuse(file, `an IDX file of ${what} must have at least ${header} bytes, got ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = view.getUint32(0);
  if (found !== magic) {
    refuse(file, `an IDX file of ${what} must start with the magic number ${magic}, got ${found}`);
  }
  const extents = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  if (extents.includes(0)) refuse(file, `it must hold ${what}, got extents ${extents.join(" x ")}`);
  const expected = header + extents.reduce((product, extent) => product * extent, 1);
  if (bytes.length !== expected) {
    refuse(file, `extents of ${extents.join(" x ")} must make ${expected} bytes, got ${bytes.length}`);
  }
  return extents;
}

/**
 * Reads a file of images.
 * @param bytes the whole file; the images are a view of it
 * @param file its name, for messages
 * @throws {SyntaxError} "Cannot read <file>: ..." for another magic number, extents of 0, or another length
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readIdxImages } from "./idx.ts";
 *
 * const file = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 255);
 * const { images, count, rows, columns } = readIdxImages(file, "tiny");
 * assert.deepEqual([count, rows, columns, ...images], [1, 1, 2, 7, 255]);
 * ```
 */
export function readIdxImages(bytes: Uint8Array, file: string): IdxImages {
  const [count, rows, columns] = readExtents(bytes, file, MAGIC_IMAGES, 3, "images");
  return { images: bytes.subarray(16), count, rows, columns };
}

/**
 * Reads a file of labels.
 * @param bytes the whole file; the labels are a view of it
 * @param file its name, for messages
 * @param classes labels must be below this
 * @throws {SyntaxError} "Cannot read <file>: ..." for another magic number, no labels, another length, or a
 * label out of range
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readIdxLabels } from "./idx.ts";
 *
 * assert.deepEqual([...readIdxLabels(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 9), "tiny", 10)], [3, 9]);
 * ```
 */
export function readIdxLabels(bytes: Uint8Array, file: string, classes: number): Uint8Array {
  readExtents(bytes, file, MAGIC_LABELS, 1, "labels");
  const labels = bytes.subarray(8);
  const bad = labels.findIndex((label) => label >= classes);
  if (bad >= 0) refuse(file, `labels must be from 0 to ${classes - 1}, got ${labels[bad]} at index ${bad}`);
  return labels;
}
