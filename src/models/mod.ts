/**
 * Models: ConvNeXt with DCLS, dense or dilated depthwise layers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, zeros } from "@dcls/dcls";
 * import { ConvNeXt } from "@dcls/dcls/models";
 *
 * await init();
 * const model = new ConvNeXt({ classes: 10, depths: [1, 1], dims: [8, 16], dilatedKernelSize: 7, kernelSize: 3 });
 * assert.deepEqual(model.forward(zeros([1, 3, 32, 32])).shape, [1, 10]);
 * assert.equal(model.namedParameters()[0][0], "downsample_layers.0.0.weight");
 * ```
 * @module
 */
export { ConvNeXt, type ForwardOptions } from "./convnext.ts";
export { ConvNeXtBlock, type Inspect } from "./convnext_block.ts";
export { CONV_KINDS, type ConvKind, type ConvNeXtOptions, type ConvNeXtSpec } from "./convnext_options.ts";
export { isoKernelCount, type IsoOptions } from "./iso.ts";
export {
  convnextBase,
  convnextDclsBase,
  convnextDclsGaussTiny,
  convnextDclsSmall,
  convnextDclsTiny,
  convnextSmall,
  convnextTiny,
  modelName,
  MODELS,
} from "./presets.ts";
export {
  replaceDepthwise,
  type Replacement,
  type ReplacementReport,
  type ReplaceOptions,
} from "./replace.ts";
export { type Summary, summary, type SummaryRow } from "./summary.ts";
