/**
 * convolution, direct: y[n, o, q] = bias[o] + sum over i, t of kernel[o, i, t] x[n, group C/groups + i, q stride + t dilation - padding].
 * 1 to 3 spatial axes (missing ones have extent 1), any groups; serves as convBackwardInput too where the stride is 1.
 *
 * One invocation computes a strip of `strip` outputs along the last axis for `block` output channels of one group. For
 * every input channel and kernel row it reads the input row's window and the row of taps once into registers, then
 * runs taps x strip x block multiply-adds on them: about one load for five multiply-adds at 17 taps, no barrier. Where one
 * strip covers the row, borders are known when the code is written and taps that meet no pixel are left out.
 *
 * Bindings: x, kernel, bias (optional), y, parameters { items }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

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
}

/** How the taps are read: as they are, or mirrored with in and out exchanged for the gradient to the input. */
export type TapOrder = "forward" | "mirrored";

const SIZE = 64;
/** Registers that an invocation spends on sums. */
const SUMS = 32;

/** Outputs per invocation: along the last axis, and channels. */
export function tileOf(geometry: ConvolutionGeometry): { strip: number; block: number } {
  const width = geometry.output[2], perGroup = geometry.outChannels / geometry.groups;
  const strip = width <= 16 ? width : 8;
  const block = [4, 3, 2, 1].find((b) => perGroup % b === 0 && b * strip <= SUMS) ?? 1;
  return { strip, block };
}

/** The direct kernel; dispatch over ceil(items / 64) workgroups by out channels / block, items = n * rows * strips. */
export function convolution(
  geometry: ConvolutionGeometry,
  hasBias: boolean,
  taps: TapOrder = "forward",
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, padding, dilation } = geometry;
  const I = C / groups, J = O / groups, cells = size[0] * size[1] * size[2];
  const { strip, block } = tileOf(geometry);
  const strips = Math.ceil(output[2] / strip);
  // window of the input row that a strip meets: offsets from ox0 * stride - padding
  const offsets = [
    ...new Set(range(strip).flatMap((j) => range(size[2]).map((k) => j * stride[2] + k * dilation[2]))),
  ]
    .sort((a, b) => a - b);
  const inside = (offset: number): boolean => {
    const at = offset - padding[2];
    return at >= 0 && at < input[2];
  };
  const fixed = strips === 1;
  const used = fixed ? offsets.filter(inside) : offsets;
  const loads = used.map((offset) => {
    if (fixed) return `let v${offset} = x[row + ${offset - padding[2]}u];`;
    const safe = padding[2] === 0 &&
      (strips * strip - 1) * stride[2] + dilation[2] * (size[2] - 1) < input[2];
    if (safe) return `let v${offset} = x[row + u32(ix0) + ${offset}u];`;
    return `let c${offset} = ix0 + ${offset}; let v${offset} = select(0.0, x[row + u32(clamp(c${offset}, 0, ${
      input[2] - 1
    }))], c${offset} >= 0 && c${offset} < ${input[2]});`;
  }).join("\n");
  const tapIndex = (k: number): string => taps === "forward" ? `tap + ${k}u` : `tap - ${k}u`;
  const usedTaps = range(size[2]).filter((k) =>
    !fixed || range(strip).some((j) => inside(j * stride[2] + k * dilation[2]))
  );
  const multiply = range(block).map((b) =>
    usedTaps.map((k) => {
      const terms = range(strip).map((j) => ({ j, offset: j * stride[2] + k * dilation[2] }))
        .filter(({ offset }) => !fixed || inside(offset))
        .map(({ j, offset }) => `s${b}_${j} = fma(v${offset}, w, s${b}_${j});`);
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
  const axisLoop = (axis: 0 | 1, name: string, k: string, o: string, body: string): string => {
    const S = size[axis];
    if (S === 1 && padding[axis] === 0) {
      return `{ let ${k} = 0u; let i${name} = i32(${o} * ${stride[axis]}u);\n${body} }`;
    }
    return `for (var ${k} = 0u; ${k} < ${S}u; ${k}++) {
let i${name} = i32(${o} * ${stride[axis]}u + ${k} * ${dilation[axis]}u) - ${padding[axis]};
if (i${name} >= 0 && i${name} < ${input[axis]}) {
${body} } }`;
  };
  const row = `let row = ((n * ${C}u + group * ${I}u + i) * ${input[0] * input[1]}u + u32(iz) * ${
    input[1]
  }u + u32(iy)) * ${input[2]}u;
let tap = ${firstTap};
${loads}
${multiply}`;
  const inputs: [string, string, "read"][] = [["x", "array<f32>", "read"], ["kernel", "array<f32>", "read"]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { items: "u32" })}
${main(SIZE)} {
let item = (g.z * groups.x + g.x) * ${SIZE}u + t;
if (item >= parameters.items) { return; }
let o0 = g.y * ${block}u; let group = o0 / ${J}u;
let ox0 = item % ${strips}u * ${strip}u; let oy = item / ${strips}u % ${output[1]}u;
let oz = item / ${strips * output[1]}u % ${output[0]}u; let n = item / ${strips * output[1] * output[0]}u;
let ix0 = i32(ox0 * ${stride[2]}u) - ${padding[2]};
${
    unroll(block, (b) =>
      unroll(strip, (j) => `var s${b}_${j} = ${hasBias ? `bias[o0 + ${b}u]` : "0.0"};`, " "))
  }
for (var i = 0u; i < ${I}u; i++) {
${axisLoop(0, "z", "kz", "oz", axisLoop(1, "y", "ky", "oy", row))}
}
let at = ((n * ${O}u + o0) * ${output[0] * output[1]}u + oz * ${output[1]}u + oy) * ${output[2]}u + ox0;
${
    unroll(block, (b) =>
      unroll(strip, (j) => {
        const store = `y[at + ${b * output[0] * output[1] * output[2] + j}u] = s${b}_${j};`;
        return (strips - 1) * strip + j < output[2] ? store : `if (ox0 + ${j}u < ${output[2]}u) { ${store} }`;
      }, " "))
  }
}`;
  return { label: `convolution ${taps} ${size.join("x")}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
