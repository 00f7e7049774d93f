/** Linear maps of the channel axis. */
import { anySeed } from "../create.ts";
import { checkChannels, shapeText } from "../spec.ts";
import type { Tensor } from "../tensor.ts";
import { pointwise } from "./functional.ts";
import { initialValues } from "./initialize.ts";
import { Module } from "./module.ts";
import { type Parameter, parameter } from "./parameter.ts";

/** Options of {@linkcode Pointwise} and {@linkcode Linear}. */
export interface LinearOptions {
  /** Whether the layer adds a learnable bias. Default true. */
  bias?: boolean;
  /**
   * Standard deviation of normal initial weights, with a bias of 0, as ConvNeXt's 0.02. Default: Kaiming-uniform with
   * a = √5 for both, as in PyTorch.
   */
  weightStd?: number;
  /** Seed of the initial values. Default: a new one for every layer. */
  seed?: number;
}

/**
 * A linear map of the channels at every place, a 1x1 convolution: `[N, in, ...spatial]` to `[N, out, ...spatial]`.
 * Its weight has the shape of `torch.nn.Linear`'s, so that states of either load.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { Pointwise } from "@dcls/dcls/nn";
 *
 * await init();
 * assert.deepEqual(new Pointwise(3, 5).forward(zeros([2, 3, 7, 7])).shape, [2, 5, 7, 7]);
 * ```
 */
export class Pointwise extends Module {
  /** `[out, in]` */
  readonly weight: Parameter;
  /** `[out]` */
  readonly bias: Parameter | null;

  /**
   * Makes the layer on the running backend.
   * @throws {RangeError} when a number of channels is not a positive integer
   */
  constructor(inChannels: number, outChannels: number, options: LinearOptions = {}) {
    super();
    checkChannels(new.target.name, inChannels, outChannels, 1);
    const { seed = anySeed(), weightStd } = options;
    const shape = [outChannels, inChannels];
    const { weight, bias } = initialValues(shape, inChannels, seed, weightStd);
    this.weight = parameter("weight", weight, shape);
    this.bias = options.bias ?? true ? parameter("bias", bias, [outChannels]) : null;
  }

  /**
   * Maps the channels.
   * @param x `[N, in, ...spatial]`, with 0 to 3 spatial axes
   * @throws {RangeError} for another number of channels
   */
  override forward(x: Tensor): Tensor {
    const channels = this.weight.shape[1];
    if (x.shape.length < 2 || x.shape[1] !== channels) {
      throw new RangeError(
        `Cannot run ${this.constructor.name}: input must be [N, ${channels}, ...spatial], got ${
          shapeText(x.shape)
        }`,
      );
    }
    return pointwise(x, this.weight, this.bias);
  }
}

/**
 * A linear map of features, `[N, in]` to `[N, out]`, as `torch.nn.Linear`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { Linear } from "@dcls/dcls/nn";
 *
 * await init();
 * assert.deepEqual(new Linear(3, 10).forward(zeros([2, 3])).shape, [2, 10]);
 * ```
 */
export class Linear extends Pointwise {
  /**
   * Maps the features.
   * @param x `[N, in]`
   * @throws {RangeError} for another shape
   */
  override forward(x: Tensor): Tensor {
    if (x.shape.length !== 2) {
      throw new RangeError(
        `Cannot run Linear: input must be [N, ${this.weight.shape[1]}], got ${
          shapeText(x.shape)
        }; Pointwise maps the channels of images`,
      );
    }
    return super.forward(x);
  }
}
