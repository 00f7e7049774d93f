/** binary: elementwise arithmetic of two tensors of one shape, or of a tensor and a tensor of one element. */
import { sameShape, shapeText, sizeOf } from "../spec.ts";
import type { Op } from "./op.ts";

/** The operations. */
export type BinaryKind = "add" | "sub" | "mul" | "div";

/** Attributes of {@linkcode binary}. */
export interface BinaryAttributes {
  readonly kind: BinaryKind;
}

/** Inputs: a, b. The output has the shape of the one that is not a single element, a's where both are. */
export const binary: Op<"binary", BinaryAttributes> = {
  name: "binary",
  activations: [0, 1],
  outputShape([a, b], { kind }) {
    if (!a || !b) throw new TypeError(`Cannot run ${kind}: two inputs are required, got ${a ? 1 : 0}`);
    if (sameShape(a, b) || sizeOf(b) === 1) return a;
    if (sizeOf(a) === 1) return b;
    throw new RangeError(
      `Cannot run ${kind}: shapes must be equal, or one a single element, got ${shapeText(a)} and ${
        shapeText(b)
      }`,
    );
  },
};
