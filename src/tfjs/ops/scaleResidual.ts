/** scaleResidual on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { ScaleResidualAttributes } from "../../ops/scaleResidual.ts";
import { columnSum } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** shortcut and x `[N, ...spatial, C]`, scale `[C]`. By hand: tf.grads sums axis by axis. */
export const scaleResidual: TfjsOp<ScaleResidualAttributes> = {
  images: [0, 1],
  forward: ([shortcut, x, scale]) => tf.add(shortcut!, tf.mul(x!, scale!)),
  backward: (gradient, [, x, scale], _, needs) => [
    needs[0] ? gradient : null,
    needs[1] ? tf.mul(gradient, scale!) : null,
    needs[2] ? columnSum(tf.mul(gradient, x!)) : null,
  ],
};
