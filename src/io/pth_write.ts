/** Writing `.pth` files that PyTorch loads, with `weights_only=True`, too. */
import { crc32 } from "./crc32.ts";
import { encodeData, type SafetensorsData, type SafetensorsDtype } from "./safetensors_dtypes.ts";
import { checkInput, type TensorInput } from "./tensor_input.ts";

/** A tensor to be written; the same as one of `writeSafetensors`. */
export type PthInput = TensorInput;

/** Options of {@linkcode writePth}. */
export interface WritePthOptions {
  /**
   * Key to put the state under, as published checkpoints do: `"model"` writes `{"model": state}`. Default: none,
   * the file is the state, as `torch.save(model.state_dict(), path)` writes it.
   */
  key?: string;
  /** Texts to put beside the state; only with `key`. */
  metadata?: Readonly<Record<string, string>>;
}

/** PyTorch's storage classes by element type; it has none for larger unsigned integers. */
const STORAGE_NAMES: Readonly<Partial<Record<SafetensorsDtype, string>>> = {
  F64: "DoubleStorage",
  F32: "FloatStorage",
  F16: "HalfStorage",
  BF16: "BFloat16Storage",
  I64: "LongStorage",
  I32: "IntStorage",
  I16: "ShortStorage",
  I8: "CharStorage",
  U8: "ByteStorage",
  BOOL: "BoolStorage",
};

/** Records start at multiples of this, as PyTorch aligns them, so that they can be mapped into memory. */
const ALIGNMENT = 64;
/** The folder of all records, and the largest archive without zip64. */
const FOLDER = "archive", MAX_FILE_BYTES = 2 ** 32 - 2 ** 16, MAX_RECORDS = 0xfffe;

function refuse(ErrorClass: typeof TypeError | typeof RangeError, rule: string): never {
  throw new ErrorClass(`Cannot write pth: ${rule}`);
}

/** A pickle of protocol 2, as `torch.save` writes by default. */
class Pickle {
  #bytes = new Uint8Array(4096);
  #length = 0;
  readonly #globals = new Map<string, number>();

  constructor() {
    this.#put(0x80, 2);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#length + count));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }

  #put(...bytes: number[]): this {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** Opcodes by their letters. */
  op(letters: string): this {
    for (const letter of letters) this.#put(letter.charCodeAt(0));
    return this;
  }

  text(value: string): this {
    const utf8 = new TextEncoder().encode(value);
    this.op("X").#word(utf8.length).#reserve(utf8.length);
    this.#bytes.set(utf8, this.#length);
    this.#length += utf8.length;
    return this;
  }

  #word(value: number): this {
    return this.#put(value & 255, value >>> 8 & 255, value >>> 16 & 255, value >>> 24);
  }

  integer(value: number): this {
    if (value < 256) return this.op("K").#put(value);
    if (value < 2 ** 31) return this.op("J").#word(value);
    // LONG1 of 8 bytes.
    return this.#put(0x8a, 8).#word(value % 2 ** 32).#word(Math.floor(value / 2 ** 32));
  }

  tuple(values: readonly number[]): this {
    if (values.length === 0) return this.op(")");
    this.op("(");
    for (const value of values) this.integer(value);
    return this.op("t");
  }

  /** A name, remembered from its first use on. */
  global(module: string, name: string): this {
    const id = `${module}\n${name}\n`;
    const known = this.#globals.get(id);
    if (known !== undefined) return this.op("h").#put(known);
    this.#globals.set(id, this.#globals.size);
    return this.op(`c${id}q`).#put(this.#globals.size - 1);
  }

  finish(): Uint8Array {
    this.op(".");
    return this.#bytes.subarray(0, this.#length);
  }
}

/** A record of the archive. */
interface Part {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** An archive of stored records, each aligned by padding in its header's extra field. */
function zip(parts: readonly Part[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  let position = 0;
  const places = parts.map(({ name, bytes }) => {
    const header = position;
    const label = encoder.encode(name);
    // A field of its own needs 4 bytes at least: PyTorch's is named "FB".
    const start = position + 30 + label.length + 4;
    const padding = (ALIGNMENT - start % ALIGNMENT) % ALIGNMENT;
    position = start + padding + bytes.length;
    return { header, label, extra: 4 + padding, data: start + padding, bytes, sum: crc32(bytes) };
  });
  const directory = position;
  const total = places.reduce((sum, { label }) => sum + 46 + label.length, directory) + 22;
  if (total > MAX_FILE_BYTES || parts.length > MAX_RECORDS) {
    refuse(
      RangeError,
      `a file must have less than 4 GiB and ${MAX_RECORDS} tensors, got ${total} bytes and ${parts.length}; ` +
        "writeSafetensors has no such limits",
    );
  }
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  const put16 = (at: number, ...values: number[]): void =>
    values.forEach((value, i) => view.setUint16(at + 2 * i, value, true));
  const put32 = (at: number, ...values: number[]): void =>
    values.forEach((value, i) => view.setUint32(at + 4 * i, value, true));
  let at = directory;
  for (const { header, label, extra, data, bytes, sum } of places) {
    put32(header, 0x04034b50);
    put16(header + 4, 20, 0x0800, 0, 0, 0x21); // version 2.0, names in UTF-8, stored, 1 January 1980
    put32(header + 14, sum, bytes.length, bytes.length);
    put16(header + 26, label.length, extra);
    file.set(label, header + 30);
    put16(header + 30 + label.length, 0x4246, extra - 4);
    file.fill(0x5a, header + 34 + label.length, data);
    file.set(bytes, data);
    put32(at, 0x02014b50);
    put16(at + 4, 20, 20, 0x0800, 0, 0, 0x21);
    put32(at + 16, sum, bytes.length, bytes.length);
    put16(at + 28, label.length, 0, 0, 0, 0);
    put32(at + 38, 0, header);
    file.set(label, at + 46);
    at += 46 + label.length;
  }
  put32(at, 0x06054b50);
  put16(at + 4, 0, 0, parts.length, parts.length);
  put32(at + 12, at - directory, directory);
  put16(at + 20, 0);
  return file;
}

/** What a tensor shares with others: the same values, written as the same type. */
function shareId(ids: Map<ArrayBufferLike, number>, data: SafetensorsData, dtype: SafetensorsDtype): string {
  if (!ids.has(data.buffer)) ids.set(data.buffer, ids.size);
  return `${ids.get(data.buffer)} ${data.byteOffset} ${data.length} ${dtype}`;
}

/**
 * Writes tensors as a `.pth` file, in memory: what `torch.load(path)` gives back as an OrderedDict of tensors, with
 * `weights_only=True`, too. Records are stored and aligned to 64 bytes, as PyTorch's own. Equal contents give
 * equal bytes. Names that hold the same array share their memory in PyTorch, too.
 *
 * For a model: `await writeFileAtomic(path, writePth(await model.stateDict({ layout: "torch" })))`.
 *
 * @param tensors by name, in the order in which the file lists them
 * @throws {TypeError} if data is not a typed array, or not of the class that dtype needs, or metadata not a string
 * @throws {RangeError} for unknown dtypes, unsigned integers of 16 bits and more (PyTorch has no storage for them),
 * bad names and shapes, shapes that disagree with the data's length, metadata without a key, and files of 4 GiB
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readPth, writePth } from "./mod.ts";
 *
 * const bytes = writePth({ P: { shape: [1, 2], data: new Float32Array([-1.5, 2.25]) } });
 * assert.deepEqual([...readPth(bytes).tensors.P.data], [-1.5, 2.25]);
 * ```
 */
export function writePth(
  tensors: Readonly<Record<string, PthInput>>,
  options: WritePthOptions = {},
): Uint8Array<ArrayBuffer> {
  const { key, metadata = {} } = options;
  const notes = Object.entries(metadata);
  if (notes.length > 0 && key === undefined) refuse(RangeError, "metadata must stand beside a key, got none");
  const pickle = new Pickle();
  const parts: Part[] = [];
  const ids = new Map<ArrayBufferLike, number>();
  const shared = new Map<string, number>();
  if (key !== undefined) pickle.op("}(").text(key);
  pickle.global("collections", "OrderedDict").op(")R(");
  for (const [name, input] of Object.entries(tensors)) {
    const dtype = checkInput("pth", name, input);
    const storage = STORAGE_NAMES[dtype];
    if (storage === undefined) {
      const types = Object.keys(STORAGE_NAMES).join(", ");
      refuse(RangeError, `tensor ${JSON.stringify(name)} must be of a dtype of ${types}, got ${dtype}`);
    }
    const id = shareId(ids, input.data, dtype);
    const record = shared.get(id) ?? parts.length;
    if (record === parts.length) {
      shared.set(id, record);
      parts.push({ name: `${FOLDER}/data/${record}`, bytes: encodeData(dtype, input.data) });
    }
    const strides = input.shape.map((_, axis) =>
      input.shape.slice(axis + 1).reduce((product, extent) => product * Math.max(1, extent), 1)
    );
    pickle.text(name).global("torch._utils", "_rebuild_tensor_v2").op("((");
    pickle.text("storage").global("torch", storage).text(String(record)).text("cpu").integer(
      input.data.length,
    );
    pickle.op("tQ").integer(0).tuple(input.shape).tuple(strides);
    pickle.op("\x89").global("collections", "OrderedDict").op(")RtR"); // requires no gradient, has no hooks
  }
  pickle.op("u");
  for (const [name, text] of notes) {
    if (typeof text !== "string") {
      refuse(TypeError, `metadata ${JSON.stringify(name)} must be a string, got ${typeof text}`);
    }
    pickle.text(name).text(text);
  }
  if (key !== undefined) pickle.op("u");
  const encoder = new TextEncoder();
  return zip([
    { name: `${FOLDER}/data.pkl`, bytes: pickle.finish() },
    { name: `${FOLDER}/byteorder`, bytes: encoder.encode("little") },
    ...parts,
    { name: `${FOLDER}/version`, bytes: encoder.encode("3\n") },
  ]);
}
