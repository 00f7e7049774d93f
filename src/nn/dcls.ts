/** The Dcls layers: one N-d layer, six forms. Khalfaoui-Hassani, Pellegrini & Masquelier, ICLR 2023. */
import type { DclsOptions, DenseDclsOptions, FlatDclsOptions } from "../spec.ts";
import { DclsNd, type InitialParameters } from "./dcls_nd.ts";
import { FORMS } from "./forms.ts";

/**
 * 1-d DCLS: learnable delays. `P` counts from the centre cell: with the input padded by S - 1 on the left, an
 * element at p looks S - 1 - floor(S/2) - p steps back.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls1d, init, zeros } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls1d(1, 1, { kernelCount: 2, dilatedKernelSize: 29, version: "gauss" });
 * assert.deepEqual(layer.forward(zeros([3, 1, 100])).shape, [3, 1, 72]);
 * ```
 */
export class Dcls1d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: DclsOptions & InitialParameters) {
    super(FORMS.Dcls1d, inChannels, outChannels, options);
  }
}

/**
 * 2-d DCLS: a convolution of images whose kernels have few elements with learnable positions.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2d, init, randn } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2d(4, 4, { kernelCount: 5, dilatedKernelSize: 9, padding: 4, groups: 4 });
 * const y = layer.forward(randn([2, 4, 12, 12]));
 * y.square().sum().backward();
 * assert.deepEqual(y.shape, [2, 4, 12, 12]);
 * assert.deepEqual(layer.P.grad!.shape, [2, 4, 1, 5]);
 * ```
 */
export class Dcls2d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: DclsOptions & InitialParameters) {
    super(FORMS.Dcls2d, inChannels, outChannels, options);
  }
}

/**
 * 3-d DCLS: volumes or clips, `[N, C, D, H, W]`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls3d, init, zeros } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls3d(2, 2, { kernelCount: 3, dilatedKernelSize: [3, 5, 5], padding: [1, 2, 2] });
 * assert.deepEqual(layer.constructKernel().shape, [2, 2, 3, 5, 5]);
 * assert.deepEqual(layer.forward(zeros([1, 2, 4, 6, 6])).shape, [1, 2, 4, 6, 6]);
 * ```
 */
export class Dcls3d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: DclsOptions & InitialParameters) {
    super(FORMS.Dcls3d, inChannels, outChannels, options);
  }
}

/**
 * A 2-d convolution whose kernel is dense along the first axis (`denseKernelSize`) and has learnable positions
 * along the second: `weight` is `[out, in/groups, dense, K]`. Positions start uniform over the kernel.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2_1d, init } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2_1d(2, 4, { kernelCount: 3, denseKernelSize: 3, dilatedKernelSize: 9 });
 * assert.deepEqual(layer.P.shape, [1, 4, 2, 3, 3]);
 * assert.deepEqual(layer.constructKernel().shape, [4, 2, 3, 9]);
 * ```
 */
export class Dcls2_1d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: DenseDclsOptions & InitialParameters) {
    super(FORMS.Dcls2_1d, inChannels, outChannels, options);
  }
}

/**
 * A 3-d convolution whose kernel is dense along the first two axes and has learnable positions along the last.
 * Positions start uniform over the kernel.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls3_1d, init } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls3_1d(1, 2, { kernelCount: 3, denseKernelSize: [3, 5], dilatedKernelSize: 9 });
 * assert.deepEqual(layer.constructKernel().shape, [2, 1, 3, 5, 9]);
 * ```
 */
export class Dcls3_1d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: DenseDclsOptions & InitialParameters) {
    super(FORMS.Dcls3_1d, inChannels, outChannels, options);
  }
}

/**
 * A 2-d convolution with a flat kernel: `[S, 1]` for `flatDim: 0` (default), `[1, S]` for `flatDim: 1`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2dK1d, init } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2dK1d(2, 2, { kernelCount: 3, dilatedKernelSize: 9, flatDim: 1 });
 * assert.deepEqual(layer.constructKernel().shape, [2, 2, 1, 9]);
 * ```
 */
export class Dcls2dK1d extends DclsNd {
  /**
   * Makes the layer on the running backend; see {@linkcode DclsOptions}.
   *
   * @param inChannels channels of the input
   * @param outChannels channels of the output
   * @throws {RangeError} naming the option, its rule and what was passed
   * @throws {Error} before `init()`
   */
  constructor(inChannels: number, outChannels: number, options: FlatDclsOptions & InitialParameters) {
    super(FORMS.Dcls2dK1d, inChannels, outChannels, options);
  }
}
