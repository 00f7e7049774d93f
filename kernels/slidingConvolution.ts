/**
 * slidingConvolution: convolution (its formula, bindings and gradient to the input) by sliding down the plane. For CPUs.
 *
 * One invocation owns a strip of columns, `rows` output rows and `block` output channels. It walks down the input: every
 * row of its window is read once into registers and added, times the taps, to all the output rows it meets, whose sums wait
 * in registers. A finished row is written, and the sums move up. A software adapter pays some 10 cycles for every element
 * read, whatever memory it is in, and next to nothing for arithmetic and spilled registers: here it reads an input about 1.4
 * times, where `convolution` reads it once for every 8 / (size + 7) taps. On a GPU the sums would spill into slow memory.
 *
 * Taps: read once where an invocation needs one plane of them, else for every row; with `share`, lanes of a
 * subgroup of 8 read 8 of them together and broadcast.
 *
 * llvmpipe, 2 cores, processor time / 2, ms, `convolution` and this: 2 x 96 x 56², 7x7 10 and 2.0, 17x17 40 and 7; 4 x 192 x 28²,
 * 7x7 10 and 1.8, 17x17 46 and 6; more in chooseDirect.ts. What did not help: no guards around reads and stores, and 8 or 16 rows a
 * turn, at 16 x 64 x 16000, size 3 (24 ms: a read and a write per output is all there is).
 */
import { axisOf, cellsOf, insideMeetings, meetings, usedTaps } from "./axis.ts";
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
import { slideOf, type SlidingPlan } from "./slidingPlan.ts";

/** What the sliding kernel is made for. */
export interface SlidingOptions {
  readonly bias: boolean;
  readonly taps: TapOrder;
  /** Taps by subgroupBroadcast; subgroups must have 8 consecutive invocations. */
  readonly share: boolean;
  readonly storage?: Storage;
}

/** Sums and inputs as WGSL variables. */
const sum = (b: number, slot: number, j: number): string => `s${b}_${slot}_${j}`;

/** Declarations of one plane of taps, w<block>_<ky>_<kx>: `at(b, i)` is the expression for tap number i of block b. */
function readTaps(
  names: readonly { readonly name: string; readonly index: number }[],
  block: number,
  at: (b: number, index: string) => string,
  share: boolean,
): string {
  if (!share) {
    return unroll(
      block,
      (b) => names.map(({ name, index }) => `let w${b}_${name} = kernel[${at(b, `${index}u`)}];`).join(" "),
    );
  }
  const lowest = Math.min(...names.map(({ index }) => index)),
    highest = Math.max(...names.map(({ index }) => index));
  const reads = [...new Set(names.map(({ index }) => (index - lowest) >> 3))];
  return unroll(
    block,
    (b) =>
      reads.map((q) => `let q${b}_${q} = kernel[${at(b, `min(${lowest + 8 * q}u + lane, ${highest}u)`)}];`)
        .join(" ") +
      "\n" +
      names.map(({ name, index }) => {
        const from = index - lowest;
        return `let w${b}_${name} = subgroupBroadcast(q${b}_${from >> 3}, ${from & 7}u);`;
      }).join(" "),
  );
}

/** The kernel; dispatch over items / workgroupSize (x) by channel blocks (y, then z). The geometry is upright. */
export function slidingConvolution(
  geometry: ConvolutionGeometry,
  plan: SlidingPlan,
  options: SlidingOptions,
  workgroupSize: number,
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size } = geometry;
  const { bias, taps, share, storage = "f32" } = options;
  const { strip, strips, rows, runs, block } = plan;
  const I = C / groups, J = O / groups, plane = size[1] * size[2], cells = size[0] * plane;
  const deep = axisOf(geometry, 0), down = axisOf(geometry, 1), across = axisOf(geometry, 2);
  const slide = slideOf(down, rows, runs, plan.steps);
  const met = strips === 1 ? insideMeetings(across) : meetings(across, strip);
  const window = cellsOf(met), single = I === 1 && size[0] === 1 && input[0] === 1 && output[0] === 1;
  const firstRow = runs === 1 ? "0" : `i32(run * ${rows / down.spread * down.stride}u)`;

  // Taps, by number within their plane of the kernel.
  const columns = [...new Set(met.map(({ k }) => k))];
  const names = usedTaps(down).flatMap((ky) =>
    columns.map((kx) => ({ name: `${ky}_${kx}`, index: ky * size[2] + kx }))
  );
  const firstTap = taps === "forward"
    ? (b: number, i: string): string => `((o0 + ${b}u) * ${I}u + i) * ${cells}u + kz * ${plane}u + ${i}`
    : (b: number, i: string): string =>
      `((group * ${I}u + i) * ${J}u + o0 % ${J}u + ${b}u) * ${cells}u + ${
        cells - 1
      }u - kz * ${plane}u - (${i})`;
  const tapCode = names.length ? readTaps(names, block, firstTap, share) : "";

  const cell = (c: number): string => {
    if (strips === 1) return load(storage, "x", `row + ${c}u`);
    const at = load(storage, "x", `row + u32(clamp(ix0 + ${c}, 0, ${input[2] - 1}))`);
    return `select(0.0, ${at}, ix0 + ${c} >= 0 && ix0 + ${c} < ${input[2]})`;
  };
  const name = (r: number, c: number): string => `v${r}_${String(c).replace("-", "m")}`;
  const readRow = (r: number): string => {
    if (!slide.meets.some(({ row }) => row === r) || window.length === 0) return "";
    const iy = `iy${r}`, at = `let row = planeAt + u32(${iy}) * ${input[2]}u;`;
    const inside = `${iy} >= 0 && ${iy} < ${input[1]}${single ? "" : " && insideDepth"}`;
    return `let ${iy} = firstIy + ${r};
${window.map((c) => `var ${name(r, c)} = 0.0;`).join(" ")}
if (${inside}) { ${at}
${window.map((c) => `${name(r, c)} = ${cell(c)};`).join(" ")} }`;
  };
  const multiply = slide.meets.flatMap(({ row, k: ky, slot }) =>
    range(block).map((b) =>
      met.map(({ j, k: kx, cell: c }) =>
        `${sum(b, slot, j)} = fma(${name(row, c)}, w${b}_${ky}_${kx}, ${sum(b, slot, j)});`
      ).join(" ")
    )
  ).join("\n");

  // One plane of the input after the other: a loop only where there are several.
  const depth = `let iz = i32(oz * ${deep.stride}u + kz * ${deep.dilation}u) - ${deep.padding};
let insideDepth = iz >= 0 && iz < ${input[0] * deep.spread}${
    deep.spread > 1 ? ` && iz % ${deep.spread} == 0` : ""
  };
let planeAt = parameters.xStart + ((n * ${C}u + group * ${I}u + i) * ${
    input[0]
  }u + u32(max(iz, 0)) / ${deep.spread}u) * ${input[1] * input[2]}u;`;
  const read = unroll(slide.inputs, readRow);
  const turn = single ? `${read}\n${multiply}` : `for (var i = 0u; i < ${I}u; i++) {
for (var kz = 0u; kz < ${size[0]}u; kz++) {
${tapCode}
${depth}
${read}
${multiply}
} }`;
  const finish = unroll(slide.outputs, (q) => {
    const stores = unroll(block, (b) =>
      unroll(strip, (j) => {
        const line = store(storage, "y", `at + ${b * output[0] * output[1] * output[2] + j}u`, sum(b, q, j));
        return (strips - 1) * strip + j < output[2] ? line : `if (ox0 + ${j}u < ${output[2]}u) { ${line} }`;
      }, " "));
    return `{ let down = turn * ${slide.outputs} + ${slide.lowest + q}; let oy = i32(run * ${rows}u) + down;
if (live && down >= 0 && down < ${rows} && oy < ${output[1]}) { let at = out + u32(oy) * ${output[2]}u;
${stores} } }`;
  });
  const move = unroll(block, (b) =>
    unroll(slide.slots, (slot) =>
      unroll(strip, (j) => {
        const from = slot + slide.outputs;
        return `${sum(b, slot, j)} = ${from < slide.slots ? sum(b, from, j) : `first${b}`};`;
      }, " ")));

  const inputs: [string, string, "read"][] = [["x", arrayOf(storage), "read"], [
    "kernel",
    "array<f32>",
    "read",
  ]];
  if (bias) inputs.push(["bias", "array<f32>", "read"]);
  const head = main(workgroupSize);
  const code = `${bindings(...inputs, ["y", arrayOf(storage), "read_write"])}
${parameters(inputs.length + 1, { items: "u32", first: "u32", xStart: "u32", yStart: "u32" })}
${share ? head.replace(/\)$/, ", @builtin(subgroup_invocation_id) subgroupLane: u32)") : head} {
${share ? "let lane = subgroupLane & 7u;" : ""}
let block = g.z * groups.y + g.y; let item = (parameters.first + g.x) * ${workgroupSize}u + t;
let live = item < parameters.items && block < ${O / block}u;
let id = min(item, parameters.items - 1u); let o0 = min(block, ${
    O / block - 1
  }u) * ${block}u; let group = o0 / ${J}u;
let ox0 = id % ${strips}u * ${strip}u; let run = id / ${strips}u % ${runs}u;
let oz = id / ${strips * runs}u % ${output[0]}u; let n = id / ${strips * runs * output[0]}u;
let ix0 = i32(ox0 / ${across.spread}u * ${across.stride}u);
let out = parameters.yStart + ((n * ${O}u + o0) * ${output[0]}u + oz) * ${output[1] * output[2]}u + ox0;
${
    single
      ? `let i = 0u; let kz = 0u;\n${tapCode}\nlet planeAt = parameters.xStart + (n * ${C}u + group) * ${
        input[1] * input[2]
      }u;`
      : ""
  }
${names.length * window.length === 0 ? "_ = &x; _ = &kernel;" : ""}
${unroll(block, (b) => `let first${b} = ${bias ? `bias[o0 + ${b}u]` : "0.0"};`)}
${
    unroll(block, (b) =>
      unroll(slide.slots, (slot) => unroll(strip, (j) => `var ${sum(b, slot, j)} = first${b};`, " ")))
  }
for (var turn = ${slide.first}; turn <= ${slide.lastRead}; turn++) {
let firstIy = ${firstRow} + turn * ${slide.inputs};
${turn}
${finish}
${move}
}
${
    slide.lastRead === slide.last
      ? ""
      : `for (var turn = ${slide.lastRead + 1}; turn <= ${slide.last}; turn++) {
${finish}
${move}
}`
  }
}`;
  return { label: `slidingConvolution ${taps} ${size.join("x")}`, workgroupSize, workgroupBytes: 0, code };
}
