/** Parameters: tensors that learn. */
import { type Shape, sizeOf } from "../spec.ts";
import { Tensor, update, upload, uploadAs } from "../tensor.ts";

/** The names after which only finite values are accepted: a NaN position would spread to its whole kernel. */
const FINITE: ReadonlySet<string> = new Set(["P", "SIG"]);

/**
 * Where a parameter called `name` may not have such values, says so; null where all is well.
 * For positions (`"P"`) and spreads (`"SIG"`) every value must be finite.
 */
export function findBadValue(name: string, data: Float32Array): string | null {
  if (!FINITE.has(name)) return null;
  const index = data.findIndex((value) => !Number.isFinite(value));
  return index < 0 ? null : `${data[index]} at index ${index}`;
}

/**
 * A tensor that learns: it requires a gradient, has a name, outlives every `tidy`, and its values can be replaced.
 * Layers make their own; a model's own parameters are made with {@linkcode parameter}.
 */
export class Parameter extends Tensor {
  /** What the parameter is to its layer: `"weight"`, `"bias"`, `"P"`, `"SIG"`, `"gamma"`. */
  name = "";

  /**
   * Replaces the values in place; whoever shares the parameter sees them. Queues a copy, waits for nothing.
   *
   * @param data as many values as the parameter has, in row-major order
   * @throws {RangeError} when there are more or fewer, or when positions (`P`) or spreads (`SIG`) are not finite
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { Dcls1d, init } from "@dcls/dcls";
   *
   * await init();
   * const layer = new Dcls1d(1, 1, { kernelCount: 2, dilatedKernelSize: 9 });
   * layer.P.assign([-3, 1.5]);
   * assert.deepEqual([...await layer.P.data()], [-3, 1.5]);
   * assert.throws(() => layer.P.assign([NaN, 0]), /P must be finite, got NaN at index 0/);
   * ```
   */
  assign(data: ArrayLike<number>): void {
    overwrite(this, checkedValues("assign to", this.name, data, this.shape));
  }
}

/** Replaces a tensor's elements in place. The number of elements must fit: callers check. */
export function overwrite(target: Tensor, data: Float32Array): void {
  const source = upload(data, target.shape, false);
  update("assign", [target, source], {});
  source.dispose();
}

function checkedValues(doing: string, name: string, data: ArrayLike<number>, shape: Shape): Float32Array {
  if (data.length !== sizeOf(shape)) {
    throw new RangeError(
      `Cannot ${doing} parameter ${name}: shape [${shape.join(", ")}] needs ${
        sizeOf(shape)
      } values, got ${data.length}`,
    );
  }
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  const bad = findBadValue(name, values);
  if (bad) throw new RangeError(`Cannot ${doing} parameter ${name}: ${name} must be finite, got ${bad}`);
  return values;
}

/**
 * Makes a parameter on the running backend.
 *
 * @param name what it is to its layer; `"P"` and `"SIG"` accept finite values only, and are not decayed
 * @param data its initial values in row-major order; they are copied
 * @throws {RangeError} when the number of values does not fit the shape
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { parameter } from "@dcls/dcls/nn";
 *
 * await init();
 * const gamma = parameter("gamma", [1, 2, 3], [3]);
 * gamma.square().sum().backward();
 * assert.deepEqual([...await gamma.grad!.data()], [2, 4, 6]);
 * ```
 */
export function parameter(name: string, data: ArrayLike<number>, shape: Shape): Parameter {
  const made = uploadAs(Parameter, checkedValues("create", name, data, shape), shape);
  made.name = name;
  return made;
}
