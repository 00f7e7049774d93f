/**
 * pad: y[plane, i] = x[plane, source(i)], axis by axis, i counted from the input's first cell:
 *   replicate: the nearest cell;  circular: i modulo the extent;  reflect: mirrored at the first and the last cell.
 * Backward: dx[plane, i] = sum of dy over the cells that copy i. Up to three per axis copy a cell, the cell itself and its
 * images beyond either border; replicate's border cells are copied by the whole margin.
 *
 * Bindings: x [planes, ...input], y [planes, ...padded], parameters { count: elements of y }; backward: dy, dx, parameters
 * { count: elements of dx }; all of them float32 or float16 (`storage`). Extents are constants of the code: they divide. One invocation an element of the output,
 * which in the backward gathers, so that nothing is added by two invocations and results repeat.
 */
import type { PadAttributes } from "../src/ops/pad.ts";
import type { Shape } from "../src/spec.ts";
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
  store,
} from "./kernel.ts";

const SIZE = 64;

/** What the code depends on: extents of the input, cells added on both sides, and how. */
export interface PadGeometry extends PadAttributes {
  readonly extents: Shape;
}

/** `plane` and the coordinates `i0, i1, ...` of element `id` of planes with these extents. */
function coordinates(extents: Shape): string {
  let code = "var rest = id;\n";
  for (let a = extents.length - 1; a >= 0; a--) {
    code += `let i${a} = i32(rest % ${extents[a]}u); rest /= ${extents[a]}u;\n`;
  }
  return `${code}let plane = i32(rest);`;
}

/** The index in planes of these extents, by Horner's rule. */
const flat = (extents: Shape, name: string): string =>
  extents.reduce((index, extent, a) => `(${index} * ${extent} + ${name}${a})`, "plane");

const padded = ({ extents, padding }: PadGeometry): number[] =>
  extents.map((extent, a) => extent + 2 * padding[a]);

/** The input cell that cell `i` of a padded axis copies, both counted from the input's first cell. */
function source(mode: PadGeometry["mode"], i: string, extent: number): string {
  if (mode === "replicate") return `clamp(${i}, 0, ${extent - 1})`;
  if (mode === "circular") return `(${i} + ${extent}) % ${extent}`;
  return `(${extent - 1} - abs(${extent - 1} - abs(${i})))`;
}

/** A function that lists the cells of padded axis `a` that copy cell i: the k-th of them, or -1. */
function copies({ extents, padding, mode }: PadGeometry, a: number): string {
  const [extent, margin] = [extents[a], padding[a]];
  const last = extent - 1, cells = extent + 2 * margin;
  const images = mode === "circular"
    ? [`i + ${margin - extent}`, `i + ${margin + extent}`]
    : [`select(-1, ${margin} - i, i > 0)`, `select(-1, ${2 * last + margin} - i, i < ${last})`];
  const body = mode === "replicate"
    ? `let first = select(i + ${margin}, 0, i == 0);
let last = select(i + ${margin}, ${cells - 1}, i == ${last});
return select(-1, first + k, first + k <= last);`
    : `let cell = select(select(${images[1]}, ${images[0]}, k == 1), i + ${margin}, k == 0);
return select(-1, cell, cell >= 0 && cell < ${cells});`;
  return `fn copy${a}(i: i32, k: i32) -> i32 {\n${body}\n}`;
}

/** The most cells that copy one cell of axis `a`. */
function mostCopies({ extents, padding, mode }: PadGeometry, a: number): number {
  if (padding[a] === 0) return 1;
  if (mode !== "replicate") return 3;
  return extents[a] === 1 ? 2 * padding[a] + 1 : padding[a] + 1;
}

function make(
  label: string,
  geometry: PadGeometry,
  storage: Storage,
  from: string,
  to: string,
  before: string,
  body: string,
): Kernel {
  return {
    label: `${label} ${geometry.mode}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings([from, arrayOf(storage), "read"], [to, arrayOf(storage), "read_write"])}
${parameters(2, { count: "u32" })}
${before}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
${body}
}`,
  };
}

/** y. */
export function pad(geometry: PadGeometry, storage: Storage = "f32"): Kernel {
  const { extents, padding, mode } = geometry;
  const sources = extents.map((extent, a) =>
    `let s${a} = ${source(mode, `(i${a} - ${padding[a]})`, extent)};`
  );
  return make(
    "pad",
    geometry,
    storage,
    "x",
    "y",
    "",
    `${coordinates(padded(geometry))}
${sources.join("\n")}
${store(storage, "y", "id", load(storage, "x", flat(extents, "s")))}`,
  );
}

/** dx. */
export function padBackward(geometry: PadGeometry, storage: Storage = "f32"): Kernel {
  const { extents } = geometry;
  const axes = range(extents.length);
  const loops = axes.map((a) =>
    `for (var k${a} = 0; k${a} < ${mostCopies(geometry, a)}; k${a}++) {
let c${a} = copy${a}(i${a}, k${a});
if (c${a} < 0) { continue; }`
  );
  return make(
    "padBackward",
    geometry,
    storage,
    "dy",
    "dx",
    axes.map((a) => copies(geometry, a)).join("\n"),
    `${coordinates(extents)}
var s = 0.0;
${loops.join("\n")}
s += ${load(storage, "dy", flat(padded(geometry), "c"))};
${"}".repeat(extents.length)}
${store(storage, "dx", "id", "s")}`,
  );
}
