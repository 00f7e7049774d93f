/** Images to classes: the network, and the most likely classes. */
import { tensor } from "../../create.ts";
import type { ConvNeXt } from "../../models/mod.ts";
import { tidy } from "../../scope.ts";
import { noGrad } from "../../tape.ts";

/** A class with its probability. */
export interface Prediction {
  /** Index of the class. */
  readonly index: number;
  /** 0 to 1; those of all classes add up to 1. */
  readonly probability: number;
}

/**
 * The most likely classes of one image.
 * @param logits one value for each class
 * @param count how many, the most likely first; equal ones in the order of their index
 * @throws {RangeError} "Cannot rank classes: ..." where a logit is NaN: then no order means anything
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { topClasses } from "./predict.ts";
 * const [first, second] = topClasses(Float32Array.of(0, Math.log(6), Math.log(3)), 2);
 * assert.deepEqual([first.index, second.index], [1, 2]);
 * assert.ok(Math.abs(first.probability - 0.6) < 1e-6);
 * ```
 */
export function topClasses(logits: Float32Array, count: number): Prediction[] {
  if (logits.some(Number.isNaN)) {
    throw new RangeError("Cannot rank classes: logits must be numbers, got NaN; are the weights whole?");
  }
  const largest = logits.reduce((most, value) => Math.max(most, value), -Infinity);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Array.from(logits, (_, index) => index)
    .sort((a, b) => logits[b] - logits[a] || a - b)
    .slice(0, count)
    .map((index) => ({ index, probability: Math.exp(logits[index] - largest) / sum }));
}

/**
 * Queues a batch. The work goes on while the next images are decoded; awaiting the result waits for it.
 * @param inputs at least one image, each `[3, size, size]` as `preprocess` makes it
 * @param size side of the square that the network sees
 * @returns logits of each image
 */
export function predict(
  model: ConvNeXt,
  inputs: readonly Float32Array[],
  size: number,
): Promise<Float32Array[]> {
  const { classes } = model.spec;
  const values = new Float32Array(inputs.length * 3 * size * size);
  inputs.forEach((input, i) => values.set(input, i * input.length));
  const logits = tidy(() => noGrad(() => model.forward(tensor(values, [inputs.length, 3, size, size]))));
  return logits.data().then((data) => inputs.map((_, i) => data.slice(i * classes, (i + 1) * classes)))
    .finally(() => logits.dispose());
}
