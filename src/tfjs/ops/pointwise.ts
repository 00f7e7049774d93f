/** pointwise on tfjs: one matrix product over all pixels. */
import * as tf from "@tensorflow/tfjs";
import type { PointwiseAttributes } from "../../ops/pointwise.ts";
import { columnSum } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** The pixels of `[N, ...spatial, C]` as rows. */
function rows(x: tf.Tensor): tf.Tensor2D {
  const channels = x.shape.at(-1)!;
  return tf.reshape(x, [x.size / channels, channels]);
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
    return [
      needs[0] ? tf.reshape(tf.matMul(dy, weight as tf.Tensor2D), x!.shape) : null,
      needs[1] ? tf.matMul(tf.transpose(dy), rows(x!)) : null,
      needs[2] ? columnSum(dy) : null,
    ];
  },
};
