/** Stochastic depth (Huang et al., ECCV 2016): in training, a sample now and then skips a block. */
import { anySeed, tensor } from "../create.ts";
import { createRandom } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { scaleResidual } from "./functional.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode DropPath}. */
export interface DropPathOptions {
  /** Seed of the draws. Default: a new one for every layer. */
  seed?: number;
}

/**
 * Drop path: in training, each sample's branch is dropped with probability `rate`, and else divided by 1 - rate, so that
 * its mean stays. In evaluation it does nothing. The draws depend on the seed and the number of the pass alone, which
 * {@linkcode Module.setStep} sets.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, ones } from "@dcls/dcls";
 * import { DropPath } from "@dcls/dcls/nn";
 *
 * await init();
 * const layer = new DropPath(0.5, { seed: 3 });
 * const first = await layer.forward(ones([8, 1])).data();
 * assert(first.every((value) => value === 0 || value === 2));
 * layer.setStep(0);
 * assert.deepEqual(await layer.forward(ones([8, 1])).data(), first);
 * assert.deepEqual([...await layer.eval().forward(ones([2, 1])).data()], [1, 1]);
 * ```
 */
export class DropPath extends Module {
  /** Probability that a sample's branch is dropped. */
  readonly rate: number;
  readonly #seed: number;
  #step = 0;

  /**
   * Makes the layer.
   * @param rate probability that a sample's branch is dropped
   * @throws {RangeError} unless 0 <= rate < 1
   */
  constructor(rate: number, options: DropPathOptions = {}) {
    super();
    if (!(rate >= 0 && rate < 1)) {
      throw new RangeError(`Cannot create DropPath: rate must be from 0 to below 1, got ${String(rate)}`);
    }
    this.rate = rate;
    this.#seed = options.seed ?? anySeed();
  }

  /** Draws as at this step next. */
  protected override setOwnStep(step: number): void {
    this.#step = step;
  }

  /**
   * Draws what each sample's branch is multiplied by: 0, or 1 / (1 - rate). A block that ends in a residual hands it to
   * {@linkcode scaleResidual}, which saves a pass over the branch.
   *
   * @param batch number of samples
   * @returns `[batch]`; null where nothing is dropped: in evaluation, or at rate 0
   */
  keep(batch: number): Tensor | null {
    if (!this.training || this.rate === 0 || batch === 0) return null;
    const random = createRandom(this.#seed, this.#step++);
    const kept = 1 / (1 - this.rate);
    return tensor(Float32Array.from({ length: batch }, () => random.uniform() < this.rate ? 0 : kept), [
      batch,
    ]);
  }

  /**
   * Drops branches.
   * @param x `[N, ...]`, a branch, before it is added to what goes around it
   */
  override forward(x: Tensor): Tensor {
    const keep = this.keep(x.shape[0]);
    // keep · x = x + (keep - 1) · x
    return keep ? scaleResidual(x, x, null, keep.sub(1)) : x;
  }
}
