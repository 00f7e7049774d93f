/** unary on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { UnaryAttributes } from "../../ops/unary.ts";
import { absolute } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** Any shape, any layout. */
export const unary: TfjsOp<UnaryAttributes> = {
  images: "any",
  forward([input], { kind, scale, offset }) {
    const x = input!;
    if (kind === "affine") return tf.add(tf.mul(x, scale), offset);
    if (kind === "relu") return tf.relu(x);
    if (kind === "square") return tf.square(x);
    if (kind === "abs") return absolute(x);
    return gelu(x);
  },
};

/** Φ(x), the distribution function of the standard normal. */
function normalCdf(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1), 0.5);
}

/** x Φ(x), with d/dx = Φ(x) + x φ(x), φ(x) = exp(-x²/2) / √(2π). */
const gelu = tf.customGrad((input, save) => {
  const x = input as tf.Tensor;
  const phi = normalCdf(x);
  (save as tf.GradSaveFunc)([x, phi]);
  return {
    value: tf.mul(x, phi),
    gradFunc: (dy: tf.Tensor, [x, phi]: tf.Tensor[]) => {
      const density = tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return tf.mul(dy, tf.add(phi, tf.mul(x, density)));
    },
  };
});
