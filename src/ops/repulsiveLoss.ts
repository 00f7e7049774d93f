/**
 * repulsiveLoss of positions P `[axes, out, in/groups, K]`:
 * 2 / (K (K - 1) * rows) * sum over rows and element pairs of max(0, 1 - distance); 0 for K = 1.
 * The gradient of the distance at 0 is 0.
 */
import { type Op, requireAxes } from "./op.ts";

/** {@linkcode repulsiveLoss} has no attributes. */
export type RepulsiveLossAttributes = Record<string, never>;

/** Inputs: P. The output is a scalar. */
export const repulsiveLoss: Op<"repulsiveLoss", RepulsiveLossAttributes> = {
  name: "repulsiveLoss",
  activations: [],
  outputShape([P]) {
    requireAxes("repulsiveLoss", "P", P, 2, 8);
    return [];
  },
};
