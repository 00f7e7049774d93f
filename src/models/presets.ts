/**
 * The models of the papers: ConvNeXt-T/S/B (Liu et al., CVPR 2022, section 3), the same with DCLS (Khalfaoui-Hassani et
 * al., ICLR 2023, table 2), and ConvNeXt-T with Gaussian interpolation (the same authors, "Beyond bilinear
 * interpolation", 2023). Parameter paths are those of the published checkpoints: `stages.0.0.dwconv.P`.
 */
import { ConvNeXt } from "./convnext.ts";
import type { ConvNeXtOptions } from "./convnext_options.ts";

const TINY: ConvNeXtOptions = { depths: [3, 3, 9, 3], dims: [96, 192, 384, 768] };
const SMALL: ConvNeXtOptions = { depths: [3, 3, 27, 3], dims: [96, 192, 384, 768] };
const BASE: ConvNeXtOptions = { depths: [3, 3, 27, 3], dims: [128, 256, 512, 1024] };

const STANDARD: ConvNeXtOptions = { conv: "standard" };
/** The kernel count follows from the rest: as many parameters as with 7x7 kernels. */
const DCLS: ConvNeXtOptions = { conv: "dcls", dilatedKernelSize: 17, version: "v0" };
const GAUSS: ConvNeXtOptions = { conv: "dcls", dilatedKernelSize: 23, version: "gauss" };

function make(size: ConvNeXtOptions, layers: ConvNeXtOptions, options: ConvNeXtOptions): ConvNeXt {
  // What is undefined counts as left out, here as in every other options object.
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return new ConvNeXt({ ...size, ...layers, ...given });
}

/**
 * ConvNeXt-T: 28.6 million parameters, 4.5 billion multiply-adds at 224 x 224; 7x7 depthwise kernels.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextTiny } from "@dcls/dcls/models";
 *
 * await init();
 * const model = convnextTiny({ classes: 10, depths: [1, 1, 1, 1], dims: [8, 16, 24, 32] });
 * assert.deepEqual([model.spec.conv, model.spec.kernelSize], ["standard", 7]);
 * ```
 */
export function convnextTiny(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(TINY, STANDARD, options);
}

/**
 * ConvNeXt-S: 50.2 million parameters, 8.7 billion multiply-adds at 224 x 224; 7x7 depthwise kernels.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextSmall } from "@dcls/dcls/models";
 *
 * await init();
 * assert.deepEqual(convnextSmall({ dims: [4, 4, 4, 4] }).spec.depths, [3, 3, 27, 3]);
 * ```
 */
export function convnextSmall(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(SMALL, STANDARD, options);
}

/**
 * ConvNeXt-B: 88.6 million parameters, 15.5 billion multiply-adds at 224 x 224; 7x7 depthwise kernels.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextBase } from "@dcls/dcls/models";
 *
 * await init();
 * const model = convnextBase({ classes: 10, depths: [1, 1, 1, 1], dims: [4, 8, 16, 32] });
 * assert.equal(model.namedParameters()[0][0], "downsample_layers.0.0.weight");
 * ```
 */
export function convnextBase(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(BASE, STANDARD, options);
}

/**
 * ConvNeXt-T-dcls: 28.6 million parameters, 5.0 billion multiply-adds at 224 x 224, 82.5 % on ImageNet-1k; 34 elements in
 * 17 x 17, interpolated by `v0`, the blocks of a stage sharing their positions. With other depths, dims, version or
 * sharing, the kernel count keeps to as many parameters as 7x7 kernels have, unless it is given.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextDclsTiny } from "@dcls/dcls/models";
 *
 * await init();
 * const model = convnextDclsTiny({ classes: 10, dims: [4, 8, 16, 32] });
 * assert.deepEqual([model.spec.kernelCount, model.spec.dilatedKernelSize], [34, 17]);
 * assert.equal(model.parameters().filter(({ name }) => name === "P").length, 4); // one for each stage
 * ```
 */
export function convnextDclsTiny(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(TINY, DCLS, options);
}

/**
 * ConvNeXt-S-dcls: 50.2 million parameters, 9.5 billion multiply-adds at 224 x 224, 83.7 % on ImageNet-1k; 40 elements in
 * 17 x 17, otherwise as {@linkcode convnextDclsTiny}.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextDclsSmall } from "@dcls/dcls/models";
 *
 * await init();
 * assert.equal(convnextDclsSmall({ dims: [2, 4, 8, 16] }).spec.kernelCount, 40);
 * ```
 */
export function convnextDclsSmall(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(SMALL, DCLS, options);
}

/**
 * ConvNeXt-B-dcls: 88.6 million parameters, 16.5 billion multiply-adds at 224 x 224, 84.1 % on ImageNet-1k; 40 elements
 * in 17 x 17, otherwise as {@linkcode convnextDclsTiny}.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextDclsBase } from "@dcls/dcls/models";
 *
 * await init();
 * assert.equal(convnextDclsBase({ dims: [2, 4, 8, 16] }).spec.kernelCount, 40);
 * ```
 */
export function convnextDclsBase(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(BASE, DCLS, options);
}

/**
 * ConvNeXt-T-dcls with Gaussian interpolation: 26 elements in 23 x 23, the blocks of a stage sharing positions and
 * spreads; 28.6 million parameters, 5.5 billion multiply-adds at 224 x 224.
 *
 * @param options what is to differ: every option of {@linkcode ConvNeXt}
 * @throws {RangeError} naming the option, its rule and what was passed
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { convnextDclsGaussTiny } from "@dcls/dcls/models";
 *
 * await init();
 * const model = convnextDclsGaussTiny({ dims: [2, 4, 8, 16] });
 * assert.deepEqual([model.spec.kernelCount, model.spec.dilatedKernelSize], [26, 23]);
 * assert.equal(model.parameters().filter(({ name }) => name === "SIG").length, 4);
 * ```
 */
export function convnextDclsGaussTiny(options: ConvNeXtOptions = {}): ConvNeXt {
  return make(TINY, GAUSS, options);
}

/** The models by name, for command lines. */
export const MODELS: Readonly<Record<string, (options?: ConvNeXtOptions) => ConvNeXt>> = {
  "convnext-tiny": convnextTiny,
  "convnext-small": convnextSmall,
  "convnext-base": convnextBase,
  "convnext-dcls-tiny": convnextDclsTiny,
  "convnext-dcls-small": convnextDclsSmall,
  "convnext-dcls-base": convnextDclsBase,
  "convnext-dcls-gauss-tiny": convnextDclsGaussTiny,
};

/**
 * The full name of a model. Case, dashes and underscores do not count (`convnextDclsTiny`, `convnext_dcls_tiny`), and
 * `convnext-dcls-` may be left out: `tiny`, `gauss-tiny`.
 *
 * @returns a key of {@linkcode MODELS}
 * @throws {RangeError} for an unknown name, with the list of those there are
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { modelName } from "@dcls/dcls/models";
 *
 * assert.equal(modelName("tiny"), "convnext-dcls-tiny");
 * assert.equal(modelName("convnextTiny"), "convnext-tiny");
 * assert.throws(() => modelName("huge"), /must be one of convnext-tiny, .*, got "huge"/);
 * ```
 */
export function modelName(name: string): string {
  const plain = (text: string): string => text.toLowerCase().replace(/[-_]/g, "");
  const names = Object.keys(MODELS);
  const found = names.find((known) => plain(known) === plain(name)) ??
    names.find((known) => plain(known) === `convnextdcls${plain(name)}`);
  if (found === undefined) {
    throw new RangeError(
      `Cannot find the model: its name must be one of ${names.join(", ")}, got ${JSON.stringify(name)}`,
    );
  }
  return found;
}
