/**
 * Image pairs between tensors and the transforms of planeLines.ts: two images of one channel form the complex plane
 * x[2q] + i x[2q + 1]. The kernel is real, so the convolution of the plane is the two convolutions.
 *
 * A lane reads m neighbouring pixels of a row, in fours or twos where rows allow. What lies outside the plane, or in the
 * second image of an odd last pair, counts as 0. So does what is not finite: it would spread over the pair. Its image is
 * flagged, and its results are stored as NaN. (See planePairs.ts on rounding errors.)
 */
import type { Complex } from "./dft.ts";
import { type Storage, unroll } from "./kernel.ts";
import { LANES, type PlaneLines } from "./planeLines.ts";
import { haloOf, tilesAlong } from "./planeTiles.ts";

/** A tensor [N, C, height, width] among the bindings. */
export interface PlaneTensor {
  readonly name: string;
  readonly of: "input" | "output";
  /** Whether a tile of it comes with the pixels that results on its border meet: "toInput" those of dy around dx. */
  readonly halo?: "forward" | "toInput";
}

/** Row passes of one tensor. */
export class TensorRows {
  readonly #lines: PlaneLines;
  readonly #tensor: PlaneTensor;
  readonly #height: number;
  readonly #width: number;
  readonly #storage: Storage;
  /** Pixels read at once. */
  readonly #fold: number;

  constructor(lines: PlaneLines, tensor: PlaneTensor) {
    const { rows, columns, storage } = lines.plan;
    this.#lines = lines;
    this.#tensor = tensor;
    this.#height = rows[tensor.of];
    this.#width = columns[tensor.of];
    this.#storage = storage;
    this.#fold = [4, 2, 1].find((n) => this.#width % n === 0 && lines.row.m % n === 0)!;
  }

  /** The binding's WGSL type. */
  get type(): string {
    const element = this.#storage;
    return `array<${this.#fold === 1 ? element : `vec${this.#fold}<${element}>`}>`;
  }

  /** Pairs of rows that a tile of it has in the plane. */
  get pairs(): number {
    const { rows } = this.#lines.plan;
    if (!rows.cut) return Math.ceil(this.#height / 2);
    return (this.#tensor.halo ? rows.L : rows.step) / 2;
  }

  /** Tiles of it, down and across. */
  get tiles(): [down: number, across: number] {
    const { rows, columns } = this.#lines.plan;
    return [tilesAlong(rows, this.#height), tilesAlong(columns, this.#width)];
  }

  #halo(axis: "rows" | "columns"): { before: number; after: number } {
    const { halo } = this.#tensor;
    return halo ? haloOf(this.#lines.plan[axis], halo === "toInput") : { before: 0, after: 0 };
  }

  /** Declares where the images of pair `pair` begin. */
  images(): string {
    const { name } = this.#tensor, plane = this.#height * this.#width / this.#fold;
    return `let ${name}0 = (2u * pair * parameters.channels + c) * ${plane}u;
let ${name}1 = ${name}0 + parameters.channels * ${plane}u;`;
  }

  /** The pixels' places in a row, per lane and chunk: `column{q}`, and whether they are any: `inside{q}`. */
  #columns(): string {
    const { columns } = this.#lines.plan, { row: { m } } = this.#lines, fold = this.#fold;
    const { before } = this.#halo("columns"),
      restricted = this.#tensor.halo ? "" : `n < ${columns.step}u && `;
    return unroll(m / fold, (q) => {
      if (!columns.cut) {
        const lanes = Math.ceil((this.#width - fold * q) / m);
        return `let column${q} = lane * ${m / fold}u + ${q}u; let inside${q} = lane < ${
          Math.max(0, lanes)
        }u;`;
      }
      const wrapped = before > 0 ? ` - select(0u, ${columns.L}u, n >= ${columns.L - before}u)` : "";
      return `var column${q} = 0u; var inside${q} = false; { let n = lane * ${m}u + ${fold * q}u;
let x = columnOrigin + n${wrapped}; column${q} = x / ${fold}u; inside${q} = ${restricted}x < ${this.#width}u; }`;
    });
  }

  /** Where row k of pair `rows` lies, `line{k}`, and whether it is one, `row{k}`. */
  #row(k: 0 | 1): string {
    const { rows } = this.#lines.plan, { before } = this.#halo("rows"), per = this.#width / this.#fold;
    if (!rows.cut) {
      return `let line${k} = (2u * rows + ${k}u) * ${per}u; let row${k} = ${
        k === 1 && this.#height % 2 === 1 ? `rows < ${this.pairs - 1}u` : "true"
      };`;
    }
    const wrapped = before > 0 ? ` - select(0u, ${rows.L}u, 2u * rows + ${k}u >= ${rows.L - before}u)` : "";
    return `let pixelRow${k} = rowOrigin + 2u * rows + ${k}u${wrapped};
let line${k} = pixelRow${k} * ${per}u; let row${k} = pixelRow${k} < ${this.#height}u;`;
  }

  #wide(values: readonly string[]): string {
    const { fold, storage } = { fold: this.#fold, storage: this.#storage };
    return fold === 1
      ? `${storage}(${values[0]})`
      : `vec${fold}<${storage}>(vec${fold}f(${values.join(", ")}))`;
  }

  /** Loads, transforms and stores all rows of a tile; declares `bad0` and `bad1`: whether an image has values that are not finite. */
  load(): string {
    const { dft, row } = this.#lines, fold = this.#fold, { name } = this.#tensor;
    const wide = fold === 1 ? "f32" : `vec${fold}f`;
    const value = (k: 0 | 1, image: 0 | 1, i: number): string => {
      const q = Math.floor(i / fold), cell = `p${k}${image}_${q}`;
      if (i % fold === 0) {
        const guard = `inside${q} & row${k}${image === 1 ? " & two" : ""}`;
        dft.statement(`var ${cell} = ${wide}(0.0);
if (${guard}) { ${cell} = ${wide}(${name}[${name}${image} + line${k} + column${q}]); }`);
      }
      const own = dft.let(fold === 1 ? cell : `${cell}.${"xyzw"[i % fold]}`),
        finite = dft.let(`isFinite(${own})`);
      dft.statement(`spoiled${image} = spoiled${image} | !${finite};`);
      return dft.let(`select(0.0, ${own}, ${finite})`);
    };
    const transformed = ([0, 1] as const).map((k) => {
      dft.statement(this.#row(k));
      return row.forward(
        Array.from({ length: row.m }, (_, i): Complex => [value(k, 0, i), value(k, 1, i)]),
      );
    });
    return `var spoiled0 = false; var spoiled1 = false;
${this.#columns()}
for (var rows = 0u; rows < ${this.pairs}u; rows++) {
${this.#lines.storeRows(transformed[0], transformed[1])}
}
workgroupBarrier();`;
  }

  /** Transforms all rows of a tile back and stores value + `add`0 or `add`1. */
  store(add: string): string {
    const { dft } = this.#lines, fold = this.#fold, { name } = this.#tensor;
    const both = this.#lines.loadRows();
    for (const k of [0, 1] as const) {
      dft.statement(this.#row(k));
      for (const image of [0, 1] as const) {
        const values = both[k].map((z) => `${z[image]} + ${add}${image}`);
        for (let q = 0; q < values.length / fold; q++) {
          const guard = `inside${q} & row${k}${image === 1 ? " & two" : ""}`;
          const target = `${name}[${name}${image} + line${k} + column${q}]`;
          dft.statement(
            `if (${guard}) { ${target} = ${this.#wide(values.slice(fold * q, fold * (q + 1)))}; }`,
          );
        }
      }
    }
    return `${this.#columns()}
for (var rows = 0u; rows < ${this.pairs}u; rows++) {
${dft.take()}
}`;
  }
}

/** A loop over the channels and, in each, over the image pairs and tiles of this workgroup; `result` is what is tiled. */
export function overItems(lines: PlaneLines, result: TensorRows, body: string, before = ""): string {
  const { rows, columns } = lines.plan, [down, across] = result.tiles, tiles = down * across;
  const tile = tiles === 1 ? "let pair = item;" : `let pair = item / ${tiles}u; let tile = item % ${tiles}u;`;
  const rowOrigin = tiles === 1 ? "0u" : `tile / ${across}u * ${rows.step}u`;
  const columnOrigin = tiles === 1 ? "0u" : `tile % ${across}u * ${columns.step}u`;
  return `let lastChannel = min((g.x + 1u) * parameters.turns, parameters.channels);
let first = g.y * parameters.run;
let end = min(first + parameters.run, (parameters.count + 1u) / 2u * ${tiles}u);
for (var c = g.x * parameters.turns; c < lastChannel; c++) {
${before}
for (var item = first; item < end; item++) {
${tile} let two = 2u * pair + 1u < parameters.count;
${rows.cut ? `let rowOrigin = ${rowOrigin};` : ""} ${columns.cut ? `let columnOrigin = ${columnOrigin};` : ""}
${body}
}
}`;
}

/** WGSL that row passes rely on. */
export const LINE_HELPERS =
  `fn isFinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
fn nanWhere(flag: bool) -> f32 { return bitcast<f32>(select(0u, 0x7fc00000u, flag)); }`;

/** Invocations of these kernels. */
export const LINE_WORKGROUP: number = LANES;
