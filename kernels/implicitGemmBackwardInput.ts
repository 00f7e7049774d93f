/**
 * implicitGemmBackwardInput: convBackwardInput as products, one per group of channels and phase of the stride.
 *
 * Per axis, the input cells p = phase + stride p' meet the taps t = t0 + step u, step = stride / gcd(stride, dilation), t0 the
 * first with phase + padding - t0 dilation a multiple of the stride, and find there the output cell
 *   q = p' + (phase + padding - t0 dilation) / stride - u dilation / gcd.
 * So every phase is a convolution of dy without stride, and no multiplication meets a zero:
 *   dx[n, group I + m, p] = sum over k of kernel[group J + j, m, t] dy[n, group J + j, q],  k = (j, u).
 * At stride 1 there is one phase, and it is the mirrored convolution.
 *
 * Phases with as many taps share a pipeline. Bindings: dy, kernel, dx, parameters: see `phaseWords`.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import { gemm, type GemmPlan, type Operand } from "./gemm.ts";
import { arrayOfWidth, storeWidth } from "./gemmOperands.ts";
import { cellCode, gatherCode, groupExtents, splitCode, vectorCode, windowSliding } from "./implicitGemm.ts";
import { arrayOf, type Kernel, type Storage } from "./kernel.ts";
import { edgesOf, widthFor } from "./pointwise.ts";

/** Input cells of one remainder by the stride; lists have three spatial axes. */
export interface Phase {
  readonly phase: readonly number[];
  /** Cells p' per axis. */
  readonly extents: readonly number[];
  /** Taps u per axis; 0 where none meets these cells. */
  readonly counts: readonly number[];
  readonly firstTap: readonly number[];
  /** q at p' = u = 0. */
  readonly origin: readonly number[];
}

const divisor = (a: number, b: number): number => b === 0 ? a : divisor(b, a % b);

/** The phases that have cells. */
export function phasesOf({ input, size, stride, padding, dilation }: ConvolutionGeometry): Phase[] {
  const axes = [0, 1, 2].map((a) =>
    Array.from({ length: Math.min(stride[a], input[a]) }, (_, phase) => {
      const step = stride[a] / divisor(stride[a], dilation[a]);
      let t0 = 0;
      while (t0 < step && (phase + padding[a] - t0 * dilation[a]) % stride[a] !== 0) t0++;
      return {
        phase,
        extent: Math.ceil((input[a] - phase) / stride[a]),
        count: t0 === step ? 0 : Math.max(0, Math.ceil((size[a] - t0) / step)),
        t0,
        origin: Math.trunc((phase + padding[a] - t0 * dilation[a]) / stride[a]),
      };
    })
  );
  return axes[0].flatMap((z) =>
    axes[1].flatMap((y) =>
      axes[2].map((x) => {
        const list = [z, y, x];
        return {
          phase: list.map(({ phase }) => phase),
          extents: list.map(({ extent }) => extent),
          counts: list.map(({ count }) => count),
          firstTap: list.map(({ t0 }) => t0),
          origin: list.map(({ origin }) => origin),
        };
      })
    )
  );
}

/** The parameters of a phase, for `columns` cells (n and p' together). */
export function phaseWords({ phase, extents, firstTap, origin }: Phase, columns: number): number[] {
  return [columns, ...extents, ...phase, ...firstTap, ...origin];
}

/** The product of phases with these numbers of taps; dispatch over `gemmGroups`. */
export function implicitGemmBackwardInput(
  geometry: ConvolutionGeometry,
  counts: readonly number[],
  plan: GemmPlan,
  storage: Storage = "f32",
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, dilation } = geometry;
  const { I, J, taps, inputCells, outputCells } = groupExtents(geometry);
  const met = counts[0] * counts[1] * counts[2], depth = J * met;
  const used = Math.max(1, met), window = counts.map((count) => Math.max(1, count));
  const whole = stride.every((s) => s === 1), width = whole ? widthFor(plan, inputCells) : 1;
  const shared = stride.map((s, a) => divisor(s, dilation[a]));
  const vector = (name: string): string =>
    `vec3u(parameters.${name}Z, parameters.${name}Y, parameters.${name}X)`;
  const extents = ["Z", "Y", "X"].map((axis) => `parameters.extent${axis}`);
  const kernel: Operand = {
    width: 1,
    along: "depth",
    setup: (slot, row) =>
      `let ${slot}Row = (group * ${J * I}u + ${row}) * ${taps}u + ${cellNumber(vector("tap"), size)};`,
    value: (slot, k) => `kernel[${slot}Row + tapAt(${k})]`,
  };
  const gradient: Operand = {
    width: 1,
    along: "own",
    setup: (slot, column) =>
      `let ${slot}Cells = ${extents.join(" * ")};
let ${slot}Origin = vec3i(${
        splitCode(`(${column} % ${slot}Cells)`, extents)
      }) + vec3i(parameters.originZ, parameters.originY, parameters.originX);
let ${slot}Base = i32((${column} / ${slot}Cells * ${O}u + group * ${J}u) * ${outputCells}u) + ${
        cellCode(`${slot}Origin`, output)
      };`,
    value: (slot, k) => `element(${slot}Base, ${slot}Origin, ${k})`,
  };
  const fields = [
    "columns",
    "extentZ",
    "extentY",
    "extentX",
    "phaseZ",
    "phaseY",
    "phaseX",
    "tapZ",
    "tapY",
    "tapX",
  ];
  return gemm({
    label: `implicitGemmBackwardInput ${counts.join("x")}`,
    bindings: [
      ["dy", arrayOf(storage), "read"],
      ["kernel", arrayOf("f32"), "read"],
      ["dx", arrayOfWidth(storage, width), "read_write"],
    ],
    parameters: {
      ...Object.fromEntries(fields.map((name) => [name, "u32"] as const)),
      originZ: "i32",
      originY: "i32",
      originX: "i32",
    },
    declarations: `${gatherCode("dy", storage, output, [true, true, true])}
// u, backwards along the last axis, where dy then slides forwards
fn cell(k: u32) -> vec3u {
let u = ${splitCode(`(k % ${used}u)`, window)};
return vec3u(u.xy, ${window[2] - 1}u - u.z);
}
fn element(base: i32, origin: vec3i, k: u32) -> f32 {
let step = vec3i(cell(k)) * ${vectorCode(dilation.map((d, a) => -d / shared[a]))};
return gather(base, origin, i32(k / ${used}u * ${outputCells}u) + ${cellCode("step", output)}, step);
}
fn tapAt(k: u32) -> u32 {
let u = cell(k) * vec3u(${stride.map((s, a) => `${s / shared[a]}u`).join(", ")});
return k / ${used}u * ${I * taps}u + ${cellNumber("u", size)};
}`,
    rows: `${I}u`,
    columns: "parameters.columns",
    depth: { first: "0u", end: `${depth}u` },
    groups,
    // cells that no tap meets are 0: an empty sum, whose loads must not reach the products
    edges: { ...edgesOf(plan, I, depth), ...met === 0 ? { depth: true } : {} },
    a: kernel,
    b: gradient,
    ...dilation[2] === shared[2] ? { sliding: windowSliding("parameters.extentX", window[2]) } : {},
    epilogue: {
      width,
      columns: (slot, column) =>
        `let ${slot}Cells = ${extents.join(" * ")};
let ${slot}Cell = ${splitCode(`(${column} % ${slot}Cells)`, extents)} * vec3u(${
          stride.map((s) => `${s}u`).join(", ")
        }) + ${vector("phase")};
let ${slot}Place = (${column} / ${slot}Cells * ${C}u + group * ${I}u) * ${inputCells}u + ${
          cellNumber(`${slot}Cell`, input)
        };`,
      rows: (slot, row) => `let place${slot} = ${row} * ${inputCells}u;`,
      store: (value, row, column) =>
        storeWidth(storage, width, "dx", `(${column}Place + place${row}) / ${width}u`, value),
    },
  }, plan);
}

/** As `cellCode`, of a vec3u. */
function cellNumber(at: string, volume: readonly number[]): string {
  return `dot(${at}, vec3u(${volume[1] * volume[2]}u, ${volume[2]}u, 1u))`;
}
