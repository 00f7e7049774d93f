/**
 * ConvNeXt (Liu et al., CVPR 2022) with DCLS in its depthwise layers (Khalfaoui-Hassani et al., ICLR 2023, section 4).
 * Parameter paths are those of the published checkpoints.
 */
import { anySeed } from "../create.ts";
import { Conv2d } from "../nn/conv.ts";
import { Dcls2d } from "../nn/dcls.ts";
import { globalAveragePool, repulsiveLoss, scaleResidual } from "../nn/functional.ts";
import { deriveSeed, normal } from "../nn/initialize.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear, Pointwise } from "../nn/linear.ts";
import { Module, type ModuleChild } from "../nn/module.ts";
import { type Parameter, parameter } from "../nn/parameter.ts";
import { shapeText } from "../spec.ts";
import type { Tensor } from "../tensor.ts";
import { type ConvNeXtOptions, type ConvNeXtSpec, convNeXtSpec } from "./convnext_options.ts";

/** Sees the output of every layer as a forward pass makes it: `stages.0.1.dwconv`, for one. */
export type Inspect = (path: string, output: Tensor) => void;

/** A dense layer as ConvNeXt starts it: weights N(0, weightStd), bias 0. */
function initialized<M extends Conv2d | Pointwise>(layer: M, weightStd: number, seed: number): M {
  layer.weight.assign(normal(layer.weight.shape, weightStd, seed));
  layer.bias?.assign(new Float32Array(layer.bias.size));
  return layer;
}

/** The depthwise layer of a block. `shared` is that of the stage's first block. */
function depthwise(
  channels: number,
  spec: ConvNeXtSpec,
  seed: number,
  shared: Dcls2d | null,
): Conv2d | Dcls2d {
  if (spec.conv === "dcls") {
    const { dilatedKernelSize, kernelCount, version, positionStd } = spec;
    return new Dcls2d(channels, channels, {
      kernelCount,
      dilatedKernelSize,
      padding: (dilatedKernelSize - 1) / 2,
      groups: channels,
      version,
      positionStd,
      seed,
      ...(shared ? { P: shared.P, SIG: shared.SIG } : {}),
    });
  }
  const { kernelSize } = spec;
  const dilation = spec.conv === "dilated" ? spec.dilation : 1;
  const padding = dilation * (kernelSize - 1) / 2;
  const layer = new Conv2d(channels, channels, { kernelSize, dilation, padding, groups: channels, seed });
  return initialized(layer, spec.weightStd, seed);
}

/** One block: depthwise layer, LayerNorm, two linear maps with a GELU between them, scale and residual. */
export class ConvNeXtBlock extends Module {
  /** Where space is mixed. */
  readonly dwconv: Conv2d | Dcls2d;
  /** After the depthwise layer. */
  readonly norm: LayerNorm;
  /** C to 4 C channels. */
  readonly pwconv1: Pointwise;
  /** 4 C to C channels. */
  readonly pwconv2: Pointwise;
  /** Scale of the residual, `[C]`. */
  readonly gamma: Parameter;

  /** @ignore made by the model */
  constructor(channels: number, spec: ConvNeXtSpec, nextSeed: () => number, shared: Dcls2d | null) {
    super();
    this.dwconv = depthwise(channels, spec, nextSeed(), shared);
    this.norm = new LayerNorm(channels);
    this.pwconv1 = initialized(new Pointwise(channels, 4 * channels), spec.weightStd, nextSeed());
    this.pwconv2 = initialized(new Pointwise(4 * channels, channels), spec.weightStd, nextSeed());
    this.gamma = parameter("gamma", new Float32Array(channels).fill(spec.layerScale), [channels]);
  }

  /**
   * Runs the block.
   * @param x `[N, C, H, W]`
   * @param inspect sees the output of every layer, under its name in the block
   */
  override forward(x: Tensor, inspect: Inspect = () => {}): Tensor {
    const seen = (name: string, output: Tensor): Tensor => {
      inspect(name, output);
      return output;
    };
    let y = seen("dwconv", this.dwconv.forward(x));
    y = seen("norm", this.norm.forward(y));
    y = seen("pwconv1", this.pwconv1.forward(y));
    y = seen("gelu", y.gelu());
    y = seen("pwconv2", this.pwconv2.forward(y));
    return seen("gamma", scaleResidual(x, y, this.gamma));
  }
}

/** Options of a forward pass. */
export interface ForwardOptions {
  /** Sees the output of every layer in the order of their making; for finding the one that went wrong. */
  inspect?: Inspect;
}

/**
 * A ConvNeXt classifier with DCLS, dense or dilated depthwise layers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { ConvNeXt } from "@dcls/dcls/models";
 *
 * await init();
 * const model = new ConvNeXt({
 *   inChannels: 1, classes: 10, depths: [1, 1], dims: [4, 8], stemSize: 2, kernelSize: 5, dilatedKernelSize: 9,
 * });
 * assert.equal(model.spec.kernelCount, 8); // as many parameters as with 5x5 kernels
 * assert.deepEqual(model.forward(zeros([2, 1, 28, 28])).shape, [2, 10]);
 * ```
 */
export class ConvNeXt extends Module {
  /** The options with every default filled in. */
  readonly spec: ConvNeXtSpec;
  /** The stem (convolution, LayerNorm), then before every further stage LayerNorm and a 2x2 convolution. */
  readonly downsampleLayers: readonly (readonly (Conv2d | LayerNorm)[])[];
  /** The blocks of each stage. */
  readonly stages: readonly (readonly ConvNeXtBlock[])[];
  /** After the pooling. */
  readonly norm: LayerNorm;
  /** Features to classes. */
  readonly head: Linear;

  /**
   * Makes the model on the running backend.
   * @throws {RangeError} naming the option, its rule and what was passed
   */
  constructor(options: ConvNeXtOptions = {}) {
    super();
    const spec = convNeXtSpec(options);
    this.spec = spec;
    const { dims, depths, inChannels, stemSize, weightStd } = spec;
    const { seed = anySeed() } = options;
    let layers = 0; // Every layer has a stream of the seed, the same whatever the depthwise layers are.
    const nextSeed = (): number => deriveSeed(seed, layers++);
    const patches = (from: number, to: number, size: number): Conv2d =>
      initialized(new Conv2d(from, to, { kernelSize: size, stride: size }), weightStd, nextSeed());
    this.downsampleLayers = dims.map((channels, stage) =>
      stage === 0
        ? [patches(inChannels, channels, stemSize), new LayerNorm(channels)]
        : [new LayerNorm(dims[stage - 1]), patches(dims[stage - 1], channels, 2)]
    );
    this.stages = dims.map((channels, stage) => {
      const blocks: ConvNeXtBlock[] = [];
      for (let i = 0; i < depths[stage]; i++) {
        const first = blocks[0]?.dwconv;
        const shared = spec.sharePositions && first instanceof Dcls2d ? first : null;
        blocks.push(new ConvNeXtBlock(channels, spec, nextSeed, shared));
      }
      return blocks;
    });
    const features = dims[dims.length - 1];
    this.norm = new LayerNorm(features);
    this.head = initialized(new Linear(features, spec.classes), weightStd, nextSeed());
  }

  /** The parts under the names that the checkpoints give them. */
  override children(): Readonly<Record<string, ModuleChild>> {
    return {
      downsample_layers: this.downsampleLayers,
      stages: this.stages,
      norm: this.norm,
      head: this.head,
    };
  }

  /**
   * Classifies images.
   *
   * @param x `[N, inChannels, H, W]`; H and W at least stemSize times 2 per further stage
   * @returns logits `[N, classes]`
   * @throws {RangeError} for another shape
   */
  override forward(x: Tensor, options: ForwardOptions = {}): Tensor {
    const { inspect = () => {} } = options;
    const { inChannels, stemSize, dims } = this.spec;
    const least = stemSize * 2 ** (dims.length - 1);
    const [, channels, height, width] = x.shape;
    if (x.shape.length !== 4 || channels !== inChannels || height < least || width < least) {
      throw new RangeError(
        `Cannot run ConvNeXt: input must be [N, ${inChannels}, H, W] with H and W of at least ${least}, got ${
          shapeText(x.shape)
        }`,
      );
    }
    let y = x;
    this.stages.forEach((blocks, stage) => {
      this.downsampleLayers[stage].forEach((layer, i) => {
        y = layer.forward(y);
        inspect(`downsample_layers.${stage}.${i}`, y);
      });
      blocks.forEach((block, i) => {
        y = block.forward(y, (name, output) => inspect(`stages.${stage}.${i}.${name}`, output));
      });
    });
    y = globalAveragePool(y);
    inspect("pool", y);
    y = this.norm.forward(y);
    inspect("norm", y);
    y = this.head.forward(y);
    inspect("head", y);
    return y;
  }

  /**
   * The repulsive loss of the positions, averaged over their sets: a shared one counts once, as for the authors, who
   * add its square to the loss.
   *
   * @returns a scalar
   * @throws {Error} where the depthwise layers have no positions
   */
  repulsiveLoss(): Tensor {
    const sets = this.parameters().filter(({ name }) => name === "P");
    if (sets.length === 0) {
      throw new Error(`Cannot take the repulsive loss: the layers must be "dcls", got "${this.spec.conv}"`);
    }
    return sets.map((P) => repulsiveLoss(P)).reduce((total, part) => total.add(part)).mul(1 / sets.length);
  }
}
