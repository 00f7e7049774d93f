/** globalAveragePool on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { GlobalAveragePoolAttributes } from "../../ops/globalAveragePool.ts";
import type { TfjsOp } from "../op.ts";

/** x `[N, ...spatial, C]`. */
export const globalAveragePool: TfjsOp<GlobalAveragePoolAttributes> = {
  images: [0],
  forward: ([x]) => tf.mean(x!, x!.shape.slice(1, -1).map((_, axis) => axis + 1)),
};
