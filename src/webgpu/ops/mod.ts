/** Every op and update by name. */
import type { OpName, OpTable, UpdateName, UpdateTable } from "../../ops/mod.ts";
import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { constructKernel } from "./constructKernel.ts";
import { convolution } from "./convolution.ts";
import { correctCount } from "./correctCount.ts";
import { crossEntropy } from "./crossEntropy.ts";
import { globalAveragePool } from "./globalAveragePool.ts";
import { layerNorm } from "./layerNorm.ts";
import { layerNormPointwise } from "./layerNormPointwise.ts";
import type { GpuOp, GpuUpdate } from "./op.ts";
import { pad } from "./pad.ts";
import { pointwise } from "./pointwise.ts";
import { pointwiseResidual } from "./pointwiseResidual.ts";
import { repulsiveLoss } from "./repulsiveLoss.ts";
import { scaleResidual } from "./scaleResidual.ts";
import { sum } from "./sum.ts";
import { unary } from "./unary.ts";
import { adamW, assign, clamp } from "./updates.ts";

export type { GpuOp, GpuUpdate };

/** One implementation per op. */
export type GpuOps = { readonly [N in OpName]: GpuOp<OpTable[N]> };
/** One implementation per update. */
export type GpuUpdates = { readonly [N in UpdateName]: GpuUpdate<UpdateTable[N]> };

/** The ops. */
export const ops: GpuOps = {
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
/** The updates. */
export const updates: GpuUpdates = { adamW, assign, clamp };
