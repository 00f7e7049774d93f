/**
 * pointwiseResidual: y[n, m, p] = shortcut[n, m, p] + keep[n] scale[m] (bias[m] + sum over c of weight[m, c] f(x[n, c, p])),
 * f nothing or gelu; without scale or keep these are 1.
 *
 * `pointwiseResidual`, a gemm as in pointwise: bindings x, weight, bias, scale, shortcut, keep, y (those that there are);
 *   `first` is the sample of all that x begins with. f is applied as x is loaded: its result is neither written nor kept.
 *   Software adapter, 128 → 32 channels on 7x7 (batch 50), 384 → 96 on 56x56, 1536 → 384 on 14x14: as much processor time as
 *   with gelu in a dispatch before (least of 5 runs: 1.9, 17.9 and 18.1 ms against 2.2, 17.9 and 19.0).
 * `pointwiseResidualBackwardInput`: dx[n, c, p] = f'(x) sum over m of weight[m, c] g[n, m, p], g = keep scale dy; the
 *   scale is in weight or in g already (`scaleRows`). Bindings: g, weight, x, dx, activated. Where f is gelu, f(x) is
 *   written to `activated` along with dx: the gradient of weight needs it next, and f'(x) has most of it. That is one
 *   write of C elements a pixel; applied on loading, once per block of rows, gelu would be computed up to C / 384 times.
 *   Software adapter: as much processor time as with the slope in a dispatch after the product (same shapes, forward and
 *   backward: 7.7, 58.7 and 58.8 ms against 8.1, 56.5 and 59.3).
 *
 * The other gradients, with g = keep dy, T[m, c] = sum over n, p of g[n, m, p] f(x)[n, c, p] and t[m] = sum over n, p of g:
 *   dweight = scale T,  dbias = scale t,  dscale[m] = sum over c of weight[m, c] T[m, c] + bias[m] t[m]
 * so that the sums before their scale are neither kept nor computed again.
 * `pointwiseResidualParameters`: T followed by t, weight, scale, bias (optional), dweight, dbias (optional), dscale,
 *   parameters { rows: M, channels: C }. One workgroup a row m.
 */
import { type Binding, gemm, type GemmPlan, type Operand } from "./gemm.ts";
import {
  arrayOfWidth,
  imageEpilogue,
  imageOperand,
  loadWidth,
  matrixOperand,
  storeWidth,
} from "./gemmOperands.ts";
import { elementwise } from "./elementwise.ts";
import { gelu, normalCdf, normalSlope } from "./gelu.ts";
import { arrayOf, bindings, type Kernel, main, parameters, type Storage, treeSum } from "./kernel.ts";
import { type PointwiseGeometry, type ProductForm, productForm } from "./pointwise.ts";

/** What is computed. */
export interface PointwiseResidualOptions {
  /** Whether f is gelu, applied as x is loaded. */
  readonly gelu: boolean;
  readonly bias: boolean;
  readonly scale: boolean;
  readonly keep: boolean;
  /** Elements of x, shortcut and y. */
  readonly storage: Storage;
}

/** All that the code depends on. */
export interface PointwiseResidualForm extends PointwiseResidualOptions, ProductForm {}

/** The form of the code that serves this product. */
export function pointwiseResidualForm(
  geometry: PointwiseGeometry,
  options: PointwiseResidualOptions,
  plan: GemmPlan,
): PointwiseResidualForm {
  return { ...options, ...productForm(geometry, plan) };
}

/** An operand, activated. */
const activated = (operand: Operand): Operand => ({
  ...operand,
  finish: (_slot, value) => `gelu(${value})`,
});

/** y; dispatch over `gemmGroups`. */
export function pointwiseResidual(form: PointwiseResidualForm): Kernel {
  const { bias, scale, keep, storage, plan, edges, imageWidth, weightWidth } = form;
  const rows = "parameters.rows", depth = "parameters.depth", pixels = "parameters.pixels";
  const image = arrayOfWidth(storage, imageWidth);
  const x = imageOperand({ buffer: "x", width: imageWidth, storage }, { channels: depth, pixels });
  const y = imageEpilogue(
    { buffer: "y", width: imageWidth, storage },
    { channels: rows, pixels },
    (slot, row) =>
      `${bias ? `let bias${slot} = bias[${row}];` : ""} ${scale ? `let scale${slot} = scale[${row}];` : ""}`,
  );
  const named = (there: boolean, name: string): Binding[] => there ? [[name, arrayOf("f32"), "read"]] : [];
  return gemm({
    label: "pointwiseResidual",
    bindings: [
      ["x", image, "read"],
      ["weight", arrayOfWidth("f32", weightWidth), "read"],
      ...named(bias, "bias"),
      ...named(scale, "scale"),
      ["shortcut", image, "read"],
      ...named(keep, "keep"),
      ["y", image, "read_write"],
    ],
    parameters: { rows: "u32", columns: "u32", depth: "u32", pixels: "u32", first: "u32" },
    declarations: form.gelu ? gelu(imageWidth) : "",
    rows,
    columns: "parameters.columns",
    depth: { first: "0u", end: depth },
    edges,
    a: matrixOperand({ buffer: "weight", width: weightWidth }, { rows, depth, transposed: false }),
    b: form.gelu ? activated(x) : x,
    epilogue: {
      ...y,
      columns: (slot, column) =>
        `${y.columns(slot, column)} ${
          keep ? `let keep${slot} = keep[parameters.first + ${column} / ${pixels}];` : ""
        }`,
      store: (value, row, column) => {
        const at = `at${column} + place${row}`;
        const factors = [...keep ? [`keep${column}`] : [], ...scale ? [`scale${row}`] : []];
        const sum = bias ? `(${value} + bias${row})` : value;
        const total = `${loadWidth(storage, imageWidth, "shortcut", at)} + ${[...factors, sum].join(" * ")}`;
        return storeWidth(storage, imageWidth, "y", at, total);
      },
    },
  }, plan);
}

/** What the gradient of x depends on. */
export interface PointwiseResidualInputForm extends ProductForm {
  /** Whether f is gelu. */
  readonly gelu: boolean;
  /** Whether f(x) is wanted, too. */
  readonly activated: boolean;
}

/** The form of the code that serves this product; the geometry is the forward's. */
export function pointwiseResidualInputForm(
  { inChannels, outChannels, pixels }: PointwiseGeometry,
  options: Pick<PointwiseResidualInputForm, "gelu" | "activated">,
  plan: GemmPlan,
): PointwiseResidualInputForm {
  const swapped = { inChannels: outChannels, outChannels: inChannels, pixels };
  return { ...options, ...productForm(swapped, plan, true) };
}

/** dx, and f(x); dispatch over `gemmGroups`. */
export function pointwiseResidualBackwardInput(form: PointwiseResidualInputForm): Kernel {
  const { plan, edges, imageWidth, weightWidth } = form;
  const rows = "parameters.rows", depth = "parameters.depth", pixels = "parameters.pixels";
  const image = arrayOfWidth("f32", imageWidth);
  const dx = imageEpilogue({ buffer: "dx", width: imageWidth }, { channels: rows, pixels });
  const more: Binding[] = form.gelu
    ? [["x", image, "read"], ["dx", image, "read_write"]]
    : [["dx", image, "read_write"]];
  if (form.gelu && form.activated) more.push(["activated", image, "read_write"]);
  return gemm({
    label: "pointwiseResidualBackwardInput",
    bindings: [["gradient", image, "read"], ["weight", arrayOfWidth("f32", weightWidth), "read"], ...more],
    parameters: { rows: "u32", columns: "u32", depth: "u32", pixels: "u32" },
    declarations: form.gelu ? `${normalCdf(imageWidth)}\n${normalSlope(imageWidth)}` : "",
    rows,
    columns: "parameters.columns",
    depth: { first: "0u", end: depth },
    edges,
    a: matrixOperand({ buffer: "weight", width: weightWidth }, { rows, depth, transposed: true }),
    b: imageOperand({ buffer: "gradient", width: imageWidth }, { channels: depth, pixels }),
    epilogue: {
      ...dx,
      store: (value, row, column) => {
        if (!form.gelu) return dx.store(value, row, column);
        const activated = form.activated ? "activated[i] = v * cdf;" : "";
        return `{ let i = at${column} + place${row}; let v = x[i]; let cdf = normalCdf(v);
dx[i] = ${value} * normalSlope(v, cdf); ${activated} }`;
      },
    },
  }, plan);
}

const SIZE = 64;

/**
 * dweight, dbias and dscale from T, followed by t; one workgroup a row.
 * @param width elements per load: 4 where that divides the channels
 */
export function pointwiseResidualParameters(bias: boolean, width: 1 | 4): Kernel {
  const wide = arrayOfWidth("f32", width);
  const list: Binding[] = [
    ["T", wide, "read"],
    ["weight", wide, "read"],
    ["scale", "array<f32>", "read"],
    ...bias ? [["bias", "array<f32>", "read"] as Binding] : [],
    ["dweight", wide, "read_write"],
    ...bias ? [["dbias", "array<f32>", "read_write"] as Binding] : [],
    ["dscale", "array<f32>", "read_write"],
  ];
  return {
    label: "pointwiseResidual parameters",
    workgroupSize: SIZE,
    workgroupBytes: 4 * SIZE,
    code: `${bindings(...list)}
${parameters(list.length, { rows: "u32", channels: "u32" })}
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let m = g.y * groups.x + g.x; let last = min(m, parameters.rows - 1u);
let C = parameters.channels / ${width}u;
let row = last * C; let factor = scale[last];
${width === 1 ? "var s = 0.0;" : "var s = vec4f(0.0);"}
for (var c = t; c < C; c += ${SIZE}u) {
let sum = T[row + c];
if (m < parameters.rows) { dweight[row + c] = factor * sum; }
s = fma(weight[row + c], sum, s);
}
sums[t] = ${width === 1 ? "s" : "dot(s, vec4f(1.0))"};
${treeSum("sums", SIZE)}
if (t == 0u && m < parameters.rows) {
let total = T[parameters.rows * C + m${width === 1 ? "]" : " / 4u][m % 4u]"};
dscale[m] = sums[0]${bias ? " + bias[m] * total" : ""};
${bias ? "dbias[m] = factor * total;" : ""}
}
}`,
  };
}

/** y[i, m, p] = factors[m] x[i, m, p]: an elementwise kernel, parameters { count, inner (extent of p), rows (of m), first (m of x[0]) }. */
export function scaleRows(): Kernel {
  return elementwise({
    label: "scaleRows",
    inputs: [{ name: "x", storage: "f32" }],
    more: {
      name: "factor",
      element: "factor_s[(i / parameters.inner + parameters.first) % parameters.rows]",
    },
    fields: { inner: "u32", rows: "u32", first: "u32" },
    output: { name: "y", storage: "f32" },
    value: "factor * x",
  });
}
