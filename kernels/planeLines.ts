/**
 * Two-dimensional FFT of planes by lines, for adapters that are a CPU: 8 lanes, one subgroup and one workgroup, transform
 * one row or one column together, and a loop walks over the lines.
 *
 * A line of L = 8 m values is m complex values a lane: lane l holds n = m l + i. Forward: a DFT of 8 across the lanes (three
 * exchanges with `subgroupShuffleXor`, which is one instruction there), a twiddle, a DFT of m within each lane; then lane l
 * holds the frequencies at + 8 j, `at` being l with its bits reversed. Back: the mirror image. Lines never meet in
 * registers: they pass through workgroup memory once between rows and columns, four values at a time.
 *
 * Why: on llvmpipe every element read from or written to memory costs each lane 0.4 to 1.3 ns (0.4 to 0.9 in fours), a
 * shuffle 0.2. 2 x 96 x 56 x 56, 17 x 17, milliseconds of 2 cores, and to compile: this 3.6 and 490; one line per invocation
 * in registers 5.4 and 2,200 (spills; blocks between loads times live values); the same with shared phases in loops 8 and
 * 2,100; the phases of planeFft.ts 18.3. A workgroup of 64 invocations: 4.8, columns in pairs: as fast, longer to compile.
 *
 * What is left is memory: of 3.6 ms about 1.9 are the plane between rows and columns, 0.65 each x, y and the spectrum.
 * Without the shuffles or the checks for NaN it takes as long.
 *
 * Loops run to bounds that depend on the workgroup's number: lavapipe may write a bound that is only a uniform into the code
 * and compiles anew whenever it is set (75 ms a dispatch).
 */
import { type Complex, Dft, ZERO } from "./dft.ts";
import { range, unroll } from "./kernel.ts";
import type { TilePlan } from "./planeTiles.ts";

/** Lanes that share a line; the subgroup and the workgroup have as many. */
export const LANES = 8;

const reversed = (lane: number): number => ((lane & 1) << 2) | (lane & 2) | ((lane & 4) >> 2);

/** The table of one transform: per lane, exp(-2 pi i at j / L) for j < m, then the twiddle inside the DFT of 8. */
export function lineTwiddles(L: number): number[] {
  const m = L / LANES, turns: number[] = [];
  for (let lane = 0; lane < LANES; lane++) {
    for (let j = 0; j < m; j++) turns.push(j * reversed(lane) / L);
    turns.push(lane & 4 ? (lane & 3) / 8 : 0);
  }
  return turns.flatMap((turn) => [Math.cos(2 * Math.PI * turn), -Math.sin(2 * Math.PI * turn)]);
}

/** exp(-2 pi i shift u / L) in the order of lanes, u = at + 8 j: moves a column by `shift` rows. */
export function shiftTwiddles(L: number, shift: number): number[] {
  return range(LANES).flatMap((lane) =>
    range(L / LANES).flatMap((j) => {
      const turn = ((reversed(lane) + LANES * j) * shift % L) / L;
      return [Math.cos(2 * Math.PI * turn), -Math.sin(2 * Math.PI * turn)];
    })
  );
}

/** WGSL of a line's transform. */
class Line {
  readonly #dft: Dft;
  readonly #name: string;
  readonly m: number;

  /** `name`1, `name`2, ... are the lane's twiddles. */
  constructor(dft: Dft, L: number, name: string) {
    this.#dft = dft;
    this.#name = name;
    this.m = L / LANES;
  }

  /** Reads the lane's twiddles; the table begins at `offset`. */
  constants(offset: number): string {
    return unroll(
      this.m,
      (j) => `let ${this.#name}${j + 1} = twiddles[${offset + j + 1}u + lane * ${this.m + 1}u];`,
    );
  }

  #across(z: Complex, distance: 1 | 2 | 4): Complex {
    const one = (value: string): string => {
      const own = this.#dft.let(value);
      return this.#dft.let(`fma(${own}, sign${distance}, subgroupShuffleXor(${own}, ${distance}u))`);
    };
    return [one(z[0]), one(z[1])];
  }
  #quarter([re, im]: Complex, back: boolean): Complex {
    return back
      ? [this.#dft.let(`select(${re}, -(${im}), quarter)`), this.#dft.let(`select(${im}, ${re}, quarter)`)]
      : [this.#dft.let(`select(${re}, ${im}, quarter)`), this.#dft.let(`select(${im}, -(${re}), quarter)`)];
  }
  #twiddle(j: number): string {
    return `${this.#name}${j}`;
  }

  forward(values: readonly Complex[]): Complex[] {
    const turned = values.map((value, j) => {
      if (value === ZERO) return ZERO;
      const far = this.#dft.multiply(this.#across(value, 4), this.#twiddle(this.m));
      const near = this.#across(this.#quarter(this.#across(far, 2), false), 1);
      return j === 0 ? near : this.#dft.multiply(near, this.#twiddle(j));
    });
    return this.#dft.transform(turned, -1);
  }

  back(values: readonly Complex[]): Complex[] {
    return this.#dft.transform(values, 1).map((value, j) => {
      const turned = j === 0 ? value : this.#dft.multiply(value, this.#twiddle(j), true);
      const near = this.#across(this.#quarter(this.#across(turned, 1), true), 2);
      return this.#across(this.#dft.multiply(near, this.#twiddle(this.m), true), 4);
    });
  }
}

/** The transforms of a plan's planes and the workgroup memory between them. */
export class PlaneLines {
  readonly plan: TilePlan;
  readonly dft: Dft = new Dft();
  readonly row: Line;
  readonly column: Line;

  constructor(plan: TilePlan) {
    this.plan = plan;
    this.row = new Line(this.dft, plan.columns.L, "across");
    this.column = new Line(this.dft, plan.rows.L, "down");
  }

  /** `plane[r L + v]` holds frequency v of rows 2 r and 2 r + 1. */
  declare(): string {
    return `var<workgroup> plane: array<vec4f, ${this.plan.workgroupBytes / 16}>;`;
  }

  /** Declares what depends on the lane alone; `twiddles` is bound, `t` the invocation. */
  constants(): string {
    const columns = LANES * (this.row.m + 1);
    return `let lane = t; let at = ((lane & 1u) << 2u) | (lane & 2u) | ((lane & 4u) >> 2u);
let sign4 = select(1.0, -1.0, (lane & 4u) != 0u); let sign2 = select(1.0, -1.0, (lane & 2u) != 0u);
let sign1 = select(1.0, -1.0, (lane & 1u) != 0u); let quarter = (lane & 3u) == 3u;
${this.row.constants(0)}
${this.column.constants(columns)}`;
  }

  /** Where the twiddles of both transforms end in `twiddles`. */
  get tableEnd(): number {
    return LANES * (this.row.m + 1 + this.column.m + 1);
  }

  /** Stores both rows of pair `rows` after their transform. */
  storeRows(first: readonly Complex[], second: readonly Complex[]): string {
    first.forEach((z, j) =>
      this.dft.statement(
        `plane[rows * ${this.plan.columns.L}u + at + ${LANES * j}u] = vec4f(${z}, ${second[j]});`,
      )
    );
    return this.dft.take();
  }

  /** The rows of pair `rows`, transformed back: values i of both lie at column m lane + i. */
  loadRows(): [Complex[], Complex[]] {
    const cells = range(this.row.m).map((j) =>
      this.dft.let(`plane[rows * ${this.plan.columns.L}u + at + ${LANES * j}u]`)
    );
    return [
      this.row.back(cells.map((cell) => [`${cell}.x`, `${cell}.y`])),
      this.row.back(cells.map((cell) => [`${cell}.z`, `${cell}.w`])),
    ];
  }

  #cell(q: number): string {
    return `plane[(lane * ${this.column.m / 2}u + ${q}u) * ${this.plan.columns.L}u + v]`;
  }
  /** Restricts a statement to lanes whose pair q is one of the first `pairs`. */
  #within(pairs: number, q: number, statement: string): string {
    const lanes = Math.ceil((pairs - q) / (this.column.m / 2));
    return lanes >= LANES ? statement : lanes <= 0 ? "" : `if (lane < ${lanes}u) { ${statement} }`;
  }

  /** The spectrum of column `v`, of which `pairs` pairs of rows were stored: value j is frequency at + 8 j. */
  loadColumn(pairs: number): Complex[] {
    const half = this.column.m / 2;
    const values = range(half).flatMap((q): Complex[] => {
      if (pairs <= q) return [ZERO, ZERO];
      const full = pairs >= (LANES - 1) * half + q + 1;
      if (full) this.dft.statement(`let cell${q} = ${this.#cell(q)};`);
      else {
        this.dft.statement(
          `var cell${q} = vec4f(0.0); ${this.#within(pairs, q, `cell${q} = ${this.#cell(q)};`)}`,
        );
      }
      return [[`cell${q}.x`, `cell${q}.y`], [`cell${q}.z`, `cell${q}.w`]];
    });
    return this.column.forward(values);
  }

  /** Transforms column `v` back and stores `pairs` pairs of its rows. */
  storeColumn(spectrum: readonly Complex[], pairs: number): void {
    const values = this.column.back(spectrum);
    for (let q = 0; q < this.column.m / 2; q++) {
      this.dft.statement(
        this.#within(pairs, q, `${this.#cell(q)} = vec4f(${values[2 * q]}, ${values[2 * q + 1]});`),
      );
    }
  }

  /** A loop over all columns; spectra are kept as [column][lane][j], `body` may refer to one's place by `spectral`. */
  overColumns(body: () => void): string {
    body();
    return `for (var v = 0u; v < ${this.plan.columns.L}u; v++) {
let spectral = (v * ${LANES}u + lane) * ${this.column.m / 2}u;
${this.dft.take()}
}
workgroupBarrier();`;
  }

  /** Values j = 2 q and 2 q + 1 of a spectrum in memory: vec4f number `spectral` + q of what begins at `base`. */
  spectralPair(buffer: string, base: string, q: number): string {
    return `${buffer}[${base} + spectral + ${q}u]`;
  }

  /** vec4f that one channel's spectrum takes. */
  get spectralSize(): number {
    return this.plan.rows.L * this.plan.columns.L / 2;
  }
}

/** The `twiddles` buffer of a plan. */
export function planeTwiddles({ rows, columns }: TilePlan): number[] {
  return [...lineTwiddles(columns.L), ...lineTwiddles(rows.L)];
}
