/** globalAveragePool: the mean over all spatial axes, `[N, C, ...spatial]` → `[N, C]`. */
import { type Op, requireAxes } from "./op.ts";

/** {@linkcode globalAveragePool} has no attributes. */
export type GlobalAveragePoolAttributes = Record<string, never>;

/** Inputs: x `[N, C, ...spatial]`. */
export const globalAveragePool: Op<"globalAveragePool", GlobalAveragePoolAttributes> = {
  name: "globalAveragePool",
  outputShape([input]) {
    const x = requireAxes("globalAveragePool", "the input", input, 3, 5);
    return [x[0], x[1]];
  },
};
