/**
 * pointwiseBackwardWeight: dweight[m, c] = sum over n, p of dy[n, m, p] x[n, c, p].
 *
 * One invocation owns rows x columns entries of dweight and a chunk of the batch; a pixel costs it rows + columns loads for
 * rows x columns multiply-adds. Partial sums go to partial[chunk][m][c], added by `sumChunks`: no atomics.
 *
 * `broadcast`: the 8 invocations of a subgroup own the same 16 rows and every eighth column; they load dy's 16 values
 * together and broadcast them: 2 + columns loads in place of 16 + columns. Software adapter, 128 images: 64 → 16 channels on
 * 14x14 7.7 ms plain (8x8 entries), 3.7 broadcast; 32 → 128 on 7x7 7.3 and 2.8.
 *
 * Bindings: dy, x, partial, parameters { count (batch items bound), chunk (items per chunk), first (chunk to write) }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";
import type { PointwiseGeometry } from "./pointwise.ts";

const SIZE = 64;
const LANES = 8;

/** Workgroups no larger than the work: with `broadcast` no invocation may leave early, so idle ones would work in vain. */
function workgroupSizeOf(invocations: number, broadcast: boolean): number {
  return broadcast ? Math.min(SIZE, invocations) : SIZE;
}

/** Entries of dweight that an invocation owns: which rows, and columns how far apart. */
interface Tile {
  readonly rows: number;
  readonly columns: number;
  /** Distance between an invocation's columns; 1 or LANES. */
  readonly step: number;
}

function tileOf({ inChannels, outChannels }: PointwiseGeometry, broadcast: boolean): Tile {
  return broadcast
    ? { rows: Math.min(16, outChannels), columns: Math.min(8, Math.ceil(inChannels / LANES)), step: LANES }
    : { rows: Math.min(8, outChannels), columns: Math.min(8, inChannels), step: 1 };
}

/** Invocations per chunk. */
export function weightTiles(geometry: PointwiseGeometry, broadcast: boolean): number {
  const { rows, columns, step } = tileOf(geometry, broadcast);
  return Math.ceil(geometry.inChannels / (columns * step)) * Math.ceil(geometry.outChannels / rows) * step;
}

/** Partial sums over chunks of the batch; dispatch over ceil(tiles / workgroup size) (x and z) by chunks (y). */
export function pointwiseBackwardWeight(geometry: PointwiseGeometry, broadcast: boolean): Kernel {
  const { inChannels: C, outChannels: M, pixels: P } = geometry;
  const { rows, columns, step } = tileOf(geometry, broadcast);
  const across = Math.ceil(C / (columns * step)), tiles = weightTiles(geometry, broadcast) / step;
  // rows and columns beyond the edge read the last one; what they add is not stored
  const size = workgroupSizeOf(tiles * step, broadcast);
  const row = (i: string): string => M % rows || broadcast ? `min(m0 + ${i}, ${M - 1}u)` : `m0 + ${i}`;
  const column = (j: number): string =>
    C % (columns * step) ? `min(c0 + ${j * step}u, ${C - 1}u)` : `c0 + ${j * step}u`;
  const loads = broadcast ? Math.ceil(rows / LANES) : rows;
  const store = (i: number, j: number): string => {
    const edge = [
      M % rows ? `m0 + ${i}u < ${M}u` : "",
      C % (columns * step) ? `c0 + ${j * step}u < ${C}u` : "",
    ].filter(Boolean);
    const line = `partial[at + ${i * C + j * step}u] = s${i}_${j};`;
    return edge.length ? `if (${edge.join(" && ")}) { ${line} }` : line;
  };
  const code = `${
    bindings(["dy", "array<f32>", "read"], ["x", "array<f32>", "read"], [
      "partial",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { count: "u32", chunk: "u32", first: "u32" })}
${main(size)} {
let id = (g.z * groups.x + g.x) * ${size}u + t; let lane = id % ${step}u;
let tile = min(id / ${step}u, ${tiles - 1}u);
let m0 = tile / ${across}u * ${rows}u; let c0 = tile % ${across}u * ${columns * step}u + lane;
let first = g.y * parameters.chunk; let end = min(first + parameters.chunk, parameters.count);
${unroll(rows, (i) => unroll(columns, (j) => `var s${i}_${j} = 0.0;`, " "))}
for (var n = first; n < end; n++) {
${
    unroll(loads, (i) =>
      `let a${i} = (n * ${M}u + ${row(broadcast ? `${i * LANES}u + lane` : `${i}u`)}) * ${P}u;`, " ")
  }
${unroll(columns, (j) => `let b${j} = (n * ${C}u + ${column(j)}) * ${P}u;`, " ")}
for (var p = 0u; p < ${P}u; p++) {
${unroll(loads, (i) => `let e${i} = dy[a${i} + p];`, " ")}
${unroll(columns, (j) => `let v${j} = x[b${j} + p];`, " ")}
${
    unroll(rows, (i) =>
      broadcast
        ? `let d${i} = subgroupBroadcast(e${Math.floor(i / LANES)}, ${i % LANES}u);`
        : `let d${i} = e${i};`, " ")
  }
${
    range(rows).map((i) => unroll(columns, (j) => `s${i}_${j} = fma(d${i}, v${j}, s${i}_${j});`, " ")).join(
      "\n",
    )
  }
}
}
if (id < ${tiles * step}u) {
let at = ((parameters.first + g.y) * ${M}u + m0) * ${C}u + c0;
${unroll(rows, (i) => unroll(columns, (j) => store(i, j), " "))}
}
}`;
  return { label: `pointwiseBackwardWeight ${C}→${M}`, workgroupSize: size, workgroupBytes: 0, code };
}
