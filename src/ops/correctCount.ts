/** correctCount: how many rows of logits have their largest entry at the label (the first one where tied). No gradient. */
import { type Op, requireAxes, requireShape } from "./op.ts";

/** {@linkcode correctCount} has no attributes. */
export type CorrectCountAttributes = Record<string, never>;

/** Inputs: logits `[N, M]`, labels `[N]`. The output is a scalar. */
export const correctCount: Op<"correctCount", CorrectCountAttributes> = {
  name: "correctCount",
  outputDtype: () => "float32",
  constantInputs: [0, 1],
  outputShape([logits, labels]) {
    const l = requireAxes("correctCount", "logits", logits, 2);
    requireShape("correctCount", "labels", labels, [l[0]]);
    return [];
  },
};
