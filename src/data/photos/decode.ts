/**
 * JPEG and PNG files to pixels, as Pillow's `Image.open(file).convert("RGB")` gives them, which is what ImageNet
 * models were trained and judged with.
 *
 * JPEG by MozJPEG compiled to WebAssembly (`@jsquash/jpeg`): on 500 x 375 pixels its values are Pillow's own, bit for
 * bit, in 5 ms; `jpeg-js` took 9 to 27 ms and was off by 1.5 of 255 on average, up to 16 (it repeats chroma where
 * libjpeg interpolates). `sharp` would need permission to load native code. PNG by `fast-png`, in plain JavaScript.
 *
 * For tasks: the library's entry points must not import this file, since it brings packages.
 */
import decodeJpegFile, { init } from "@jsquash/jpeg/decode.js";
import { convertIndexedToRgb, decode as decodePngFile, type DecodedPng } from "fast-png";
import { readJpegHeader } from "./jpeg_header.ts";
import { orient, type Photo } from "./photo.ts";

/** Most pixels of an image that is read: a file of a kilobyte may claim any number. */
export const MAX_PIXELS = 100_000_000;

/** Options of {@linkcode decodePhoto}. */
export interface DecodeOptions {
  /**
   * Whether to turn a JPEG image the way its EXIF orientation says. Default true; Pillow does not by itself, nor does
   * the usual evaluation on ImageNet.
   */
  orient?: boolean;
}

function refuse(file: string, rule: string, cause?: unknown): never {
  throw new SyntaxError(`Cannot read ${file}: ${rule}`, { cause });
}

function checkExtents(file: string, width: number, height: number): void {
  if (width > 0 && height > 0 && width * height <= MAX_PIXELS) return;
  refuse(file, `an image must have 1 to ${MAX_PIXELS} pixels, got ${width} x ${height}`);
}

/** The module, compiled once. */
let compiled: Promise<WebAssembly.Module> | null = null;
/** Whether the decoder must be started (again): one that failed may have left its memory in disorder. */
let stale = true;
/** What libjpeg said about the image at hand. */
let remarks: string[] = [];

async function startJpeg(): Promise<void> {
  compiled ??= Deno.readFile(new URL(import.meta.resolve("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm")))
    .then((bytes) => WebAssembly.compile(bytes));
  const module = await compiled;
  const remark = (text: string): void => void remarks.push(text);
  // Its types know the options alone; the module comes first.
  const start = init as (module: WebAssembly.Module, options: object) => Promise<void>;
  await start(module, { print: remark, printErr: remark });
  stale = false;
}

async function decodeJpeg(file: string, bytes: Uint8Array, turn: boolean): Promise<Photo> {
  const header = readJpegHeader(bytes);
  if (header === null) {
    refuse(file, "a JPEG file must say its extents before its pixels, got none; is it damaged?");
  }
  const { width, height, components, orientation } = header;
  checkExtents(file, width, height);
  if (components !== 1 && components !== 3) {
    refuse(
      file,
      `a JPEG file must be grey or in colour, got ${components} components (CMYK, for print); convert it to RGB`,
    );
  }
  if (stale) await startJpeg();
  remarks = [];
  let image: ImageData;
  try {
    // The decoder takes a buffer, and only its own part of it.
    image = await decodeJpegFile(new Uint8Array(bytes).buffer);
  } catch (cause) {
    stale = true;
    refuse(file, `a JPEG file must be whole, got ${remarks[0] ?? "one that cannot be decoded"}`, cause);
  }
  const early = remarks.find((text) => text.startsWith("Premature end"));
  if (early !== undefined) {
    refuse(file, `a JPEG file must be whole, got one that ends early; is it truncated?`);
  }
  if (image.width !== width || image.height !== height) {
    refuse(file, `a JPEG file must have the extents it says, got ${image.width} x ${image.height}`);
  }
  const data = new Uint8Array(3 * width * height);
  for (let from = 0, to = 0; to < data.length; from += 4, to += 3) {
    data[to] = image.data[from];
    data[to + 1] = image.data[from + 1];
    data[to + 2] = image.data[from + 2];
  }
  return turn ? orient({ width, height, data }, orientation) : { width, height, data };
}

/** Samples of 8 bits, in as many channels, from those of 1, 2, 4 or 16. */
function toBytes({ width, height, data, depth, channels }: DecodedPng): Uint8Array | Uint8ClampedArray {
  if (depth === 16) return Uint8Array.from(data, (value) => value >>> 8);
  if (depth === 8) return data as Uint8Array | Uint8ClampedArray;
  // Rows of small samples start at whole bytes.
  const rowBytes = Math.ceil(width * channels * depth / 8);
  const largest = 2 ** depth - 1;
  return Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const [row, bit] = [Math.floor(i / (width * channels)), i % (width * channels) * depth];
    const sample = data[row * rowBytes + (bit >> 3)] >> (8 - depth - (bit & 7)) & largest;
    return sample * 255 / largest;
  });
}

function decodePng(file: string, bytes: Uint8Array): Photo {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 33) refuse(file, `a PNG file must be whole, got ${bytes.length} bytes`);
  checkExtents(file, view.getUint32(16), view.getUint32(20));
  let samples: Uint8Array | Uint8ClampedArray;
  let image: DecodedPng;
  try {
    image = decodePngFile(bytes, { checkCrc: true });
    samples = image.palette === undefined ? toBytes(image) : convertIndexedToRgb(image);
  } catch (cause) {
    refuse(file, `a PNG file must be whole, got ${cause instanceof Error ? cause.message : cause}`, cause);
  }
  const { width, height } = image;
  const channels = samples.length / (width * height);
  if (![1, 2, 3, 4].includes(channels)) refuse(file, `a PNG file must have 1 to 4 channels, got ${channels}`);
  const data = new Uint8Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    // Grey for all three, with 1 or 2 channels; the last of 2 or 4 is alpha, which Pillow leaves out, too.
    for (let c = 0; c < 3; c++) data[3 * pixel + c] = samples[channels * pixel + (channels > 2 ? c : 0)];
  }
  return { width, height, data };
}

/**
 * Decodes a JPEG or PNG file. Grey becomes red, green and blue alike, alpha is left out, 16 bits become 8.
 * @param bytes the whole file
 * @param file its name, for messages
 * @throws {SyntaxError} "Cannot read <file>: ..." for another kind of file, CMYK, more than 100 million pixels, and
 * whatever is damaged or truncated
 */
export async function decodePhoto(
  bytes: Uint8Array,
  file: string,
  options: DecodeOptions = {},
): Promise<Photo> {
  const starts = (...first: number[]): boolean => first.every((byte, i) => bytes[i] === byte);
  if (starts(0xff, 0xd8, 0xff)) return await decodeJpeg(file, bytes, options.orient ?? true);
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return decodePng(file, bytes);
  const kinds: [string, boolean][] = [
    ["an empty file", bytes.length === 0],
    ["GIF", starts(0x47, 0x49, 0x46)],
    ["WebP", starts(0x52, 0x49, 0x46, 0x46)],
    ["BMP", starts(0x42, 0x4d)],
    ["TIFF", starts(0x49, 0x49, 42) || starts(0x4d, 0x4d, 0, 42)],
  ];
  refuse(
    file,
    `an image must be JPEG or PNG, got ${kinds.find(([, is]) => is)?.[0] ?? "another kind of file"}`,
  );
}
