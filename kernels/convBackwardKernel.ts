/**
 * convBackwardKernel: dkernel[o, i, t] = sum over n, q of dy[n, o, q] x[n, group I + i, q stride + t dilation - padding].
 *
 * One invocation owns one row of taps (o, i, kz, ky) and a chunk of the batch. It walks the output in strips along the
 * last axis: dy's strip and x's window go into registers, then size x strip multiply-adds into the row's sums. Partial
 * sums of the chunks go to partial[chunk][tap], to be added by `sumChunks`: no atomics, the same result every time.
 *
 * Bindings: x, dy, partial, parameters { count (batch items bound), chunk (items per chunk), first (chunk to write), xStart,
 * yStart (elements before the first item bound) }.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import {
  arrayOf,
  bindings,
  flatId,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  unroll,
} from "./kernel.ts";

const SIZE = 64;

/** Rows of taps: invocations per chunk. */
export function tapRows({ inChannels, outChannels, groups, size }: ConvolutionGeometry): number {
  return outChannels * (inChannels / groups) * size[0] * size[1];
}

/** Partial sums over chunks of the batch; dispatch over tap rows (x and z) by chunks (y). */
export function convBackwardKernel(geometry: ConvolutionGeometry, storage: Storage = "f32"): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, padding, dilation } = geometry;
  const I = C / groups, J = O / groups, rows = tapRows(geometry);
  const strip = output[2] <= 16 ? output[2] : 8, strips = Math.ceil(output[2] / strip), fixed = strips === 1;
  const inside = (j: number, k: number): boolean => {
    const at = j * stride[2] + k * dilation[2] - padding[2];
    return at >= 0 && at < input[2];
  };
  const pairs = range(size[2]).flatMap((k) => range(strip).map((j) => ({ k, j }))).filter(({ j, k }) =>
    !fixed || inside(j, k)
  );
  const offsets = [...new Set(pairs.map(({ j, k }) => j * stride[2] + k * dilation[2]))].sort((a, b) =>
    a - b
  );
  const window = offsets.map((offset) => {
    if (fixed) return `let v${offset} = ${load(storage, "x", `row + ${offset - padding[2]}u`)};`;
    const value = load(storage, "x", `row + u32(clamp(c${offset}, 0, ${input[2] - 1}))`);
    return `let c${offset} = ix0 + ${offset}; let v${offset} = select(0.0, ${value}, c${offset} >= 0 && c${offset} < ${
      input[2]
    });`;
  }).join("\n");
  const gradient = unroll(strip, (j) => {
    if ((strips - 1) * strip + j < output[2]) return `let d${j} = ${load(storage, "dy", `out + ${j}u`)};`;
    const value = load(storage, "dy", `out + min(${j}u, ${output[2] - 1}u - ox0)`);
    return `let d${j} = select(0.0, ${value}, ox0 + ${j}u < ${output[2]}u);`;
  });
  const strides = `{
let ix0 = i32(ox0 * ${stride[2]}u) - ${padding[2]}; let out = outRow + ox0;
${gradient}
${window}
${pairs.map(({ j, k }) => `s${k} = fma(d${j}, v${j * stride[2] + k * dilation[2]}, s${k});`).join(" ")}
}`;
  const rowBody = `let row = parameters.xStart + ((n * ${C}u + group * ${I}u + i) * ${
    input[0] * input[1]
  }u + u32(iz) * ${input[1]}u + u32(iy)) * ${input[2]}u;
let outRow = parameters.yStart + ((n * ${O}u + o) * ${output[0] * output[1]}u + oz * ${output[1]}u + oy) * ${
    output[2]
  }u;
${
    fixed
      ? `let ox0 = 0u; ${strides}`
      : `for (var ox0 = 0u; ox0 < ${output[2]}u; ox0 += ${strip}u) ${strides}`
  }`;
  const axisLoop = (a: 0 | 1, name: string, body: string): string =>
    `for (var o${name} = 0u; o${name} < ${output[a]}u; o${name}++) {
let i${name} = i32(o${name} * ${stride[a]}u + k${name} * ${dilation[a]}u) - ${padding[a]};
if (i${name} >= 0 && i${name} < ${input[a]}) {
${body} } }`;
  const code = `${
    bindings(["x", arrayOf(storage), "read"], ["dy", arrayOf(storage), "read"], [
      "partial",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { count: "u32", chunk: "u32", first: "u32", xStart: "u32", yStart: "u32" })}
${main(SIZE)} {
let r = (g.z * groups.x + g.x) * ${SIZE}u + t;
if (r >= ${rows}u) { return; }
let ky = r % ${size[1]}u; let kz = r / ${size[1]}u % ${size[0]}u;
let i = r / ${size[0] * size[1]}u % ${I}u; let o = r / ${size[0] * size[1] * I}u; let group = o / ${J}u;
let n0 = g.y * parameters.chunk; let end = min(n0 + parameters.chunk, parameters.count);
${unroll(size[2], (k) => `var s${k} = 0.0;`, " ")}
for (var n = n0; n < end; n++) {
${axisLoop(0, "z", axisLoop(1, "y", rowBody))}
}
let at = ((parameters.first + g.y) * ${rows}u + r) * ${size[2]}u;
${unroll(size[2], (k) => `partial[at + ${k}u] = s${k};`, " ")}
}`;
  return { label: `convBackwardKernel ${size.join("x")}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}

/** out[e] = sum over chunks of partial[chunk][e]. Bindings: partial, out, parameters { elements, chunks }. */
export function sumChunks(): Kernel {
  return {
    label: "sumChunks",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["partial", "array<f32>", "read"], ["out", "array<f32>", "read_write"])}
${parameters(2, { elements: "u32", chunks: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.elements) { return; }
var s = 0.0;
for (var c = 0u; c < parameters.chunks; c++) { s += partial[c * parameters.elements + id]; }
out[id] = s;
}`,
  };
}
