/** binary on tfjs: its broadcasting covers the single element, its gradients sum over it. */
import * as tf from "@tensorflow/tfjs";
import type { BinaryAttributes, BinaryKind } from "../../ops/binary.ts";
import type { TfjsOp } from "../op.ts";

const functions: Record<BinaryKind, (a: tf.Tensor, b: tf.Tensor) => tf.Tensor> = {
  add: (a, b) => tf.add(a, b),
  sub: (a, b) => tf.sub(a, b),
  mul: (a, b) => tf.mul(a, b),
  div: (a, b) => tf.div(a, b),
};

/** A single element becomes a scalar first, so that its own axes never widen the output. */
export const binary: TfjsOp<BinaryAttributes> = {
  images: "any",
  forward([a, b], { kind }) {
    const scalar = (x: tf.Tensor): tf.Tensor => tf.reshape(x, []);
    if (b!.size === 1) return functions[kind](a!, scalar(b!));
    return functions[kind](a!.size === 1 ? scalar(a!) : a!, b!);
  },
};
