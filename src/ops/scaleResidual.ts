/** scaleResidual: y[n, c, p] = shortcut[n, c, p] + scale[c] * x[n, c, p], ConvNeXt's layer scale and residual in one. */
import { type Op, requireAxes, requireShape } from "./op.ts";

/** {@linkcode scaleResidual} has no attributes. */
export type ScaleResidualAttributes = Record<string, never>;

/** Inputs: shortcut `[N, C, ...spatial]`, x of the same shape, scale `[C]`. */
export const scaleResidual: Op<"scaleResidual", ScaleResidualAttributes> = {
  name: "scaleResidual",
  passThrough: 0,
  activations: [0, 1],
  outputShape([shortcut, input, scale]) {
    const x = requireAxes("scaleResidual", "the input", input, 2, 5);
    requireShape("scaleResidual", "shortcut", shortcut, x);
    requireShape("scaleResidual", "scale", scale, [x[1]]);
    return x;
  },
};
