/** Makes tensors out of numbers. */
import { type DType, type DTypeName, dtypeNamed } from "./dtype.ts";
import { fillNormal, fillUniform } from "./random.ts";
import { type Shape, shapeText, sizeOf } from "./spec.ts";
import { type Tensor, upload } from "./tensor.ts";

/** Options of every function that makes a tensor. */
export interface TensorOptions {
  /** Whether `backward()` leaves a gradient here. Default false. */
  requiresGrad?: boolean;
  /**
   * How the elements are kept; `"f32"` and `"f16"` for short. Default `"float32"`. `"float16"` needs a backend that
   * has it ({@linkcode BackendInfo} `dtypes`): WebGPU with `shader-f16`.
   */
  dtype?: DTypeName;
}

/** Options of {@linkcode randn} and {@linkcode uniform}. */
export interface RandomOptions extends TensorOptions {
  /** Same seed, same numbers, on every backend. Default: a new one for every call. */
  seed?: number;
}

/** The dtype that the options ask for, once the shape is known to be one. */
function checked(doing: string, shape: Shape, { dtype }: TensorOptions): DType {
  checkShape(doing, shape);
  return dtypeNamed(`create ${doing}`, dtype);
}

function checkShape(doing: string, shape: Shape): void {
  if (!Array.isArray(shape) || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) {
    throw new RangeError(
      `Cannot create ${doing}: the shape must be a list of non-negative integers, got ${
        JSON.stringify(shape)
      }`,
    );
  }
  if (sizeOf(shape) > 2 ** 31) {
    throw new RangeError(
      `Cannot create ${doing}: at most 2^31 elements are possible, got shape ${shapeText(shape)}`,
    );
  }
}

/** A seed nobody chose. */
export function anySeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/**
 * A tensor of the given elements in row-major order; they are copied.
 *
 * @throws {RangeError} when the number of elements does not fit the shape, or the backend cannot keep the dtype
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 *
 * await init();
 * const x = tensor([1, 2, 3, 4], [2, 2]);
 * assert.deepEqual([...await x.mul(x).data()], [1, 4, 9, 16]);
 * ```
 */
export function tensor(data: ArrayLike<number>, shape: Shape, options: TensorOptions = {}): Tensor {
  const dtype = checked("a tensor", shape, options);
  if (data.length !== sizeOf(shape)) {
    throw new RangeError(
      `Cannot create a tensor: shape ${shapeText(shape)} needs ${sizeOf(shape)} elements, got ${data.length}`,
    );
  }
  const elements = data instanceof Float32Array ? data : Float32Array.from(data);
  return upload(elements, shape, options.requiresGrad ?? false, dtype);
}

/** A tensor of zeros. */
export function zeros(shape: Shape, options: TensorOptions = {}): Tensor {
  const dtype = checked("zeros", shape, options);
  return upload(new Float32Array(sizeOf(shape)), shape, options.requiresGrad ?? false, dtype);
}

/** A tensor of ones. */
export function ones(shape: Shape, options: TensorOptions = {}): Tensor {
  const dtype = checked("ones", shape, options);
  return upload(new Float32Array(sizeOf(shape)).fill(1), shape, options.requiresGrad ?? false, dtype);
}

/**
 * A tensor of standard normal numbers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, randn } from "@dcls/dcls";
 *
 * await init();
 * const a = randn([5], { seed: 1 }), b = randn([5], { seed: 1 });
 * assert.deepEqual(await a.data(), await b.data());
 * ```
 */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  const dtype = checked("randn", shape, options);
  const data = new Float32Array(sizeOf(shape));
  fillNormal(data, options.seed ?? anySeed());
  return upload(data, shape, options.requiresGrad ?? false, dtype);
}

/** A tensor of numbers uniform in [low, high), by default [0, 1). */
export function uniform(shape: Shape, options: RandomOptions & { low?: number; high?: number } = {}): Tensor {
  const dtype = checked("uniform", shape, options);
  const data = new Float32Array(sizeOf(shape));
  fillUniform(data, options.seed ?? anySeed(), options.low ?? 0, options.high ?? 1);
  return upload(data, shape, options.requiresGrad ?? false, dtype);
}
