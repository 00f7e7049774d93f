/** crossEntropy in float64. */
import { asked, elements, type Inputs, type ReferenceOp, shapeOf } from "./operand.ts";

/** For every row of logits: its log-softmax and its target distribution. */
function* rows(
  inputs: Inputs,
  labelSmoothing: number,
): Generator<{ logSoftmax: Float64Array; target: Float64Array }> {
  const [logits, labels] = [elements(inputs, 0), elements(inputs, 1)];
  const [batch, classes] = shapeOf(inputs, 0);
  for (let n = 0; n < batch; n++) {
    const row = logits.subarray(n * classes, (n + 1) * classes);
    const largest = row.reduce((a, b) => Math.max(a, b), -Infinity);
    let sum = 0;
    for (const value of row) sum += Math.exp(value - largest);
    const target = new Float64Array(classes).fill(labelSmoothing / classes);
    // A label that is no class must not pass for one: its loss is NaN.
    if (target[labels[n]] === undefined) target.fill(NaN);
    else target[labels[n]] += 1 - labelSmoothing;
    yield { logSoftmax: row.map((value) => value - largest - Math.log(sum)), target };
  }
}

/** logits, labels → mean loss. */
export const crossEntropy: ReferenceOp<"crossEntropy"> = {
  forward(inputs, { labelSmoothing }) {
    const batch = shapeOf(inputs, 0)[0];
    let loss = 0;
    for (const { logSoftmax, target } of rows(inputs, labelSmoothing)) {
      for (let m = 0; m < target.length; m++) loss -= target[m] * logSoftmax[m] / batch;
    }
    return { data: new Float64Array([loss]) };
  },

  /**
   * L = -1/N sum over n, m of target[m] logSoftmax[m], and d logSoftmax[m] / d logit[j] = 1[m = j] - softmax[j].
   * The targets sum to 1, so dL/dlogit[j] = G / N (softmax[j] - target[j]).
   */
  backward(gradient, inputs, { labelSmoothing }, needs) {
    const [batch, classes] = shapeOf(inputs, 0);
    const scale = gradient.handle.data[0] / batch;
    const gradLogits = new Float64Array(batch * classes);
    let at = 0;
    for (const { logSoftmax, target } of rows(inputs, labelSmoothing)) {
      for (let m = 0; m < classes; m++) gradLogits[at++] = scale * (Math.exp(logSoftmax[m]) - target[m]);
    }
    return asked(needs, [gradLogits, null]);
  },
};
