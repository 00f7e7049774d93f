/**
 * pointwiseResidual: the second half of a ConvNeXt block's tail, a linear map of the activated channels, scaled and added
 * to a shortcut: y[n, m, p] = shortcut[n, m, p] + keep[n] scale[m] (bias[m] + sum over c of weight[m, c] f(x[n, c, p])).
 * scale, where there is none, is 1; so is keep, or it is what stochastic depth (drop path) draws for the sample: 0 or 1 / (1 - rate).
 */
import { shapeText } from "../spec.ts";
import type { Activation } from "./layerNormPointwise.ts";
import { type Op, requireAxes, requireShape } from "./op.ts";

/** Attributes of {@linkcode pointwiseResidual}. */
export interface PointwiseResidualAttributes {
  /** Of x, before the linear map. */
  readonly activation: Activation;
}

/**
 * Inputs: x `[N, C, ...spatial]`, weight `[M, C]`, bias `[M]` or null, scale `[M]` or null, shortcut `[N, M, ...spatial]`,
 * keep `[N]` or null, which has no gradient.
 * The gradient of the shortcut is the output's own.
 */
export const pointwiseResidual: Op<"pointwiseResidual", PointwiseResidualAttributes> = {
  name: "pointwiseResidual",
  constantInputs: [5],
  passThrough: 4,
  activations: [0, 4],
  outputShape([input, weightShape, bias, scale, shortcut, keep]) {
    const x = requireAxes("pointwiseResidual", "the input", input, 2, 5);
    const weight = requireAxes("pointwiseResidual", "weight", weightShape, 2);
    if (weight[1] !== x[1]) {
      throw new RangeError(
        `Cannot run pointwiseResidual: weight must be [out, ${x[1]}] for an input of shape ${
          shapeText(x)
        }, ` +
          `got ${shapeText(weight)}`,
      );
    }
    if (bias) requireShape("pointwiseResidual", "bias", bias, [weight[0]]);
    if (scale) requireShape("pointwiseResidual", "scale", scale, [weight[0]]);
    const shape = [x[0], weight[0], ...x.slice(2)];
    requireShape("pointwiseResidual", "shortcut", shortcut, shape);
    if (keep) requireShape("pointwiseResidual", "keep", keep, [x[0]]);
    return shape;
  },
};
