/**
 * implicitGemm: convolution (its formula and bindings) as one product per group of channels,
 *   y[n, group J + m, q] = bias + sum over k of kernel[group J + m, k] patch[k, (n, q)],  k = (i, t), patch = x[n, group I + i, q stride + t dilation - padding],
 * whose patches are never written: B's loads find their elements in x. Each of them is read taps times from a cache, and
 * a kernel's row of I x taps elements is spread over all pixels of the batch. For many channels on both sides; with few
 * channels a group the direct kernels reuse more.
 *
 * Bindings: x, kernel, bias (optional), y, parameters { columns (n and q together) }.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import { type Binding, gemm, type GemmPlan, type Operand, type Sliding } from "./gemm.ts";
import { arrayOfWidth, imageEpilogue, matrixOperand } from "./gemmOperands.ts";
import { arrayOf, type Kernel, load, type Storage } from "./kernel.ts";
import { edgesOf, widthFor } from "./pointwise.ts";

/** What is computed. */
export interface ImplicitGemmOptions {
  readonly bias: boolean;
  /** Elements of x and y; default "f32". */
  readonly storage?: Storage;
}

/** Channels of a group, and cells. */
export interface GroupExtents {
  /** In channels. */
  readonly I: number;
  /** Out channels. */
  readonly J: number;
  readonly taps: number;
  readonly inputCells: number;
  readonly outputCells: number;
}

const cellsOf = (list: readonly number[]): number => list[0] * list[1] * list[2];

/** The extents that products are made of. */
export function groupExtents(
  { inChannels, outChannels, groups, size, input, output }: ConvolutionGeometry,
): GroupExtents {
  return {
    I: inChannels / groups,
    J: outChannels / groups,
    taps: cellsOf(size),
    inputCells: cellsOf(input),
    outputCells: cellsOf(output),
  };
}

/** Components of `index` (u32) in a volume of these extents, as a vec3u. */
export function splitCode(index: string, extents: readonly (number | string)[]): string {
  const [, y, x] = extents.map((extent) => typeof extent === "number" ? `${extent}u` : extent);
  return `vec3u(${index} / (${y} * ${x}), ${index} / ${x} % ${y}, ${index} % ${x})`;
}

/** Which axes of a window can leave the volume. */
export function leaves(
  { input, output, size, stride, padding, dilation }: ConvolutionGeometry,
): boolean[] {
  return [0, 1, 2].map((a) =>
    padding[a] > 0 || (output[a] - 1) * stride[a] + (size[a] - 1) * dilation[a] - padding[a] >= input[a]
  );
}

/**
 * WGSL `gather(base, origin, offset, step)`: element base + offset of `buffer`, which lies at cell origin + step of its
 * volume; 0 outside of it. Where no window leaves the volume there is nothing to check.
 */
export function gatherCode(
  buffer: string,
  storage: Storage,
  volume: readonly number[],
  checked: readonly boolean[],
): string {
  const inside = volume.flatMap((extent, a) =>
    checked[a] ? `u32(origin.${"xyz"[a]} + step.${"xyz"[a]}) < ${extent}u` : []
  ).join(" && ");
  return `fn gather(base: i32, origin: vec3i, offset: i32, step: vec3i) -> f32 {
${
    inside
      ? `let inside = ${inside}; return select(0.0, ${
        load(storage, buffer, "select(0u, u32(base + offset), inside)")
      }, inside);`
      : `return ${load(storage, buffer, "u32(base + offset)")};`
  }
}`;
}

/** Number of the cell `at` (vec3i) of a volume; steps and origins add up, so they may be outside of it. */
export function cellCode(at: string, volume: readonly number[]): string {
  return `(${at}.x * ${volume[1] * volume[2]} + ${at}.y * ${volume[2]} + ${at}.z)`;
}

/** A vec3i of constants. */
export function vectorCode(list: readonly number[]): string {
  return `vec3i(${list.join(", ")})`;
}

/** Whether the next window along the last axis meets with a tap what this one meets with the next. */
export function slidesAlong({ stride, dilation }: ConvolutionGeometry): boolean {
  return stride[2] === dilation[2];
}

/** How windows `step` cells apart slide along the last axis, by the function `element(base, origin, k)`. */
export function windowSliding(line: string, run: number, step = 1): Sliding {
  return {
    line,
    run,
    value: (slot, k, shift) =>
      `element(${slot}Base + ${step} * (${shift}), ${slot}Origin + vec3i(0, 0, ${step} * (${shift})), ${k})`,
  };
}

/** An operand whose own axis begins at `first` (u32). */
export function shifted(operand: Operand, first: string): Operand {
  return { ...operand, setup: (slot, own) => operand.setup(slot, `(${first} + ${own})`) };
}

/** The product; dispatch over `gemmGroups`. */
export function implicitGemm(
  geometry: ConvolutionGeometry,
  { bias, storage = "f32" }: ImplicitGemmOptions,
  plan: GemmPlan,
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, padding, dilation } = geometry;
  const { I, J, taps, inputCells, outputCells } = groupExtents(geometry), depth = I * taps;
  const yWidth = widthFor(plan, outputCells), kernelWidth = widthFor(plan, depth);
  const patch: Operand = {
    width: 1,
    along: "own",
    setup: (slot, column) =>
      `let ${slot}Image = ${column} / ${outputCells}u;
let ${slot}Origin = vec3i(${splitCode(`(${column} % ${outputCells}u)`, output)}) * ${vectorCode(stride)} - ${
        vectorCode(padding)
      };
let ${slot}Base = i32((${slot}Image * ${C}u + group * ${I}u) * ${inputCells}u) + ${
        cellCode(`${slot}Origin`, input)
      };`,
    value: (slot, k) => `element(${slot}Base, ${slot}Origin, ${k})`,
  };
  return gemm({
    label: `implicitGemm ${size.join("x")}`,
    bindings: [
      ["x", arrayOf(storage), "read"],
      ["kernel", arrayOfWidth("f32", kernelWidth), "read"],
      ...bias ? [["bias", arrayOf("f32"), "read"] satisfies Binding] : [],
      ["y", arrayOfWidth(storage, yWidth), "read_write"],
    ],
    parameters: { columns: "u32" },
    declarations: `${gatherCode("x", storage, input, leaves(geometry))}
fn element(base: i32, origin: vec3i, k: u32) -> f32 {
let tap = k % ${taps}u; let step = vec3i(${splitCode("tap", size)}) * ${vectorCode(dilation)};
return gather(base, origin, i32(k / ${taps}u * ${inputCells}u) + ${cellCode("step", input)}, step);
}`,
    rows: `${J}u`,
    columns: "parameters.columns",
    depth: { first: "0u", end: `${depth}u` },
    groups,
    edges: edgesOf(plan, J, depth),
    a: shifted(
      matrixOperand({ buffer: "kernel", width: kernelWidth }, {
        rows: `${J}u`,
        depth: `${depth}u`,
        transposed: false,
      }),
      `group * ${J}u`,
    ),
    b: patch,
    ...slidesAlong(geometry) ? { sliding: windowSliding(`${output[2]}u`, size[2], stride[2]) } : {},
    epilogue: channelEpilogue(`group * ${J}u`, O, outputCells, yWidth, storage, bias),
  }, plan);
}

function channelEpilogue(
  firstRow: string,
  channels: number,
  cells: number,
  width: 1 | 4,
  storage: Storage,
  bias: boolean,
): ReturnType<typeof imageEpilogue> {
  const whole = imageEpilogue(
    { buffer: "y", width, storage },
    { channels: `${channels}u`, pixels: `${cells}u` },
    bias ? (slot, row) => `let bias${slot} = bias[${row}];` : undefined,
    bias ? (value, row) => `${value} + bias${row}` : undefined,
  );
  return { ...whole, rows: (slot, row) => whole.rows(slot, `(${firstRow} + ${row})`) };
}
