/** The in-place updates on tfjs: new tensors that take the old ones' place in their handles. */
import * as tf from "@tensorflow/tfjs";
import type { Operand, UpdateImplementations } from "../backend.ts";
import { replaceTensor, type TfjsHandle, viewed } from "./handle.ts";

const value = ({ handle, shape }: Operand<TfjsHandle>): tf.Tensor => viewed(handle, shape, "first");

/** Each update by name; see `UpdateTable` for the operands. Run inside tf.tidy. */
export const tfjsUpdates: UpdateImplementations<TfjsHandle> = {
  /**
   * p ← p (1 - lr decay);  m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;
   * p ← p - lr m̂ / (√v̂ + ε), with m̂ = m / (1 - β1^step) and v̂ = v / (1 - β2^step); for each parameter.
   */
  adamW(operands, attributes) {
    attributes.forEach(({ learningRate, beta1, beta2, epsilon, weightDecay, step }, n) => {
      const own = operands.slice(4 * n, 4 * n + 4);
      if (own[0].shape.includes(0)) return;
      tf.tidy(() => {
        const [p, g, m, v] = own.map(value);
        const first = tf.add(tf.mul(m, beta1), tf.mul(g, 1 - beta1));
        const second = tf.add(tf.mul(v, beta2), tf.mul(tf.square(g), 1 - beta2));
        const root = tf.sqrt(tf.div(second, 1 - beta2 ** step));
        const change = tf.div(tf.mul(first, learningRate / (1 - beta1 ** step)), tf.add(root, epsilon));
        [tf.sub(tf.mul(p, 1 - learningRate * weightDecay), change), first, second].forEach((tensor, i) => {
          replaceTensor(own[[0, 2, 3][i]].handle, tensor, "first");
        });
      });
    });
  },

  /** NaN stays NaN: wasm's minimum and maximum answer NaN where their first argument is. */
  clamp([operand], { low, high }) {
    const P = value(operand);
    const perAxis = [low.length, ...P.shape.slice(1).map(() => 1)];
    const below = tf.minimum(P, tf.reshape(tf.tensor1d([...high]), perAxis));
    replaceTensor(operand.handle, tf.maximum(below, tf.reshape(tf.tensor1d([...low]), perAxis)), "first");
  },

  assign([target, source]) {
    replaceTensor(target.handle, tf.reshape(value(source), [...target.shape]), "first");
    target.handle.shape = target.shape;
  },
};
