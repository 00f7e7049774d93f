/** correctCount in float64. */
import { elements, type ReferenceOp, shapeOf } from "./operand.ts";

/** logits, labels → the number of rows whose first largest entry is at the label; a row with a NaN is never counted. */
export const correctCount: ReferenceOp<"correctCount"> = {
  forward(inputs) {
    const [logits, labels] = [elements(inputs, 0), elements(inputs, 1)];
    const [batch, classes] = shapeOf(inputs, 0);
    let count = 0;
    for (let n = 0; n < batch; n++) {
      const row = logits.subarray(n * classes, (n + 1) * classes);
      const label = labels[n];
      const chosen = row[label];
      // Written so that any comparison with NaN refuses the row.
      if (row.every((value, m) => m < label ? chosen > value : chosen >= value)) count++;
    }
    return { data: new Float64Array([count]) };
  },

  /** A count has no gradient. */
  backward() {
    return [null, null];
  },
};
