/**
 * patches: rearranges non-overlapping patches into channels, so that a convolution whose size equals its stride is a
 * pointwise product: p[n, (c, t), q] = x[n, c, q size + t]. The kernel [O, C, ...size] is then its weight [O, C cells]
 * as it lies in memory. `unpatches` is the way back; cells beyond the last whole patch get 0.
 *
 * One invocation an element of the output. At 16 → 32 channels, 2x2 on 14x14 planes, batch 128, on the software adapter
 * the gradient to the input took 92 ms by the plain kernel and takes 7 ms this way.
 *
 * Bindings: x, p, parameters { count }; the other way: p, x, parameters { count }. Both float32 or float16 (`storage`):
 * elements are copied as they are.
 */
import { arrayOf, bindings, flatId, type Kernel, main, parameters, type Storage } from "./kernel.ts";

const SIZE = 256;

/** Sizes of a patch convolution; lists have three spatial axes. */
export interface PatchGeometry {
  readonly channels: number;
  readonly input: readonly number[];
  readonly output: readonly number[];
  readonly size: readonly number[];
}

/** Patches into channels. */
export function patches(
  { channels: C, input, output, size }: PatchGeometry,
  storage: Storage = "f32",
): Kernel {
  const cells = size[0] * size[1] * size[2];
  return {
    label: "patches",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["x", arrayOf(storage), "read"], ["p", arrayOf(storage), "read_write"])}
${parameters(2, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
let ox = id % ${output[2]}u; let oy = id / ${output[2]}u % ${output[1]}u;
let oz = id / ${output[1] * output[2]}u % ${output[0]}u;
let channel = id / ${output[0] * output[1] * output[2]}u % ${C * cells}u;
let n = id / ${output[0] * output[1] * output[2] * C * cells}u;
let kx = channel % ${size[2]}u; let ky = channel / ${size[2]}u % ${size[1]}u;
let kz = channel / ${size[1] * size[2]}u % ${size[0]}u; let c = channel / ${cells}u;
p[id] = x[(((n * ${C}u + c) * ${input[0]}u + oz * ${size[0]}u + kz) * ${input[1]}u + oy * ${
      size[1]
    }u + ky) * ${input[2]}u + ox * ${size[2]}u + kx];
}`,
  };
}

/** Channels back into patches. */
export function unpatches(
  { channels: C, input, output, size }: PatchGeometry,
  storage: Storage = "f32",
): Kernel {
  const cells = size[0] * size[1] * size[2];
  const inside = [0, 1, 2].filter((a) => output[a] * size[a] < input[a]).map((a) =>
    `i${"zyx"[a]} < ${output[a] * size[a]}u`
  );
  return {
    label: "unpatches",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["p", arrayOf(storage), "read"], ["x", arrayOf(storage), "read_write"])}
${parameters(2, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
let ix = id % ${input[2]}u; let iy = id / ${input[2]}u % ${input[1]}u; let iz = id / ${
      input[1] * input[2]
    }u % ${input[0]}u;
let c = id / ${input[0] * input[1] * input[2]}u % ${C}u; let n = id / ${input[0] * input[1] * input[2] * C}u;
let cell = (iz % ${size[0]}u * ${size[1]}u + iy % ${size[1]}u) * ${size[2]}u + ix % ${size[2]}u;
let at = (((n * ${C}u + c) * ${cells}u + cell) * ${output[0]}u + iz / ${size[0]}u) * ${output[1]}u + iy / ${
      size[1]
    }u;
${inside.length ? `if (!(${inside.join(" && ")})) { x[id] = ${storage}(0.0); return; }` : ""}
x[id] = p[at * ${output[2]}u + ix / ${size[2]}u];
}`,
  };
}
