/** layerNorm over the channel axis, at every pixel: y = (x - mean) / sqrt(variance + epsilon) * weight + bias. */
import { type Op, requireAxes, requireShape } from "./op.ts";

/** Attributes of {@linkcode layerNorm}. */
export interface LayerNormAttributes {
  readonly epsilon: number;
}

/** Inputs: x `[N, C, ...spatial]`, weight `[C]`, bias `[C]`. The variance is the biased one. */
export const layerNorm: Op<"layerNorm", LayerNormAttributes> = {
  name: "layerNorm",
  outputShape([input, weight, bias]) {
    const x = requireAxes("layerNorm", "the input", input, 2, 5);
    requireShape("layerNorm", "weight", weight, [x[1]]);
    requireShape("layerNorm", "bias", bias, [x[1]]);
    return x;
  },
};
