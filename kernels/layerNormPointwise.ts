/**
 * layerNormPointwise: y[n, m, p] = f(bias[m] + sum over c of weight[m, c] (u[n, c, p] normWeight[c] + normBias[c])),
 * u = (x - mean) r over the channels of the pixel, f nothing or gelu.
 *
 * `layerNormPointwise`, a gemm as in pointwise: bindings x, statistics [N, P] of (mean, r), weight, bias, y. normWeight
 *   and normBias are in weight and bias already (`foldNorm`), so that what is left to do with x as it is loaded is exact
 *   and costs two operations: no element is written that is not the result. Without statistics x is taken as it is:
 *   normalised by layerNorm where the image is smaller than the weight, and folding would cost more than it saves.
 *   Software adapter, processor ms against layerNorm, pointwise and gelu one after another (least of two runs of 12, others at
 *   work): 96 → 384 channels, 56x56, batch 1 21.9 and 24.6, batch 2 41.8 and 43.2; 192 → 768, 28x28, batch 2 35.6 and 39.3; 384 →
 *   1536, 14x14, batch 2 33.9 and 34.9; 768 → 3072, 7x7, batch 2 33.8 and 34.8.
 * `foldNorm`: folded[m, c] = weight[m, c] normWeight[c], foldedBias[m] = bias[m] + sum over c of weight[m, c] normBias[c].
 *   One workgroup a row m: weight, normWeight, normBias, bias (optional), folded, foldedBias, parameters { channels }.
 *
 * Backward, with S[m, c] = sum over n, p of ds[n, m, p] u[n, c, p] and t[m] = sum over n, p of ds:
 *   dweight[m, c] = normWeight[c] S[m, c] + normBias[c] t[m],  dbias = t,
 *   dnormWeight[c] = sum over m of weight[m, c] S[m, c],  dnormBias[c] = sum over m of weight[m, c] t[m]
 * so that no pixel is looked at for the norm's own parameters.
 * `layerNormPointwiseBackwardNorm`: x, dz (the product's gradient, weightᵀ ds), normWeight, dx, normal (u), parameters of
 *   `layerNormStatistics`. With h = normWeight dz: dx = r (h - mean(h) - u mean(h u)), means over the channels.
 * `layerNormPointwiseParameters`: S followed by t, weight, normWeight, normBias, dweight, dbias (optional), partial
 *   [ceil(M / PARAMETER_ROWS), 2, C], parameters { rows: M, channels: C }; `layerNormPointwiseNormSums`: partial,
 *   dnormWeight, dnormBias, parameters { blocks, channels: C }.
 */
import { type Binding, gemm, type GemmPlan, type Operand } from "./gemm.ts";
import { arrayOfWidth, imageEpilogue, imageOperand, matrixOperand } from "./gemmOperands.ts";
import { gelu } from "./gelu.ts";
import {
  arrayOf,
  bindings,
  flatId,
  type Kernel,
  main,
  parameters,
  range,
  type Storage,
  treeSum,
  unroll,
} from "./kernel.ts";
import {
  momentArrays,
  momentBytes,
  moments,
  PIXEL_FIELDS,
  pixelOf,
  type PixelPlan,
} from "./layerNormStatistics.ts";
import { type PointwiseGeometry, type ProductForm, productForm } from "./pointwise.ts";

/** What is computed. */
export interface LayerNormPointwiseOptions {
  /** Whether x is normalised as it is loaded. */
  readonly normalise: boolean;
  readonly bias: boolean;
  readonly gelu: boolean;
  /** Elements of x and y. */
  readonly storage: Storage;
}

/** All that the code depends on. */
export interface LayerNormPointwiseForm extends LayerNormPointwiseOptions, ProductForm {}

/** The form of the code that serves this product. */
export function layerNormPointwiseForm(
  geometry: PointwiseGeometry,
  options: LayerNormPointwiseOptions,
  plan: GemmPlan,
): LayerNormPointwiseForm {
  return { ...options, ...productForm(geometry, plan) };
}

/** An image operand, every column less its mean and times its r. */
function normalised(image: Operand): Operand {
  const all = (part: string, at: string): string =>
    image.width === 1
      ? `statistics[${at}].${part}`
      : `vec4f(${range(4).map((i) => `statistics[${at} + ${i}u].${part}`).join(", ")})`;
  return {
    ...image,
    setup: (slot, column) =>
      `${image.setup(slot, column)} let ${slot}Mean = ${all("x", column)}; let ${slot}Scale = ${
        all("y", column)
      };`,
    finish: (slot, value) => `(${value} - ${slot}Mean) * ${slot}Scale`,
  };
}

/** y; dispatch over `gemmGroups`. */
export function layerNormPointwise(form: LayerNormPointwiseForm): Kernel {
  const { normalise, bias, storage, plan, edges, imageWidth, weightWidth } = form;
  const rows = "parameters.rows", depth = "parameters.depth", pixels = "parameters.pixels";
  const x = imageOperand({ buffer: "x", width: imageWidth, storage }, { channels: depth, pixels });
  const sum = (value: string, row: string): string => bias ? `${value} + bias${row}` : value;
  return gemm({
    label: `layerNormPointwise${normalise ? "" : ", normalised before"}`,
    bindings: [
      ["x", arrayOfWidth(storage, imageWidth), "read"],
      ...normalise ? [["statistics", "array<vec2f>", "read"] as Binding] : [],
      ["weight", arrayOfWidth("f32", weightWidth), "read"],
      ...bias ? [["bias", arrayOf("f32"), "read"] as Binding] : [],
      ["y", arrayOfWidth(storage, imageWidth), "read_write"],
    ],
    parameters: { rows: "u32", columns: "u32", depth: "u32", pixels: "u32" },
    declarations: form.gelu ? gelu(imageWidth) : "",
    rows,
    columns: "parameters.columns",
    depth: { first: "0u", end: depth },
    edges,
    a: matrixOperand({ buffer: "weight", width: weightWidth }, { rows, depth, transposed: false }),
    b: normalise ? normalised(x) : x,
    epilogue: imageEpilogue(
      { buffer: "y", width: imageWidth, storage },
      { channels: rows, pixels },
      (slot, row) => bias ? `let bias${slot} = bias[${row}];` : "",
      (value, row) => form.gelu ? `gelu(${sum(value, row)})` : sum(value, row),
    ),
  }, plan);
}

const FOLD_SIZE = 64;

const named = (access: "read" | "read_write", ...names: string[]): Binding[] =>
  names.map((name) => [name, "array<f32>", access]);

/** The norm's weight and bias in those of the product; one workgroup a row. */
export function foldNorm(bias: boolean): Kernel {
  const list = [
    ...named("read", "weight", "normWeight", "normBias", ...bias ? ["bias"] : []),
    ...named("read_write", "folded", "foldedBias"),
  ];
  return {
    label: "foldNorm",
    workgroupSize: FOLD_SIZE,
    workgroupBytes: 4 * FOLD_SIZE,
    code: `${bindings(...list)}
${parameters(list.length, { rows: "u32", channels: "u32" })}
var<workgroup> sums: array<f32, ${FOLD_SIZE}>;
${main(FOLD_SIZE)} {
let m = g.y * groups.x + g.x;
let row = min(m, parameters.rows - 1u) * parameters.channels;
var s = 0.0;
for (var c = t; c < parameters.channels; c += ${FOLD_SIZE}u) {
let w = weight[row + c];
folded[row + c] = w * normWeight[c];
s = fma(w, normBias[c], s);
}
sums[t] = s;
${treeSum("sums", FOLD_SIZE)}
if (t == 0u && m < parameters.rows) { foldedBias[m] = sums[0]${bias ? " + bias[m]" : ""}; }
}`,
  };
}

const SIZE = 64;
/** Rows that one invocation of the parameters' kernel walks. */
export const PARAMETER_ROWS = 8;

/**
 * dweight, dbias, and the sums over PARAMETER_ROWS rows for the norm's; one invocation these rows and `width` channels.
 * @param width elements per load: 4 where that divides the channels
 */
export function layerNormPointwiseParameters(bias: boolean, width: 1 | 4): Kernel {
  const wide = arrayOfWidth("f32", width), zero = width === 1 ? "0.0" : "vec4f(0.0)";
  const list = [
    ...["S", "weight", "normWeight", "normBias"].map((name): Binding => [name, wide, "read"]),
    ["dweight", wide, "read_write"] as Binding,
    ...named("read_write", ...bias ? ["dbias"] : []),
    ["partial", wide, "read_write"] as Binding,
  ];
  return {
    label: "layerNormPointwise parameters",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(...list)}
${parameters(list.length, { rows: "u32", channels: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
let C = parameters.channels / ${width}u; let rows = parameters.rows;
if (id >= C * ((rows + ${PARAMETER_ROWS - 1}u) / ${PARAMETER_ROWS}u)) { return; }
let c = id % C; let block = id / C; let first = block * ${PARAMETER_ROWS}u;
let scale = normWeight[c]; let shift = normBias[c];
var sumWeight = ${zero}; var sumBias = ${zero};
for (var m = first; m < min(first + ${PARAMETER_ROWS}u, rows); m++) {
let at = m * C + c; let total = S[rows * C + m${width === 1 ? "]" : " / 4u][m % 4u]"};
let sum = S[at]; let w = weight[at];
dweight[at] = fma(scale, sum, shift * total);
sumWeight = fma(w, sum, sumWeight); sumBias += w * total;
${bias ? "if (c == 0u) { dbias[m] = total; }" : ""}
}
partial[2u * block * C + c] = sumWeight; partial[(2u * block + 1u) * C + c] = sumBias;
}`,
  };
}

const LANES = 32;
const PARTS = 8;

/** dnormWeight and dnormBias from partial [blocks, 2, C]; one workgroup LANES channels. */
export function layerNormPointwiseNormSums(): Kernel {
  const list = [...named("read", "partial"), ...named("read_write", "dnormWeight", "dnormBias")];
  return {
    label: "layerNormPointwise sums for the norm",
    workgroupSize: LANES * PARTS,
    workgroupBytes: 8 * LANES * PARTS,
    code: `${bindings(...list)}
${parameters(list.length, { blocks: "u32", channels: "u32" })}
var<workgroup> sums: array<vec2f, ${LANES * PARTS}>;
${main(LANES * PARTS)} {
let c = (g.y * groups.x + g.x) * ${LANES}u + t % ${LANES}u; let C = parameters.channels;
var s = vec2f(0.0);
if (c < C) {
for (var block = t / ${LANES}u; block < parameters.blocks; block += ${PARTS}u) {
s += vec2f(partial[2u * block * C + c], partial[(2u * block + 1u) * C + c]);
}
}
sums[t] = s;
workgroupBarrier();
if (t < ${LANES}u && c < C) {
let total = ${unroll(PARTS, (i) => `sums[t + ${i * LANES}u]`, " + ")};
dnormWeight[c] = total.x; dnormBias[c] = total.y;
}
}`,
  };
}

/**
 * dx, and u for the sums over pixels, in two passes over x and h = normWeight dz, the second from a cache; dispatch over
 * ceil(pixels / lanes).
 */
export function layerNormPointwiseBackwardNorm(plan: PixelPlan): Kernel {
  const size = plan.parts * plan.lanes, C = "parameters.channels";
  const list = [...named("read", "x", "dz", "normWeight"), ...named("read_write", "dx", "normal")];
  return {
    label: "layerNormPointwise backward of the norm",
    workgroupSize: size,
    workgroupBytes: momentBytes(plan, 2),
    code: `${bindings(...list)}
${parameters(list.length, PIXEL_FIELDS)}
${momentArrays(plan, ["X", "H"])}
${main(size)} {
${pixelOf(plan)}
${
      moments(plan, C, [
        { name: "X", value: (c) => `x[base + ${c} * step]` },
        { name: "H", value: (c) => `dz[base + ${c} * step] * normWeight[${c}]` },
      ])
    }
let r = inverseSqrt(momentX / f32(${C}) + parameters.epsilon);
let along = momentH * r / f32(${C});
if (id < parameters.pixels) {
for (var c = part; c < ${C}; c += ${plan.parts}u) {
let i = base + c * step;
let u = (x[i] - meanX) * r;
dx[i] = r * (dz[i] * normWeight[c] - meanH - u * along);
normal[i] = u;
}
}
}`,
  };
}
