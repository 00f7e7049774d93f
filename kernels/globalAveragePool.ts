/**
 * globalAveragePool: y[i] = 1 / P * sum over p of x[i, p], i = (n, c); backward dx[i, p] = dy[i] / P.
 * P is a constant of the code.
 *
 * `globalAveragePool`: x [planes, P], y [planes], parameters { planes }. One invocation a plane, up to PLANE elements,
 *   unrolled: no barrier, and what neighbours read lies in the lines that they just fetched. (Larger planes have a
 *   workgroup each: `sumPlanes` of the channelSum kernels.)
 * `globalAveragePoolBackward`: dy [planes], dx [planes, P], parameters { count }. Up to PLANE elements one invocation a
 *   plane (count of planes), dy being read once; one an element (count of elements) beyond.
 */
import { bindings, flatId, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const SIZE = 64;
/** The largest plane that one invocation walks through. */
export const PLANE = 256;

/** The mean of planes of up to PLANE elements. */
export function globalAveragePool(P: number): Kernel {
  const chains = Math.min(4, P);
  return {
    label: `globalAveragePool ${P}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["x", "array<f32>", "read"], ["y", "array<f32>", "read_write"])}
${parameters(2, { planes: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.planes) { return; }
let base = id * ${P}u;
${unroll(chains, (i) => `var s${i} = x[base + ${i}u];`)}
${unroll(P - chains, (i) => `s${i % chains} += x[base + ${i + chains}u];`)}
y[id] = (${range(chains).map((i) => `s${i}`).join(" + ")}) * ${float(1 / P)};
}`,
  };
}

/** dx. */
export function globalAveragePoolBackward(P: number): Kernel {
  const body = P <= PLANE
    ? `let value = dy[id] * ${float(1 / P)};\n${unroll(P, (i) => `dx[id * ${P}u + ${i}u] = value;`)}`
    : `dx[id] = dy[id / ${P}u] * ${float(1 / P)};`;
  return {
    label: `globalAveragePoolBackward ${P}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["dy", "array<f32>", "read"], ["dx", "array<f32>", "read_write"])}
${parameters(2, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
${body}
}`,
  };
}
