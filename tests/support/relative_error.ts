/**
 * The measures of comparisons between backends.
 * @module
 */

/** max |actual - expected| / max |expected|; absolute where nothing is expected but zeros. NaN gives NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let largest = 0, error = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    error = Math.max(error, Math.abs(actual[i] - expected[i]));
  }
  return error / (largest || 1);
}

/** ||actual - expected|| / ||expected||, Euclidean norms; absolute where nothing is expected but zeros. NaN gives NaN. */
export function normError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let norm = 0, error = 0;
  for (let i = 0; i < expected.length; i++) {
    norm += expected[i] ** 2;
    error += (actual[i] - expected[i]) ** 2;
  }
  return Math.sqrt(error / (norm || 1));
}
