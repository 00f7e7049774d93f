/** Small functions that several ops are composed of, and gradients that tfjs gets wrong. */
import * as tf from "@tensorflow/tfjs";
import type { Shape } from "../spec.ts";

/** Another tensor with the same values, which are not copied: unlike tf.clone on wasm, which does copy them. */
export function alias(x: tf.Tensor): tf.Tensor {
  return tf.reshape(x, x.shape);
}

/** √x with a gradient of 0 at 0, where tfjs has infinity. */
export const squareRoot: (x: tf.Tensor) => tf.Tensor = tf.customGrad((x, save) => {
  const value = tf.sqrt(x as tf.Tensor);
  (save as tf.GradSaveFunc)([value]);
  return {
    value,
    // 1 is added where the root is 0, so that nothing is divided by 0, and the product with its sign is 0 there.
    gradFunc: (dy: tf.Tensor, [root]: tf.Tensor[]) => {
      const positive = tf.sign(root);
      return tf.div(tf.mul(dy, positive), tf.mul(2, tf.add(root, tf.sub(1, positive))));
    },
  };
});

/**
 * What `step` makes of x, which is freed, as is all else that `step` made. A chain of such steps goes through the same
 * two or three buffers, which stay in the processor's cache; inside one tf.tidy each step would get new ones.
 * Not for use in what tf.grads follows.
 */
export function inPlaceOf(x: tf.Tensor, step: (x: tf.Tensor) => tf.Tensor): tf.Tensor {
  const result = tf.tidy(() => step(x));
  x.dispose();
  return result;
}

/** Sum of all but the last axis. */
export function columnSum(x: tf.Tensor): tf.Tensor1D {
  const columns = x.shape.at(-1)!;
  const rows = x.size / columns;
  const block = blocks(rows);
  return tf.sum(tf.sum(tf.reshape(x, [block, rows / block, columns]), 1), 0);
}

/** Sum over the columns of a matrix. */
export function rowSum(x: tf.Tensor2D): tf.Tensor1D {
  const [rows, columns] = x.shape;
  const block = blocks(columns);
  return tf.sum(tf.sum(tf.reshape(x, [rows, block, columns / block]), 2), 1);
}

/** Into how many parts to divide a sum of `count`: one running float32 sum over 400,000 is off by 2e-4. */
function blocks(count: number): number {
  return count > 1024 ? divisor(count, 1024) : 1;
}

/** The largest divisor of `count` that is at most `limit`. */
function divisor(count: number, limit: number): number {
  for (let candidate = limit; candidate > 1; candidate--) {
    if (count % candidate === 0) return candidate;
  }
  return 1;
}

/** Sum of all elements, level by level. */
export function total(x: tf.Tensor): tf.Scalar {
  const width = 1024;
  if (x.size <= width) return tf.sum(x);
  const flat = tf.reshape(x, [x.size]);
  const missing = (width - x.size % width) % width;
  const full = missing === 0 ? flat : tf.pad(flat, [[0, missing]]);
  return total(tf.sum(tf.reshape(full, [full.size / width, width]), 1));
}

/**
 * The slices of the leading axis that each list names, -1 for zeros: one tensor per list.
 *
 * tf.slice on wasm copies the whole tensor for each slice (16 slices of [16, 128, 14, 14]: 12 ms against 0.5 ms
 * here), so the values are fetched once. On a CPU engine that waits for nothing.
 */
export function selectLeading(x: tf.Tensor, lists: readonly (readonly number[])[]): tf.Tensor[] {
  const rest = x.shape.slice(1);
  const length = rest.reduce((product, extent) => product * extent, 1);
  const values = x.dataSync();
  return lists.map((list) => {
    const first = list[0];
    if (list.every((row, i) => row === first + i && row >= 0)) {
      const part = values.subarray(first * length, (first + list.length) * length);
      return tf.tensor(part, [list.length, ...rest], "float32");
    }
    const part = new Float32Array(list.length * length);
    list.forEach((row, i) => {
      if (row >= 0) part.set(values.subarray(row * length, (row + 1) * length), i * length);
    });
    return tf.tensor(part, [list.length, ...rest], "float32");
  });
}

/** The tensors along the leading axis, each in the shape given. */
export function unstack(x: tf.Tensor, shape: Shape): tf.Tensor[] {
  if (x.shape[0] === 1) return [tf.reshape(x, [...shape])];
  const lists = Array.from({ length: x.shape[0] }, (_, i) => [i]);
  return selectLeading(x, lists).map((part) => tf.reshape(part, [...shape]));
}
