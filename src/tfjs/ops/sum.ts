/** sum on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { SumAttributes } from "../../ops/sum.ts";
import { total } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** Any shape, any layout. */
export const sum: TfjsOp<SumAttributes> = {
  images: "any",
  forward: ([x]) => total(x!),
  backward: (gradient, [x]) => [tf.mul(tf.onesLike(x!), tf.reshape(gradient, []))],
};
