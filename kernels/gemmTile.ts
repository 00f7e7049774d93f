/**
 * gemm by tiles in workgroup memory, for GPUs.
 *
 * A workgroup computes rows x columns results, an invocation rowsEach x columnsEach of them in registers: with 12 x 8, 5
 * vec4 reads of workgroup memory feed 96 multiply-adds. Each step takes `depth` of the summed axis: the next tile is on
 * its way to registers while the present one is used, and one tile buffer with two barriers holds it.
 *
 * H100, 192 → 768 channels, 784 pixels, 128 images, ms: 96 x 128 x 16 by 12 x 8 0.68 (43.5 TFLOP/s); 128 x 128 x 16 by
 * 8 x 8 0.83, 16 x 8 0.73; depth 8 0.95, depth 32 1.32 (too long a code); two tile buffers 1.08 (an index in every
 * address); 64 x 128 by 16 x 8 1.02 (spills). Indices into tiles are [constant][invocation's], so that the clamps
 * that WGSL demands leave the loop. The step is unrolled, the loop over steps is the only loop.
 */
import type { Gemm, GemmBody, Operand } from "./gemm.ts";
import { range, unroll } from "./kernel.ts";

/** Extents of a tile. */
export interface TilePlan {
  readonly mapping: "tile";
  readonly rows: number;
  readonly columns: number;
  /** Of the summed axis, per step: a multiple of 4. */
  readonly depth: number;
  /** Results of an invocation: multiples of 4 that divide rows and columns. */
  readonly rowsEach: number;
  readonly columnsEach: number;
}

/** The best tile on the H100: 128 invocations, 14,336 bytes of workgroup memory. 96 divides every ConvNeXt width. */
export const TILE: TilePlan = {
  mapping: "tile",
  rows: 96,
  columns: 128,
  depth: 16,
  rowsEach: 12,
  columnsEach: 8,
};

/** For products of which the large tile would make too few workgroups to fill a GPU: not measured on one yet. */
export const SMALL_TILE: TilePlan = {
  mapping: "tile",
  rows: 32,
  columns: 32,
  depth: 16,
  rowsEach: 4,
  columnsEach: 4,
};

const flat = (rows: number, columns: number, depth: number, rowsEach: number): TilePlan => ({
  mapping: "tile",
  rows,
  columns,
  depth,
  rowsEach,
  columnsEach: 8,
});

/**
 * The best tile first, then the one that gradients to weights ran by (96 → 384, 3136 pixels: 0.87 ms), then flatter ones for products
 * of few rows, of which the best would leave some idle: 33 rows of 96. Their steps are shorter, to stay within 16 KiB. The flat ones are not measured on a GPU yet.
 */
export const TILES: readonly TilePlan[] = [
  TILE,
  { ...TILE, columns: 96 },
  flat(64, 128, 16, 8),
  flat(48, 256, 12, 12),
  flat(36, 256, 12, 12),
  flat(16, 256, 12, 8),
];

const XYZW = "xyzw";

/** One load of an operand in a step, and where it goes. */
interface Slot {
  /** Which setup it uses. */
  readonly owner: string;
  /** Its depth within the step. */
  readonly depth: string;
  /** Statement that puts `next` into the tile. */
  readonly put: string;
}

/** How the invocations divide a tile's loads. */
interface Loads {
  readonly setup: string;
  readonly slots: readonly Slot[];
  /** vec4 per row of the tile; one more than needed where it is transposed, which spreads it over the banks. */
  readonly pitch: number;
}

function loadsOf(name: "a" | "b", operand: Operand, extent: number, depth: number, T: number): Loads {
  const { width, along } = operand, tile = `${name}Tile`;
  const own = (e: string): string =>
    name === "a" ? `clampRow(firstRow + ${e})` : `min(firstColumn + ${e}, lastColumn)`;
  const owners: string[] = [], slots: Slot[] = [];
  const addOwner = (e: string): string => {
    const owner = `${name}${owners.length}`;
    owners.push(`let ${owner}Own = ${e}; ${operand.setup(owner, own(`${owner}Own`))}`);
    return owner;
  };
  const addSlot = (owner: string, at: string): void => {
    const i = slots.length, next = `${name}Next${i}`, d = `${name}Depth${i}`;
    const store = width === 1
      ? `${tile}[${d}][${owner}Own / 4u][${owner}Own % 4u] = value;`
      : along === "own"
      ? `${tile}[${d}][${owner}Own / 4u] = value;`
      : unroll(
        4,
        (c) => `${tile}[${d} + ${c}u][${owner}Own / 4u][${owner}Own % 4u] = value.${XYZW[c]};`,
        " ",
      );
    const put = `{ let value = ${operand.finish?.(owner, next) ?? next}; ${store} }`;
    slots.push({ owner, depth: at, put });
  };
  const capped = (e: string, count: number, uneven: boolean): string =>
    uneven ? `min(${e}, ${count - 1}u)` : e;
  if (along === "depth") {
    const per = depth / width, count = extent * per;
    for (let i = 0; i * T < count; i++) {
      const e = capped(`t + ${i * T}u`, count, (i + 1) * T > count);
      addSlot(addOwner(`(${e}) / ${per}u`), `(${e}) % ${per}u * ${width}u`);
    }
  } else if (extent / width >= T) {
    const count = extent / width;
    for (let i = 0; i * T < count; i++) {
      const owner = addOwner(`${capped(`(t + ${i * T}u)`, count, (i + 1) * T > count)} * ${width}u`);
      for (let d = 0; d < depth; d++) addSlot(owner, `${d}u`);
    }
  } else {
    // several rows of the tile at once; where the invocations divide into whole rows, each keeps its column
    const across = extent / width,
      count = across * depth,
      owner = T % across === 0 ? addOwner(`t % ${across}u * ${width}u`) : null;
    for (let i = 0; i * T < count; i++) {
      const e = capped(`t + ${i * T}u`, count, (i + 1) * T > count);
      addSlot(owner ?? addOwner(`(${e}) % ${across}u * ${width}u`), `(${e}) / ${across}u`);
    }
  }
  return { setup: owners.join("\n"), slots, pitch: extent / 4 + (along === "depth" ? 1 : 0) };
}

/** The body of the kernel. */
export function gemmTile(product: Gemm, plan: TilePlan): GemmBody {
  const { rows, columns, depth, rowsEach, columnsEach } = plan;
  const across = columns / columnsEach, down = rows / rowsEach, T = across * down;
  const a = loadsOf("a", product.a, rows, depth, T), b = loadsOf("b", product.b, columns, depth, T);
  const operands = [["a", product.a, a], ["b", product.b, b]] as const;
  const fetch = (declare: boolean): string =>
    operands.map(([name, operand, { slots }]) =>
      slots.map(({ owner }, i) => {
        const at = `k + ${name}Depth${i}`, zero = operand.width === 4 ? "vec4f(0.0)" : "0.0";
        const last = operand.along === "depth" && operand.width === 4 ? "end - 4u" : "end - 1u";
        // beyond the end both operands are 0: a 0 on one side would not hide the other's NaN
        const value = product.edges.depth
          ? `select(${zero}, ${operand.value(owner, `min(${at}, ${last})`)}, ${at} < end)`
          : operand.value(owner, `(${at})`);
        return `${declare ? "var " : ""}${name}Next${i} = ${value};`;
      }).join("\n")
    ).join("\n");
  const sums = product.rowSums ? rowSumsOf(product, plan, a, T) : { declare: "", add: "", store: "" };
  const put = sums.add +
    operands.map(([, , { slots }]) => slots.map((slot) => slot.put).join("\n")).join("\n");
  const cells = range(rowsEach).flatMap((i) => range(columnsEach / 4).map((j) => [i, j] as const));
  const multiply = unroll(
    depth,
    (k) =>
      `{ ${unroll(rowsEach / 4, (i) => `let u${i} = aTile[${k}u][ty + ${i * down}u];`, " ")} ${
        unroll(columnsEach / 4, (j) => `let v${j} = bTile[${k}u][tx + ${j * across}u];`, " ")
      }
${
        cells.map(([i, j]) => `c${i}_${j} = fma(vec4f(u${i >> 2}.${XYZW[i & 3]}), v${j}, c${i}_${j});`).join(
          " ",
        )
      } }`,
  );
  return {
    workgroupSize: T,
    workgroupBytes: 16 * depth * (a.pitch + b.pitch),
    subgroups: false,
    declarations: `var<workgroup> aTile: array<array<vec4f, ${a.pitch}>, ${depth}>;
var<workgroup> bTile: array<array<vec4f, ${b.pitch}>, ${depth}>;
fn clampRow(row: u32) -> u32 { return ${
      product.edges.rows
        ? `min(row, ${product.rows} - ${product.a.along === "own" ? product.a.width : 1}u)`
        : "row"
    }; }`,
    code: `let tx = t % ${across}u; let ty = t / ${across}u;
let lastColumn = ${product.columns} - ${product.b.along === "own" ? product.b.width : 1}u;
${
      operands.map(([name, , { setup, slots }]) =>
        `${setup}\n${slots.map(({ depth: at }, i) => `let ${name}Depth${i} = ${at};`).join(" ")}`
      ).join("\n")
    }
${cells.map(([i, j]) => `var c${i}_${j} = vec4f(0.0);`).join(" ")}
${sums.declare}
var k = first;
${fetch(true)}
${put}
workgroupBarrier();
let steps = (end - first + ${depth - 1}u) / ${depth}u;
for (var step = 1u; step < steps; step++) {
k += ${depth}u;
${fetch(false)}
${multiply}
workgroupBarrier();
${put}
workgroupBarrier();
}
${multiply}
${storeTile(product, plan, across, down)}
${sums.store}`,
  };
}

/** Statements that add up A's rows on their way to the tile, and, in the first block of columns, store the sums. */
function rowSumsOf(
  product: Gemm,
  { rows, depth }: TilePlan,
  { slots }: Loads,
  T: number,
): { declare: string; add: string; store: string } {
  const { width, along, finish } = product.a;
  if (along !== "depth" || finish) {
    throw new RangeError(
      `Cannot build ${product.label} with sums of rows: A must be along depth, as it is loaded`,
    );
  }
  const zero = width === 4 ? "vec4f(0.0)" : "0.0";
  const sum = (i: number): string => width === 4 ? `dot(aSum${i}, vec4f(1.0))` : `aSum${i}`;
  return {
    declare: slots.map((_, i) => `var aSum${i} = ${zero};`).join(" "),
    add: slots.map((_, i) => `aSum${i} += aNext${i};\n`).join(""),
    // the tile takes the parts of each row, one above the other
    store: `if (firstColumn == 0u) {
workgroupBarrier();
${
      slots.map(({ owner }, i) =>
        `aTile[aDepth${i} / ${width}u][${owner}Own / 4u][${owner}Own % 4u] = ${sum(i)};`
      ).join("\n")
    }
workgroupBarrier();
${
      unroll(Math.ceil(rows / T), (i) =>
        `{ let at = t + ${i * T}u; let row = firstRow + at; if (at < ${rows}u && row < ${product.rows}) {
let sum = ${
          unroll(depth / width, (q) => `aTile[${q}u][at / 4u][at % 4u]`, " + ")
        };
${product.rowSums!("sum", "row")} } }`)
    }
}`,
  };
}

/** Hands the invocation's results to the epilogue, columns outside, so that their places are in registers for a while only. */
function storeTile(product: Gemm, plan: TilePlan, across: number, down: number): string {
  const { epilogue, edges } = product, { rowsEach, columnsEach } = plan;
  const parts = epilogue.width === 4 ? [""] : [".x", ".y", ".z", ".w"];
  return unroll(
    columnsEach / 4,
    (j) =>
      parts.map((part, q) =>
        `{ let column = firstColumn + (tx + ${j * across}u) * 4u + ${q}u;
if (column < ${product.columns}) {
${epilogue.columns("Column", "column")}
${
          unroll(rowsEach, (i) => {
            const row = `firstRow + (ty + ${(i >> 2) * down}u) * 4u + ${i & 3}u`;
            const body = `${epilogue.rows("Row", "row")} ${
              epilogue.store(`c${i}_${j}${part}`, "Row", "Column")
            }`;
            return edges.rows
              ? `{ let row = ${row}; if (row < ${product.rows}) { ${body} } }`
              : `{ let row = ${row}; ${body} }`;
          })
        }
} }`
      ).join("\n"),
  );
}
