/**
 * convolution, direct: y[n, o, q] = bias[o] + sum over i, t of kernel[o, i, t] x[n, group C/groups + i, q stride + t dilation - padding].
 * 1 to 3 spatial axes (missing ones have extent 1), any groups. By spread and mirrored taps it is the gradient to the input
 * too (see convBackwardInput): the sum is then over the t for which spread divides q stride + t dilation - padding.
 *
 * One invocation computes a strip of `strip` outputs along the last axis for `block` output channels of one group. For
 * every input channel and kernel row it reads the input row's window and the row of taps once into registers, then
 * runs taps x strip x block multiply-adds on them: about one load for five multiply-adds at 17 taps, no barrier. Where one
 * strip covers the row, borders are known when the code is written and taps that meet no pixel are left out.
 *
 * Under a stride, the gradient to the input runs through the taps of its rows' phase alone, and strips begin at phase 0, so
 * that columns' phases are constants: on llvmpipe, 2 x 96 x 56², 17x17 and stride 2 took 218 ms with a division per tap.
 *
 * Bindings: x, kernel, bias (optional), y, parameters { items, first (workgroup of this dispatch), xStart, yStart (elements
 * before the first image bound) }.
 */
import { type Axis, axisOf, cellsOf, type Meeting, meetings } from "./axis.ts";
import {
  arrayOf,
  bindings,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  store,
  unroll,
} from "./kernel.ts";

/** Sizes of a convolution; every list has three spatial axes. */
export interface ConvolutionGeometry {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly groups: number;
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly size: readonly number[];
  readonly stride: readonly number[];
  readonly padding: readonly number[];
  readonly dilation: readonly number[];
  /** How far apart the input's cells lie, 1 by default: the forward stride, in a gradient to the input. */
  readonly spread?: readonly number[];
}

/** How the taps are read: as they are, or mirrored with in and out exchanged for the gradient to the input. */
export type TapOrder = "forward" | "mirrored";

const SIZE = 64;
/** Registers that an invocation spends on sums. */
const SUMS = 32;

/** Outputs per invocation: along the last axis, and channels. */
export function tileOf(geometry: ConvolutionGeometry): { strip: number; block: number } {
  const width = geometry.output[2], perGroup = geometry.outChannels / geometry.groups;
  const spread = geometry.spread?.[2] ?? 1;
  const strip = width <= 16 ? width : Math.ceil(8 / spread) * spread;
  const block = [4, 3, 2, 1].find((b) => perGroup % b === 0 && b * strip <= SUMS) ?? 1;
  return { strip, block };
}

/** Runs `body` for the taps k of an axis that meet a cell of the input: output cell `o`, input cell i<name>. */
function tapLoop(
  { input, size, stride, spread, padding, dilation }: Axis,
  name: string,
  body: string,
): string {
  const k = `k${name}`, i = `i${name}`, o = `o${name}`;
  const inside = `${i} >= 0 && ${i} < ${input}`;
  if (size === 1 && padding === 0 && spread === 1) {
    return `{ let ${k} = 0u; let ${i} = i32(${o} * ${stride}u);\n${body} }`;
  }
  const reached = `i32(${o} * ${stride}u + ${k} * ${dilation}u) - ${padding}`;
  if (spread === 1) {
    return `for (var ${k} = 0u; ${k} < ${size}u; ${k}++) { let ${i} = ${reached};
if (${inside}) {
${body} } }`;
  }
  // Of `spread` taps in a row one meets a cell, where dilation and spread have no common divisor; stride is then 1.
  const inverse = range(spread).find((factor) => factor * dilation % spread === 1 % spread);
  const phase = (padding % spread + spread) % spread;
  const [first, step] = inverse === undefined
    ? ["0u", 1]
    : [`(${phase + spread}u - ${o} % ${spread}u) * ${inverse}u % ${spread}u`, spread];
  return `for (var ${k} = ${first}; ${k} < ${size}u; ${k} += ${step}u) { let reached = ${reached}; let ${i} = reached / ${spread};
if (reached >= 0 && ${i} < ${input}${inverse === undefined ? ` && reached % ${spread} == 0` : ""}) {
${body} } }`;
}

/** The direct kernel; dispatch over items / 64 workgroups (x) by out channels / block (y, then z), items = n * rows * strips. */
export function convolution(
  geometry: ConvolutionGeometry,
  hasBias: boolean,
  taps: TapOrder = "forward",
  storage: Storage = "f32",
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size } = geometry;
  const I = C / groups, J = O / groups, cells = size[0] * size[1] * size[2];
  const { strip, block } = tileOf(geometry), across = axisOf(geometry, 2);
  const strips = Math.ceil(output[2] / strip), fixed = strips === 1;
  const inside = ({ cell }: Meeting): boolean => !fixed || cell >= 0 && cell < input[2];
  const met = meetings(across, strip).filter(inside), window = cellsOf(met);
  const name = (cell: number): string => `v${String(cell).replace("-", "m")}`;
  const last = (strips - 1) * strip / across.spread * across.stride;
  const safe = window[0] >= 0 && last + window[window.length - 1] < input[2];
  const loads = window.map((cell) => {
    if (fixed) return `let ${name(cell)} = ${load(storage, "x", `row + ${cell}u`)};`;
    if (safe) return `let ${name(cell)} = ${load(storage, "x", `row + u32(ix0) + ${cell}u`)};`;
    const at = load(storage, "x", `row + u32(clamp(ix0 + ${cell}, 0, ${input[2] - 1}))`);
    return `let ${name(cell)} = select(0.0, ${at}, ix0 + ${cell} >= 0 && ix0 + ${cell} < ${input[2]});`;
  }).join("\n");
  const tapIndex = (k: number): string => taps === "forward" ? `tap + ${k}u` : `tap - ${k}u`;
  const multiply = range(block).map((b) =>
    [...new Set(met.map(({ k }) => k))].map((k) => {
      const terms = met.filter((meeting) => meeting.k === k)
        .map(({ j, cell }) => `s${b}_${j} = fma(${name(cell)}, w, s${b}_${j});`);
      return `{ let w = kernel[${tapIndex(k)} + ${b * (taps === "forward" ? I : 1) * cells}u]; ${
        terms.join(" ")
      } }`;
    }).join("\n")
  ).join("\n");
  // first tap of kernel row (kz, ky) for input channel i of the group and output channel o0
  const firstTap = taps === "forward"
    ? `((o0 * ${I}u + i) * ${cells}u) + (kz * ${size[1]}u + ky) * ${size[2]}u`
    : `((group * ${I}u + i) * ${J}u + o0 % ${J}u) * ${cells}u + ${cells - 1}u - (kz * ${size[1]}u + ky) * ${
      size[2]
    }u`;
  const row = `let row = parameters.xStart + ((n * ${C}u + group * ${I}u + i) * ${
    input[0] * input[1]
  }u + u32(iz) * ${input[1]}u + u32(iy)) * ${input[2]}u;
let tap = ${firstTap};
${loads}
${multiply}`;
  const inputs: [string, string, "read"][] = [["x", arrayOf(storage), "read"], [
    "kernel",
    "array<f32>",
    "read",
  ]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", arrayOf(storage), "read_write"])}
${parameters(inputs.length + 1, { items: "u32", first: "u32", xStart: "u32", yStart: "u32" })}
${main(SIZE)} {
let item = (parameters.first + g.x) * ${SIZE}u + t; let blockOf = g.z * groups.y + g.y;
if (item >= parameters.items || blockOf >= ${O / block}u) { return; }
let o0 = blockOf * ${block}u; let group = o0 / ${J}u;
let ox0 = item % ${strips}u * ${strip}u; let oy = item / ${strips}u % ${output[1]}u;
let oz = item / ${strips * output[1]}u % ${output[0]}u; let n = item / ${strips * output[1] * output[0]}u;
let ix0 = i32(ox0 / ${across.spread}u * ${across.stride}u);
${
    unroll(block, (b) =>
      unroll(strip, (j) => `var s${b}_${j} = ${hasBias ? `bias[o0 + ${b}u]` : "0.0"};`, " "))
  }
for (var i = 0u; i < ${I}u; i++) {
${tapLoop(axisOf(geometry, 0), "z", tapLoop(axisOf(geometry, 1), "y", row))}
}
let at = parameters.yStart + ((n * ${O}u + o0) * ${output[0] * output[1]}u + oz * ${output[1]}u + oy) * ${
    output[2]
  }u + ox0;
${
    unroll(block, (b) =>
      unroll(strip, (j) => {
        const line = store(storage, "y", `at + ${b * output[0] * output[1] * output[2] + j}u`, `s${b}_${j}`);
        return (strips - 1) * strip + j < output[2] ? line : `if (ox0 + ${j}u < ${output[2]}u) { ${line} }`;
      }, " "))
  }
}`;
  return { label: `convolution ${taps} ${size.join("x")}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
