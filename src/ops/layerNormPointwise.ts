/**
 * layerNormPointwise: the channels of every pixel normalised, mapped linearly and, if asked, activated:
 * y[n, m, p] = f(bias[m] + sum over c of weight[m, c] (u[n, c, p] normWeight[c] + normBias[c])),
 * u = (x - mean) / sqrt(variance + epsilon) over the channels of the pixel. The first half of a ConvNeXt block's tail.
 */
import { shapeText } from "../spec.ts";
import { type Op, requireAxes, requireShape } from "./op.ts";

/** What is applied to every element: nothing, or the exact Gaussian error linear unit. */
export type Activation = "none" | "gelu";

/** Attributes of {@linkcode layerNormPointwise}. */
export interface LayerNormPointwiseAttributes {
  readonly epsilon: number;
  /** Of the output. Training leaves it to `pointwiseResidual`, so that the sums before it are all that is kept. */
  readonly activation: Activation;
}

/** Inputs: x `[N, C, ...spatial]`, normWeight `[C]`, normBias `[C]`, weight `[M, C]`, bias `[M]` or null. */
export const layerNormPointwise: Op<"layerNormPointwise", LayerNormPointwiseAttributes> = {
  name: "layerNormPointwise",
  outputShape([input, normWeight, normBias, weightShape, bias]) {
    const x = requireAxes("layerNormPointwise", "the input", input, 2, 5);
    requireShape("layerNormPointwise", "normWeight", normWeight, [x[1]]);
    requireShape("layerNormPointwise", "normBias", normBias, [x[1]]);
    const weight = requireAxes("layerNormPointwise", "weight", weightShape, 2);
    if (weight[1] !== x[1]) {
      throw new RangeError(
        `Cannot run layerNormPointwise: weight must be [out, ${x[1]}] for an input of shape ${
          shapeText(x)
        }, got ${shapeText(weight)}`,
      );
    }
    if (bias) requireShape("layerNormPointwise", "bias", bias, [weight[0]]);
    return [x[0], weight[0], ...x.slice(2)];
  },
};
