/** Kernel counts at iso-parameters (Khalfaoui-Hassani et al., ICLR 2023, section 4). */
import { INTERPOLATION } from "../interpolation.ts";
import type { Version } from "../spec.ts";

/** A depthwise layer whose kernels are to be replaced. */
export interface DenseKernels {
  /** Kernels: output channels. */
  readonly rows: number;
  /** Weights of each. */
  readonly cells: number;
  /** Position and spread values of each new element; 0 where another layer shares its own. */
  readonly axes: number;
}

/**
 * The largest K at which rows · K weights and rows · axes · K positions, over all layers, are no more than their
 * rows · cells dense weights. 0 where not even one element is.
 */
export function largestKernelCount(layers: readonly DenseKernels[]): number {
  const sum = (value: (layer: DenseKernels) => number): number =>
    layers.reduce((total, layer) => total + value(layer), 0);
  return Math.floor(sum(({ rows, cells }) => rows * cells) / sum(({ rows, axes }) => rows * (1 + axes)));
}

/** What {@linkcode isoKernelCount} needs to know. */
export interface IsoOptions {
  /** Blocks of each stage. */
  depths: readonly number[];
  /** Channels of each stage. */
  dims: readonly number[];
  /** Kernel size of the baseline. */
  kernelSize: number;
  /** Default `"v0"`; `max` and `gauss` also have spreads. */
  version?: Version;
  /** Whether the blocks of a stage share positions and spreads. Default true. */
  sharePositions?: boolean;
}

/**
 * The largest kernel count at which 2-d depthwise DCLS layers have no more parameters than the dense layers that they
 * replace. A stage of d blocks of C channels has d C k² weights; with DCLS d C K weights, and 2 C K positions (once
 * where they are shared, else for each block; twice with spreads).
 *
 * @returns at least 1. With 7x7 and shared positions it is 34 for ConvNeXt-T, 40 for -S and -B
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { isoKernelCount } from "@dcls/dcls/models";
 *
 * const tiny = { depths: [3, 3, 9, 3], dims: [96, 192, 384, 768], kernelSize: 7 };
 * assert.equal(isoKernelCount(tiny), 34);
 * ```
 */
export function isoKernelCount(options: IsoOptions): number {
  const { depths, dims, kernelSize, version = "v0", sharePositions = true } = options;
  const axes = 2 * (INTERPOLATION[version].spread ? 2 : 1);
  const blocks = depths.flatMap((depth, stage) =>
    Array.from({ length: depth }, (_, block): DenseKernels => ({
      rows: dims[stage],
      cells: kernelSize ** 2,
      axes: sharePositions && block > 0 ? 0 : axes,
    }))
  );
  return Math.max(1, largestKernelCount(blocks));
}
