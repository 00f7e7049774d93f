/** The block that ConvNeXt is made of (Liu et al., CVPR 2022, section 2.4), its depthwise layer dense, dilated or DCLS. */
import { checkpoint } from "../checkpoint.ts";
import { Conv2d } from "../nn/conv.ts";
import { Dcls2d } from "../nn/dcls.ts";
import type { DropPath } from "../nn/drop_path.ts";
import { scaleResidual } from "../nn/functional.ts";
import { layerNormPointwise, pointwiseResidual } from "../nn/fused.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Pointwise } from "../nn/linear.ts";
import { Module } from "../nn/module.ts";
import { type Parameter, parameter } from "../nn/parameter.ts";
import { advance } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import type { ConvNeXtSpec } from "./convnext_options.ts";

/** Sees the output of every layer as a forward pass makes it: `stages.0.1.dwconv`, for one. */
export type Inspect = (path: string, output: Tensor) => void;

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
  const { weightStd } = spec;
  return new Conv2d(channels, channels, { kernelSize, dilation, padding, groups: channels, weightStd, seed });
}

/** What a block is made with, beside its channels. */
interface BlockParts {
  readonly spec: ConvNeXtSpec;
  readonly nextSeed: () => number;
  /** The depthwise layer whose positions it shares. */
  readonly shared: Dcls2d | null;
  readonly dropPath: DropPath | null;
}

/** One block: depthwise layer, LayerNorm, two linear maps with a GELU between them, scale, drop path and residual. */
export class ConvNeXtBlock extends Module {
  /** Where space is mixed. */
  readonly dwconv: Conv2d | Dcls2d;
  /** After the depthwise layer. */
  readonly norm: LayerNorm;
  /** C to 4 C channels. */
  readonly pwconv1: Pointwise;
  /** 4 C to C channels. */
  readonly pwconv2: Pointwise;
  /** Scale of the residual, `[C]`; null where the model has none. */
  readonly gamma: Parameter | null;
  /** Drops the block in training for some samples; null at rate 0. */
  readonly dropPath: DropPath | null;
  readonly #recompute: boolean;

  /** @ignore made by the model */
  constructor(channels: number, { spec, nextSeed, shared, dropPath }: BlockParts) {
    super();
    const { layerScale, weightStd, recompute } = spec;
    this.#recompute = recompute;
    this.dwconv = depthwise(channels, spec, nextSeed(), shared);
    this.norm = new LayerNorm(channels);
    this.pwconv1 = new Pointwise(channels, 4 * channels, { weightStd, seed: nextSeed() });
    this.pwconv2 = new Pointwise(4 * channels, channels, { weightStd, seed: nextSeed() });
    this.gamma = layerScale === 0
      ? null
      : parameter("gamma", new Float32Array(channels).fill(layerScale), [channels]);
    this.dropPath = dropPath;
  }

  /**
   * Runs the block: the depthwise layer, and what follows it in two ops.
   * @param x `[N, C, H, W]`
   * @param inspect sees the output of every layer, under its name in the block; that of the residual is `gamma`. With
   *   it, every layer is an op of its own
   */
  override forward(x: Tensor, inspect?: Inspect): Tensor {
    const keep = this.dropPath?.keep(x.shape[0]) ?? null;
    if (inspect) return this.#inspected(x, keep, inspect);
    return this.#recompute ? checkpoint((x) => this.#fused(x, keep), x) : this.#fused(x, keep);
  }

  #fused(x: Tensor, keep: Tensor | null): Tensor {
    const { dwconv, norm, pwconv1, pwconv2, gamma } = this;
    const y = dwconv.forward(x), training = y.requiresGrad;
    // The backward pass needs the sums before the activation: in training these are what is kept, and gelu is computed again.
    const [first, second] = training ? ["none", "gelu"] as const : ["gelu", "none"] as const;
    const { epsilon } = norm;
    const expand = (y: Tensor): Tensor =>
      layerNormPointwise(y, norm.weight, norm.bias, pwconv1.weight, pwconv1.bias, {
        epsilon,
        activation: first,
      });
    const h = advance(y, expand, x);
    const options = { scale: gamma, keep, activation: second };
    return advance(h, (h) => pointwiseResidual(h, pwconv2.weight, pwconv2.bias, x, options), null);
  }

  #inspected(x: Tensor, keep: Tensor | null, inspect: Inspect): Tensor {
    const seen = (name: string, output: Tensor): Tensor => {
      inspect(name, output);
      return output;
    };
    let y = seen("dwconv", this.dwconv.forward(x));
    y = seen("norm", this.norm.forward(y));
    y = seen("pwconv1", this.pwconv1.forward(y));
    y = seen("gelu", y.gelu());
    y = seen("pwconv2", this.pwconv2.forward(y));
    return seen("gamma", scaleResidual(x, y, this.gamma, keep));
  }
}
