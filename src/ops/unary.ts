/** unary: one function applied to every element. `affine` is scale * x + offset; `gelu` is the exact one, x Phi(x). */
import type { Op } from "./op.ts";

/** The functions. */
export type UnaryKind = "affine" | "relu" | "gelu" | "square" | "abs";

/** Attributes of {@linkcode unary}; `scale` and `offset` are read by `affine` alone. */
export interface UnaryAttributes {
  readonly kind: UnaryKind;
  readonly scale: number;
  readonly offset: number;
}

/** Inputs: x, any shape. relu'(0) = abs'(0) = 0. */
export const unary: Op<"unary", UnaryAttributes> = {
  name: "unary",
  outputShape([x]) {
    if (!x) throw new TypeError("Cannot run unary: an input is required, got none");
    return x;
  },
};
