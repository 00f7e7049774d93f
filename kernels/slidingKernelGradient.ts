/**
 * slidingKernelGradient: convBackwardKernel (its formula) by sliding down the planes. For CPUs, see slidingConvolution.ts.
 *
 * One invocation owns a strip of columns, a run of output rows and a run of images, for one plane of taps (o, i, kz), all of
 * whose sums it keeps in registers, beside the rows of dy that the next row of x meets: every row of x and of dy is
 * read once. In the end lanes add their sums, with `share` by subgroupAdd, and write them to partial[slot][tap], to be added by
 * `sumChunks`. llvmpipe, 2 cores, processor time / 2, ms, `convBackwardKernel` and this: 2 x 96 x 56², 7x7 9.6 and 2.2, 17x17
 * 33 and 6.5; 4 x 768 x 7², 7x7 1.6 and 1.1; 16 x 64 x 16000, size 51 116 and 45.
 *
 * Bindings: x, dy, partial, parameters { items (lanes in use), count (images bound), chunk (images per lane), slot (first to
 * write), xStart, yStart (elements before the first image bound) }.
 */
import { axisOf, cellsOf, insideMeetings, meetings } from "./axis.ts";
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
import { slideOf, type SlidingPlan, tapPlanes } from "./slidingPlan.ts";

/** What the sliding gradient is made for. */
export interface SlidingGradientOptions {
  /** Sums of a subgroup by subgroupAdd; subgroups must have 8 consecutive invocations. */
  readonly share: boolean;
  readonly storage?: Storage;
}

/** The kernel; dispatch over lanes / workgroupSize (x) by planes of taps (y, then z). The geometry is upright. */
export function slidingKernelGradient(
  geometry: ConvolutionGeometry,
  plan: SlidingPlan,
  { share, storage = "f32" }: SlidingGradientOptions,
  workgroupSize: number,
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size } = geometry;
  const { strip, strips, rows, runs } = plan;
  const I = C / groups, J = O / groups, plane = size[1] * size[2], planes = tapPlanes(geometry);
  const deep = axisOf(geometry, 0), across = axisOf(geometry, 2);
  const slide = slideOf(axisOf(geometry, 1), rows, runs, plan.steps);
  const met = strips === 1 ? insideMeetings(across) : meetings(across, strip);
  const window = cellsOf(met), columns = [...new Set(met.map(({ k }) => k))];
  const sums = [...new Set(slide.meets.map(({ k }) => k))].flatMap((ky) => columns.map((kx) => ({ ky, kx })));

  const value = (r: number, c: number): string => `v${r}_${String(c).replace("-", "m")}`;
  const gradient = (slot: number, j: number): string => `d${slot}_${j}`;
  const cell = (c: number): string => {
    if (strips === 1) return load(storage, "x", `row + ${c}u`);
    const at = load(storage, "x", `row + u32(clamp(ix0 + ${c}, 0, ${input[2] - 1}))`);
    return `select(0.0, ${at}, ix0 + ${c} >= 0 && ix0 + ${c} < ${input[2]})`;
  };
  const readX = unroll(slide.inputs, (r) => {
    if (!slide.meets.some(({ row }) => row === r)) return "";
    return `${window.map((c) => `var ${value(r, c)} = 0.0;`).join(" ")}
{ let iy = firstIy + turn * ${slide.inputs} + ${r};
if (iy >= 0 && iy < ${input[1]}) { let row = xPlane + u32(iy) * ${input[2]}u;
${window.map((c) => `${value(r, c)} = ${cell(c)};`).join(" ")} } }`;
  });
  const readGradient = unroll(slide.outputs, (q) => {
    const slot = slide.slots - slide.outputs + q;
    const reads = range(strip).map((j) => {
      const read = load(storage, "dy", `at + ${j}u`);
      if ((strips - 1) * strip + j < output[2]) return `${gradient(slot, j)} = ${read};`;
      return `${gradient(slot, j)} = select(0.0, ${
        load(storage, "dy", `at + min(${j}u, ${output[2] - 1}u - ox0)`)
      }, ox0 + ${j}u < ${output[2]}u);`;
    }).join(" ");
    return `${range(strip).map((j) => `${gradient(slot, j)} = 0.0;`).join(" ")}
{ let down = turn * ${slide.outputs} + ${slide.lowest + slot}; let oy = firstOy + down;
if (down >= 0 && down < ${rows} && oy < ${output[1]}) { let at = yPlane + u32(oy) * ${output[2]}u;
${reads} } }`;
  });
  const multiply = slide.meets.flatMap(({ row, k: ky, slot }) =>
    met.map(({ j, k: kx, cell: c }) =>
      `s${ky}_${kx} = fma(${gradient(slot, j)}, ${value(row, c)}, s${ky}_${kx});`
    )
  ).join("\n");
  const move = unroll(
    slide.slots - slide.outputs,
    (slot) => unroll(strip, (j) => `${gradient(slot, j)} = ${gradient(slot + slide.outputs, j)};`, " "),
  );
  const early = Math.ceil(-(slide.lowest + slide.slots - 1) / slide.outputs);

  // Taps that meet nothing are zeros in the result.
  const sumOf = new Map(sums.map(({ ky, kx }) => [ky * size[2] + kx, `s${ky}_${kx}`]));
  const tap = (index: number): string => sumOf.get(index) ?? "0.0";
  const whole = (index: number): string => sumOf.has(index) ? `subgroupAdd(${tap(index)})` : "0.0";
  const write = share
    ? unroll(Math.ceil(plane / 8), (q) => {
      const eight = range(8).map((l) => 8 * q + l).filter((index) => index < plane);
      return `{ var s = 0.0;
${eight.map((index, l) => `{ let a = ${whole(index)}; s = select(s, a, lane == ${l}u); }`).join(" ")}
if (used${eight.length < 8 ? ` && lane < ${eight.length}u` : ""}) { partial[at + ${8 * q}u + lane] = s; } }`;
    })
    : `if (used) { ${unroll(plane, (index) => `partial[at + ${index}u] = ${tap(index)};`, " ")} }`;

  const head = main(workgroupSize);
  const code = `${
    bindings(["x", arrayOf(storage), "read"], ["dy", arrayOf(storage), "read"], [
      "partial",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { items: "u32", count: "u32", chunk: "u32", slot: "u32", xStart: "u32", yStart: "u32" })}
${share ? head.replace(/\)$/, ", @builtin(subgroup_invocation_id) subgroupLane: u32)") : head} {
${share ? "let lane = subgroupLane & 7u;" : ""}
let planeOfTaps = g.z * groups.y + g.y; let item = g.x * ${workgroupSize}u + t;
let p = min(planeOfTaps, ${planes - 1}u);
let kz = p % ${size[0]}u; let i = p / ${size[0]}u % ${I}u; let o = p / ${size[0] * I}u; let group = o / ${J}u;
let ox0 = item % ${strips}u * ${strip}u; let run = item / ${strips}u % ${runs}u; let n0 = item / ${
    strips * runs
  }u * parameters.chunk;
let ix0 = i32(ox0 * ${across.stride}u); let firstOy = i32(run * ${rows}u); let firstIy = firstOy * ${
    axisOf(geometry, 1).stride
  };
let end = select(n0, min(n0 + parameters.chunk, parameters.count), item < parameters.items);
${sums.length === 0 ? "_ = &x;" : ""}
${sums.map(({ ky, kx }) => `var s${ky}_${kx} = 0.0;`).join(" ")}
for (var n = n0; n < end; n++) {
for (var oz = 0u; oz < ${output[0]}u; oz++) {
let iz = i32(oz * ${deep.stride}u + kz * ${deep.dilation}u) - ${deep.padding};
if (iz >= 0 && iz < ${input[0]}) {
let xPlane = parameters.xStart + ((n * ${C}u + group * ${I}u + i) * ${input[0]}u + u32(iz)) * ${
    input[1] * input[2]
  }u;
let yPlane = parameters.yStart + ((n * ${O}u + o) * ${output[0]}u + oz) * ${output[1] * output[2]}u + ox0;
${range(slide.slots).map((slot) => unroll(strip, (j) => `var ${gradient(slot, j)} = 0.0;`, " ")).join("\n")}
${
    early < slide.first
      ? `for (var turn = ${early}; turn < ${slide.first}; turn++) {
${readGradient}
${move}
}`
      : ""
  }
for (var turn = ${slide.first}; turn <= ${slide.lastRead}; turn++) {
${readGradient}
${readX}
${multiply}
${move}
}
} } }
let used = ${
    share ? `item - lane < parameters.items` : "item < parameters.items"
  } && planeOfTaps < ${planes}u;
let at = ((parameters.slot + item${share ? " / 8u" : ""}) * ${planes}u + p) * ${plane}u;
${write}
}`;
  return { label: `slidingKernelGradient ${size.join("x")}`, workgroupSize, workgroupBytes: 0, code };
}
