/**
 * Dilated Convolution with Learnable Spacings (DCLS): convolutions whose few kernel elements carry learnable positions
 * inside a large dilated kernel. Runs and learns on WebGPU, and on TensorFlow.js where no adapter answers.
 *
 * Khalfaoui-Hassani, Pellegrini & Masquelier, "Dilated convolution with learnable spacings", ICLR 2023.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2d, init, randn } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2d(8, 8, { kernelCount: 6, dilatedKernelSize: 9, padding: 4, groups: 8 });
 * const output = layer.forward(randn([2, 8, 16, 16]));
 * output.sum().backward();
 * assert.deepEqual(output.shape, [2, 8, 16, 16]);
 * assert.equal((await layer.P.grad!.data()).length, 2 * 8 * 6);
 * ```
 * @module
 */
export {
  type BackendInfo,
  type BackendName,
  init,
  type InitOptions,
  memory,
  type MemoryInfo,
  shutdown,
} from "./src/backend.ts";
export type { DType, DTypeName } from "./src/dtype.ts";
export { ones, randn, type RandomOptions, tensor, type TensorOptions, uniform, zeros } from "./src/create.ts";
export { readAll, Tensor } from "./src/tensor.ts";
export { noGrad } from "./src/tape.ts";
export { autotune, type AutotuneFinding, type AutotuneOptions } from "./src/autotune.ts";
export { checkpoint } from "./src/checkpoint.ts";
export { compile, CompiledForward, type CompileOptions } from "./src/compile.ts";
export { keep, type Releasable, tidy } from "./src/scope.ts";
export type {
  DclsOptions,
  DenseDclsOptions,
  FlatDclsOptions,
  LayerSpec,
  PaddingMode,
  Shape,
  Version,
} from "./src/spec.ts";
export {
  Dcls1d,
  Dcls2_1d,
  Dcls2d,
  Dcls2dK1d,
  Dcls3_1d,
  Dcls3d,
  type DclsNd,
  type InitialParameters,
  type Layout,
  type LoadOptions,
  Module,
  type ModuleChild,
  Parameter,
  type StateDict,
  type StateInput,
  type StateOptions,
  type StateTensor,
} from "./src/nn/mod.ts";
export {
  type PthFile,
  type PthInput,
  type PthTensor,
  readPth,
  type ReadPthOptions,
  readSafetensors,
  type SafetensorsData,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsInput,
  type SafetensorsTensor,
  type TensorInput,
  writePth,
  type WritePthOptions,
  writeSafetensors,
} from "./src/io/mod.ts";
export {
  ConvNeXt,
  convnextBase,
  convnextDclsBase,
  convnextDclsGaussTiny,
  convnextDclsSmall,
  convnextDclsTiny,
  type ConvNeXtOptions,
  convnextSmall,
  convnextTiny,
  replaceDepthwise,
  type Replacement,
  type ReplacementReport,
  type ReplaceOptions,
  type Summary,
  summary,
  type SummaryRow,
} from "./src/models/mod.ts";
