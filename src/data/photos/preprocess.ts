/**
 * What ConvNeXt sees of an image at evaluation (its authors' code, as the DCLS paper's): the short side resized to
 * size / 0.875 (256 for 224), bicubic, the centre cut out; from 384 on the whole image squeezed into the square.
 * Then ImageNet's mean subtracted and its standard deviation divided out, channel by channel.
 */
import type { Photo } from "./photo.ts";
import { resizeBicubic, type Window } from "./resize.ts";

/** Mean and standard deviation of ImageNet's red, green and blue, of 1. */
export const IMAGENET_MEAN = [0.485, 0.456, 0.406] as const, IMAGENET_STD = [0.229, 0.224, 0.225] as const;

/** Share of the short side that the crop keeps, and the size from which nothing is cropped. */
const CROP = 0.875, WARP = 384;

/** Where the network's square lies in the resized image. */
export interface Geometry {
  /** Extents of the whole image after resizing. */
  readonly width: number;
  readonly height: number;
  /** The part that the network sees. */
  readonly window: Window;
}

/** To the nearest integer, halves to the even one, as Python's `round`. */
function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  return value - floor === 0.5 ? floor + floor % 2 : Math.round(value);
}

/**
 * How an image of these extents is resized and cropped to a square.
 * @param size side of the square, in pixels
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { evaluationGeometry } from "./preprocess.ts";
 * const { width, height, window } = evaluationGeometry(500, 375, 224);
 * assert.deepEqual([width, height], [341, 256]);
 * assert.deepEqual(window, { left: 58, top: 16, width: 224, height: 224 });
 * ```
 */
export function evaluationGeometry(width: number, height: number, size: number): Geometry {
  const square = { width: size, height: size };
  if (size >= WARP) return { ...square, window: { left: 0, top: 0, ...square } };
  const short = Math.trunc(size / CROP);
  const long = Math.trunc(short * Math.max(width, height) / Math.min(width, height));
  const [resizedWidth, resizedHeight] = width <= height ? [short, long] : [long, short];
  const left = roundHalfEven((resizedWidth - size) / 2), top = roundHalfEven((resizedHeight - size) / 2);
  return { width: resizedWidth, height: resizedHeight, window: { left, top, ...square } };
}

/**
 * An image as the network takes it.
 * @param size side of the square, in pixels. Default 224
 * @returns `[3, size, size]`, row-major
 */
export function preprocess(photo: Photo, size = 224): Float32Array<ArrayBuffer> {
  const { width, height, window } = evaluationGeometry(photo.width, photo.height, size);
  const { data } = resizeBicubic(photo, width, height, window);
  const plane = size * size;
  const out = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    for (let i = 0; i < plane; i++) {
      out[c * plane + i] = (data[3 * i + c] / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c];
    }
  }
  return out;
}
