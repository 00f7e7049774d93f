/** correctCount on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { CorrectCountAttributes } from "../../ops/correctCount.ts";
import type { TfjsOp } from "../op.ts";

/** logits `[N, M]`, labels `[N]`. argMax takes the first of equal entries; a row with a NaN never counts. */
export const correctCount: TfjsOp<CorrectCountAttributes> = {
  images: [],
  forward([logits, labels]) {
    const hit = tf.cast(tf.equal(tf.cast(tf.argMax(logits!, 1), "float32"), labels!), "float32");
    const broken = tf.max(tf.cast(tf.isNaN(logits!), "float32"), 1);
    return tf.sum(tf.mul(hit, tf.sub(1, broken)));
  },
  backward: () => [null, null],
};
