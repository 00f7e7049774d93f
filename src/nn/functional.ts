/**
 * The ops as functions: what layers are made of, for those who write their own.
 *
 * Legend: N batch, C channels, O output channels, then 1 to 3 spatial axes; K kernel count, S dilated kernel size.
 */
import { INTERPOLATION } from "../interpolation.ts";
import {
  constructKernel as constructKernelOp,
  convolution as convolutionOp,
  correctCount as correctCountOp,
  crossEntropy as crossEntropyOp,
  globalAveragePool as globalAveragePoolOp,
  layerNorm as layerNormOp,
  pad as padOp,
  pointwise as pointwiseOp,
  repulsiveLoss as repulsiveLossOp,
  scaleResidual as scaleResidualOp,
} from "../ops/mod.ts";
import { checkAxes, type PaddingMode, type Shape, type Version } from "../spec.ts";
import { apply, type Tensor } from "../tensor.ts";

/** Options of {@linkcode constructKernel}. */
export interface ConstructKernelOptions {
  /** S of each positioned axis. */
  size: Shape;
  /** Interpolation. Default `"v0"`. */
  version?: Version;
  /** Added to |SIG|. Default 1 for `max`, 0.27 for `gauss`. */
  spreadOffset?: number;
  /** Shape of the result. Default: that of weight without its last axis, then `size`. */
  kernelShape?: Shape;
}

/**
 * The dense kernels of learnable positions. Each of the K elements is spread over the cells around its position, as
 * the version says (Khalfaoui-Hassani et al., ICLR 2023, section 2).
 *
 * @param weight `[...rows, K]`, for a layer `[out, in/groups, K]`
 * @param P positions in cells from the centre cell floor(S/2), `[positioned axes, ...rows, K]`
 * @param SIG spreads in cells, of P's shape, for `max` and `gauss`; null for the others
 * @returns `[...rows, ...size]`
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { constructKernel } from "@dcls/dcls/nn";
 *
 * await init();
 * const kernel = constructKernel(tensor([4], [1, 1, 1]), tensor([0.25], [1, 1, 1, 1]), null, { size: [5] });
 * assert.deepEqual([...await kernel.data()], [0, 0, 3, 1, 0]);
 * ```
 */
export function constructKernel(
  weight: Tensor,
  P: Tensor,
  SIG: Tensor | null,
  options: ConstructKernelOptions,
): Tensor {
  const { size, version = "v0" } = options;
  const spreadOffset = options.spreadOffset ?? (version === "gauss" ? 0.27 : version === "max" ? 1 : 0);
  return apply(constructKernelOp, [weight, P, INTERPOLATION[version].spread ? SIG : null], {
    version,
    spreadOffset,
    size,
    weightShape: weight.shape,
    kernelShape: options.kernelShape ?? [...weight.shape.slice(0, -1), ...size],
  });
}

/** Options of {@linkcode convolution}: one number, or one per spatial axis. */
export interface ConvolutionOptions {
  /** Default 1. */
  stride?: number | readonly number[];
  /** Cells added on both sides. Default 0. */
  padding?: number | readonly number[];
  /** Distance of neighbouring kernel cells. Default 1. */
  dilation?: number | readonly number[];
  /** Default 1. */
  groups?: number;
  /** Default `"zeros"`. */
  paddingMode?: PaddingMode;
}

/**
 * Cross-correlation, PyTorch's convolution.
 *
 * @param x `[N, C, ...spatial]` with 1 to 3 spatial axes
 * @param kernel `[O, C/groups, ...size]`
 * @param bias `[O]`, or null
 * @returns `[N, O, ...floor((spatial + 2 padding - dilation (size - 1) - 1) / stride) + 1]`
 * @throws {RangeError} when the shapes do not fit, the kernel is larger than the padded input, or reflect or
 * circular padding reaches beyond it
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { convolution } from "@dcls/dcls/nn";
 *
 * await init();
 * const x = tensor([1, 2, 3], [1, 1, 3]);
 * const y = convolution(x, tensor([1, 0, -1], [1, 1, 3]), null, { padding: 1, paddingMode: "circular" });
 * assert.deepEqual([...await y.data()], [1, -2, 1]);
 * ```
 */
export function convolution(
  x: Tensor,
  kernel: Tensor,
  bias: Tensor | null = null,
  options: ConvolutionOptions = {},
): Tensor {
  const axes = kernel.shape.length - 2;
  const listed = (name: string, value: number | readonly number[], least: number): number[] =>
    checkAxes("convolution", name, value, axes, least);
  const { paddingMode = "zeros", groups = 1 } = options;
  const stride = listed("stride", options.stride ?? 1, 1);
  const dilation = listed("dilation", options.dilation ?? 1, 1);
  const padding = listed("padding", options.padding ?? 0, 0);
  if (paddingMode === "zeros" || padding.every((cells) => cells === 0)) {
    return apply(convolutionOp, [x, kernel, bias], { stride, padding, dilation, groups });
  }
  const padded = apply(padOp, [x], { padding, mode: paddingMode });
  return apply(convolutionOp, [padded, kernel, bias], {
    stride,
    padding: padding.map(() => 0),
    dilation,
    groups,
  });
}

/**
 * A linear map of the channels at every place: a 1x1 convolution.
 *
 * @param x `[N, C, ...spatial]`, with any number of spatial axes from 0 to 3
 * @param weight `[O, C]`
 * @param bias `[O]`, or null
 * @returns `[N, O, ...spatial]`
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { pointwise } from "@dcls/dcls/nn";
 *
 * await init();
 * const y = pointwise(tensor([1, 2], [1, 2]), tensor([3, 4], [1, 2]), tensor([5], [1]));
 * assert.equal(await y.item(), 16);
 * ```
 */
export function pointwise(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  return apply(pointwiseOp, [x, weight, bias], {});
}

/**
 * Layer normalisation over the channels, at every place: (x - mean) / √(variance + epsilon) · weight + bias.
 *
 * @param x `[N, C, ...spatial]`
 * @param weight `[C]`
 * @param bias `[C]`
 * @param epsilon default 1e-6, ConvNeXt's
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, ones, tensor, zeros } from "@dcls/dcls";
 * import { layerNorm } from "@dcls/dcls/nn";
 *
 * await init();
 * const y = await layerNorm(tensor([3, 5], [1, 2]), ones([2]), zeros([2])).data();
 * assert.deepEqual(y.map(Math.round), Float32Array.of(-1, 1));
 * ```
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor, epsilon = 1e-6): Tensor {
  return apply(layerNormOp, [x, weight, bias], { epsilon });
}

/**
 * shortcut + keep · scale · x, with one scale per channel and one keep per sample: ConvNeXt's layer scale, drop path
 * and residual in one.
 *
 * @param shortcut `[N, C, ...spatial]`
 * @param x of the same shape
 * @param scale `[C]`, or null for 1
 * @param keep `[N]`, as {@linkcode DropPath} draws it, or null for 1; it has no gradient
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { scaleResidual } from "@dcls/dcls/nn";
 *
 * await init();
 * const shortcut = tensor([1, 1, 1, 1], [2, 2]), x = tensor([2, 3, 2, 3], [2, 2]), scale = tensor([10, 100], [2]);
 * assert.deepEqual([...await scaleResidual(shortcut, x, scale).data()], [21, 301, 21, 301]);
 * const y = scaleResidual(shortcut, x, scale, tensor([0, 2], [2])); // the first sample was dropped
 * assert.deepEqual([...await y.data()], [1, 1, 41, 601]);
 * ```
 */
export function scaleResidual(
  shortcut: Tensor,
  x: Tensor,
  scale: Tensor | null,
  keep: Tensor | null = null,
): Tensor {
  if (!keep) return scale ? apply(scaleResidualOp, [shortcut, x, scale], {}) : shortcut.add(x);
  // The samples side by side, as channels of one: each has its own scale for each of its channels.
  const scales = scale
    ? pointwise(keep.reshape([-1, 1]), scale.reshape([-1, 1])).reshape([keep.size * scale.size])
    : keep;
  const beside = (images: Tensor): Tensor => images.reshape([1, scales.size, images.size / scales.size]);
  return apply(scaleResidualOp, [beside(shortcut), beside(x), scales], {}).reshape(x.shape);
}

/**
 * The mean over all spatial axes.
 *
 * @param x `[N, C, ...spatial]`
 * @returns `[N, C]`
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { globalAveragePool } from "@dcls/dcls/nn";
 *
 * await init();
 * assert.deepEqual([...await globalAveragePool(tensor([1, 3, 2, 6], [1, 2, 2])).data()], [2, 4]);
 * ```
 */
export function globalAveragePool(x: Tensor): Tensor {
  return apply(globalAveragePoolOp, [x], {});
}

/**
 * The mean cross-entropy of a batch, in nats.
 *
 * @param logits `[N, classes]`
 * @param labels class indices as numbers, `[N]`
 * @param options `labelSmoothing` from 0 (default) to 1: that share of the target is spread over all classes
 * @returns a scalar
 * @throws {RangeError} when the shapes do not fit, or labelSmoothing is not in [0, 1]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { crossEntropy } from "@dcls/dcls/nn";
 *
 * await init();
 * const loss = await crossEntropy(tensor([0, 0, 0, 0], [1, 4]), tensor([2], [1])).item();
 * assert(Math.abs(loss - Math.log(4)) < 1e-6);
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  labels: Tensor,
  options: { labelSmoothing?: number } = {},
): Tensor {
  const { labelSmoothing = 0 } = options;
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1)) {
    throw new RangeError(
      `Cannot run crossEntropy: labelSmoothing must be from 0 to 1, got ${String(labelSmoothing)}`,
    );
  }
  return apply(crossEntropyOp, [logits, labels], { labelSmoothing });
}

/**
 * How many rows have their largest logit at the label. No gradient.
 *
 * @param logits `[N, classes]`
 * @param labels class indices as numbers, `[N]`
 * @returns a scalar
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { correctCount } from "@dcls/dcls/nn";
 *
 * await init();
 * const logits = tensor([1, 2, 4, 3], [2, 2]);
 * assert.equal(await correctCount(logits, tensor([1, 1], [2])).item(), 1);
 * ```
 */
export function correctCount(logits: Tensor, labels: Tensor): Tensor {
  return apply(correctCountOp, [logits, labels], {});
}

/**
 * How much the elements of a kernel crowd: the mean over kernels and pairs of elements of max(0, 1 - distance).
 * Added to the loss (squared, in the authors' training) it keeps elements a cell apart.
 *
 * @param P `[positioned axes, out, in/groups, K]`
 * @returns a scalar; 0 for K = 1
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { repulsiveLoss } from "@dcls/dcls/nn";
 *
 * await init();
 * const P = tensor([0, 0.25], [1, 1, 1, 2]);
 * assert.equal(await repulsiveLoss(P).item(), 0.75);
 * ```
 */
export function repulsiveLoss(P: Tensor): Tensor {
  return apply(repulsiveLossOp, [P], {});
}
