/**
 * pointwise: y[n, m, p] = bias[m] + sum over c of A(m, c) x[n, c, p], where A(m, c) is weight[m, c], or weight[c, m] for
 * the gradient to the input (x is dy there, and M and C are exchanged).
 *
 * One invocation a pixel and a block of output channels: the pixel's channels go into registers, CHUNK at a time, and
 * every weight is read at an address that depends on constants and the workgroup alone, so that it costs one scalar
 * load for all lanes.
 *
 * Bindings: x, weight, bias (optional), y, parameters { pixels (n and p together) }.
 */
import { bindings, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const SIZE = 64;
/** Channels held in registers at a time, and output channels per invocation. */
const CHUNK = 32;
const BLOCK = 32;

/** Sizes of a pointwise product. */
export interface PointwiseGeometry {
  readonly inChannels: number;
  readonly outChannels: number;
  /** P, pixels per image. */
  readonly pixels: number;
}

/** Workgroups along y: blocks of output channels. */
export function pointwiseBlocks({ outChannels }: PointwiseGeometry): number {
  return Math.ceil(outChannels / BLOCK);
}

/** The product; dispatch over ceil(pixels / 64) by `pointwiseBlocks`. */
export function pointwise(geometry: PointwiseGeometry, hasBias: boolean, transposed: boolean): Kernel {
  const { inChannels: C, outChannels: M, pixels: P } = geometry;
  const block = Math.min(BLOCK, M), single = C <= 64, chunk = single ? C : CHUNK;
  const rest = C % chunk;
  const weightAt = (m: number, c: string): string =>
    transposed ? `weight[(${c}) * ${M}u + m0 + ${m}u]` : `weight[(m0 + ${m}u) * ${C}u + ${c}]`;
  const guard = (m: number, body: string): string =>
    M % block === 0 ? body : `if (m0 + ${m}u < ${M}u) { ${body} }`;
  const multiply = (count: number, base: string, add: boolean): string =>
    `${unroll(count, (c) => `let x${c} = x[at + (${base}${c}u) * ${P}u];`, " ")}
${
      unroll(block, (m) => {
        const sum = range(count).reduce(
          (s, c) =>
            s === ""
              ? `${weightAt(m, `${base}${c}u`)} * x${c}`
              : `fma(${weightAt(m, `${base}${c}u`)}, x${c}, ${s})`,
          add ? `s${m}` : "",
        );
        return guard(m, `s${m} = ${sum};`);
      })
    }`;
  const body = single ? multiply(C, "", true) : `for (var c0 = 0u; c0 < ${C - rest}u; c0 += ${chunk}u) {
${multiply(chunk, "c0 + ", true)}
}
${rest ? `{ ${multiply(rest, `${C - rest}u + `, true)} }` : ""}`;
  const inputs: [string, string, "read"][] = [["x", "array<f32>", "read"], ["weight", "array<f32>", "read"]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { pixels: "u32" })}
${main(SIZE)} {
let id = (g.z * groups.x + g.x) * ${SIZE}u + t;
if (id >= parameters.pixels) { return; }
let m0 = g.y * ${block}u;
let n = id / ${P}u; let p = id % ${P}u;
let at = n * ${C * P}u + p; let out = n * ${M * P}u + m0 * ${P}u + p;
${unroll(block, (m) => `var s${m} = 0.0;${hasBias ? guard(m, ` s${m} = bias[m0 + ${m}u];`) : ""}`)}
${body}
${unroll(block, (m) => guard(m, `y[out + ${m * P}u] = s${m};`))}
}`;
  return { label: `pointwise ${C}→${M}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
