/** layerNormPointwise on tfjs: the ops it is made of; what is cheap is computed again in the backward, not kept. */
import type { LayerNormPointwiseAttributes } from "../../ops/layerNormPointwise.ts";
import type { Inputs, TfjsOp } from "../op.ts";
import { layerNorm } from "./layerNorm.ts";
import { pointwise } from "./pointwise.ts";
import { unary } from "./unary.ts";
import type * as tf from "@tensorflow/tfjs";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** The normalised image, and the arguments of the two ops around it. */
function normalised(inputs: Inputs, epsilon: number): tf.Tensor {
  return layerNorm.forward(inputs.slice(0, 3), { epsilon }, inputs[0]!.shape);
}

/** x `[N, ...spatial, C]`, normWeight and normBias `[C]`, weight `[M, C]`, bias `[M]`. */
export const layerNormPointwise: TfjsOp<LayerNormPointwiseAttributes> = {
  images: [0],
  forward(inputs, { epsilon, activation }, shape) {
    const sums = pointwise.forward([normalised(inputs, epsilon), inputs[3], inputs[4]], {}, shape);
    return activation === "none" ? sums : unary.forward([sums], GELU, shape);
  },
  backward(gradient, inputs, { epsilon, activation }, needs) {
    const normal = normalised(inputs, epsilon);
    const linear = [normal, inputs[3], inputs[4]];
    let ds: tf.Tensor | null = gradient;
    if (activation !== "none") {
      const sums = pointwise.forward(linear, {}, gradient.shape);
      [ds] = unary.backward!(gradient, [sums], GELU, [true]);
    }
    const towardsNorm = needs[0] || needs[1] || needs[2];
    const [dNormal, dWeight, dBias] = pointwise.backward!(ds!, linear, {}, [towardsNorm, needs[3], needs[4]]);
    const before = towardsNorm
      ? layerNorm.backward!(
        dNormal!.reshape(normal.shape),
        inputs.slice(0, 3),
        { epsilon },
        needs.slice(0, 3),
      )
      : [null, null, null];
    return [...before, dWeight, dBias];
  },
};
