/**
 * Tensors: a shape, a storage on a backend, and the op that made it.
 *
 * Legend of dimensions: N batch, C channels, then 1 to 3 spatial axes; `[N, C, ...spatial]` as in PyTorch.
 */
import {
  type Backend,
  currentBackend,
  type Handle,
  hasEnded,
  type Operand,
  requireDtype,
  shapeFollower,
} from "./backend.ts";
import { type DType, type DTypeName, dtypeNamed } from "./dtype.ts";
import {
  binary,
  cast,
  type OpName,
  type OpTable,
  sum,
  unary,
  type UpdateName,
  type UpdateTable,
} from "./ops/mod.ts";
import type { BinaryKind } from "./ops/binary.ts";
import { type Op, outputDtypeOf } from "./ops/op.ts";
import type { UnaryKind } from "./ops/unary.ts";
import { type Shape, shapeText, sizeOf } from "./spec.ts";
import { addToScope, removeFromScopes } from "./scope.ts";
import { Storage, storageOf } from "./storage.ts";
import { checkGradient, isRecording, type TapeAccess, type TapeNode, walkBack } from "./tape.ts";

/** Storage of tensors that were dropped without `dispose()` goes back when the garbage collector notices. */
const dropped = new FinalizationRegistry<Storage>((storage) => storage.release());
let created = 0;
const KEY = Symbol("inside the module");

let tapeAccess: TapeAccess;
/** A tensor as its backend sees it. */
export let operand: (x: Tensor, doing: string) => Operand;
/** The same elements as a tensor that gradients reach: through `node`, or as a leaf where that is null. */
export let tracked: (x: Tensor, node: TapeNode | null) => Tensor;

/** How a tensor comes into being. */
interface TensorParts {
  readonly storage: Storage;
  readonly shape: Shape;
  readonly requiresGrad?: boolean;
  readonly node?: TapeNode | null;
  /** Whether an enclosing `tidy` frees it. */
  readonly scoped?: boolean;
}

/**
 * An n-dimensional array of numbers on a backend, kept as float32 or float16. Made by {@linkcode tensor}, {@linkcode randn} and ops.
 * Ops only queue work; `data()` and `item()` wait for it.
 */
export class Tensor {
  /** Extents, outermost axis first. */
  readonly shape: Shape;
  /** How the elements are kept. Ops compute in float32 either way; their output has the dtype of their first input. */
  readonly dtype: DType;
  /** Whether `backward()` gives this tensor, or what it was made from, a gradient. */
  readonly requiresGrad: boolean;
  /** The gradient that `backward()` left here (leaf tensors only); adds up until `zeroGrad()`. */
  grad: Tensor | null = null;
  #storage: Storage | null;
  #node: TapeNode | null;
  readonly #leaf: boolean;
  readonly #age = created++;

  /** @ignore not for users: see {@linkcode tensor} */
  constructor(key: symbol, parts: TensorParts) {
    if (key !== KEY) throw new TypeError("Cannot create a Tensor with new: use tensor(data, shape)");
    this.shape = Object.freeze([...parts.shape]);
    this.requiresGrad = parts.requiresGrad ?? false;
    this.dtype = parts.storage.dtype;
    this.#storage = parts.storage.retain();
    this.#node = parts.node ?? null;
    this.#leaf = this.#node === null;
    dropped.register(this, parts.storage, this);
    if (parts.scoped ?? true) addToScope(this);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** @ignore The backend the tensor lives on. */
  get backend(): Backend {
    return this.#live("use a tensor").backend;
  }

  /** Whether `dispose()` was called, here or by a `tidy` around it. */
  get isDisposed(): boolean {
    return this.#storage === null;
  }

  #live(doing: string): Storage {
    if (!this.#storage) {
      throw new Error(
        `Cannot ${doing}: the tensor of shape ${
          shapeText(this.shape)
        } was disposed, by dispose() or by the ` +
          "tidy() around it; return it from tidy, or dispose it later",
      );
    }
    if (hasEnded(this.#storage.backend)) {
      throw new Error(
        `Cannot ${doing}: the backend of the tensor of shape ${
          shapeText(this.shape)
        } was ended by shutdown(); ` +
          "read what you need before it",
      );
    }
    return this.#storage;
  }

  /** The elements in row-major order, as float32 whatever the dtype. Waits for the queued work. */
  async data(): Promise<Float32Array> {
    return (await readAll([this]))[0];
  }

  /**
   * The only element.
   * @throws {RangeError} when there is not exactly one
   */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new RangeError(
        `Cannot read item(): the tensor must have one element, got shape ${shapeText(this.shape)}`,
      );
    }
    return (await this.data())[0];
  }

  /**
   * Fills `grad` of every leaf that requires one and that this tensor was made from.
   * @param gradient of this tensor, of its shape and dtype; may be left out where the tensor has one element (then 1)
   * @throws {RangeError} when it is left out and the tensor has more elements, or its shape differs
   * @throws {TypeError} when its dtype differs
   * @throws {Error} when nothing here requires a gradient, it was already taken, or `gradient` is of another backend
   */
  backward(gradient?: Tensor): void {
    const storage = this.#live("run backward()");
    checkGradient(this, gradient);
    if (gradient) commonBackend("backward()", [this, gradient]);
    const start = gradient ? gradient.#live("run backward()") : storageOf(storage.backend, [1], this);
    walkBack(this, make({ storage: start, shape: this.shape, scoped: false }), tapeAccess);
  }

  /** Forgets the gradient. */
  zeroGrad(): void {
    this.grad?.dispose();
    this.grad = null;
  }

  /** Gives the storage back. Using the tensor afterwards is an error; disposing it again is not. */
  dispose(): void {
    if (!this.#storage) return;
    dropped.unregister(this);
    this.#storage.release();
    this.#storage = null;
    this.#node = null;
    removeFromScopes(this);
    this.zeroGrad();
  }

  /** So that `using x = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The same elements in another shape; one extent may be -1. Shares the storage. */
  reshape(shape: Shape): Tensor {
    const known = shape.reduce((product, extent) => extent === -1 ? product : product * extent, 1);
    const full = shape.map((extent) => extent === -1 ? this.size / known : extent);
    if (sizeOf(full) !== this.size || !full.every((e) => Number.isInteger(e) && e >= 0)) {
      throw new RangeError(
        `Cannot reshape: the new shape must hold ${this.size} elements, got ${shapeText(shape)} for ${
          shapeText(this.shape)
        }`,
      );
    }
    const requiresGrad = this.requiresGrad && isRecording();
    const node = requiresGrad ? { op: null, attributes: null, inputs: [this] } : null;
    return make({ storage: this.#live("reshape"), shape: full, requiresGrad, node });
  }

  /**
   * The same elements kept as `dtype`: float16 takes half the memory and rounds to 11 significant bits; what is above
   * 65,504 becomes infinite, what is below 3e-8 becomes 0. The gradient has the dtype of the tensor that it belongs to.
   * Where the dtype is this already, the storage is shared.
   *
   * @throws {RangeError} for a dtype that is unknown, or that the backend cannot keep
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { init, tensor } from "@dcls/dcls";
   *
   * const { dtypes } = await init();
   * const x = tensor([1, 0.1], [2]);
   * if (dtypes.includes("float16")) {
   *   const half = x.to("float16");
   *   assert.equal(half.dtype, "float16");
   *   assert.deepEqual([...await half.data()], [1, 0.0999755859375]);
   * } else assert.throws(() => x.to("float16"), RangeError);
   * ```
   */
  to(dtype: DTypeName): Tensor {
    const wanted = dtypeNamed("convert a tensor", dtype);
    if (wanted === this.dtype) return this.reshape(this.shape);
    requireDtype(this.backend, wanted, "convert a tensor");
    return apply(cast, [this], { dtype: wanted });
  }

  /** Elementwise sum; `other` has the same shape or one element, and the same dtype. */
  add(other: Tensor | number): Tensor {
    return this.#arithmetic("add", other);
  }
  /** Elementwise difference. */
  sub(other: Tensor | number): Tensor {
    return this.#arithmetic("sub", other);
  }
  /** Elementwise product. */
  mul(other: Tensor | number): Tensor {
    return this.#arithmetic("mul", other);
  }
  /** Elementwise quotient. */
  div(other: Tensor | number): Tensor {
    return this.#arithmetic("div", other);
  }
  /** The negative. */
  neg(): Tensor {
    return this.#unary("affine", -1, 0);
  }
  /** max(x, 0). */
  relu(): Tensor {
    return this.#unary("relu");
  }
  /** x Phi(x), the exact Gaussian error linear unit. */
  gelu(): Tensor {
    return this.#unary("gelu");
  }
  /** x squared. */
  square(): Tensor {
    return this.#unary("square");
  }
  /** |x|. */
  abs(): Tensor {
    return this.#unary("abs");
  }
  /** The sum of all elements, a float32 scalar. */
  sum(): Tensor {
    return apply(sum, [this], {});
  }
  /** The mean of all elements, a float32 scalar. */
  mean(): Tensor {
    return this.sum().mul(1 / this.size);
  }

  #unary(kind: UnaryKind, scale = 1, offset = 0): Tensor {
    return apply(unary, [this], { kind, scale, offset });
  }

  #arithmetic(kind: BinaryKind, other: Tensor | number): Tensor {
    if (other instanceof Tensor) return apply(binary, [this, other], { kind });
    if (typeof other !== "number") {
      throw new TypeError(
        `Cannot ${kind}: the other operand must be a tensor or a number, got ${typeof other}`,
      );
    }
    if (kind === "add") return this.#unary("affine", 1, other);
    if (kind === "sub") return this.#unary("affine", 1, -other);
    return this.#unary("affine", kind === "mul" ? other : 1 / other, 0);
  }

  static {
    operand = (x, doing) => ({ handle: x.#live(doing).handle, shape: x.shape, dtype: x.dtype });
    const adopt = (handle: Handle, like: Tensor): Tensor =>
      make({ storage: new Storage(like.backend, handle, like.dtype), shape: like.shape, scoped: false });
    const add = (a: Tensor, b: Tensor): Tensor => {
      const operands = [operand(a, "add"), operand(b, "add")];
      return adopt(a.backend.forward("binary", operands, { kind: "add" }, a.shape, a.dtype), a);
    };
    tapeAccess = {
      age: (x) => x.#age,
      node: (x) => x.#node,
      isLeaf: (x) => x.#leaf,
      detach: (x) => x.#node = null,
      operand,
      view: (x, like) => make({ storage: x.#live("reshape"), shape: like.shape, scoped: false }),
      adopt,
      add,
    };
    tracked = (x, node) =>
      make({ storage: x.#live("run checkpoint"), shape: x.shape, requiresGrad: true, node });
  }
}

function make(parts: TensorParts): Tensor {
  return new Tensor(KEY, parts);
}

/**
 * Uploads elements to the running backend. The shape must fit: callers check.
 * @throws {RangeError} when the backend cannot keep the dtype
 */
export function upload(
  data: Float32Array,
  shape: Shape,
  requiresGrad: boolean,
  dtype: DType = "float32",
): Tensor {
  const backend = currentBackend("create a tensor");
  requireDtype(backend, dtype, "create a tensor");
  return make({ storage: storageOf(backend, data, { shape, dtype }), shape, requiresGrad });
}

/** A subclass of Tensor that adds no constructor of its own. */
export type TensorSubclass<T extends Tensor> = new (...parts: ConstructorParameters<typeof Tensor>) => T;

/** Uploads elements as a tensor of a subclass that receives gradients and that no `tidy` frees: a parameter. */
export function uploadAs<T extends Tensor>(Class: TensorSubclass<T>, data: Float32Array, shape: Shape): T {
  const backend = currentBackend("create a parameter");
  const storage = storageOf(backend, data, { shape, dtype: "float32" });
  return new Class(KEY, { storage, shape, requiresGrad: true, scoped: false });
}

/** A tensor of what a backend made. */
export function adopt(backend: Backend, handle: Handle, shape: Shape, dtype: DType): Tensor {
  return make({ storage: new Storage(backend, handle, dtype), shape });
}

/** Runs an op: checks shapes, queues the work, records it. Inputs may be null where the op allows it. */
export function apply<N extends OpName>(
  op: Op<N, OpTable[N]>,
  inputs: readonly (Tensor | null)[],
  attributes: OpTable[N],
): Tensor {
  currentBackend(`run ${op.name}`);
  const backend = commonBackend(op.name, inputs);
  const operands = inputs.map((x) => x && operand(x, `run ${op.name}`));
  const shape = op.outputShape(inputs.map((x) => x && x.shape), attributes);
  const dtype = outputDtypeOf(op, inputs.map((x) => x && x.dtype), attributes);
  const handle = backend.forward(op.name, operands, attributes, shape, dtype);
  const requiresGrad = isRecording() &&
    inputs.some((x, i) => x?.requiresGrad && !op.constantInputs?.includes(i));
  // The table of ops pairs each name with its attributes; TypeScript cannot carry that through the union.
  const node = requiresGrad ? { op, attributes, inputs } as unknown as TapeNode : null;
  return make({ storage: new Storage(backend, handle, dtype), shape, requiresGrad, node });
}

/**
 * Runs an in-place update: not recorded.
 * @throws {TypeError} unless all operands are float32
 */
export function update<N extends UpdateName>(
  name: N,
  operands: readonly Tensor[],
  attributes: UpdateTable[N],
): void {
  const narrow = operands.find((x) => x.dtype !== "float32");
  if (narrow) {
    throw new TypeError(`Cannot run ${name}: tensors that learn must be float32, got ${narrow.dtype}`);
  }
  commonBackend(name, operands).update(name, operands.map((x) => operand(x, `run ${name}`)), attributes);
}

/** The elements of several tensors of one backend, in one wait. */
export async function readAll(tensors: readonly Tensor[]): Promise<Float32Array[]> {
  if (tensors.length === 0) return [];
  return await commonBackend("read", tensors).read(tensors.map((x) => operand(x, "read data()")));
}

function commonBackend(doing: string, tensors: readonly (Tensor | null)[]): Backend {
  const [first, ...rest] = tensors.filter((x) => x !== null);
  if (!(first instanceof Tensor)) {
    throw new TypeError(`Cannot run ${doing}: the input must be a Tensor, got ${typeof first}`);
  }
  const follower = shapeFollower();
  for (const other of rest) {
    if (!(other instanceof Tensor)) {
      throw new TypeError(`Cannot run ${doing}: every input must be a Tensor, got ${typeof other}`);
    }
    if (other.backend !== first.backend && !follower) {
      throw new Error(
        `Cannot run ${doing}: all tensors must live on one backend, got ${first.backend.info.name} and ` +
          `${other.backend.info.name}; copy with tensor(await x.data(), x.shape)`,
      );
    }
  }
  return follower ?? first.backend;
}
