/**
 * Layers, the base class of modules, and the ops as functions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, ones } from "@dcls/dcls";
 * import { Conv2d } from "@dcls/dcls/nn";
 *
 * await init();
 * const y = new Conv2d(3, 8, { kernelSize: 3, padding: 1 }).forward(ones([1, 3, 6, 6]));
 * assert.deepEqual(y.shape, [1, 8, 6, 6]);
 * ```
 * @module
 */
export { Dcls1d, Dcls2_1d, Dcls2d, Dcls2dK1d, Dcls3_1d, Dcls3d } from "./dcls.ts";
export { DclsNd, type InitialParameters } from "./dcls_nd.ts";
export { Conv1d, Conv2d, Conv3d, ConvNd, type ConvOptions } from "./conv.ts";
export type { ConvolutionLayer } from "./input.ts";
export { Linear, type LinearOptions, Pointwise } from "./linear.ts";
export { DropPath, type DropPathOptions } from "./drop_path.ts";
export { LayerNorm, type LayerNormOptions } from "./layer_norm.ts";
export { Module, type ModuleChild } from "./module.ts";
export { Parameter, parameter } from "./parameter.ts";
export type { Layout, LoadOptions, StateDict, StateInput, StateOptions, StateTensor } from "./state.ts";
export {
  type Activation,
  layerNormPointwise,
  type LayerNormPointwiseOptions,
  pointwiseResidual,
  type PointwiseResidualOptions,
} from "./fused.ts";
export {
  constructKernel,
  type ConstructKernelOptions,
  convolution,
  type ConvolutionOptions,
  correctCount,
  crossEntropy,
  globalAveragePool,
  layerNorm,
  pointwise,
  repulsiveLoss,
  scaleResidual,
} from "./functional.ts";
