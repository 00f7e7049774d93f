/**
 * rowKernelGradient: convBackwardKernel (its formula) for depthwise convolutions of very small planes, 2-d, stride 1. For GPUs.
 *
 * A workgroup stages the planes of `images` images of one channel, batch after batch of its chunk; invocation (image,
 * kernel row) keeps one row of tap sums in registers. The images' sums are added through workgroup memory and go to
 * partial[slot][tap], to be added by `sumChunks`. Taps that meet no pixel are zeros, and cost nothing else.
 *
 * H100, 128 x 768 x 7² (prototype, which added by subgroupAdd), ms: 7x7 0.029, 17x17 0.037; 1, 2, 4 batches of 32 images with
 * rolled copies 0.070, 0.054, 0.046. At 14² the FFT is ahead: 384 channels, 17x17 0.120 against 0.253.
 *
 * Bindings: x, dy, partial, parameters { count (images bound), chunk (images per workgroup), slot (first to write), xStart, yStart }.
 */
import { axisOf, insideMeetings, usedTaps } from "./axis.ts";
import type { ConvolutionGeometry } from "./convolution.ts";
import {
  arrayOf,
  bindings,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  unroll,
} from "./kernel.ts";
import { type PlaneLayout, planeLayout, planesOf, unrolledCopy } from "./rowConvolution.ts";

/** Planes up to this extent: above, the FFT is ahead. */
export const GRADIENT_EXTENT = 8;

/** Where planes lie, and how many of a row's taps are added at a time. */
export interface RowGradientPlan {
  readonly x: PlaneLayout;
  readonly dy: PlaneLayout;
  readonly together: number;
}

const bytesOf = ({ x, dy, together }: RowGradientPlan, rows: number): number =>
  4 * (x.images * (x.plane + dy.plane) + rows * together * (x.images + 1));

/** The plan within these limits; null where none fits, or no tap meets a pixel. */
export function rowGradientPlan(
  geometry: ConvolutionGeometry,
  limits: { readonly bytes: number; readonly invocations: number },
): RowGradientPlan | null {
  const { input, output } = geometry;
  if (Math.max(input[1], input[2], output[1], output[2]) > GRADIENT_EXTENT) return null;
  const rows = usedTaps(axisOf(geometry, 1)).length, columns = usedTaps(axisOf(geometry, 2)).length;
  if (rows === 0 || columns === 0) return null;
  for (let images = 32; images >= 8; images /= 2) {
    if (images * rows > limits.invocations) continue;
    const x = planeLayout(input[1], input[2], images), dy = planeLayout(output[1], output[2], images);
    for (let together = columns; together >= 1; together--) {
      const plan = { x, dy, together };
      if (bytesOf(plan, rows) <= limits.bytes) return plan;
    }
  }
  return null;
}

/** The kernel; dispatch over chunks (x) by channels (y, then z). */
export function rowKernelGradient(
  geometry: ConvolutionGeometry,
  plan: RowGradientPlan,
  storage: Storage = "f32",
): Kernel {
  const { groups: C, input, output, size } = geometry, { together } = plan, { images } = plan.x;
  const down = axisOf(geometry, 1), across = axisOf(geometry, 2), cells = size[1] * size[2];
  const ky = usedTaps(down), kx = usedTaps(across), T = ky.length * images;
  const met = insideMeetings(across);
  const stage = (name: string, from: string, extents: readonly number[], start: string): string =>
    unrolledCopy(
      images * extents[1] * extents[2],
      T,
      `let n = e / ${extents[1] * extents[2]}u; let f = e % ${
        extents[1] * extents[2]
      }u; let image = min(n0 + n, end - 1u);
let value = ${load(storage, from, `${start} + (image * ${C}u + c) * ${extents[1] * extents[2]}u + f`)};
${name}[n].r[f / ${extents[2]}u][f % ${extents[2]}u] = select(0.0, value, n0 + n < end);`,
    );
  const rounds = range(Math.ceil(kx.length / together)).map((round) => {
    const taps = kx.slice(round * together, (round + 1) * together);
    return `${taps.map((k, j) => `sums[i * ${together}u + ${j}u][p] = a${k};`).join(" ")}
workgroupBarrier();
for (var e = t; e < ${ky.length * together}u; e += ${T}u) {
let j = e % ${together}u;
if (j < ${taps.length}u) { var s = 0.0;
${unroll(images, (n) => `s += sums[e][${n}];`, " ")}
partial[out + (e / ${together}u + ${ky[0]}u) * ${size[2]}u + j + ${taps[0]}u] = s; } }
workgroupBarrier();`;
  }).join("\n");
  const code = `${
    bindings(["x", arrayOf(storage), "read"], ["dy", arrayOf(storage), "read"], [
      "partial",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { count: "u32", chunk: "u32", slot: "u32", xStart: "u32", yStart: "u32" })}
${planesOf("xs", plan.x)}
${planesOf("gs", plan.dy)}
var<workgroup> sums: array<array<f32, ${images + 1}>, ${ky.length * together}>;
${main(T)} {
let c = g.z * groups.y + g.y;
if (c >= ${C}u) { return; }
let p = t % ${images}u; let i = t / ${images}u;
let dy0 = i32(i) + ${ky[0] - down.padding};
let low = u32(max(0, -dy0)); let high = u32(clamp(${input[1]} - dy0, 0, ${output[1]}));
let first = g.x * parameters.chunk; let end = min(first + parameters.chunk, parameters.count);
${kx.map((k) => `var a${k} = 0.0;`).join(" ")}
for (var n0 = first; n0 < end; n0 += ${images}u) {
${stage("xs", "x", input, "parameters.xStart")}
${stage("gs", "dy", output, "parameters.yStart")}
workgroupBarrier();
for (var oy = low; oy < high; oy++) { let iy = u32(i32(oy) + dy0);
${unroll(output[2], (q) => `let g${q} = gs[p].r[oy][${q}];`, " ")}
${unroll(input[2], (q) => `let x${q} = xs[p].r[iy][${q}];`, " ")}
${met.map(({ j, k, cell }) => `a${k} = fma(g${j}, x${cell}, a${k});`).join(" ")}
}
workgroupBarrier();
}
let out = ((parameters.slot + g.x) * ${C}u + c) * ${cells}u;
for (var e = t; e < ${cells}u; e += ${T}u) { let r = e / ${size[2]}u; let q = e % ${size[2]}u;
if (r < ${ky[0]}u || r > ${ky[ky.length - 1]}u || q < ${kx[0]}u || q > ${
    kx[kx.length - 1]
  }u) { partial[out + e] = 0.0; } }
${rounds}
}`;
  return {
    label: `rowKernelGradient ${size.join("x")}`,
    workgroupSize: T,
    workgroupBytes: bytesOf(plan, ky.length),
    code,
  };
}
