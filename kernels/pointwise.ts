/**
 * pointwise: y[n, m, p] = bias[m] + sum over c of A(m, c) x[n, c, p], where A(m, c) is weight[m, c], or weight[c, m] for
 * the gradient to the input (x is dy there, and M and C are exchanged).
 *
 * One invocation computes ROWS output channels at COLUMNS pixels, SIZE pixels apart so that neighbours read neighbours:
 * ROWS + COLUMNS loads for ROWS x COLUMNS multiply-adds a channel. The loop over channels stays rolled: on the software
 * adapter straight-line loads cost 15 ms of compilation each (16 channels unrolled against 32 outputs: 20 s, and 5
 * times slower, because every load is a loop over the lanes there).
 *
 * Bindings: x, weight, bias (optional), y, parameters { pixels (n and p together) }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const SIZE = 64;
const ROWS = 8;
const COLUMNS = 8;

/** Sizes of a pointwise product. */
export interface PointwiseGeometry {
  readonly inChannels: number;
  readonly outChannels: number;
  /** P, pixels per image. */
  readonly pixels: number;
}

/** Workgroups: across pixels, and over blocks of output channels. */
export function pointwiseGroups(
  { outChannels }: PointwiseGeometry,
  pixels: number,
): [across: number, blocks: number] {
  return [Math.ceil(pixels / (SIZE * COLUMNS)), Math.ceil(outChannels / ROWS)];
}

/** The product; dispatch over `pointwiseGroups`, the first of them spread over x and z. */
export function pointwise(geometry: PointwiseGeometry, hasBias: boolean, transposed: boolean): Kernel {
  const { inChannels: C, outChannels: M, pixels: P } = geometry;
  const rows = Math.min(ROWS, M), edge = M % rows !== 0;
  // channels beyond the edge repeat the last one; what they add is not stored
  const m = (i: number): string => edge ? `min(m0 + ${i}u, ${M - 1}u)` : `m0 + ${i}u`;
  const store = (i: number, q: number): string => {
    const line = `y[out${q} + ${i * P}u] = s${i}_${q};`;
    return edge && i > 0 ? `if (m0 + ${i}u < ${M}u) { ${line} }` : line;
  };
  const inputs: [string, string, "read"][] = [["x", "array<f32>", "read"], ["weight", "array<f32>", "read"]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { pixels: "u32" })}
${main(SIZE)} {
let first = (g.z * groups.x + g.x) * ${SIZE * COLUMNS}u + t;
if (first >= parameters.pixels) { return; }
let m0 = g.y * ${rows}u;
${
    unroll(COLUMNS, (q) =>
      `let j${q} = min(first + ${q * SIZE}u, parameters.pixels - 1u); var at${q} = j${q} / ${P}u * ${
        C * P
      }u + j${q} % ${P}u;`)
  }
${unroll(rows, (i) => `var w${i} = ${transposed ? m(i) : `(${m(i)}) * ${C}u`};`, " ")}
${unroll(rows, (i) => `let b${i} = ${hasBias ? `bias[${m(i)}]` : "0.0"};`, " ")}
${unroll(rows, (i) => unroll(COLUMNS, (q) => `var s${i}_${q} = b${i};`, " "))}
for (var c = 0u; c < ${C}u; c++) {
${unroll(COLUMNS, (q) => `let x${q} = x[at${q}]; at${q} += ${P}u;`, " ")}
${unroll(rows, (i) => `let a${i} = weight[w${i}]; w${i} += ${transposed ? M : 1}u;`, " ")}
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
