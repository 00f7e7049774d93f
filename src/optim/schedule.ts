/** Learning-rate schedules: functions of the step that give a factor of the peak rate. */

/** A factor of the learning rate, from 0 to 1, for a step counted from 0. */
export type Schedule = (step: number) => number;

/** Options of {@linkcode warmupCosine}. */
export interface WarmupCosineOptions {
  /** Steps of the whole run. */
  totalSteps: number;
  /** Steps over which the rate rises in equal parts to its peak. Default 0. */
  warmupSteps?: number;
  /** Where the cosine ends, as a factor of the peak. Default 0. */
  final?: number;
}

/**
 * A linear rise to 1, then half a cosine down to `final`: ConvNeXt's schedule, which the DCLS paper keeps. The step
 * after the last one has the factor `final`; steps beyond keep it.
 *
 * @throws {RangeError} unless totalSteps is a positive integer, warmupSteps an integer from 0 to totalSteps, and
 * final from 0 to 1
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { warmupCosine } from "@dcls/dcls/optim";
 *
 * const schedule = warmupCosine({ totalSteps: 10, warmupSteps: 2 });
 * assert.deepEqual([0, 1, 2, 6, 10].map((step) => +schedule(step).toFixed(6)), [0.5, 1, 1, 0.5, 0]);
 * ```
 */
export function warmupCosine(options: WarmupCosineOptions): Schedule {
  const { totalSteps, warmupSteps = 0, final = 0 } = options;
  if (!Number.isSafeInteger(totalSteps) || totalSteps < 1) {
    throw new RangeError(`Cannot make a schedule: totalSteps must be a positive integer, got ${totalSteps}`);
  }
  if (!Number.isSafeInteger(warmupSteps) || warmupSteps < 0 || warmupSteps > totalSteps) {
    throw new RangeError(
      `Cannot make a schedule: warmupSteps must be an integer from 0 to totalSteps (${totalSteps}), got ${warmupSteps}`,
    );
  }
  if (!(final >= 0 && final <= 1)) {
    throw new RangeError(`Cannot make a schedule: final must be from 0 to 1, got ${final}`);
  }
  return (step) => {
    if (step < warmupSteps) return (step + 1) / warmupSteps;
    if (step >= totalSteps) return final;
    const share = (step - warmupSteps) / (totalSteps - warmupSteps);
    return final + (1 - final) * 0.5 * (1 + Math.cos(Math.PI * share));
  };
}
