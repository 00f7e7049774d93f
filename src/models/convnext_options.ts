/** A ConvNeXt's options, checked, and the arithmetic that follows from them. */
import { checkAxes, type Version, VERSIONS } from "../spec.ts";
import { isoKernelCount } from "./iso.ts";

/** The depthwise layers: DCLS, a dense kernel, or a dense kernel spread by a fixed dilation. */
export type ConvKind = "dcls" | "standard" | "dilated";

/** The kinds of depthwise layers. */
export const CONV_KINDS: readonly ConvKind[] = ["dcls", "standard", "dilated"];

/** Options of a ConvNeXt; the defaults make ConvNeXt-T-dcls as published. */
export interface ConvNeXtOptions {
  /** Channels of the images. Default 3. */
  inChannels?: number;
  /** Number of classes. Default 1000. */
  classes?: number;
  /** Blocks of each stage. Default [3, 3, 9, 3]. */
  depths?: readonly number[];
  /** Channels of each stage. Default [96, 192, 384, 768]. */
  dims?: readonly number[];
  /** Size and stride of the patches that the stem makes of the image. Default 4. */
  stemSize?: number;
  /** What the depthwise layers are. Default `"dcls"`. */
  conv?: ConvKind;
  /** Kernel size of `standard` and `dilated`: the baseline that `dcls` replaces. Odd. Default 7. */
  kernelSize?: number;
  /** Dilation of `dilated`. Default: the one whose reach comes nearest to dilatedKernelSize. */
  dilation?: number;
  /** S of `dcls`. Odd, so that the padding keeps the size. Default 17. */
  dilatedKernelSize?: number;
  /** K of `dcls`. Default: {@linkcode isoKernelCount}, as many parameters as the baseline. */
  kernelCount?: number;
  /** Interpolation of `dcls`. Default `"v0"`. */
  version?: Version;
  /** Whether the blocks of a stage share one set of positions. Default true, the paper's. */
  sharePositions?: boolean;
  /** Standard deviation of the initial positions, in cells. Default 0.5, the paper's. */
  positionStd?: number;
  /** Where the scale of each block's residual starts; 0 or null for no scale. Default 1e-6, ConvNeXt's. */
  layerScale?: number | null;
  /**
   * Drop path: the probability that a sample skips the last block in training. From the first block, which none skips,
   * it grows linearly. Default 0; ConvNeXt's training on ImageNet took 0.1 for Tiny, 0.4 for Small and 0.5 for Base.
   */
  dropPathRate?: number;
  /**
   * Whether the feature maps of {@linkcode ConvNeXt.forwardFeatures} go through LayerNorms of their own, `norm0`,
   * `norm1` and so on, as in ConvNeXt's detection code. Logits do not depend on them. Default false.
   */
  stageNorms?: boolean;
  /**
   * Whether each block's forward pass is run again in backward, so that training keeps the blocks' inputs alone: less
   * memory for more time, see {@linkcode checkpoint}. Default false.
   */
  recompute?: boolean;
  /** Standard deviation of the initial weights, but for those of `dcls`. Default 0.02, ConvNeXt's. */
  weightStd?: number;
  /** Seed of the initial values and of drop path. Default: a new one for every model. */
  seed?: number;
}

/** Checked options with every default filled in; `seed` is the model's business. */
export interface ConvNeXtSpec extends Required<Omit<ConvNeXtOptions, "seed" | "layerScale">> {
  /** Where the scale of each block's residual starts; 0 for no scale. */
  layerScale: number;
}

function refuse(name: string, rule: string, value: unknown): never {
  throw new RangeError(
    `Cannot create ConvNeXt: ${name} must be ${rule}, got ${JSON.stringify(value) ?? value}`,
  );
}

function checkOdd(name: string, value: number): number {
  if (!Number.isInteger(value) || value < 1 || value % 2 === 0) refuse(name, "a positive odd integer", value);
  return value;
}

function checkNumber(name: string, value: number): number {
  if (!(value >= 0 && value < Infinity)) refuse(name, "a finite number of at least 0", value);
  return value;
}

/**
 * Checks the options and fills in the defaults.
 * @throws {RangeError} naming the option, its rule and what was passed
 */
export function convNeXtSpec(options: ConvNeXtOptions): ConvNeXtSpec {
  const { depths = [3, 3, 9, 3], dims = [96, 192, 384, 768], conv = "dcls", version = "v0" } = options;
  const positive = (name: string, value: number): number => checkAxes("ConvNeXt", name, value, 1, 1)[0];
  if (depths.length === 0) refuse("depths", "at least one number of blocks", depths);
  checkAxes("ConvNeXt", "depths", depths, depths.length, 1);
  checkAxes("ConvNeXt", "dims", dims, depths.length, 1);
  if (!CONV_KINDS.includes(conv)) refuse("conv", `one of ${CONV_KINDS.join(", ")}`, conv);
  if (!VERSIONS.includes(version)) refuse("version", `one of ${VERSIONS.join(", ")}`, version);
  const kernelSize = checkOdd("kernelSize", options.kernelSize ?? 7);
  const dilatedKernelSize = checkOdd("dilatedKernelSize", options.dilatedKernelSize ?? 17);
  const nearest = Math.max(1, Math.round((dilatedKernelSize - 1) / Math.max(1, kernelSize - 1)));
  const sharePositions = options.sharePositions ?? true;
  const dropPathRate = options.dropPathRate ?? 0;
  if (!(dropPathRate >= 0 && dropPathRate < 1)) refuse("dropPathRate", "from 0 to below 1", dropPathRate);
  return {
    inChannels: positive("inChannels", options.inChannels ?? 3),
    classes: positive("classes", options.classes ?? 1000),
    depths: [...depths],
    dims: [...dims],
    stemSize: positive("stemSize", options.stemSize ?? 4),
    conv,
    kernelSize,
    dilation: positive("dilation", options.dilation ?? nearest),
    dilatedKernelSize,
    kernelCount: positive(
      "kernelCount",
      options.kernelCount ?? isoKernelCount({ depths, dims, kernelSize, version, sharePositions }),
    ),
    version,
    sharePositions,
    positionStd: checkNumber("positionStd", options.positionStd ?? 0.5),
    layerScale: options.layerScale === null ? 0 : checkNumber("layerScale", options.layerScale ?? 1e-6),
    dropPathRate,
    stageNorms: options.stageNorms ?? false,
    recompute: options.recompute ?? false,
    weightStd: checkNumber("weightStd", options.weightStd ?? 0.02),
  };
}
