/** Layer normalisation over channels. */
import { checkChannels, shapeText } from "../spec.ts";
import type { Tensor } from "../tensor.ts";
import { layerNorm } from "./functional.ts";
import { Module } from "./module.ts";
import { type Parameter, parameter } from "./parameter.ts";

/** Options of {@linkcode LayerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance. Default 1e-6, ConvNeXt's. */
  epsilon?: number;
}

/**
 * Layer normalisation over the channel axis of `[N, C, ...spatial]`, at every place, with a learnable scale (from 1)
 * and shift (from 0): ConvNeXt's channels-first LayerNorm.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, randn } from "@dcls/dcls";
 * import { LayerNorm } from "@dcls/dcls/nn";
 *
 * await init();
 * const y = new LayerNorm(8).forward(randn([2, 8, 5, 5]));
 * assert(Math.abs(await y.mean().item()) < 1e-5);
 * ```
 */
export class LayerNorm extends Module {
  /** `[C]` */
  readonly weight: Parameter;
  /** `[C]` */
  readonly bias: Parameter;
  /** Added to the variance. */
  readonly epsilon: number;

  /**
   * Makes the layer on the running backend.
   * @throws {RangeError} when channels is not a positive integer, or epsilon not positive
   */
  constructor(channels: number, options: LayerNormOptions = {}) {
    super();
    checkChannels("LayerNorm", channels, channels, 1);
    const { epsilon = 1e-6 } = options;
    if (!(epsilon > 0)) {
      throw new RangeError(`Cannot create LayerNorm: epsilon must be positive, got ${String(epsilon)}`);
    }
    this.epsilon = epsilon;
    this.weight = parameter("weight", new Float32Array(channels).fill(1), [channels]);
    this.bias = parameter("bias", new Float32Array(channels), [channels]);
  }

  /**
   * Normalises.
   * @param x `[N, C, ...spatial]`
   * @throws {RangeError} for another number of channels
   */
  override forward(x: Tensor): Tensor {
    if (x.shape.length < 2 || x.shape[1] !== this.weight.size) {
      throw new RangeError(
        `Cannot run LayerNorm: input must be [N, ${this.weight.size}, ...spatial], got ${shapeText(x.shape)}`,
      );
    }
    return layerNorm(x, this.weight, this.bias, this.epsilon);
  }
}
