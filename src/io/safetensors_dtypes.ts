/**
 * The element types of safetensors files: their sizes, the array that holds them in memory, and the two
 * conversions (float16 and bfloat16 live in a `Float32Array`). Files are little-endian, and so is every
 * platform with WebGPU or Deno, so the other types are reinterpreted in place.
 */

/** An element type, as safetensors files name it. */
export type SafetensorsDtype =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "I64"
  | "I32"
  | "I16"
  | "I8"
  | "U64"
  | "U32"
  | "U16"
  | "U8"
  | "BOOL";

/** The values of a tensor. `F16` and `BF16` are held as `Float32Array`, `BOOL` as `Uint8Array` of 0 and 1. */
export type SafetensorsData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array;

type DataClass = {
  new (buffer: ArrayBuffer, byteOffset?: number, length?: number): SafetensorsData;
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
};

/** What there is to know about an element type. */
export interface DtypeInfo {
  /** Bytes of an element in the file. */
  readonly size: number;
  /** The class that holds the values in memory. */
  readonly dataClass: DataClass;
  /** Values of a file's bytes, whose start is aligned to `size`; absent where reinterpreting does it. */
  readonly decode?: (bytes: Uint8Array<ArrayBuffer>) => Float32Array;
  /** The reverse, rounding to nearest, ties to even. */
  readonly encode?: (values: Float32Array) => Uint8Array;
}

function decodeFloat16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  return new Float32Array(new Float16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2));
}

function encodeFloat16(values: Float32Array): Uint8Array {
  return new Uint8Array(new Float16Array(values).buffer);
}

/** A bfloat16 is the upper half of a float32. */
function decodeBfloat16(bytes: Uint8Array<ArrayBuffer>): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const words = new Uint32Array(halves.length);
  for (let i = 0; i < words.length; i++) words[i] = halves[i] << 16;
  return new Float32Array(words.buffer);
}

function encodeBfloat16(values: Float32Array): Uint8Array {
  const words = new Uint32Array(values.slice().buffer);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const upper = words[i] >>> 16;
    // Adding could carry a NaN over into an infinity: keep its upper half, and set a bit of its payload.
    halves[i] = Number.isNaN(values[i]) ? upper | 0x40 : (words[i] + 0x7fff + (upper & 1)) / 65536;
  }
  return new Uint8Array(halves.buffer);
}

/** The element types that are read and written, without a prototype, so that no other name finds one. */
export const DTYPES: Readonly<Record<SafetensorsDtype, DtypeInfo>> = Object.freeze({
  __proto__: null,
  F64: { size: 8, dataClass: Float64Array },
  F32: { size: 4, dataClass: Float32Array },
  F16: { size: 2, dataClass: Float32Array, decode: decodeFloat16, encode: encodeFloat16 },
  BF16: { size: 2, dataClass: Float32Array, decode: decodeBfloat16, encode: encodeBfloat16 },
  I64: { size: 8, dataClass: BigInt64Array },
  I32: { size: 4, dataClass: Int32Array },
  I16: { size: 2, dataClass: Int16Array },
  I8: { size: 1, dataClass: Int8Array },
  U64: { size: 8, dataClass: BigUint64Array },
  U32: { size: 4, dataClass: Uint32Array },
  U16: { size: 2, dataClass: Uint16Array },
  U8: { size: 1, dataClass: Uint8Array },
  BOOL: { size: 1, dataClass: Uint8Array },
});

/** Whether this is the name of an element type that is read and written here. */
export function isDtype(name: unknown): name is SafetensorsDtype {
  return typeof name === "string" && name in DTYPES;
}

/** The element type under which data of that class is written when none is named; null for other classes. */
export function dtypeOf(data: unknown): SafetensorsDtype | null {
  const names = Object.keys(DTYPES) as SafetensorsDtype[];
  return names.find((name) => data instanceof DTYPES[name].dataClass) ?? null;
}

/** Values of `dtype` from a file's bytes: a view of them where they are aligned for it, else a copy. */
export function decodeData(dtype: SafetensorsDtype, bytes: Uint8Array): SafetensorsData {
  const { size, dataClass, decode } = DTYPES[dtype];
  const inPlace = bytes.byteOffset % size === 0 && bytes.buffer instanceof ArrayBuffer;
  const aligned = inPlace ? bytes as Uint8Array<ArrayBuffer> : new Uint8Array(bytes);
  if (decode !== undefined) return decode(aligned);
  return new dataClass(aligned.buffer, aligned.byteOffset, aligned.length / size);
}

/** A file's bytes for values of `dtype`. */
export function encodeData(dtype: SafetensorsDtype, data: SafetensorsData): Uint8Array {
  const { encode } = DTYPES[dtype];
  if (encode !== undefined) return encode(data as Float32Array);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
