/** pointwise on tfjs: one matrix product over all pixels. */
import * as tf from "@tensorflow/tfjs";
import type { PointwiseAttributes } from "../../ops/pointwise.ts";
import { columnSum, rowSum } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** The pixels of `[N, ...spatial, C]` as rows. */
function rows(x: tf.Tensor): tf.Tensor2D {
  const channels = x.shape.at(-1)!;
  return tf.reshape(x, [x.size / channels, channels]);
}

/**
 * dyᵀ x, and the column sums of dy. wasm's matMul rearranges its right operand first and is slow to do so for a tall
 * one, so the wider of the two becomes the left: 2.3 ms in place of 8 for dy `[12544, 64]` and x `[12544, 16]`.
 */
function towardsParameters(dy: tf.Tensor2D, x: tf.Tensor2D): [tf.Tensor2D, tf.Tensor] {
  if (dy.shape[1] < x.shape[1]) return [tf.transpose(tf.matMul(tf.transpose(x), dy)), columnSum(dy)];
  const turned = tf.transpose(dy);
  return [tf.matMul(turned, x), rowSum(turned)];
}

/**
 * x `[N, ...spatial, C]`, weight `[M, C]`, bias `[M]`. With pixels as rows: y = x Wᵀ + b, dx = dy W, dW = dyᵀ x,
 * db = column sums of dy. Operands are transposed beforehand: wasm's matMul with transposeA or transposeB is
 * 5 to 10 times as slow, as are the gradients of tf.grads, which use them.
 */
export const pointwise: TfjsOp<PointwiseAttributes> = {
  images: [0],
  forward([x, weight, bias]) {
    const y = tf.matMul(rows(x!), tf.transpose(weight as tf.Tensor2D));
    return tf.reshape(bias ? tf.add(y, bias) : y, [...x!.shape.slice(0, -1), weight!.shape[0]]);
  },
  backward(gradient, [x, weight], _, needs) {
    const dy = rows(gradient);
    const [dWeight, dBias] = needs[1]
      ? towardsParameters(dy, rows(x!))
      : [null, needs[2] ? columnSum(dy) : null];
    return [needs[0] ? tf.matMul(dy, weight as tf.Tensor2D) : null, dWeight, dBias];
  },
};
