/** Reading PyTorch's `.pth` files: what `torch.save` writes since version 1.6, a zip archive with a pickle in it. */
import { unpickle } from "./pth_pickle.ts";
import { refuse, show } from "./pth_refusal.ts";
import { type PickleValue, type StorageRef, TensorRef, Tuple } from "./pth_values.ts";
import { openRecord, readRecords, type ZipRecord } from "./pth_zip.ts";
import { decodeData, DTYPES, type SafetensorsData, type SafetensorsDtype } from "./safetensors_dtypes.ts";

/** A tensor as it was read; the same as one of `readSafetensors`. */
export interface PthTensor {
  /** Extents, slowest first; `[]` for a scalar. */
  shape: number[];
  /** Element type in the file, under the name that safetensors files give it; `F16` and `BF16` were widened. */
  dtype: SafetensorsDtype;
  /** The values, row-major. May share memory with the bytes that were read and with other tensors. */
  data: SafetensorsData;
}

/** What a `.pth` file holds. The records have no prototype: any name is safe, `__proto__` included. */
export interface PthFile {
  /** The chosen state's tensors by name, in the file's order; names of nested states are joined by dots. */
  tensors: Record<string, PthTensor>;
  /** Texts, numbers and truth values that stand beside the states, as texts: `{ epoch: "299" }`. */
  metadata: Record<string, string>;
  /** Which state was chosen; `""` where the file is one. */
  key: string;
  /** Every key of the file under which tensors are; `[]` where the file is a state itself. */
  keys: string[];
}

/** Options of {@linkcode readPth}. */
export interface ReadPthOptions {
  /**
   * Which of the file's states to read, such as `"model_ema"`; `""` for everything. Default: the file itself where
   * it is a state, else the first there is of `model`, `state_dict`, `model_state_dict`, `module`, `model_ema`,
   * `state_dict_ema`, else everything.
   */
  key?: string;
  /** Whether to compare the records with their checksums, which finds damaged values. Default true. */
  checksums?: boolean;
}

const KEYS = ["model", "state_dict", "model_state_dict", "module", "model_ema", "state_dict_ema"];

/** Deepest nesting that is looked into for tensors, most values that are looked at, and the longest name. */
const MAX_DEPTH = 16, MAX_VALUES = 2 ** 20, MAX_NAME = 1024;

/** Bytes that copies of tensors may take beside the file: one element can stand for as many as a shape says. */
const SPARE_BYTES = 64 * 2 ** 20;

/** The entries of a container, with names; none for what is no container. */
function* entriesOf(value: PickleValue): Generator<[string, PickleValue]> {
  if (value instanceof Map) {
    for (const [key, item] of value) {
      if (typeof key === "string" || typeof key === "number") yield [String(key), item];
    }
  } else if (Array.isArray(value) || value instanceof Tuple) {
    const items = Array.isArray(value) ? value : value.items;
    for (let i = 0; i < items.length; i++) yield [String(i), items[i]];
  }
}

/** The tensors within a value by path. What contains itself, or the same thing too often, is refused. */
function collect(root: PickleValue, budget: { values: number }): Map<string, TensorRef> {
  const found = new Map<string, TensorRef>();
  if (root instanceof TensorRef) return found.set("", root);
  const open: { prefix: string; entries: Generator<[string, PickleValue]> }[] = [
    { prefix: "", entries: entriesOf(root) },
  ];
  while (open.length > 0) {
    const { prefix, entries } = open[open.length - 1];
    const { done, value: entry } = entries.next();
    if (done) {
      open.pop();
      continue;
    }
    if (--budget.values < 0) refuse(`a file must hold at most ${MAX_VALUES} values, got more`);
    const [name, value] = entry;
    if (prefix.length + name.length > MAX_NAME) {
      refuse(`names must have at most ${MAX_NAME} characters, got ${show(name)}`);
    }
    if (value instanceof TensorRef) {
      if (found.has(prefix + name)) refuse(`names must be unique, got ${show(prefix + name)} twice`);
      found.set(prefix + name, value);
    } else if (value instanceof Map || Array.isArray(value) || value instanceof Tuple) {
      if (open.length > MAX_DEPTH) {
        refuse(`containers must nest at most ${MAX_DEPTH} deep, got more at ${show(prefix)}`);
      }
      open.push({ prefix: `${prefix}${name}.`, entries: entriesOf(value) });
    }
  }
  return found;
}

/** The state to read, its key, and all there are. */
function choose(root: PickleValue, wanted: string | undefined): {
  key: string;
  keys: string[];
  found: Map<string, TensorRef>;
} {
  // Looked at twice: for the states under keys, and all together.
  const budget = { values: 2 * MAX_VALUES };
  const isState = [...entriesOf(root)].some(([, value]) => value instanceof TensorRef);
  const states = new Map<string, Map<string, TensorRef>>();
  if (root instanceof Map && !isState) {
    for (const [key, value] of entriesOf(root)) {
      const found = collect(value, budget);
      if (found.size > 0) states.set(key, found);
    }
  }
  const keys = [...states.keys()];
  const key = wanted ?? KEYS.find((name) => states.has(name)) ?? "";
  const found = key === "" ? collect(root, budget) : states.get(key);
  if (found === undefined) {
    const there = keys.length > 0 ? keys.slice(0, 8).map(show).join(", ") : "no states under keys";
    refuse(`the file must hold tensors under the key ${show(key)}, got ${there}`);
  }
  if (found.size === 0) refuse("the file must hold tensors, got none");
  return { key, keys, found };
}

/** What stands beside the states, as texts. */
function notes(root: PickleValue): Record<string, string> {
  const metadata: Record<string, string> = Object.create(null);
  for (const [key, value] of root instanceof Map ? entriesOf(root) : []) {
    if (["string", "number", "boolean", "bigint"].includes(typeof value)) metadata[key] = String(value);
  }
  return metadata;
}

/** Turns descriptions of tensors into values. */
class Values {
  readonly #records: Map<string, ZipRecord>;
  readonly #prefix: string;
  readonly #checksums: boolean;
  readonly #storages = new Map<string, SafetensorsData>();
  readonly #checked = new Set<string>();
  #spare: number;

  constructor(records: Map<string, ZipRecord>, prefix: string, checksums: boolean, fileBytes: number) {
    this.#records = records;
    this.#prefix = prefix;
    this.#checksums = checksums;
    this.#spare = 4 * fileBytes + SPARE_BYTES;
  }

  /** All elements of a storage, as that type: a view of the file where it can be one. */
  #storage({ key, dtype, count }: StorageRef, as: SafetensorsDtype): SafetensorsData {
    const id = `${key} ${as}`;
    const known = this.#storages.get(id);
    if (known !== undefined) return known;
    const name = `${this.#prefix}data/${key}`;
    const record = this.#records.get(name);
    if (record === undefined) {
      refuse(`storage ${show(key)} must be in the archive, got no record ${show(name)}`);
    }
    const bytes = count * (dtype === null ? 1 : DTYPES[dtype].size);
    if (bytes !== record.bytes.length || bytes % DTYPES[as].size !== 0) {
      refuse(`storage ${show(key)} must have ${bytes} bytes of ${as}, got ${record.bytes.length}`);
    }
    const content = openRecord(name, record, this.#checksums && !this.#checked.has(name));
    this.#checked.add(name);
    const data = decodeData(as, content);
    this.#storages.set(id, data);
    return data;
  }

  read(name: string, { storage, dtype, offset, shape, strides }: TensorRef): PthTensor {
    const all = this.#storage(storage, dtype);
    const size = shape.reduce((product, extent) => product * extent, 1);
    const last = shape.reduce((sum, extent, axis) => sum + (extent - 1) * strides[axis], offset);
    if (size > 0 ? last >= all.length : offset > all.length) {
      refuse(
        `tensor ${
          show(name)
        } must lie within the ${all.length} elements of its storage, got offset ${offset}, ` +
          `size ${show(shape)} and stride ${show(strides)}`,
      );
    }
    let expected = 1;
    let contiguous = true;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      contiguous &&= shape[axis] === 1 || strides[axis] === expected;
      expected *= shape[axis];
    }
    if (contiguous || size === 0) {
      return { shape: [...shape], dtype, data: all.subarray(offset, offset + size) as SafetensorsData };
    }
    this.#spare -= size * all.BYTES_PER_ELEMENT;
    if (this.#spare < 0) {
      refuse(
        `tensors must not stand for much more than the file holds, got ${show(name)} of size ${
          show(shape)
        } and ` +
          `stride ${show(strides)}`,
      );
    }
    return { shape: [...shape], dtype, data: gather(all, offset, size, shape, strides) };
  }
}

/** Elements in row-major order from where their strides say. */
function gather(
  all: SafetensorsData,
  offset: number,
  size: number,
  shape: readonly number[],
  strides: readonly number[],
): SafetensorsData {
  const data = new (all.constructor as new (length: number) => SafetensorsData)(size);
  const index = new Array<number>(shape.length).fill(0);
  let from = offset;
  for (let i = 0; i < size; i++) {
    data[i] = all[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= shape[axis] * strides[axis];
      index[axis] = 0;
    }
  }
  return data;
}

/**
 * Reads a `.pth` file of PyTorch 1.6 or later from memory: a state dict, or a checkpoint with states under keys
 * such as `model`. Nothing in it is trusted and nothing of it is run: the pickle may make tensors, containers,
 * texts and numbers, and every other name or opcode is refused. Time and memory are bounded by the file's length.
 *
 * P and SIG come in PyTorch's axis order: `model.loadStateDict(tensors, { layout: "torch" })`.
 *
 * @param bytes the whole file. Values that are contiguous are returned as views of it, so change one only if you
 * may change the other.
 * @throws {TypeError} if bytes is not a Uint8Array
 * @throws {SyntaxError} "Cannot read pth: ..." for another kind of file (the older format of PyTorch before 1.6,
 * TorchScript), names other than those of tensors and containers, and whatever is truncated, damaged or out of
 * bounds
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readPth, writePth } from "./mod.ts";
 *
 * const bytes = writePth({ weight: { shape: [2, 2], data: new Float32Array([1, 2, 3, 4]) } }, { key: "model" });
 * const { tensors, key } = readPth(bytes);
 * assert.equal(key, "model");
 * assert.deepEqual(tensors.weight.shape, [2, 2]);
 * assert.deepEqual([...tensors.weight.data], [1, 2, 3, 4]);
 * ```
 */
export function readPth(bytes: Uint8Array, options: ReadPthOptions = {}): PthFile {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`Cannot read pth: bytes must be a Uint8Array, got ${typeof bytes}`);
  }
  const { key: wanted, checksums = true } = options;
  const records = readRecords(bytes);
  const pickles = [...records.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) {
    refuse(`the archive must hold one record .../data.pkl, got ${pickles.length}; is it from torch.save?`);
  }
  const prefix = pickles[0].slice(0, -"data.pkl".length);
  if (records.has(`${prefix}constants.pkl`)) {
    refuse("the file must be a state, got a TorchScript program; save model.state_dict() with torch.save");
  }
  const order = records.get(`${prefix}byteorder`)?.bytes;
  if (order !== undefined && String.fromCharCode(...order.subarray(0, 16)) !== "little") {
    refuse("values must be little-endian, got another byte order");
  }
  const root = unpickle(openRecord(pickles[0], records.get(pickles[0])!, checksums));
  const { key, keys, found } = choose(root, wanted);
  const values = new Values(records, prefix, checksums, bytes.length);
  const tensors: Record<string, PthTensor> = Object.create(null);
  for (const [name, tensor] of found) tensors[name] = values.read(name, tensor);
  return { tensors, metadata: notes(root), key, keys };
}
