/**
 * constructKernel: kernel[row, cell] = sum over k of weight[row, k] / norm[k] * prod over axes a of f_a[k, cell_a],
 * norm = prod over axes of the sums z_a of f_a + 1e-7 where the version is normalised, else 1.
 *
 * One invocation computes a block of cells of a row: a strip along the last axis at some neighbours along the one before,
 * their sums in registers. It computes the factors of each element itself, each axis on its own: block + strip of them and
 * block x strip multiply-adds, for three to seven loads. There is no table to share and no barrier. Memory is O(output).
 *
 * Software adapter, processor time, ms, against tables of factors in workgroup memory, a row a workgroup: 96 rows of
 * 17x17 / 34 `v0` 0.41 (7.1), `gauss` 0.85 (9.5); 768 rows 2.6 (48) and 5.6 (59); 35,840 rows of 25 / 1 `gauss` 3.0 (135).
 *
 * Bindings: weight [rows, K], P [A, rows, K], SIG [A, rows, K] (versions with a spread), kernel [rows, cells],
 * parameters { rows }.
 */
import { EPSILON, INTERPOLATION } from "../src/interpolation.ts";
import type { Shape, Version } from "../src/spec.ts";
import { factorFunctions, positionCode } from "./interpolation.ts";
import { bindings, flatId, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

/** What the code depends on. */
export interface ConstructionPlan {
  readonly version: Version;
  readonly spreadOffset: number;
  readonly size: Shape;
  readonly kernelCount: number;
}

/** How the cells of a row are cut into blocks. */
export interface CellBlocks {
  /** Cells along the last axis, and rows of them. */
  readonly strip: number;
  readonly height: number;
  /** Blocks per axis, leading axes first. */
  readonly blocks: Shape;
  readonly workgroupSize: number;
}

/** Cells along the last axis that one invocation takes at most. */
const STRIP = 32;

/** Blocks of at most about `most` cells: many of them fill a GPU, large ones spare a CPU loads. */
export function cellBlocks(size: Shape, most: number, workgroupSize: number): CellBlocks {
  const last = size[size.length - 1], strips = Math.ceil(last / Math.min(STRIP, most));
  const strip = Math.ceil(last / strips);
  const rows = size.length > 1 ? size[size.length - 2] : 1;
  const height = Math.ceil(rows / Math.ceil(rows / Math.max(1, Math.floor(most / strip))));
  const leading = size.slice(0, -2);
  const blocks = size.length > 1 ? [...leading, Math.ceil(rows / height), strips] : [strips];
  return { strip, height, blocks, workgroupSize };
}

/** Blocks of a row: invocations per row. */
export function blocksPerRow({ blocks }: CellBlocks): number {
  return blocks.reduce((a, b) => a * b, 1);
}

/** The sum of an axis's factors: `axisSum(cells, centre, p, s)`. */
const AXIS_SUM = `fn axisSum(cells: u32, centre: f32, p: f32, s: f32) -> f32 {
var sum = 0.0;
for (var i = 0u; i < cells; i++) { sum += factor(f32(i) - centre, p, s); }
return sum;
}`;

/** The kernel; dispatch over ceil(rows x blocks per row / workgroup size), spread over x and y. */
export function constructKernel(plan: ConstructionPlan, cut: CellBlocks): Kernel {
  const { version, spreadOffset, size, kernelCount: K } = plan,
    { strip, height, blocks, workgroupSize: T } = cut;
  const { spread, normalised } = INTERPOLATION[version];
  const A = size.length, last = A - 1, cells = size.reduce((a, b) => a * b, 1);
  const centre = (a: number): string => float(Math.floor(size[a] / 2));
  // the block's first cell along axis a is c<a>
  const each = (a: number): number => a === last ? strip : a === last - 1 ? height : 1;
  const places = range(A).map((a) => {
    const after = blocks.slice(a + 1).reduce((x, y) => x * y, 1);
    return `let c${a} = id / ${after}u % ${blocks[a]}u * ${each(a)}u;`;
  }).join(" ");
  const factors = range(A).map((a) =>
    unroll(each(a), (i) => `let f${a}_${i} = factor(f32(c${a} + ${i}u) - ${centre(a)}, p${a}, s${a});`, " ")
  ).join("\n");
  // an axis that the block covers needs no second look at its factors
  const sum = (a: number): string =>
    each(a) >= size[a]
      ? range(size[a]).map((i) => `f${a}_${i}`).join(" + ")
      : `axisSum(${size[a]}u, ${centre(a)}, p${a}, s${a})`;
  const scale = normalised
    ? `w / (${range(A).map((a) => `(${sum(a)})`).join(" * ")} + ${float(EPSILON)})`
    : "w";
  const outer = range(A - 2).map((a) => ` * f${a}_0`).join("");
  const multiply = unroll(
    height,
    (i) =>
      `{ let g = scale${outer}${A > 1 ? ` * f${last - 1}_${i}` : ""}; ${
        unroll(strip, (j) => `v${i * strip + j} = fma(g, f${last}_${j}, v${i * strip + j});`, " ")
      } }`,
  );
  const inputs: [string, string, "read"][] = [["weight", "array<f32>", "read"], ["P", "array<f32>", "read"]];
  if (spread) inputs.push(["SIG", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["kernel", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { rows: "u32" })}
${factorFunctions(version, false)}
${normalised ? AXIS_SUM : ""}
${main(T)} {
${flatId(T)}
let row = id / ${blocksPerRow(cut)}u;
if (row >= parameters.rows) { return; }
${places}
${unroll(height * strip, (i) => `var v${i} = 0.0;`, " ")}
for (var k = 0u; k < ${K}u; k++) {
let w = weight[row * ${K}u + k];
${positionCode(version, spreadOffset, A, (a) => `(${a}u * parameters.rows + row) * ${K}u + k`)}
${factors}
let scale = ${scale};
${multiply}
}
let first = row * ${cells}u${
    range(A - 2).map((a) => ` + c${a} * ${size.slice(a + 1).reduce((x, y) => x * y, 1)}u`).join("")
  };
${storeBlock(size, cut)}
}`;
  return {
    label: `constructKernel ${version} ${size.join("x")} K${K}`,
    workgroupSize: T,
    workgroupBytes: 0,
    code,
  };
}

/** Stores the sums 4 at a time in a loop that moves them up: straight-line stores take long to compile on software adapters. */
function storeBlock(size: Shape, { strip, height }: CellBlocks): string {
  const A = size.length, last = A - 1, count = height * strip, turn = Math.min(4, count);
  const rows = A > 1 ? size[last - 1] : 1, row = A > 1 ? `c${last - 1}` : "0u";
  const store = (i: number): string =>
    `{ let j = turn + ${i}u; let y = ${row} + j / ${strip}u; let x = c${last} + j % ${strip}u;
if (j < ${count}u && y < ${rows}u && x < ${size[last]}u) { kernel[first + y * ${
      size[last]
    }u + x] = v${i}; } }`;
  return `for (var turn = 0u; turn < ${count}u; turn += ${turn}u) {
${unroll(turn, store)}
${unroll(count - turn, (i) => `v${i} = v${i + turn};`, " ")}
}`;
}
