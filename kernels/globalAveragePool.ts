/**
 * globalAveragePool: y[i] = 1 / P * sum over p of x[i, p], i = (n, c); backward dx[i, p] = dy[i] / P.
 * P is a constant of the code; x, y, dy and dx are float32 or float16 (`storage`), sums are float32.
 *
 * `globalAveragePool`: x [planes, P], y [planes], parameters { planes }. One invocation a plane, up to PLANE elements,
 *   unrolled: no barrier, and what neighbours read lies in the lines that they just fetched. (Larger planes have a
 *   workgroup each: `sumPlanes` of the channelSum kernels.)
 * `globalAveragePoolBackward`: dy [planes], dx [planes, P], parameters { count }. Up to PLANE elements one invocation a
 *   plane (count of planes), dy being read once; one an element (count of elements) beyond.
 */
import {
  arrayOf,
  bindings,
  flatId,
  float,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  store,
  unroll,
} from "./kernel.ts";

const SIZE = 64;
/** The largest plane that one invocation walks through. */
export const PLANE = 256;

/** The mean of planes of up to PLANE elements. */
export function globalAveragePool(P: number, storage: Storage = "f32"): Kernel {
  const chains = Math.min(4, P);
  return {
    label: `globalAveragePool ${P}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["x", arrayOf(storage), "read"], ["y", arrayOf(storage), "read_write"])}
${parameters(2, { planes: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.planes) { return; }
let base = id * ${P}u;
${unroll(chains, (i) => `var s${i} = ${load(storage, "x", `base + ${i}u`)};`)}
${unroll(P - chains, (i) => `s${i % chains} += ${load(storage, "x", `base + ${i + chains}u`)};`)}
${store(storage, "y", "id", `(${range(chains).map((i) => `s${i}`).join(" + ")}) * ${float(1 / P)}`)}
}`,
  };
}

/** dx. */
export function globalAveragePoolBackward(P: number, storage: Storage = "f32"): Kernel {
  const body = P <= PLANE
    ? `let value = ${load(storage, "dy", "id")} * ${float(1 / P)};
${unroll(P, (i) => store(storage, "dx", `id * ${P}u + ${i}u`, "value"))}`
    : store(storage, "dx", "id", `${load(storage, "dy", `id / ${P}u`)} * ${float(1 / P)}`);
  return {
    label: `globalAveragePoolBackward ${P}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["dy", arrayOf(storage), "read"], ["dx", arrayOf(storage), "read_write"])}
${parameters(2, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
${body}
}`,
  };
}
