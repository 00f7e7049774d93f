/** layerNorm on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { LayerNormAttributes } from "../../ops/layerNorm.ts";
import { columnSum } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** (x - mean) / √(variance + ε) and 1 / √(variance + ε), at every pixel. */
export function normalise(x: tf.Tensor, epsilon: number): { normal: tf.Tensor; scale: tf.Tensor } {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const scale = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  return { normal: tf.mul(centred, scale), scale };
}

/** The gradient to x, from that of the normal times weight. */
export function throughNormal(g: tf.Tensor, normal: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  const along = tf.mul(normal, tf.mean(tf.mul(g, normal), -1, true));
  return tf.mul(tf.sub(tf.sub(g, tf.mean(g, -1, true)), along), scale);
}

/**
 * x `[N, ...spatial, C]`, weight and bias `[C]`. With n the normal and s the scale of {@linkcode normalise} and
 * g = dy * weight: dx = s (g - mean(g) - n mean(g n)), dweight = Σ dy n, dbias = Σ dy. By hand, as tf.grads takes
 * four times as long.
 */
export const layerNorm: TfjsOp<LayerNormAttributes> = {
  images: [0],
  forward([x, weight, bias], { epsilon }) {
    return tf.add(tf.mul(normalise(x!, epsilon).normal, weight!), bias!);
  },
  backward(gradient, [x, weight], { epsilon }, needs) {
    const { normal, scale } = normalise(x!, epsilon);
    return [
      needs[0] ? throughNormal(tf.mul(gradient, weight!), normal, scale) : null,
      needs[1] ? columnSum(tf.mul(gradient, normal)) : null,
      needs[2] ? columnSum(gradient) : null,
    ];
  },
};
