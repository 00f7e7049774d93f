/** The order in which an epoch visits its examples. */
import { createRandom } from "../random.ts";

/** Streams from here on belong to the epochs, so that they share no numbers with a seed's other uses. */
const FIRST_STREAM = 2 ** 31;

/**
 * The examples 0 to count - 1 in an order that depends on seed and epoch alone. An epoch can be entered at any
 * step without replaying the ones before: batch `step` is
 * `shuffledIndices(count, seed, epoch).subarray(step * batchSize, (step + 1) * batchSize)`.
 * @param count number of examples, 0 to 2^32 - 1
 * @param seed any safe integer
 * @param epoch an integer from 0 to 2^31 - 1
 * @throws {RangeError} if one of them is out of its range
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { shuffledIndices } from "./batches.ts";
 *
 * const order = shuffledIndices(5, 42, 0);
 * assert.deepEqual([...order].sort(), [0, 1, 2, 3, 4]);
 * assert.deepEqual(shuffledIndices(5, 42, 0), order);
 * ```
 */
export function shuffledIndices(count: number, seed: number, epoch: number): Uint32Array {
  if (!Number.isInteger(count) || count < 0 || count >= 2 ** 32) {
    throw new RangeError(`Cannot shuffle: count must be an integer from 0 to 2^32 - 1, got ${count}`);
  }
  if (!Number.isInteger(epoch) || epoch < 0 || epoch >= FIRST_STREAM) {
    throw new RangeError(`Cannot shuffle: epoch must be an integer from 0 to 2^31 - 1, got ${epoch}`);
  }
  const random = createRandom(seed, FIRST_STREAM + epoch);
  const order = new Uint32Array(count);
  // Fisher and Yates, inside out: every order is as likely as any other.
  for (let i = 0; i < count; i++) {
    const j = random.integer(i + 1);
    order[i] = order[j];
    order[j] = i;
  }
  return order;
}
