/**
 * What a `.pth` file's pickle may hold, and the names that it may use. Nothing here runs anything of the file's:
 * a name outside the table is refused, and what those inside make are plain records.
 */
import { refuse, show } from "./pth_refusal.ts";
import type { SafetensorsDtype } from "./safetensors_dtypes.ts";

/** A Python tuple; lists are arrays. */
export class Tuple {
  constructor(readonly items: readonly PickleValue[]) {}
}

/** A stretch of memory that tensors look into: a record of the archive. */
export class StorageRef {
  /**
   * @param key name of the record within `data/`
   * @param dtype type of the elements; null for bare bytes
   * @param count number of elements, of bytes where dtype is null
   */
  constructor(readonly key: string, readonly dtype: SafetensorsDtype | null, readonly count: number) {}
}

/** A tensor as the pickle describes it, checked against itself and its storage's count, its values not read yet. */
export class TensorRef {
  /**
   * @param storage where its values are
   * @param dtype type of its elements
   * @param offset of its first element, in elements
   * @param shape extents
   * @param strides steps along each axis, in elements
   */
  constructor(
    readonly storage: StorageRef,
    readonly dtype: SafetensorsDtype,
    readonly offset: number,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {}
}

/** Something that checkpoints carry and that nobody needs here: its name is kept, its content dropped. */
export class Inert {
  constructor(readonly name: string) {}
}

/** A name of Python's that the table knows. */
export class Global {
  constructor(readonly name: string, readonly meaning: Meaning) {}
}

/** What unpickling makes. */
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleValue[]
  | Map<PickleValue, PickleValue>
  | Tuple
  | StorageRef
  | TensorRef
  | Inert
  | Global;

/** What a known name stands for. */
export type Meaning =
  | { readonly kind: "dict" | "size" | "tensor" | "typedTensor" | "parameter" | "inert" }
  | { readonly kind: "storage"; readonly dtype: SafetensorsDtype | null }
  | { readonly kind: "dtype"; readonly dtype: SafetensorsDtype };

const STORAGES: Readonly<Record<string, SafetensorsDtype>> = {
  Double: "F64",
  Float: "F32",
  Half: "F16",
  BFloat16: "BF16",
  Long: "I64",
  Int: "I32",
  Short: "I16",
  Char: "I8",
  Byte: "U8",
  Bool: "BOOL",
};

const DTYPE_NAMES: Readonly<Record<string, SafetensorsDtype>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  uint8: "U8",
  bool: "BOOL",
};

/** Whole list of names that a file may use. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map<string, Meaning>([
  ["collections.OrderedDict", { kind: "dict" }],
  ["collections.defaultdict", { kind: "dict" }],
  ["collections.Counter", { kind: "dict" }],
  ["torch.Size", { kind: "size" }],
  ["torch._utils._rebuild_tensor_v2", { kind: "tensor" }],
  ["torch._utils._rebuild_tensor_v3", { kind: "typedTensor" }],
  ["torch._utils._rebuild_parameter", { kind: "parameter" }],
  ["torch._utils._rebuild_parameter_with_state", { kind: "parameter" }],
  ...Object.entries(STORAGES).map(([name, dtype]) =>
    [`torch.${name}Storage`, { kind: "storage", dtype }] as const
  ),
  ...["torch.storage.UntypedStorage", "torch.UntypedStorage", "torch.storage._UntypedStorage"].map((name) =>
    [name, { kind: "storage", dtype: null }] as const
  ),
  ...Object.entries(DTYPE_NAMES).map(([name, dtype]) => [`torch.${name}`, { kind: "dtype", dtype }] as const),
  // What training scripts leave in their checkpoints beside the weights.
  ...[
    "argparse.Namespace",
    "torch.device",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "_codecs.encode",
    "builtins.list",
    "builtins.int",
    "builtins.float",
    "builtins.dict",
  ].map((name) => [name, { kind: "inert" }] as const),
]);

/**
 * Looks a name up in the table.
 * @throws {SyntaxError} "Cannot read pth: ..." for every other name
 */
export function resolve(module: string, attribute: string): Global {
  const name = `${module}.${attribute}`;
  // Python 2's name, which protocols up to 2 still write.
  const meaning = MEANINGS.get(name.replace(/^__builtin__\./, "builtins."));
  if (meaning === undefined) {
    refuse(
      `a file may use tensors and containers only, got ${show(name)}; save the state alone: ` +
        "torch.save(model.state_dict(), path)",
    );
  }
  return new Global(name, meaning);
}

/** Most axes that a tensor may have, as in PyTorch. */
const MAX_AXES = 64;

/** Whether arithmetic here cannot distort it. */
function isCount(value: PickleValue): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function counts(what: string, value: PickleValue): number[] {
  if (!(value instanceof Tuple) || value.items.length > MAX_AXES || !value.items.every(isCount)) {
    refuse(`a tensor's ${what} must be up to ${MAX_AXES} integers >= 0, got ${describe(value)}`);
  }
  return [...value.items] as number[];
}

/** A value of the pickle in a message: short, and no deeper than one tuple, however they nest. */
export function describe(value: PickleValue | undefined, within = false): string {
  if (value === undefined) return "nothing";
  if (value instanceof Global || value instanceof Inert) return value.name;
  if (value instanceof Tuple && !within) {
    const shown = value.items.slice(0, 8).map((item) => describe(item, true));
    return `(${shown.join(", ")}${value.items.length > 8 ? ", ..." : ""})`.slice(0, 80);
  }
  if (value !== null && typeof value === "object") return `a ${value.constructor.name}`;
  return show(value);
}

/** The storage that a persistent id names. */
export function makeStorage(id: PickleValue): StorageRef {
  const [what, type, key, , count] = id instanceof Tuple ? id.items : [];
  if (
    what !== "storage" || !(type instanceof Global) || type.meaning.kind !== "storage" ||
    typeof key !== "string" || !/^[\w.-]{1,64}$/.test(key) || !isCount(count)
  ) {
    refuse(
      `a storage must be named by ("storage", type, key, location, count), got ${describe(id)}`,
    );
  }
  return new StorageRef(key, type.meaning.dtype, count);
}

/** The tensor that the arguments of one of PyTorch's rebuild functions describe. */
export function makeTensor(args: readonly PickleValue[], typed: boolean): TensorRef {
  const [storage, offset, size, stride] = args;
  if (!(storage instanceof StorageRef)) refuse(`a tensor must have a storage, got ${describe(storage)}`);
  const named = typed ? args[6] : null;
  const dtype = named instanceof Global && named.meaning.kind === "dtype"
    ? named.meaning.dtype
    : storage.dtype;
  if (dtype === null || typed !== (named instanceof Global) || typed !== (storage.dtype === null)) {
    refuse(`a tensor must have a known element type, got ${describe(named)}`);
  }
  const metadata = args[typed ? 7 : 6];
  if (metadata instanceof Map && metadata.size > 0) {
    refuse("a tensor must hold its own values, got one that is to be conjugated or negated");
  }
  const shape = counts("size", size);
  const strides = counts("stride", stride);
  if (shape.length !== strides.length || !isCount(offset)) {
    refuse(
      `a tensor must have a stride for each extent and an offset, got ${describe(size)}, ${
        describe(stride)
      } and ` +
        describe(offset),
    );
  }
  // Without zeros, so that no extent hides behind another's 0.
  const elements = shape.reduce((product, extent) => product * (extent || 1), 1);
  const last = shape.reduce((sum, extent, axis) => sum + Math.max(0, extent - 1) * strides[axis], offset);
  if (!Number.isSafeInteger(elements) || !Number.isSafeInteger(last)) {
    refuse(`a tensor must fit into 2^53 elements, got size ${describe(size)} and stride ${describe(stride)}`);
  }
  return new TensorRef(storage, dtype, offset, shape, strides);
}
