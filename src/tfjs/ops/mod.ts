/** Every op on tfjs, by name. */
import type { OpName, OpTable } from "../../ops/mod.ts";
import type { TfjsOp } from "../op.ts";
import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { constructKernel } from "./constructKernel.ts";
import { convolution } from "./convolution.ts";
import { correctCount } from "./correctCount.ts";
import { crossEntropy } from "./crossEntropy.ts";
import { globalAveragePool } from "./globalAveragePool.ts";
import { layerNorm } from "./layerNorm.ts";
import { layerNormPointwise } from "./layerNormPointwise.ts";
import { pad } from "./pad.ts";
import { pointwise } from "./pointwise.ts";
import { pointwiseResidual } from "./pointwiseResidual.ts";
import { repulsiveLoss } from "./repulsiveLoss.ts";
import { scaleResidual } from "./scaleResidual.ts";
import { sum } from "./sum.ts";
import { unary } from "./unary.ts";

/** The table that a backend has to fill. */
export const tfjsOps: { readonly [N in OpName]: TfjsOp<OpTable[N]> } = {
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
