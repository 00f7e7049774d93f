/**
 * What is benched: layers by their shapes, and the ops of each. An op has one name everywhere.
 *
 * Legend: N batch, C channels, S dilated kernel size, K kernel count.
 * @module
 */
import { type DType, ELEMENT_BYTES } from "../src/dtype.ts";
import { outputExtent, type Shape, sizeOf, type Version, VERSIONS } from "../src/spec.ts";

/** A layer and what it is run on. */
export interface BenchCase {
  /** As in the tables. */
  readonly name: string;
  readonly axes: 1 | 2 | 3;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly kernelCount: number;
  /** S, of every axis. */
  readonly size: number;
  readonly padding: number;
  /** Spatial extents of the input. */
  readonly extents: Shape;
  /** What replaces them on CPUs, where the whole would take seconds a call. */
  readonly cpuExtents?: Shape;
  /** N on a GPU, and on CPUs: tfjs and software adapters. */
  readonly batch: { readonly gpu: number; readonly cpu: number };
  readonly versions: readonly Version[];
  /** The versions whose layers `--quick` times; none: it leaves the case out. */
  readonly quick: readonly Version[];
}

/** The ops, in the order in which they are measured. */
export const OPS = [
  "constructKernel",
  "constructKernelBackward",
  "convolution",
  "convBackwardInput",
  "convBackwardKernel",
  "convBackward",
  "layer forward",
  "layer forward + backward",
] as const;
/** One of them. `convBackward` is both gradients at once; the layer's backward gives all, the input's included. */
export type BenchOpName = typeof OPS[number];

/** A depthwise 2-d layer with "same" padding. */
export function depthwise(
  channels: number,
  extent: number,
  size: number,
  kernelCount: number,
  more: Partial<BenchCase> = {},
): BenchCase {
  return {
    name: `${channels} x ${extent}², ${size}x${size} / ${kernelCount}`,
    axes: 2,
    inChannels: channels,
    outChannels: channels,
    groups: channels,
    kernelCount,
    size,
    padding: Math.floor(size / 2),
    extents: [extent, extent],
    batch: { gpu: 128, cpu: 2 },
    versions: ["v0"],
    quick: [],
    ...more,
  };
}

/** The cases, the poster's layer first. */
export const CASES: readonly BenchCase[] = [
  depthwise(96, 56, 17, 34, { versions: VERSIONS, quick: ["v0", "gauss"] }),
  depthwise(96, 56, 23, 26),
  depthwise(96, 56, 31, 34),
  depthwise(192, 28, 17, 34, { quick: ["v0"] }),
  depthwise(384, 14, 17, 34),
  depthwise(768, 7, 17, 34),
  {
    name: "Dcls1d 140 to 256, K 1, S 25, length 125",
    axes: 1,
    inChannels: 140,
    outChannels: 256,
    groups: 1,
    kernelCount: 1,
    size: 25,
    padding: 0,
    extents: [125],
    batch: { gpu: 256, cpu: 4 },
    versions: ["gauss"],
    quick: [],
  },
  {
    name: "Dcls3d 16 to 33, K 10, 7x7x7, 50 x 100 x 30",
    axes: 3,
    inChannels: 16,
    outChannels: 33,
    groups: 1,
    kernelCount: 10,
    size: 7,
    padding: 0,
    extents: [50, 100, 30],
    cpuExtents: [14, 24, 12],
    batch: { gpu: 20, cpu: 1 },
    versions: ["v0"],
    quick: [],
  },
];

/** The case as it is run on a GPU or on CPUs; another name says so where it differs. */
export function caseOn(benched: BenchCase, software: boolean): BenchCase {
  const { name, cpuExtents, extents } = benched;
  if (!software || !cpuExtents) return benched;
  return { ...benched, name: name.replace(extents.join(" x "), cpuExtents.join(" x ")), extents: cpuExtents };
}

/** Spatial extents of the output. */
export function outputExtents({ extents, size, padding }: BenchCase): number[] {
  return extents.map((extent) => outputExtent(extent, size, 1, padding, 1));
}

/** What an op has to do at the least. */
export interface Cost {
  /** Operations of the dense, direct algorithm, two per multiplication and addition, taps on the padding included. */
  readonly flops: number;
  /** Each tensor read or written once. */
  readonly bytes: number;
  /**
   * Whether arithmetic bounds it, as in dense convolutions; in depthwise ones the FFT saves arithmetic, and memory
   * does.
   */
  readonly bound: "arithmetic" | "memory";
}

/** The cost of an op on a batch whose inputs, outputs and their gradients are of this dtype. */
export function costOf(benched: BenchCase, op: BenchOpName, batch: number, dtype: DType = "float32"): Cost {
  const { axes, inChannels, outChannels, groups, kernelCount, size, extents } = benched;
  const rows = outChannels * inChannels / groups, taps = rows * size ** axes;
  const input = batch * inChannels * sizeOf(extents);
  const pixels = batch * sizeOf(outputExtents(benched)), output = outChannels * pixels;
  // Weight, positions, and spreads of the versions that have them: left out, being few beside the kernel's cells.
  const elements = rows * kernelCount * (1 + axes);
  const products = 2 * taps * pixels;
  const depth = groups === 1 && inChannels > 1;
  const of = (flops: number, images: number, rest: number, memory = !depth): Cost => ({
    flops,
    bytes: ELEMENT_BYTES[dtype] * images + 4 * rest,
    bound: memory ? "memory" : "arithmetic",
  });
  switch (op) {
    case "constructKernel":
      return of(0, 0, elements + taps, true);
    case "constructKernelBackward":
      return of(0, 0, 2 * elements + taps, true);
    case "convolution":
    case "convBackwardInput":
    case "convBackwardKernel":
      return of(products, input + output, taps);
    case "convBackward":
      return of(2 * products, 2 * input + output, 2 * taps);
    case "layer forward":
      return of(products, input + output, elements);
    case "layer forward + backward":
      return of(3 * products, 3 * input + 2 * output, 3 * elements);
  }
}
