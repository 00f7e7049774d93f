/** pointwise: 1x1 convolution, or a linear map of the channel axis. y[n, m, p] = bias[m] + sum over c of weight[m, c] x[n, c, p]. */
import { shapeText } from "../spec.ts";
import { type Op, requireAxes, requireShape } from "./op.ts";

/** {@linkcode pointwise} has no attributes. */
export type PointwiseAttributes = Record<string, never>;

/** Inputs: x `[N, C, ...spatial]` (any number of spatial axes), weight `[M, C]`, bias `[M]` or null. */
export const pointwise: Op<"pointwise", PointwiseAttributes> = {
  name: "pointwise",
  outputShape([input, weightShape, bias]) {
    const x = requireAxes("pointwise", "the input", input, 2, 5);
    const weight = requireAxes("pointwise", "weight", weightShape, 2);
    if (weight[1] !== x[1]) {
      throw new RangeError(
        `Cannot run pointwise: weight must be [out, ${x[1]}] for an input of shape ${shapeText(x)}, ` +
          `got ${shapeText(weight)}`,
      );
    }
    if (bias) requireShape("pointwise", "bias", bias, [weight[0]]);
    return [x[0], weight[0], ...x.slice(2)];
  },
};
