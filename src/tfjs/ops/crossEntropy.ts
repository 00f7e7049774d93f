/** crossEntropy on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { CrossEntropyAttributes } from "../../ops/crossEntropy.ts";
import type { TfjsOp } from "../op.ts";

/** Rows that say what each row of logits should be. (wasm's oneHot leaves float32 outputs unset.) */
function targets(labels: tf.Tensor, classes: number, labelSmoothing: number): tf.Tensor {
  const hot = tf.equal(tf.reshape(labels, [labels.size, 1]), tf.range(0, classes));
  return tf.add(tf.mul(tf.cast(hot, "float32"), 1 - labelSmoothing), labelSmoothing / classes);
}

/** Logits minus the row's logarithm of the sum of exponentials, the largest logit taken out first. */
function logSoftmax(logits: tf.Tensor): tf.Tensor {
  const shifted = tf.sub(logits, tf.max(logits, 1, true));
  return tf.sub(shifted, tf.log(tf.sum(tf.exp(shifted), 1, true)));
}

/** logits `[N, M]`, labels `[N]`. dlogits = (softmax - target) / N. */
export const crossEntropy: TfjsOp<CrossEntropyAttributes> = {
  images: [],
  forward([logits, labels], { labelSmoothing }) {
    const [batch, classes] = logits!.shape;
    const products = tf.mul(targets(labels!, classes, labelSmoothing), logSoftmax(logits!));
    return tf.div(tf.sum(products), -batch);
  },
  backward(gradient, [logits, labels], { labelSmoothing }) {
    const [batch, classes] = logits!.shape;
    const difference = tf.sub(tf.exp(logSoftmax(logits!)), targets(labels!, classes, labelSmoothing));
    return [tf.mul(difference, tf.div(gradient, batch)), null];
  },
};
