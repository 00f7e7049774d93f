/** All ops by name, and the types of their attributes: what a backend has to provide. */
import { binary, type BinaryAttributes } from "./binary.ts";
import { cast, type CastAttributes } from "./cast.ts";
import { constructKernel, type ConstructKernelAttributes } from "./constructKernel.ts";
import { convolution, type ConvolutionAttributes } from "./convolution.ts";
import { correctCount, type CorrectCountAttributes } from "./correctCount.ts";
import { crossEntropy, type CrossEntropyAttributes } from "./crossEntropy.ts";
import { globalAveragePool, type GlobalAveragePoolAttributes } from "./globalAveragePool.ts";
import { layerNorm, type LayerNormAttributes } from "./layerNorm.ts";
import { layerNormPointwise, type LayerNormPointwiseAttributes } from "./layerNormPointwise.ts";
import { pad, type PadAttributes } from "./pad.ts";
import { pointwise, type PointwiseAttributes } from "./pointwise.ts";
import { pointwiseResidual, type PointwiseResidualAttributes } from "./pointwiseResidual.ts";
import { repulsiveLoss, type RepulsiveLossAttributes } from "./repulsiveLoss.ts";
import { scaleResidual, type ScaleResidualAttributes } from "./scaleResidual.ts";
import { sum, type SumAttributes } from "./sum.ts";
import { unary, type UnaryAttributes } from "./unary.ts";

/** Attributes of every op. */
export interface OpTable {
  binary: BinaryAttributes;
  cast: CastAttributes;
  constructKernel: ConstructKernelAttributes;
  convolution: ConvolutionAttributes;
  correctCount: CorrectCountAttributes;
  crossEntropy: CrossEntropyAttributes;
  globalAveragePool: GlobalAveragePoolAttributes;
  layerNorm: LayerNormAttributes;
  layerNormPointwise: LayerNormPointwiseAttributes;
  pad: PadAttributes;
  pointwise: PointwiseAttributes;
  pointwiseResidual: PointwiseResidualAttributes;
  repulsiveLoss: RepulsiveLossAttributes;
  scaleResidual: ScaleResidualAttributes;
  sum: SumAttributes;
  unary: UnaryAttributes;
}

/** The name of an op. */
export type OpName = keyof OpTable;

/** Attributes of the in-place updates: no gradient, no output. */
export interface UpdateTable {
  /**
   * Operands: parameter, gradient, first moment and second moment of each parameter in turn, and as many entries here.
   * Loshchilov & Hutter, ICLR 2019, as in PyTorch.
   */
  adamW: readonly {
    readonly learningRate: number;
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecay: number;
    /** Steps taken including this one, from 1. */
    readonly step: number;
  }[];
  /** Operands: P `[axes, ...]`; the entries along the first axis a are clamped to `[low[a], high[a]]`. */
  clamp: { readonly low: readonly number[]; readonly high: readonly number[] };
  /** Operands: target, source of the same size; copies source into target. */
  assign: Record<string, never>;
}

/** The name of an update. */
export type UpdateName = keyof UpdateTable;

export {
  binary,
  cast,
  constructKernel,
  convolution,
  correctCount,
  crossEntropy,
  globalAveragePool,
  layerNorm,
  layerNormPointwise,
  pad,
  pointwise,
  pointwiseResidual,
  repulsiveLoss,
  scaleResidual,
  sum,
  unary,
};
