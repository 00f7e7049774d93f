/** sum of all elements. */
import type { Op } from "./op.ts";

/** {@linkcode sum} has no attributes. */
export type SumAttributes = Record<string, never>;

/** Inputs: x, any shape. The output is a scalar. */
export const sum: Op<"sum", SumAttributes> = {
  name: "sum",
  outputDtype: () => "float32",
  outputShape([x]) {
    if (!x) throw new TypeError("Cannot run sum: an input is required, got none");
    return [];
  },
};
