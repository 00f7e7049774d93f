/** Dense convolutions: the baselines that Dcls layers replace, stems and downsampling. */
import { anySeed } from "../create.ts";
import { checkAxes, checkChannels, PADDING_MODES, type PaddingMode } from "../spec.ts";
import type { Tensor } from "../tensor.ts";
import { fanIn, initialValues } from "./initialize.ts";
import { type ConvolutionLayer, convolve } from "./input.ts";
import { Module } from "./module.ts";
import { type Parameter, parameter } from "./parameter.ts";

/** Options of a dense convolution; sizes are one number or one per spatial axis. */
export interface ConvOptions {
  /** Extents of the kernel. */
  kernelSize: number | readonly number[];
  /** Default 1. */
  stride?: number | readonly number[];
  /** Cells added on both sides. Default 0. */
  padding?: number | readonly number[];
  /** Distance of neighbouring kernel cells. Default 1. */
  dilation?: number | readonly number[];
  /** Groups of channels; `inChannels` for a depthwise layer. Default 1. */
  groups?: number;
  /** Whether the layer adds a learnable bias. Default true. */
  bias?: boolean;
  /** Default `"zeros"`. */
  paddingMode?: PaddingMode;
  /**
   * Standard deviation of normal initial weights, with a bias of 0, as ConvNeXt's 0.02. Default: Kaiming-uniform with
   * a = √5 for both, as in PyTorch.
   */
  weightStd?: number;
  /** Seed of the initial values. Default: a new one for every layer. */
  seed?: number;
}

/** A dense convolution; {@linkcode Conv1d}, {@linkcode Conv2d} and {@linkcode Conv3d} give it its axes. */
export abstract class ConvNd extends Module {
  /** `[out, in/groups, ...kernelSize]` */
  readonly weight: Parameter;
  /** `[out]` */
  readonly bias: Parameter | null;
  /** Channels, extents and how the layer convolves; lists have one entry per spatial axis. */
  readonly spec: ConvolutionLayer;

  /** @ignore called by the classes that give it its axes */
  protected constructor(
    name: string,
    axes: number,
    inChannels: number,
    outChannels: number,
    options: ConvOptions,
  ) {
    super();
    const { groups = 1, paddingMode = "zeros", seed = anySeed() } = options;
    checkChannels(name, inChannels, outChannels, groups);
    if (!PADDING_MODES.includes(paddingMode)) {
      throw new RangeError(
        `Cannot create ${name}: paddingMode must be one of ${PADDING_MODES.join(", ")}, got ${
          JSON.stringify(paddingMode)
        }`,
      );
    }
    const kernelSize = checkAxes(name, "kernelSize", options.kernelSize, axes, 1);
    const stride = checkAxes(name, "stride", options.stride ?? 1, axes, 1);
    const padding = checkAxes(name, "padding", options.padding ?? 0, axes, 0);
    const dilation = checkAxes(name, "dilation", options.dilation ?? 1, axes, 1);
    this.spec = { name, inChannels, kernelSize, stride, padding, dilation, groups, paddingMode };
    const shape = [outChannels, inChannels / groups, ...kernelSize];
    const fan = fanIn(shape);
    const { weight, bias } = initialValues(shape, fan, seed, options.weightStd);
    this.weight = parameter("weight", weight, shape);
    this.bias = options.bias ?? true ? parameter("bias", bias, [outChannels]) : null;
  }

  /**
   * Convolves.
   *
   * @param x `[N, in, ...spatial]`, or `[in, ...spatial]` without a batch
   * @returns `[N, out, ...floor((spatial + 2 padding - dilation (kernel - 1) - 1) / stride) + 1]`
   * @throws {RangeError} as the Dcls layers do
   */
  override forward(x: Tensor): Tensor {
    return convolve(this.spec, x, () => this.weight, this.bias);
  }
}

/**
 * A dense 1-d convolution, as `torch.nn.Conv1d`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { Conv1d } from "@dcls/dcls/nn";
 *
 * await init();
 * assert.deepEqual(new Conv1d(1, 4, { kernelSize: 3, dilation: 2 }).forward(zeros([2, 1, 9])).shape, [2, 4, 5]);
 * ```
 */
export class Conv1d extends ConvNd {
  /**
   * Makes the layer on the running backend.
   * @throws {RangeError} naming the option, its rule and what was passed
   */
  constructor(inChannels: number, outChannels: number, options: ConvOptions) {
    super("Conv1d", 1, inChannels, outChannels, options);
  }
}

/**
 * A dense 2-d convolution, as `torch.nn.Conv2d`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { Conv2d } from "@dcls/dcls/nn";
 *
 * await init();
 * const stem = new Conv2d(1, 8, { kernelSize: 4, stride: 4 });
 * assert.deepEqual(stem.forward(zeros([2, 1, 28, 28])).shape, [2, 8, 7, 7]);
 * ```
 */
export class Conv2d extends ConvNd {
  /**
   * Makes the layer on the running backend.
   * @throws {RangeError} naming the option, its rule and what was passed
   */
  constructor(inChannels: number, outChannels: number, options: ConvOptions) {
    super("Conv2d", 2, inChannels, outChannels, options);
  }
}

/**
 * A dense 3-d convolution, as `torch.nn.Conv3d`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { Conv3d } from "@dcls/dcls/nn";
 *
 * await init();
 * const layer = new Conv3d(2, 3, { kernelSize: 3, padding: 1 });
 * assert.deepEqual(layer.forward(zeros([2, 4, 5, 6])).shape, [3, 4, 5, 6]);
 * ```
 */
export class Conv3d extends ConvNd {
  /**
   * Makes the layer on the running backend.
   * @throws {RangeError} naming the option, its rule and what was passed
   */
  constructor(inChannels: number, outChannels: number, options: ConvOptions) {
    super("Conv3d", 3, inChannels, outChannels, options);
  }
}
