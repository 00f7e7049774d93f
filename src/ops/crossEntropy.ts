/**
 * crossEntropy: mean over the batch of -sum over m of target[m] * logSoftmax(logits)[m], with target
 * (1 - labelSmoothing) at the label plus labelSmoothing / M everywhere, as in PyTorch.
 */
import { type Op, requireAxes, requireShape } from "./op.ts";

/** Attributes of {@linkcode crossEntropy}. */
export interface CrossEntropyAttributes {
  /** From 0 (default) to 1. */
  readonly labelSmoothing: number;
}

/** Inputs: logits `[N, M]`, labels `[N]` (class indices). The output is a scalar. */
export const crossEntropy: Op<"crossEntropy", CrossEntropyAttributes> = {
  name: "crossEntropy",
  outputDtype: () => "float32",
  constantInputs: [1],
  outputShape([logits, labels]) {
    const l = requireAxes("crossEntropy", "logits", logits, 2);
    requireShape("crossEntropy", "labels", labels, [l[0]]);
    if (l[0] === 0) throw new RangeError("Cannot run crossEntropy: the batch must not be empty, got 0 rows");
    return [];
  },
};
