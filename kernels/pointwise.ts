/**
 * pointwise: y[n, m, p] = bias[m] + sum over c of A(m, c) x[n, c, p], where A(m, c) is weight[m, c], or weight[c, m] for
 * the gradient to the input (x is dy there, and M and C are exchanged).
 *
 * One invocation computes `rows` output channels at COLUMNS pixels, SIZE pixels apart so that neighbours read neighbours.
 * The loop over channels stays rolled: on the software adapter straight-line loads cost 15 ms of compilation each
 * (16 channels unrolled against 32 outputs: 20 s, and 5 times slower, because every load is a loop over the lanes there).
 *
 * `broadcast`: lanes of a subgroup load 8 weights together and broadcast them, instead of every lane loading all of
 * them: one load in place of 8. Software adapter, 64 → 16 channels, batch 128 of 14x14: 5.0 ms against 10.5 (8x8 plain).
 *
 * Bindings: x, weight, bias (optional), y, parameters { pixels (n and p together) }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const SIZE = 64;
const COLUMNS = 8;

/** Sizes of a pointwise product. */
export interface PointwiseGeometry {
  readonly inChannels: number;
  readonly outChannels: number;
  /** P, pixels per image. */
  readonly pixels: number;
}

/** How the product is computed. */
export interface PointwiseOptions {
  readonly bias: boolean;
  /** A is the transpose of weight. */
  readonly transposed: boolean;
  /** Weights by subgroupBroadcast; subgroups must have 8 invocations. */
  readonly broadcast: boolean;
}

const rowsOf = (outChannels: number, broadcast: boolean): number => Math.min(broadcast ? 16 : 8, outChannels);

/** Workgroups: across pixels, and over blocks of output channels. */
export function pointwiseGroups(
  { outChannels }: PointwiseGeometry,
  pixels: number,
  broadcast: boolean,
): [across: number, blocks: number] {
  return [Math.ceil(pixels / (SIZE * COLUMNS)), Math.ceil(outChannels / rowsOf(outChannels, broadcast))];
}

/** The product; dispatch over `pointwiseGroups`, the first of them spread over x and z. */
export function pointwise(geometry: PointwiseGeometry, options: PointwiseOptions): Kernel {
  const { inChannels: C, outChannels: M, pixels: P } = geometry;
  const { bias, transposed, broadcast } = options;
  const rows = rowsOf(M, broadcast), edge = M % rows !== 0;
  // channels beyond the edge repeat the last one; what they add is not stored
  const m = (i: string, most = edge): string => most ? `min(m0 + ${i}, ${M - 1}u)` : `m0 + ${i}`;
  const store = (i: number, q: number): string => {
    const line = `y[out${q} + ${i * P}u] = s${i}_${q};`;
    return edge && i > 0 ? `if (m0 + ${i}u < ${M}u) { ${line} }` : line;
  };
  const at = (row: string): string => transposed ? row : `(${row}) * ${C}u`;
  const loads = broadcast ? Math.ceil(rows / 8) : rows;
  const weightAt = (i: number): string =>
    broadcast ? at(m(`${i * 8}u + lane`, edge || rows % 8 !== 0)) : at(m(`${i}u`));
  const inputs: [string, string, "read"][] = [["x", "array<f32>", "read"], ["weight", "array<f32>", "read"]];
  if (bias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { pixels: "u32" })}
${
    broadcast
      ? main(SIZE).replace(/\)$/, ", @builtin(subgroup_invocation_id) subgroupLane: u32)")
      : main(SIZE)
  } {
let first = (g.z * groups.x + g.x) * ${SIZE * COLUMNS}u + t;
${broadcast ? "let lane = subgroupLane & 7u;" : "if (first >= parameters.pixels) { return; }"}
let m0 = g.y * ${rows}u;
${
    unroll(COLUMNS, (q) =>
      `let j${q} = min(first + ${q * SIZE}u, parameters.pixels - 1u); var at${q} = j${q} / ${P}u * ${
        C * P
      }u + j${q} % ${P}u;`)
  }
${unroll(loads, (i) => `var w${i} = ${weightAt(i)};`, " ")}
${unroll(rows, (i) => `let b${i} = ${bias ? `bias[${m(`${i}u`)}]` : "0.0"};`, " ")}
${unroll(rows, (i) => unroll(COLUMNS, (q) => `var s${i}_${q} = b${i};`, " "))}
for (var c = 0u; c < ${C}u; c++) {
${unroll(COLUMNS, (q) => `let x${q} = x[at${q}]; at${q} += ${P}u;`, " ")}
${unroll(loads, (i) => `let v${i} = weight[w${i}]; w${i} += ${transposed ? M : 1}u;`, " ")}
${
    unroll(
      rows,
      (i) =>
        broadcast ? `let a${i} = subgroupBroadcast(v${Math.floor(i / 8)}, ${i % 8}u);` : `let a${i} = v${i};`,
      " ",
    )
  }
${
    range(rows).map((i) => unroll(COLUMNS, (q) => `s${i}_${q} = fma(a${i}, x${q}, s${i}_${q});`, " ")).join(
      "\n",
    )
  }
}
${
    unroll(COLUMNS, (q) =>
      `if (first + ${q * SIZE}u < parameters.pixels) { let out${q} = j${q} / ${P}u * ${
        M * P
      }u + m0 * ${P}u + j${q} % ${P}u;
${
        unroll(rows, (i) => store(i, q), " ")
      } }`)
  }
}`;
  return { label: `pointwise ${C}→${M}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
