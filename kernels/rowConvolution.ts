/**
 * rowConvolution: depthwise convolution (its formula and bindings), 2-d, stride 1, any size, on small planes. For GPUs.
 *
 * A workgroup stages the planes of several images of one channel; one invocation computes one output row of one of
 * them, with the row's sums, a row of the input and a row of taps in registers. Only taps that meet a pixel are
 * written down: on a 7x7 plane a 17-wide row costs 49 multiply-adds and not 119. Lanes count images first, then rows, so
 * that the loop over input rows rarely diverges, and pitches keep them on different banks.
 *
 * H100, 128 images (prototype), ms: 768 x 7², 7x7 0.024, 17x17 0.029 with 32 images (two rows per invocation 0.035, seven
 * 0.048); 384 x 14², 7x7 0.051, 17x17 0.089 with 16 (8: 0.095, 32: 0.115, two rows 0.109 and more; FFT 0.083 to 0.098);
 * 192 x 28², 17x17 0.267 with 4 (FFT 0.102). With copy loops left rolled: 0.145 for 0.089.
 */
import { axisOf, insideMeetings, usedTaps } from "./axis.ts";
import type { ConvolutionGeometry, TapOrder } from "./convolution.ts";
import {
  arrayOf,
  bindings,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  store,
  unroll,
} from "./kernel.ts";

/** The widest plane: its sums and a row of it have to fit registers. */
export const ROW_WIDTH = 28;
const BANKS = 32;

/** Planes side by side in workgroup memory. */
export interface PlaneLayout {
  readonly images: number;
  readonly rows: number;
  /** Floats of a row and of a plane, with gaps that keep lanes (image fastest, then row) on different banks. */
  readonly row: number;
  readonly plane: number;
}

const layouts = new Map<string, PlaneLayout>();

/** The layout for planes of this size with the fewest lanes on the same bank: searched once, as every step asks for it. */
export function planeLayout(rows: number, width: number, images: number): PlaneLayout {
  const key = `${rows} ${width} ${images}`;
  let layout = layouts.get(key);
  if (!layout) layouts.set(key, layout = searchLayout(rows, width, images));
  return layout;
}

function searchLayout(rows: number, width: number, images: number): PlaneLayout {
  const conflicts = (row: number, plane: number): number => {
    let worst = 0;
    for (let warp = 0; warp < Math.min(128, images * rows); warp += BANKS) {
      const used = new Array<number>(BANKS).fill(0);
      for (const lane of range(Math.min(BANKS, images * rows - warp))) {
        const at = (warp + lane) % images * plane + Math.floor((warp + lane) / images) * row;
        used[at % BANKS]++;
      }
      worst += Math.max(...used);
    }
    return worst;
  };
  const candidates = [width, width + 1].flatMap((row) =>
    range(BANKS + 1).map((gap) => ({ images, rows, row, plane: rows * row + gap }))
  );
  return candidates.map((layout) => ({ layout, cost: conflicts(layout.row, layout.plane) }))
    .reduce((a, b) => b.cost < a.cost || (b.cost === a.cost && b.layout.plane < a.layout.plane) ? b : a)
    .layout;
}

/** The declaration of planes named `name`: every index but the first is a constant or one of the invocation's own. */
export function planesOf(name: string, { images, rows, row, plane }: PlaneLayout): string {
  const gap = plane - rows * row;
  return `struct Plane_${name} { r: array<array<f32, ${row}>, ${rows}>,${
    gap ? ` gap: array<f32, ${gap}>,` : ""
  } }
var<workgroup> ${name}: array<Plane_${name}, ${images}>;`;
}

/** `body` for e = t, t + invocations, ... < count, unrolled: in a WGSL loop each load is waited for before the next. */
export function unrolledCopy(count: number, invocations: number, body: string): string {
  return unroll(
    Math.ceil(count / invocations),
    (i) =>
      `${(i + 1) * invocations > count ? `if (t < ${count - i * invocations}u) ` : ""}{ let e = t + ${
        i * invocations
      }u; ${body} }`,
  );
}

/** Floats of the taps that a workgroup keeps: those that meet a pixel, rows padded to vec4. */
const tapFloats = (geometry: ConvolutionGeometry): number => {
  const [rows, columns] = [1, 2].map((a) => usedTaps(axisOf(geometry, a)).length);
  return rows * Math.ceil(columns / 4) * 4;
};

const layoutFor = ({ input, output }: ConvolutionGeometry, images: number): PlaneLayout =>
  planeLayout(Math.max(input[1], output[1]), Math.max(input[2], output[2]), images);

/** The images a workgroup takes, for a batch of `count` within these limits; null where not even one fits. */
export function rowLayout(
  geometry: ConvolutionGeometry,
  count: number,
  limits: { readonly bytes: number; readonly invocations: number },
): PlaneLayout | null {
  const { output } = geometry;
  if (Math.max(geometry.input[2], output[2]) > ROW_WIDTH) return null;
  const most = Math.min(limits.invocations, output[1] > 16 ? 128 : 256);
  for (let images = 32; images >= 1; images /= 2) {
    if (images >= 2 * count || images * output[1] > most) continue;
    const layout = layoutFor(geometry, images);
    if (4 * (layout.plane * images + tapFloats(geometry)) <= limits.bytes) return layout;
  }
  return null;
}

/** The kernel; dispatch over images / layout.images workgroups (x) by channels (y, then z). `items` are images. */
export function rowConvolution(
  geometry: ConvolutionGeometry,
  layout: PlaneLayout,
  hasBias: boolean,
  order: TapOrder = "forward",
  storage: Storage = "f32",
): Kernel {
  const { groups: C, input, output, size } = geometry, { images } = layout;
  const down = axisOf(geometry, 1), across = axisOf(geometry, 2), cells = size[1] * size[2];
  const T = images * output[1], ky = usedTaps(down), kx = usedTaps(across), fours = Math.ceil(kx.length / 4);
  const met = insideMeetings(across), ky0 = ky[0] ?? 0, kx0 = kx[0] ?? 0;
  const copy = (extents: readonly number[], start: string, statement: (at: string) => string): string =>
    unrolledCopy(
      images * extents[1] * extents[2],
      T,
      `let n = e / ${extents[1] * extents[2]}u; let f = e % ${extents[1] * extents[2]}u;
if (n0 + n < parameters.items) { let r = f / ${extents[2]}u; let q = f % ${extents[2]}u; ${
        statement(`${start} + ((n0 + n) * ${C}u + c) * ${extents[1] * extents[2]}u + f`)
      } }`,
    );
  const index = (k: string): string => order === "forward" ? k : `${cells - 1}u - (${k})`;
  const tap = (j: number): string =>
    `select(0.0, kernel[c * ${cells}u + ${
      index(`(r + ${ky0}u) * ${size[2]}u + min(q * 4u + ${j}u, ${kx.length - 1}u) + ${kx0}u`)
    }], q * 4u + ${j}u < ${kx.length}u)`;
  const multiply = kx.map((k) =>
    met.filter((meeting) => meeting.k === k)
      .map(({ j, cell }) => `a${j} = fma(i${cell}, w${(k - kx0) >> 2}.${"xyzw"[(k - kx0) & 3]}, a${j});`)
      .join(" ")
  ).join("\n");
  const walk = `let above = i32(oy) + ${ky0 - down.padding};
let end = u32(clamp(above + ${ky.length}, 0, ${input[1]}));
for (var iy = u32(max(0, above)); iy < end; iy++) {
let r = u32(i32(iy) - above);
${unroll(input[2], (q) => `let i${q} = planes[p].r[iy][${q}];`, " ")}
${unroll(fours, (j) => `let w${j} = taps[r][${j}];`, " ")}
${multiply}
}`;
  const inputs: [string, string, "read"][] = [["x", arrayOf(storage), "read"], [
    "kernel",
    "array<f32>",
    "read",
  ]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const none = ky.length === 0 || kx.length === 0;
  const code = `${bindings(...inputs, ["y", arrayOf(storage), "read_write"])}
${parameters(inputs.length + 1, { items: "u32", first: "u32", xStart: "u32", yStart: "u32" })}
${planesOf("planes", layout)}
var<workgroup> taps: array<array<vec4f, ${Math.max(1, fours)}>, ${Math.max(1, ky.length)}>;
${main(T)} {
let c = g.z * groups.y + g.y; let n0 = (parameters.first + g.x) * ${images}u;
if (c >= ${C}u) { return; }
${
    none ? "" : unrolledCopy(
      ky.length * fours,
      T,
      `let r = e / ${fours}u; let q = e % ${fours}u; taps[r][q] = vec4f(${range(4).map(tap).join(", ")});`,
    )
  }
${copy(input, "parameters.xStart", (at) => `planes[n].r[r][q] = ${load(storage, "x", at)};`)}
workgroupBarrier();
let p = t % ${images}u; let oy = t / ${images}u;
${unroll(output[2], (q) => `var a${q} = ${hasBias ? "bias[c]" : "0.0"};`, " ")}
${none ? "_ = &kernel;" : walk}
workgroupBarrier();
${unroll(output[2], (q) => `planes[p].r[oy][${q}] = a${q};`, " ")}
workgroupBarrier();
${copy(output, "parameters.yStart", (at) => store(storage, "y", at, "planes[n].r[r][q]"))}
}`;
  return {
    label: `rowConvolution ${order} ${size.join("x")}`,
    workgroupSize: T,
    workgroupBytes: 4 * (layout.plane * images + Math.max(4, tapFloats(geometry))),
    code,
  };
}
