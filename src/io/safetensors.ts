/** Reading and writing safetensors files, the format in which checkpoints are exchanged. */
import { decodeData, DTYPES, encodeData } from "./safetensors_dtypes.ts";
import type { SafetensorsData, SafetensorsDtype } from "./safetensors_dtypes.ts";
import { MAX_HEADER_BYTES, readHeader } from "./safetensors_header.ts";
import { checkInput, type TensorInput } from "./tensor_input.ts";

export type { SafetensorsData, SafetensorsDtype };

/** A tensor as it was read. */
export interface SafetensorsTensor {
  /** Extents, slowest first (row-major); `[]` for a scalar. */
  shape: number[];
  /** Element type in the file; `data` of `F16` and `BF16` was widened to float32, which is exact. */
  dtype: SafetensorsDtype;
  /** The values, row-major. May share memory with the bytes that were read. */
  data: SafetensorsData;
}

/** A tensor to be written. */
export type SafetensorsInput = TensorInput;

/** What a safetensors file holds. Both records have no prototype: any name is safe, `__proto__` included. */
export interface SafetensorsFile {
  /** By name, in the order of the file's data. */
  tensors: Record<string, SafetensorsTensor>;
  /** The file's own notes; empty if there are none. */
  metadata: Record<string, string>;
}

/**
 * Reads a safetensors file from memory. Nothing in it is trusted: it is checked whole before anything is
 * returned.
 * @param bytes the whole file. Values that are aligned in memory are returned as views of it, so change one
 * only if you may change the other.
 * @throws {TypeError} if bytes is not a Uint8Array
 * @throws {SyntaxError} "Cannot read safetensors: ..." if the file is truncated, its header is longer than the
 * file or than 100 MB, or is not a JSON object; for duplicate names, unknown dtypes, bad shapes, metadata other
 * than strings, and for offsets that are out of range, overlap, leave holes or disagree with dtype and shape
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readSafetensors, writeSafetensors } from "./mod.ts";
 *
 * const bytes = writeSafetensors(
 *   { weight: { shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) } },
 *   { step: "7" },
 * );
 * const { tensors, metadata } = readSafetensors(bytes);
 * assert.deepEqual(tensors.weight.shape, [2, 2]);
 * assert.deepEqual([...tensors.weight.data], [1, 2, 3, 4]);
 * assert.equal(metadata.step, "7");
 * ```
 */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`Cannot read safetensors: bytes must be a Uint8Array, got ${typeof bytes}`);
  }
  const { entries, metadata, dataStart } = readHeader(bytes);
  const tensors: Record<string, SafetensorsTensor> = Object.create(null);
  for (const { name, dtype, shape, begin, end } of entries) {
    const data = decodeData(dtype, bytes.subarray(dataStart + begin, dataStart + end));
    tensors[name] = { shape, dtype, data };
  }
  return { tensors, metadata };
}

/** The error of a tensor that cannot be written. */
function refusal(ErrorClass: typeof TypeError | typeof RangeError, rule: string): Error {
  return new ErrorClass(`Cannot write safetensors: ${rule}`);
}

function checkNotes(metadata: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(metadata)) {
    if (typeof text !== "string") {
      throw refusal(TypeError, `metadata ${JSON.stringify(name)} must be a string, got ${typeof text}`);
    }
    if (!name.isWellFormed() || !text.isWellFormed()) {
      throw refusal(RangeError, `metadata ${JSON.stringify(name)} must be well-formed Unicode`);
    }
  }
}

/**
 * Writes tensors as a safetensors file, in memory. Equal contents give equal bytes: tensors are ordered by
 * element size, largest first (so that all are aligned), then by name.
 * @param tensors by name; any name but `__metadata__`
 * @param metadata notes to keep with them, strings only
 * @throws {TypeError} if data is not a typed array, or not of the class that dtype needs, or metadata not a
 * string
 * @throws {RangeError} for bad names, unknown dtypes, bad shapes, shapes that disagree with the data's length,
 * and headers above 100 MB
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readSafetensors, writeSafetensors } from "./mod.ts";
 *
 * const half = { shape: [3], data: new Float32Array([0.1, 1, 65504]), dtype: "F16" as const };
 * const { tensors } = readSafetensors(writeSafetensors({ half }));
 * assert.deepEqual(tensors.half, { ...half, data: new Float32Array([0.0999755859375, 1, 65504]) });
 * ```
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, SafetensorsInput>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  checkNotes(metadata);
  const parts = Object.entries(tensors).map(([name, input]) => {
    if (name === "__metadata__") throw refusal(RangeError, `__metadata__ must not be the name of a tensor`);
    const dtype = checkInput("safetensors", name, input);
    return { name, dtype, shape: input.shape, bytes: encodeData(dtype, input.data) };
  }).sort((a, b) => DTYPES[b.dtype].size - DTYPES[a.dtype].size || (a.name < b.name ? -1 : 1));
  const header: Record<string, unknown> = Object.create(null);
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let dataBytes = 0;
  for (const { name, dtype, shape, bytes } of parts) {
    header[name] = { dtype, shape, data_offsets: [dataBytes, dataBytes + bytes.length] };
    dataBytes += bytes.length;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  // Padded with spaces, as the format asks, so that the data section is aligned for every dtype.
  const headerBytes = Math.ceil(json.length / 8) * 8;
  if (headerBytes > MAX_HEADER_BYTES) {
    throw refusal(
      RangeError,
      `the header must be at most ${MAX_HEADER_BYTES} bytes long, got ${headerBytes}`,
    );
  }
  const file = new Uint8Array(8 + headerBytes + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.fill(0x20, 8 + json.length, 8 + headerBytes);
  file.set(json, 8);
  let position = 8 + headerBytes;
  for (const { bytes } of parts) {
    file.set(bytes, position);
    position += bytes.length;
  }
  return file;
}
