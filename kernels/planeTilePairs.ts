/**
 * Image pairs in and out of a plane FFT, as in planePairs.ts, where planes are larger than transforms: tile by tile (see
 * planeTiles.ts for what a tile reads and where it lies in the transform). An item of a workgroup's run is a tile of a
 * pair: item = pair tiles + tile.
 *
 * What lies outside the plane is read from its border and masked when it is used, so that nothing waits for a load.
 */
import type { Complex } from "./dft.ts";
import { load, range, type Storage, store, unroll } from "./kernel.ts";
import type { PlaneFft } from "./planeFft.ts";
import { type Halo, haloOf, type TileAxis, tilesAlong } from "./planeTiles.ts";

/** A tensor [N, C, height, width] whose planes are transformed in tiles. */
export class TilePairs {
  readonly #fft: PlaneFft;
  readonly #rows: TileAxis;
  readonly #columns: TileAxis;
  readonly #side: "input" | "output";
  readonly #halo: "forward" | "toInput" | null;
  readonly #storage: Storage;

  /** @param halo what a tile reads around its pixels; null: nothing, as for results */
  constructor(
    fft: PlaneFft,
    plan: { readonly rows: TileAxis; readonly columns: TileAxis; readonly storage: Storage },
    side: "input" | "output",
    halo: "forward" | "toInput" | null,
  ) {
    this.#fft = fft;
    this.#rows = plan.rows;
    this.#columns = plan.columns;
    this.#side = side;
    this.#halo = halo;
    this.#storage = plan.storage;
  }

  #extent(axis: TileAxis): number {
    if (!axis.cut) return axis[this.#side];
    return this.#halo ? axis.L : axis.step;
  }
  #around(axis: TileAxis): Halo {
    return this.#halo ? haloOf(axis, this.#halo === "toInput") : { before: 0, after: 0 };
  }
  /** Columns of the transform that it fills. */
  get width(): number {
    return this.#extent(this.#columns);
  }
  /** Rows that one invocation holds of its column. */
  get slots(): number {
    return Math.ceil(this.#extent(this.#rows) / this.#fft.plan.a);
  }
  /** Tiles of a plane. */
  get tiles(): number {
    return tilesAlong(this.#rows, this.#rows[this.#side]) *
      tilesAlong(this.#columns, this.#columns[this.#side]);
  }

  /** The pixel at position `n` of an axis, as u32; beyond the plane where there is none. */
  #pixel(axis: TileAxis, origin: string, n: string): string {
    const { before } = this.#around(axis);
    if (!axis.cut) return n;
    return `${origin} + ${n}${before > 0 ? ` - select(0u, ${axis.L}u, ${n} >= ${axis.L - before}u)` : ""}`;
  }

  /** Declares the tile of `item` and this invocation's column in it. `across`: tiles side by side among the results. */
  #place(item: string, tiles: number, across: number): string {
    return `let pair = (${item}) / ${tiles}u; let tile = (${item}) % ${tiles}u;
let rowOrigin = tile / ${across}u * ${this.#rows.step}u; let columnOrigin = tile % ${across}u * ${this.#columns.step}u;
let place = min(t, ${this.width * this.#fft.plan.a - 1}u);
let column = ${this.#pixel(this.#columns, "columnOrigin", `(place % ${this.width}u)`)};
let base = (2u * pair * parameters.channels + c) * ${this.#rows[this.#side] * this.#columns[this.#side]}u;
let next = base + select(0u, parameters.channels, 2u * pair + 1u < parameters.count) * ${
      this.#rows[this.#side] * this.#columns[this.#side]
    }u;
${
      unroll(this.slots, (i) => {
        const n = `(place / ${this.width}u + ${this.#fft.plan.a * i}u)`;
        const used = this.#halo || this.#extent(this.#rows) % this.#fft.plan.a === 0
          ? ""
          : ` && ${n} < ${this.#extent(this.#rows)}u`;
        return `let row${i} = ${this.#pixel(this.#rows, "rowOrigin", n)};
let inside${i} = row${i} < ${this.#rows[this.#side]}u && column < ${this.#columns[this.#side]}u${used};`;
      })
    }`;
  }

  /** The methods below for tiles of `results`. */
  of(results: TilePairs): PairPasses {
    const { tiles } = results, across = tilesAlong(results.#columns, results.#columns[results.#side]);
    const H = this.#rows[this.#side], W = this.#columns[this.#side], storage = this.#storage;
    const place = (item: string): string => this.#place(item, tiles, across);
    return {
      width: this.width,
      slots: this.slots,
      load: (buffer, item) => {
        const line = (slot: string, base: string): string =>
          unroll(this.slots, (i) => {
            const at = `${base} + min(row${i}, ${H - 1}u) * ${W}u + min(column, ${W - 1}u)`;
            return `${slot}${i} = ${load(storage, buffer, at)};`;
          }, " ");
        return `{ ${place(item)}\n${line("p", "base")}\n${line("q", "next")} }`;
      },
      columns: (item, live) => {
        const fft = this.#fft;
        const mask = unroll(
          this.slots,
          (i) => `p${i} = select(0.0, p${i}, inside${i}); q${i} = select(0.0, q${i}, inside${i});`,
        );
        const checks = ([["p", 0], ["q", 1]] as const).map(([slot, image]) =>
          `if (!(${range(this.slots).map((i) => `isFinite(${slot}${i})`).join(" && ")})) {
${fft.raiseFlag(image)}
${unroll(this.slots, (i) => `${slot}${i} = select(0.0, ${slot}${i}, isFinite(${slot}${i}));`, " ")} }`
        );
        const values = range(this.slots).map((
          i,
        ): Complex => [`p${i}`, live ? fft.dft.let(`q${i} * ${live}`) : `q${i}`]);
        return fft.columns(this.width, values, `${place(item)}\n${mask}\n${checks.join("\n")}`);
      },
      store: (buffer, item, flags, add) =>
        this.#fft.columnsBack(this.width, (values) => {
          const line = (part: 0 | 1, base: string): string =>
            unroll(this.slots, (i) => {
              const at = `${base} + row${i} * ${W}u + column`;
              return `if (inside${i}) { ${store(storage, buffer, at, `${values[i][part]} + plus${part}`)} }`;
            }, " ");
          return `${place(item)}
let plus0 = ${add} + nanWhere(${flags}0); let plus1 = ${add} + nanWhere(${flags}1);
${
            line(0, "base")
          }
if (2u * pair + 1u < parameters.count) { ${line(1, "next")} }`;
        }),
    };
  }
}

/** The passes of one tensor over the items of a workgroup. */
export interface PairPasses {
  readonly width: number;
  readonly slots: number;
  load(buffer: string, item: string): string;
  columns(item: string, live?: string): string;
  store(buffer: string, item: string, flags: string, add: string): string;
}
