/**
 * pointwiseBackwardWeight: dweight[m, c] = sum over n, p of dy[n, m, p] x[n, c, p].
 *
 * One invocation owns a TILE x TILE part of dweight and a chunk of the batch: 2 TILE loads a pixel for TILE^2
 * multiply-adds. Partial sums go to partial[chunk][m][c], added by `sumChunks`: no atomics.
 *
 * Bindings: dy, x, partial, parameters { count (batch items bound), chunk (items per chunk), first (chunk to write) }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";
import type { PointwiseGeometry } from "./pointwise.ts";

const SIZE = 64;
const TILE = 8;

/** Invocations per chunk. */
export function weightTiles({ inChannels, outChannels }: PointwiseGeometry): number {
  return Math.ceil(inChannels / TILE) * Math.ceil(outChannels / TILE);
}

/** Partial sums over chunks of the batch; dispatch over ceil(tiles / 64) by chunks. */
export function pointwiseBackwardWeight(geometry: PointwiseGeometry): Kernel {
  const { inChannels: C, outChannels: M, pixels: P } = geometry;
  const columns = Math.ceil(C / TILE), tm = Math.min(TILE, M), tc = Math.min(TILE, C);
  // rows and columns beyond the edge read the last one; what they add is not stored
  const row = (i: number, of: string, limit: number): string =>
    limit % Math.min(TILE, limit) === 0 ? `${of}0 + ${i}u` : `min(${of}0 + ${i}u, ${limit - 1}u)`;
  const store = (i: number, j: number): string => {
    const line = `partial[at + ${i * C + j}u] = s${i}_${j};`;
    const edge = [M % tm ? `m0 + ${i}u < ${M}u` : "", C % tc ? `c0 + ${j}u < ${C}u` : ""].filter(Boolean);
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
${main(SIZE)} {
let tile = g.x * ${SIZE}u + t;
if (tile >= ${weightTiles(geometry)}u) { return; }
let m0 = tile / ${columns}u * ${tm}u; let c0 = tile % ${columns}u * ${tc}u;
let first = g.y * parameters.chunk; let end = min(first + parameters.chunk, parameters.count);
${unroll(tm, (i) => unroll(tc, (j) => `var s${i}_${j} = 0.0;`, " "))}
for (var n = first; n < end; n++) {
${unroll(tm, (i) => `let a${i} = (n * ${M}u + ${row(i, "m", M)}) * ${P}u;`, " ")}
${unroll(tc, (j) => `let b${j} = (n * ${C}u + ${row(j, "c", C)}) * ${P}u;`, " ")}
for (var p = 0u; p < ${P}u; p++) {
${unroll(tm, (i) => `let d${i} = dy[a${i} + p];`, " ")}
${unroll(tc, (j) => `let v${j} = x[b${j} + p];`, " ")}
${range(tm).map((i) => unroll(tc, (j) => `s${i}_${j} = fma(d${i}, v${j}, s${i}_${j});`, " ")).join("\n")}
}
}
let at = ((parameters.first + g.y) * ${M}u + m0) * ${C}u + c0;
${unroll(tm, (i) => unroll(tc, (j) => store(i, j), " "))}
}`;
  return { label: `pointwiseBackwardWeight ${C}→${M}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
