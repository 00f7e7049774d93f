/**
 * ConvNeXt (Liu et al., CVPR 2022) with DCLS in its depthwise layers (Khalfaoui-Hassani et al., ICLR 2023, section 4).
 * Parameter paths are those of the published checkpoints.
 */
import { anySeed } from "../create.ts";
import { Conv2d } from "../nn/conv.ts";
import { Dcls2d } from "../nn/dcls.ts";
import { globalAveragePool, repulsiveLoss } from "../nn/functional.ts";
import { DropPath } from "../nn/drop_path.ts";
import { deriveSeed } from "../nn/initialize.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Linear } from "../nn/linear.ts";
import { Module, type ModuleChild } from "../nn/module.ts";
import { shapeText } from "../spec.ts";
import { advance } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { ConvNeXtBlock, type Inspect } from "./convnext_block.ts";
import { type ConvNeXtOptions, type ConvNeXtSpec, convNeXtSpec } from "./convnext_options.ts";

/** Streams of the model's seed from here on are drop paths', those below layers'. */
const DROP_PATHS = 2 ** 31;

/** One for each block, its rate growing linearly from 0 to the model's; null where it is 0. */
function makeDropPaths({ depths, dropPathRate }: ConvNeXtSpec, seed: number): (DropPath | null)[] {
  const blocks = depths.reduce((sum, depth) => sum + depth, 0);
  return Array.from({ length: blocks }, (_, block) => {
    const rate = blocks === 1 ? 0 : dropPathRate * block / (blocks - 1);
    return rate === 0 ? null : new DropPath(rate, { seed: deriveSeed(seed, DROP_PATHS + block) });
  });
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
  /** Of the feature maps of each stage; empty without `stageNorms`. */
  readonly stageNorms: readonly LayerNorm[];

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
      new Conv2d(from, to, { kernelSize: size, stride: size, weightStd, seed: nextSeed() });
    this.downsampleLayers = dims.map((channels, stage) =>
      stage === 0
        ? [patches(inChannels, channels, stemSize), new LayerNorm(channels)]
        : [new LayerNorm(dims[stage - 1]), patches(dims[stage - 1], channels, 2)]
    );
    const dropPaths = makeDropPaths(spec, seed);
    this.stages = dims.map((channels, stage) => {
      const blocks: ConvNeXtBlock[] = [];
      for (let i = 0; i < depths[stage]; i++) {
        const first = blocks[0]?.dwconv;
        const shared = spec.sharePositions && first instanceof Dcls2d ? first : null;
        blocks.push(new ConvNeXtBlock(channels, { spec, nextSeed, shared, dropPath: dropPaths.shift()! }));
      }
      return blocks;
    });
    const features = dims[dims.length - 1];
    this.norm = new LayerNorm(features);
    this.head = new Linear(features, spec.classes, { weightStd, seed: nextSeed() });
    this.stageNorms = spec.stageNorms ? dims.map((channels) => new LayerNorm(channels)) : [];
  }

  /** The parts under the names that the checkpoints give them. */
  override children(): Readonly<Record<string, ModuleChild>> {
    return {
      downsample_layers: this.downsampleLayers,
      stages: this.stages,
      norm: this.norm,
      head: this.head,
      ...Object.fromEntries(this.stageNorms.map((norm, stage) => [`norm${stage}`, norm])),
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
    const { inspect } = options;
    const maps = this.#runStages(x, inspect);
    let y = globalAveragePool(maps[maps.length - 1]);
    inspect?.("pool", y);
    y = this.norm.forward(y);
    inspect?.("norm", y);
    y = this.head.forward(y);
    inspect?.("head", y);
    return y;
  }

  /**
   * The feature maps of all stages: what detection and segmentation stand on. With the option `stageNorms` they are
   * normalised.
   *
   * @param x `[N, inChannels, H, W]`, as for {@linkcode ConvNeXt.forward}
   * @returns for stage s `[N, dims[s], H / (stemSize 2^s), W / (stemSize 2^s)]`, extents rounded down
   * @throws {RangeError} for another shape
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { init, zeros } from "@dcls/dcls";
   * import { ConvNeXt } from "@dcls/dcls/models";
   *
   * await init();
   * const backbone = new ConvNeXt({ depths: [1, 1], dims: [4, 8], dilatedKernelSize: 5, stageNorms: true });
   * const maps = backbone.forwardFeatures(zeros([2, 3, 32, 32]));
   * assert.deepEqual(maps.map(({ shape }) => shape), [[2, 4, 8, 8], [2, 8, 4, 4]]);
   * ```
   */
  forwardFeatures(x: Tensor, options: ForwardOptions = {}): Tensor[] {
    const { inspect } = options;
    return this.#runStages(x, inspect).map((map, stage) => {
      const norm = this.stageNorms[stage];
      if (!norm) return map;
      const y = norm.forward(map);
      inspect?.(`norm${stage}`, y);
      return y;
    });
  }

  /** The output of every stage. */
  #runStages(x: Tensor, inspect?: Inspect): Tensor[] {
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
    let y = x, held = x; // the caller has x, and gets the maps
    const run = (step: (y: Tensor) => Tensor): void => {
      y = inspect ? step(y) : advance(y, step, held);
    };
    return this.stages.map((blocks, stage) => {
      this.downsampleLayers[stage].forEach((layer, i) => {
        run((y) => layer.forward(y));
        inspect?.(`downsample_layers.${stage}.${i}`, y);
      });
      blocks.forEach((block, i) => {
        const seen = inspect &&
          ((name: string, output: Tensor): void => inspect(`stages.${stage}.${i}.${name}`, output));
        run((y) => block.forward(y, seen));
      });
      return held = y;
    });
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
