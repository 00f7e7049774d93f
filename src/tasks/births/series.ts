/**
 * The births as a series to learn on: what is left of the daily counts without their trend, split in time.
 * @module
 */

/** A series without trend, in standard deviations of its training days. */
export interface DailySeries {
  /** One value per day. */
  readonly values: Float32Array;
  /** The first so many days are for training, the others for the test. */
  readonly trainingDays: number;
}

/**
 * Prepares daily counts: logarithm (the week scales the counts, it does not shift them), minus a line fitted by least
 * squares (the trend), divided by the standard deviation. Line and deviation are the training days' alone, so
 * nothing of the test days reaches the training.
 *
 * @param counts positive, one per day
 * @param trainingShare the share of the days, from the first on, that are for training. Default 0.8
 * @throws {RangeError} where a count is not positive, or there are fewer than three training days or no test day
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { values, trainingDays } = prepareSeries([10, 20, 10, 20, 10], 0.8);
 * assert.equal(trainingDays, 4);
 * assert(values[0] < 0 && values[1] > 0 && values[2] < 0 && values[3] > 0);
 * ```
 */
export function prepareSeries(counts: ArrayLike<number>, trainingShare = 0.8): DailySeries {
  const logs = Float64Array.from(counts, Math.log);
  const bad = logs.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw new RangeError(
      `Cannot prepare the series: every count must be positive, got ${counts[bad]} at ${bad}`,
    );
  }
  const trainingDays = Math.floor(trainingShare * logs.length);
  if (trainingDays < 3 || trainingDays >= logs.length) {
    throw new RangeError(
      `Cannot prepare the series: it needs 3 training days and a test day, got ${trainingDays} of ${logs.length}`,
    );
  }
  // Least squares of log(count) = mean + slope (day - middle), by days counted from the middle of the training days.
  const middle = (trainingDays - 1) / 2;
  let sum = 0, product = 0, squares = 0;
  for (let day = 0; day < trainingDays; day++) {
    sum += logs[day];
    product += logs[day] * (day - middle);
    squares += (day - middle) ** 2;
  }
  const mean = sum / trainingDays, slope = product / squares;
  const rest = logs.map((value, day) => value - mean - slope * (day - middle));
  const variance = rest.subarray(0, trainingDays).reduce((total, value) => total + value ** 2, 0) /
    trainingDays;
  return { values: Float32Array.from(rest, (value) => value / Math.sqrt(variance)), trainingDays };
}
