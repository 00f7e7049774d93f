/** Several ops in one: fewer passes over memory, and less kept for the backward pass. */
import type { Activation } from "../ops/layerNormPointwise.ts";
import {
  layerNormPointwise as layerNormPointwiseOp,
  pointwiseResidual as pointwiseResidualOp,
} from "../ops/mod.ts";
import { apply, type Tensor } from "../tensor.ts";

export type { Activation };

/** Options of {@linkcode layerNormPointwise}. */
export interface LayerNormPointwiseOptions {
  /** Added to the variance. Default 1e-6, ConvNeXt's. */
  epsilon?: number;
  /** Applied to the output. Default `"none"`. */
  activation?: Activation;
}

/**
 * `layerNorm`, `pointwise` and, if asked for, `gelu` in one: the first half of a ConvNeXt block's tail. The normalised
 * image is not kept for the backward pass, nor, on WebGPU, written at all where it is large.
 *
 * @param x `[N, C, ...spatial]`
 * @param normWeight scale of the normalised channels, `[C]`
 * @param normBias their shift, `[C]`
 * @param weight `[M, C]`
 * @param bias `[M]` or null
 * @returns `[N, M, ...spatial]`
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, ones, tensor } from "@dcls/dcls";
 * import { layerNormPointwise } from "@dcls/dcls/nn";
 *
 * await init();
 * const x = tensor([1, 3], [1, 2]), weight = tensor([1, 0, 0, 1, 1, 1], [3, 2]);
 * const y = await layerNormPointwise(x, ones([2]), tensor([0, 5], [2]), weight, null).data();
 * assert.deepEqual(Array.from(y, Math.round), [-1, 6, 5]);
 * ```
 */
export function layerNormPointwise(
  x: Tensor,
  normWeight: Tensor,
  normBias: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  options: LayerNormPointwiseOptions = {},
): Tensor {
  const { epsilon = 1e-6, activation = "none" } = options;
  return apply(layerNormPointwiseOp, [x, normWeight, normBias, weight, bias], { epsilon, activation });
}

/** Options of {@linkcode pointwiseResidual}. */
export interface PointwiseResidualOptions {
  /** `[M]`, of every output channel. Default: 1. */
  scale?: Tensor | null;
  /** `[N]`, of every sample, as {@linkcode DropPath} draws it; it has no gradient. Default: 1. */
  keep?: Tensor | null;
  /** Applied to x first. Default `"none"`. */
  activation?: Activation;
}

/**
 * shortcut + keep · scale · pointwise(f(x)): the second half of a ConvNeXt block's tail. Neither f(x) nor the product
 * before its scale is kept for the backward pass.
 *
 * @param x `[N, C, ...spatial]`
 * @param weight `[M, C]`
 * @param bias `[M]` or null
 * @param shortcut `[N, M, ...spatial]`
 * @returns of the shortcut's shape
 * @throws {RangeError} when the shapes do not fit one another
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, tensor } from "@dcls/dcls";
 * import { pointwiseResidual } from "@dcls/dcls/nn";
 *
 * await init();
 * const x = tensor([2, 3], [1, 2]), weight = tensor([1, 10], [1, 2]), shortcut = tensor([1], [1, 1]);
 * const y = pointwiseResidual(x, weight, tensor([4], [1]), shortcut, { scale: tensor([0.5], [1]) });
 * assert.equal(await y.item(), 1 + 0.5 * (2 + 30 + 4));
 * ```
 */
export function pointwiseResidual(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  shortcut: Tensor,
  options: PointwiseResidualOptions = {},
): Tensor {
  const { scale = null, keep = null, activation = "none" } = options;
  return apply(pointwiseResidualOp, [x, weight, bias, scale, shortcut, keep], { activation });
}
