/**
 * pointwise: y[n, m, p] = bias[m] + sum over c of A(m, c) x[n, c, p], where A(m, c) is weight[m, c], or weight[c, m] for
 * the gradient to the input (x is dy there, and M and C are exchanged).
 *
 * A gemm whose columns are batch and pixels together. The extents are parameters: layers of other sizes share a
 * pipeline where the plan and the divisibilities below are the same.
 *
 * Software adapter, processor time, ms, against 16 x 8 results an invocation, 64 to a workgroup, extents in the code: 96 → 384
 * channels, 3136 pixels 18 (28), 384 → 96 20 (41), 384 → 1536, 196 pixels 20 (55), 3072 → 768, 49 pixels 19 (198).
 *
 * Bindings: x, weight, bias (optional), y, parameters { rows (M), columns (n and p together), depth (C), pixels (P) }.
 */
import { type Binding, gemm, type GemmPlan } from "./gemm.ts";
import { arrayOfWidth, imageEpilogue, imageOperand, matrixOperand } from "./gemmOperands.ts";
import { arrayOf, type Kernel, type Storage } from "./kernel.ts";

/** Sizes of a pointwise product. */
export interface PointwiseGeometry {
  readonly inChannels: number;
  readonly outChannels: number;
  /** P, pixels per image. */
  readonly pixels: number;
}

/** What is computed. */
export interface PointwiseOptions {
  readonly bias: boolean;
  /** A is the transpose of weight. */
  readonly transposed: boolean;
  /** Elements of x and y; default "f32". */
  readonly storage?: Storage;
}

/** How the code of a product of weight and image is laid out: all that its extents decide. */
export interface ProductForm {
  readonly plan: GemmPlan;
  readonly edges: { readonly rows: boolean; readonly depth: boolean };
  /** Elements per load of x, and per store of y. */
  readonly imageWidth: 1 | 4;
  readonly weightWidth: 1 | 4;
}

/** All that the code depends on. */
export interface PointwiseForm extends Required<PointwiseOptions>, ProductForm {}

/** 4 where runs of 4 may be loaded: not in registers, where they gain nothing. */
export function widthFor(plan: GemmPlan, extent: number): 1 | 4 {
  return plan.mapping === "tile" && extent % 4 === 0 ? 4 : 1;
}

/** Which extents leave a remainder. For tiles rows always count as leaving one: few branches, and fewer pipelines. */
export function edgesOf(plan: GemmPlan, rows: number, depth: number): { rows: boolean; depth: boolean } {
  return {
    rows: plan.mapping === "tile" || rows % plan.rows !== 0,
    depth: plan.mapping === "tile" && depth % plan.depth !== 0,
  };
}

/** The layout that serves this product. */
export function productForm(
  { inChannels, outChannels, pixels }: PointwiseGeometry,
  plan: GemmPlan,
  transposed = false,
): ProductForm {
  return {
    plan,
    edges: edgesOf(plan, outChannels, inChannels),
    imageWidth: widthFor(plan, pixels),
    weightWidth: widthFor(plan, transposed ? outChannels : inChannels),
  };
}

/** The form of the code that serves this product. */
export function pointwiseForm(
  geometry: PointwiseGeometry,
  { bias, transposed, storage = "f32" }: PointwiseOptions,
  plan: GemmPlan,
): PointwiseForm {
  return { bias, transposed, storage, ...productForm(geometry, plan, transposed) };
}

/** The product; dispatch over `gemmGroups`. */
export function pointwise(form: PointwiseForm): Kernel {
  const { bias, transposed, storage, plan, edges, imageWidth, weightWidth } = form;
  const rows = "parameters.rows", depth = "parameters.depth", pixels = "parameters.pixels";
  const image = arrayOfWidth(storage, imageWidth);
  return gemm({
    label: `pointwise${transposed ? " transposed" : ""}`,
    bindings: [
      ["x", image, "read"],
      ["weight", arrayOfWidth("f32", weightWidth), "read"],
      ...bias ? [["bias", arrayOf("f32"), "read"] satisfies Binding] : [],
      ["y", image, "read_write"],
    ],
    parameters: { rows: "u32", columns: "u32", depth: "u32", pixels: "u32" },
    rows,
    columns: "parameters.columns",
    depth: { first: "0u", end: depth },
    edges,
    a: matrixOperand({ buffer: "weight", width: weightWidth }, { rows, depth, transposed }),
    b: imageOperand({ buffer: "x", width: imageWidth, storage }, { channels: depth, pixels }),
    epilogue: imageEpilogue(
      { buffer: "y", width: imageWidth, storage },
      { channels: rows, pixels },
      bias ? (slot, row) => `let bias${slot} = bias[${row}];` : undefined,
      bias ? (value, row) => `${value} + bias${row}` : undefined,
    ),
  }, plan);
}
