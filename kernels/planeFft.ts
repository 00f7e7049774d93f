/**
 * Two-dimensional FFT of one L x L complex plane in workgroup memory, forward and back, for convolution of whole planes.
 *
 * L = a b. A 1-d transform of length L is split as b times a, so that an invocation never holds more than max(b, a a)
 * complex values (16 for L = 64):
 *
 *   columns  (width a invocations)  DFT_b down the columns                                → memory
 *   twist    (b b invocations)      twiddle, a x a DFT over both axes, twiddle             → memory, in place
 *   rows     (L a invocations)      DFT_b along the rows; here the spectrum is whole: use it; inverse DFT_b, in place
 *   twistBack and columnsBack mirror the first two.
 *
 * A plane crosses workgroup memory four times, with four barriers between. Every access has constant indices plus
 * indices that depend on the invocation alone, so that the index clamps the translator adds are computed once a phase.
 * Straight-line code stays under 2,000 instructions: one invocation per FFT of 64 took 0.436 ms where this takes
 * 0.144 (H100, 128 x 96 x 56 x 56, 17 x 17): it was bound by instruction fetch.
 *
 * A row is L complex values and, where workgroup memory allows, one more: all access patterns are then free of bank
 * conflicts. L = 64 needs 33,280 bytes with it and 32,768 without. Where that is too much, real and imaginary parts pass
 * through memory one after the other, in half of it and with three barriers for one: L = 72 then needs 21,024 bytes and
 * L = 64 16,384, what the smallest adapters have.
 *
 * Columns at and beyond `width` are known to be zero (forward) or not wanted (back).
 */
import { type Complex, Dft, ZERO } from "./dft.ts";
import { range, unroll } from "./kernel.ts";

/** Transform lengths with their factor a, shortest first. Powers of two beat shorter mixed lengths. */
const LENGTHS: readonly (readonly [L: number, a: number])[] = [
  [16, 2],
  [20, 2],
  [24, 2],
  [28, 2],
  [32, 4],
  [36, 4],
  [40, 4],
  [48, 4],
  [64, 4],
  [72, 4],
];

/** A transform: its length, split and need of workgroup memory. */
export interface FftPlan {
  readonly L: number;
  readonly a: number;
  readonly b: number;
  /** Values between rows. */
  readonly pitch: number;
  /** Whether real and imaginary parts take turns in memory. */
  readonly halves: boolean;
  readonly workgroupSize: number;
  readonly workgroupBytes: number;
}

/** The shortest transform of at least `length` for planes `width` wide that the adapter can run, or null. */
export function fftPlan(
  length: number,
  width: number,
  workgroupBytes: number,
  invocations: number,
): FftPlan | null {
  const found = LENGTHS.find(([L]) => L >= length);
  if (!found) return null;
  const [L, a] = found, b = L / a, size = Math.max(b * b, L * a);
  if (size > invocations) return null;
  for (const [pitch, halves] of [[L + 1, false], [L, false], [L + 1, true], [L, true]] as const) {
    const bytes = (halves ? 4 : 8) * L * pitch;
    // Without padding, flags need a column that the plane leaves free.
    if (bytes > workgroupBytes || (pitch === L && width === L)) continue;
    return { L, a, b, pitch, halves, workgroupSize: size, workgroupBytes: bytes };
  }
  return null;
}

/** exp(2 pi i j / L) for j < L, as pairs: the `twiddles` buffer. */
export function twiddles(L: number): Float32Array {
  const table = new Float32Array(2 * L);
  for (let j = 0; j < L; j++) {
    table[2 * j] = Math.cos(2 * Math.PI * j / L);
    table[2 * j + 1] = Math.sin(2 * Math.PI * j / L);
  }
  return table;
}

/** A phase as memory sees it: its cells, for each invocation that takes part. */
interface Access {
  /** Invocations that take part. */
  readonly invocations: number;
  /** Declares what the cells' indices refer to. */
  readonly indices: string;
  /** Each with the number of the register it goes through. */
  readonly cells: readonly (readonly [register: number, cell: Cell])[];
}
type Cell = readonly [k: string, n: string, m: string, l: string];

/** Writes the phases; `t` is the invocation's number in its workgroup, `twiddles` a bound buffer of vec2f. */
export class PlaneFft {
  readonly plan: FftPlan;
  readonly dft: Dft = new Dft();

  constructor(plan: FftPlan) {
    this.plan = plan;
  }

  /** The plane's declaration. Element (row, column) is plane[row % b][row / b].d[column / b][column % b]. */
  declare(): string {
    const { L, a, b, pitch, halves } = this.plan, value = halves ? "f32" : "vec2f";
    return `struct Row { d: array<array<${value}, ${b}>, ${a}>,${pitch > L ? ` pad: ${value},` : ""} }
var<workgroup> plane: array<array<Row, ${a}>, ${b}>;`;
  }

  /** Declares the registers in which halves wait; before the first phase. */
  registers(): string {
    if (!this.plan.halves) return "";
    const { a, b } = this.plan;
    return unroll(Math.max(b, a * a), (i) => `var kept${i} = 0.0; var half${i} = 0.0;`, " ");
  }

  /** Between a phase and the next: a barrier, or, by halves, three. */
  #exchange(written: Access, read: Access): string {
    const barrier = "workgroupBarrier();\n";
    if (!this.plan.halves) return barrier;
    const block = (
      { invocations, indices, cells }: Access,
      line: (place: string, i: number) => string,
    ): string =>
      `${this.guard(invocations)}{ ${indices}\n${
        cells.map(([i, cell]) => line(this.#at(...cell), i)).join(" ")
      } }\n`;
    return barrier + block(read, (place, i) => `half${i} = ${place};`) + barrier +
      block(written, (place, i) => `${place} = kept${i};`) + barrier;
  }
  /** After `columns`, before `twist`. */
  afterColumns(width: number): string {
    return this.#exchange(this.#columnCells(width), this.#blockCells(width));
  }
  /** After `twist`, before `rows`. */
  afterTwist(): string {
    return this.#exchange(this.#blockCells(this.plan.L), this.#rowCells());
  }
  /** After `rows` or `rowsBack`, before `twistBack`. */
  afterRows(): string {
    return this.#exchange(this.#rowCells(), this.#blockCells(this.plan.L));
  }
  /** After `twistBack`, before `columnsBack`. */
  afterTwistBack(width: number): string {
    return this.#exchange(this.#blockCells(width), this.#columnCells(width));
  }

  #columnCells(width: number): Access {
    const { a, b } = this.plan;
    const cells = range(b).map((k) => [k, [`${k}u`, "n2", "mh", "ml"]] as const);
    return { invocations: width * a, indices: this.columnIndex(width), cells };
  }
  #blockCells(width: number): Access {
    const { a, b } = this.plan;
    const cells = range(a * a).filter((i) => b * (i % a) < width)
      .map((i) => [i, ["k1", `${Math.floor(i / a)}u`, `${i % a}u`, "m2"]] as const);
    return { invocations: b * b, indices: `let k1 = t / ${b}u; let m2 = t % ${b}u;`, cells };
  }
  #rowCells(): Access {
    const { L, a, b } = this.plan;
    const cells = range(b).map((m) => [m, ["k1", "k2", "kp", `${m}u`]] as const);
    return { invocations: L * a, indices: this.#rowIndex(), cells };
  }
  #rowIndex(): string {
    const { L, a } = this.plan;
    return `let kp = t / ${L}u; let row = t % ${L}u; let k1 = row / ${a}u; let k2 = row % ${a}u;`;
  }

  /** Whether there is no room beside the plane: flags then live in its last column, which must be a spare one. */
  get tight(): boolean {
    return this.plan.pitch === this.plan.L;
  }

  /** One of two flags that any invocation may raise: where rows are padded, in the padding. */
  #flag(image: number): string {
    const { a, b } = this.plan;
    return `plane[${image}][0].${this.tight ? `d[${a - 1}][${b - 1}]` : "pad"}`;
  }
  /** Raises a flag; between `lowerFlags` and a barrier, and the barrier before `readFlags`. */
  raiseFlag(image: number): string {
    return `${this.#flag(image)} = ${this.plan.halves ? "1.0" : "vec2f(1.0, 0.0)"};`;
  }
  /** Reads both flags into the registers `name`0 and `name`1, right after the barrier that ends the columns. */
  readFlags(name: string): string {
    const part = this.plan.halves ? "" : ".x";
    return `let ${name}0 = ${this.#flag(0)}${part}; let ${name}1 = ${this.#flag(1)}${part};${
      this.tight ? "\nworkgroupBarrier();" : ""
    }`;
  }
  /** Lowers both flags. A barrier must lie before the next columns. */
  lowerFlags(): string {
    const down = this.plan.halves ? "0.0" : "vec2f(0.0)";
    return `if (t == 0u) { ${this.#flag(0)} = ${down}; ${this.#flag(1)} = ${down}; }`;
  }

  #at(k: string, n: string, m: string, l: string): string {
    return `plane[${k}][${n}].d[${m}][${l}]`;
  }
  /** Reads a cell; by halves, the real part is in register `i` already. */
  #read(i: number, ...cell: Cell): Complex {
    const z = this.dft.let(this.#at(...cell));
    return this.plan.halves ? [this.dft.let(`half${i}`), z] : [`${z}.x`, `${z}.y`];
  }
  /** Writes a cell; by halves, the imaginary part waits in register `i`. */
  #write([re, im]: Complex, i: number, ...cell: Cell): void {
    const place = this.#at(...cell);
    this.dft.statement(
      this.plan.halves ? `${place} = ${re}; kept${i} = ${im};` : `${place} = vec2f(${re}, ${im});`,
    );
  }
  /** Restricts a phase to its first n invocations. */
  guard(n: number): string {
    return n < this.plan.workgroupSize ? `if (t < ${n}u) ` : "";
  }

  /** Where a columns phase works: invocation t owns rows n2, n2 + a, ... of column m. */
  columnIndex(width: number): string {
    const { b } = this.plan;
    return `let n2 = t / ${width}u; let m = t % ${width}u; let mh = m / ${b}u; let ml = m % ${b}u;`;
  }

  /** Phase 1. values[i] is the element in row a i + n2; `before` are statements they need. */
  columns(width: number, values: readonly Complex[], before = ""): string {
    const { a, b } = this.plan;
    const full = range(b).map((i) => values[i] ?? ZERO);
    this.dft.transform(full, -1).forEach((z, k) => this.#write(z, k, `${k}u`, "n2", "mh", "ml"));
    return `${this.guard(width * a)}{ ${this.columnIndex(width)}\n${before}\n${this.dft.take()}\n}\n`;
  }

  #twists(): string {
    const { a, b } = this.plan;
    let code = `let k1 = t / ${b}u; let m2 = t % ${b}u;`;
    for (let j = 1; j < a; j++) {
      code += ` let tc${j} = twiddles[k1 * ${j}u]; let tr${j} = twiddles[m2 * ${j}u];`;
    }
    return code;
  }

  /** Phase 2. */
  twist(width: number): string {
    const { a, b } = this.plan, { dft } = this;
    const z = range(a).map((n) =>
      range(a).map((m): Complex => {
        if (b * m >= width) return ZERO; // these columns were never written
        let x = this.#read(n * a + m, "k1", `${n}u`, `${m}u`, "m2");
        if (b * (m + 1) > width) {
          const keep = `m2 < ${width - b * m}u`;
          x = [dft.let(`select(0.0, ${x[0]}, ${keep})`), dft.let(`select(0.0, ${x[1]}, ${keep})`)];
        }
        return n > 0 ? dft.multiply(x, `tc${n}`, true) : x;
      })
    );
    for (let m = 0; m < a; m++) dft.transform(z.map((row) => row[m]), -1).forEach((v, n) => z[n][m] = v);
    z.forEach((row, n) =>
      dft.transform(row, -1).forEach((v, m) =>
        this.#write(m > 0 ? dft.multiply(v, `tr${m}`, true) : v, n * a + m, "k1", `${n}u`, `${m}u`, "m2")
      )
    );
    return `${this.guard(b * b)}{ ${this.#twists()}\n${dft.take()}\n}\n`;
  }

  /**
   * Phase 3. `use` gets the b values of the spectrum that invocation t owns: value i lies at i L a + t of a spectrum
   * buffer. What it returns is transformed back; undefined ends here.
   */
  rows(use: (spectrum: Complex[], dft: Dft) => Complex[] | undefined): string {
    const { dft } = this, { b } = this.plan;
    const spectrum = dft.transform(range(b).map((m) => this.#read(m, "k1", "k2", "kp", `${m}u`)), -1);
    const back = use(spectrum, dft);
    if (back) dft.transform(back, 1).forEach((z, m) => this.#write(z, m, "k1", "k2", "kp", `${m}u`));
    return this.#rowsBlock();
  }

  /** Phase 3 that leaves the spectrum in the plane: for `mirrored`. */
  rowsKept(): string {
    return this.rows((spectrum) => {
      spectrum.forEach((z, i) => {
        this.#write(z, i, "k1", "k2", "kp", `${i}u`);
        if (this.plan.halves) this.dft.statement(`half${i} = ${z[0]};`);
      });
      return undefined;
    });
  }

  /**
   * After `rowsKept`: statements over z{i}, the spectrum at (u, v), and m{i}, at (-u, -v), which tells the transforms of
   * two real planes packed as one apart. u = k1 + b k2, v = kp + a i.
   */
  mirrored(body: string): string {
    const { L, a, b, halves } = this.plan;
    const indices = `let mu = (${L}u - (k1 + ${b}u * k2)) % ${L}u; let mk1 = mu % ${b}u; let mk2 = mu / ${b}u;
let mkp = (${a}u - kp) % ${a}u;`;
    const mirror = (i: number): string =>
      this.#at("mk1", "mk2", "mkp", `select(${b - 1 - i}u, ${(b - i) % b}u, kp == 0u)`);
    const block = (text: string): string => {
      this.dft.statement(text);
      return this.#rowsBlock();
    };
    const barrier = "workgroupBarrier();\n";
    if (!halves) {
      const values = unroll(
        b,
        (i) => `let z${i} = ${this.#at("k1", "k2", "kp", `${i}u`)}; let m${i} = ${mirror(i)};`,
      );
      return barrier + block(`${indices}\n${values}\n${body}`);
    }
    const own = (i: number): string => this.#at("k1", "k2", "kp", `${i}u`);
    return `${unroll(b, (i) => `var mirror${i} = 0.0;`, " ")}
${barrier}${block(`${indices}\n${unroll(b, (i) => `mirror${i} = ${mirror(i)};`)}`)}${barrier}${
      block(unroll(b, (i) => `${own(i)} = kept${i};`))
    }${barrier}${
      block(`${indices}
${unroll(b, (i) => `let z${i} = vec2f(half${i}, kept${i}); let m${i} = vec2f(mirror${i}, ${mirror(i)});`)}
${body}`)
    }`;
  }

  /** Phase 3 of a spectrum that comes from elsewhere: only the way back. */
  rowsBack(spectrum: readonly Complex[]): string {
    this.dft.transform(spectrum, 1).forEach((z, m) => this.#write(z, m, "k1", "k2", "kp", `${m}u`));
    return this.#rowsBlock();
  }

  #rowsBlock(): string {
    const { L, a } = this.plan;
    return `${this.guard(L * a)}{ ${this.#rowIndex()}\n${this.dft.take()}\n}\n`;
  }

  /** Phase 2 on the way back. */
  twistBack(width: number): string {
    const { a, b } = this.plan, { dft } = this;
    const z = range(a).map((n) =>
      dft.transform(
        range(a).map((m) => {
          const x = this.#read(n * a + m, "k1", `${n}u`, `${m}u`, "m2");
          return m > 0 ? dft.multiply(x, `tr${m}`) : x;
        }),
        1,
      )
    );
    for (let m = 0; m < a && b * m < width; m++) {
      dft.transform(z.map((row) => row[m]), 1).forEach((v, n) =>
        this.#write(n > 0 ? dft.multiply(v, `tc${n}`) : v, n * a + m, "k1", `${n}u`, `${m}u`, "m2")
      );
    }
    return `${this.guard(b * b)}{ ${this.#twists()}\n${dft.take()}\n}\n`;
  }

  /** Phase 1 on the way back: `store` writes value i, the element in row a i + n2 of column m. */
  columnsBack(width: number, store: (values: Complex[]) => string): string {
    const { a, b } = this.plan, { dft } = this;
    const values = dft.transform(range(b).map((k) => this.#read(k, `${k}u`, "n2", "mh", "ml")), 1);
    const body = dft.take();
    return `${this.guard(width * a)}{ ${this.columnIndex(width)}\n${body}\n${store(values)}\n}\n`;
  }
}
