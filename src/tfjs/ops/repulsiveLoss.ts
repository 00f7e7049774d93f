/** repulsiveLoss on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { RepulsiveLossAttributes } from "../../ops/repulsiveLoss.ts";
import { squareRoot, total } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/**
 * P `[axes, ..., K]`. Takes all K² ordered pairs, hence each distance twice, and masks the K of an element with
 * itself: loss = Σ / (K (K - 1) rows).
 */
export const repulsiveLoss: TfjsOp<RepulsiveLossAttributes> = {
  images: [],
  forward([P]) {
    const [axes, K] = [P!.shape[0], P!.shape.at(-1)!];
    const rows = P!.size / (axes * K);
    // 0 * sum keeps P on the tape of tf.grads, and a NaN in sight.
    if (K === 1) return tf.mul(tf.sum(P!), 0);
    const difference = tf.sub(tf.reshape(P!, [axes, rows, K, 1]), tf.reshape(P!, [axes, rows, 1, K]));
    const distance = squareRoot(tf.sum(tf.square(difference), 0));
    const others = tf.sub(1, tf.eye(K));
    return tf.div(total(tf.mul(tf.relu(tf.sub(1, distance)), others)), K * (K - 1) * rows);
  },
};
