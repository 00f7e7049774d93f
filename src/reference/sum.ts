/** sum in float64. */
import { asked, elements, type ReferenceOp } from "./operand.ts";

/** x → the sum of its elements, 0 where there are none. */
export const sum: ReferenceOp<"sum"> = {
  forward(inputs) {
    let total = 0;
    for (const x of elements(inputs, 0)) total += x;
    return { data: new Float64Array([total]) };
  },

  /** Every element has derivative 1, so dL/dx = G everywhere. */
  backward(gradient, inputs, _attributes, needs) {
    return asked(needs, [new Float64Array(elements(inputs, 0).length).fill(gradient.handle.data[0])]);
  },
};
