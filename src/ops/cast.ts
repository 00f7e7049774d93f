/** cast: the same elements as another dtype, rounded to the nearest (ties to even); what float16 cannot hold is infinite. */
import type { DType } from "../dtype.ts";
import type { Op } from "./op.ts";

/** Attributes of {@linkcode cast}. */
export interface CastAttributes {
  /** What the output is. */
  readonly dtype: DType;
}

/** Inputs: x, any shape. The gradient is that of the identity: dx = dy, as x's dtype. */
export const cast: Op<"cast", CastAttributes> = {
  name: "cast",
  outputDtype: ({ dtype }) => dtype,
  outputShape([x]) {
    if (!x) throw new TypeError("Cannot run cast: an input is required, got none");
    return x;
  },
};
