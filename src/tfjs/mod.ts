/**
 * TensorFlow.js beside this module: its tensors made from ours, and ours from its.
 *
 * Importing this loads tfjs. To run DCLS layers on it, `init({ backend: "tfjs" })` is all it takes. In a browser, tfjs
 * must be told where its wasm files are: `setWasmPaths` of `@tensorflow/tfjs-backend-wasm`, before `init`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2d, init, tensor } from "@dcls/dcls";
 * import { fromTfjs, toTfjs } from "@dcls/dcls/tfjs";
 *
 * await init();
 * const image = await toTfjs({ shape: [1, 3, 8, 8], data: new Float32Array(192) }, { channelsLast: true });
 * assert.deepEqual(image.shape, [1, 8, 8, 3]); // as tfjs's own image functions have it
 *
 * const { data, shape } = await fromTfjs(image, { channelsLast: true });
 * const layer = new Dcls2d(3, 4, { kernelCount: 3, dilatedKernelSize: 5, padding: 2 });
 * const output = await toTfjs(layer.forward(tensor(data, shape)), { channelsLast: true });
 * assert.deepEqual(output.shape, [1, 8, 8, 4]);
 * image.dispose();
 * output.dispose();
 * ```
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { shapeText, sizeOf } from "../spec.ts";
import { startEngine } from "./engine.ts";

/** A tensor of TensorFlow.js, `tf.Tensor`. */
export type TfTensor = tf.Tensor;

/** Elements in row-major order and their shape; a `Tensor` of this module is one, too. */
export interface Elements {
  /** Extents, `[N, C, ...spatial]` for images. */
  readonly shape: readonly number[];
  /** The elements, or what reads them. */
  readonly data: Float32Array | (() => Promise<Float32Array>);
}

/** How a tensor's axes are to be read. */
export interface AxisOptions {
  /**
   * Whether the tfjs tensor is `[N, ...spatial, C]`, as its image and layer functions want it, where ours is
   * `[N, C, ...spatial]`. Default false: both have the same axes.
   */
  channelsLast?: boolean;
}

/**
 * A tfjs tensor with these elements, copied; yours to dispose. Starts tfjs where nothing has started it yet.
 *
 * @param source a tensor of this module, on any backend, or elements and their shape
 * @throws {RangeError} when the number of elements does not fit the shape, and for `channelsLast` with fewer than 3 axes
 */
export async function toTfjs(source: Elements, options: AxisOptions = {}): Promise<TfTensor> {
  const shape = [...source.shape];
  const order = axisOrder("make a tfjs tensor", shape.length, options);
  // A copy: tfjs's cpu engine goes on reading the array that it is given.
  const data = typeof source.data === "function" ? await source.data() : source.data.slice();
  if (data.length !== sizeOf(shape)) {
    throw new RangeError(
      `Cannot make a tfjs tensor: shape ${shapeText(shape)} needs ${
        sizeOf(shape)
      } elements, got ${data.length}`,
    );
  }
  await started();
  return tf.tidy(() => {
    const made = tf.tensor(data, shape, "float32");
    return order ? tf.transpose(made, order.toLast) : made;
  });
}

/**
 * The elements of a tfjs tensor, for `tensor(data, shape)`.
 *
 * @throws {RangeError} for `channelsLast` with fewer than 3 axes
 */
export async function fromTfjs(
  source: TfTensor,
  options: AxisOptions = {},
): Promise<{ shape: number[]; data: Float32Array }> {
  const order = axisOrder("read a tfjs tensor", source.rank, options);
  await started();
  const turned = tf.tidy(() => {
    const float = tf.cast(source, "float32");
    return order ? tf.transpose(float, order.toFirst) : tf.clone(float);
  });
  try {
    return { shape: turned.shape, data: (await turned.data<"float32">()).slice() };
  } finally {
    turned.dispose();
  }
}

/** The permutations between channels first and last; null where the axes stay. */
function axisOrder(
  doing: string,
  rank: number,
  { channelsLast = false }: AxisOptions,
): { toLast: number[]; toFirst: number[] } | null {
  if (!channelsLast) return null;
  if (rank < 3) {
    throw new RangeError(
      `Cannot ${doing}: channelsLast needs the axes N, C and at least one spatial one, got ${rank} axes`,
    );
  }
  const spatial = Array.from({ length: rank - 2 }, (_, a) => a);
  return {
    toLast: [0, ...spatial.map((a) => a + 2), 1],
    toFirst: [0, rank - 1, ...spatial.map((a) => a + 1)],
  };
}

/** Starts an engine where neither `init` nor the user has. */
async function started(): Promise<void> {
  if (!tf.getBackend()) await startEngine();
}
