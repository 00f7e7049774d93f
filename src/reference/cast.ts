/** cast in float64: the backend rounds what it keeps. */
import { asked, elements, type ReferenceOp } from "./operand.ts";

/** x → x. */
export const cast: ReferenceOp<"cast"> = {
  forward: (inputs) => ({ data: elements(inputs, 0).slice() }),

  /** Rounding counts as the identity, so dL/dx = G. */
  backward: (gradient, _inputs, _attributes, needs) => asked(needs, [gradient.handle.data.slice()]),
};
