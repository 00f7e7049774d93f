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
 * conflicts. L = 64 needs 33,280 bytes with it and 32,768 without.
 *
 * Columns at and beyond `width` are known to be zero (forward) or not wanted (back).
 */
import { type Complex, Dft, ZERO } from "./dft.ts";
import { range } from "./kernel.ts";

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
  /** Complex values between rows. */
  readonly pitch: number;
  readonly workgroupSize: number;
  readonly workgroupBytes: number;
}

/** The shortest transform of at least `length` that the adapter can run, or null. */
export function fftPlan(length: number, workgroupBytes: number, invocations: number): FftPlan | null {
  const found = LENGTHS.find(([L]) => L >= length);
  if (!found) return null;
  const [L, a] = found, b = L / a, size = Math.max(b * b, L * a);
  const pitch = [L + 1, L].find((p) => 8 * L * p <= workgroupBytes);
  if (pitch === undefined || size > invocations) return null;
  return { L, a, b, pitch, workgroupSize: size, workgroupBytes: 8 * L * pitch };
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

/** Writes the phases; `t` is the invocation's number in its workgroup, `twiddles` a bound buffer of vec2f. */
export class PlaneFft {
  readonly plan: FftPlan;
  readonly dft: Dft = new Dft();

  constructor(plan: FftPlan) {
    this.plan = plan;
  }

  /** The plane's declaration. Element (row, column) is plane[row % b][row / b].d[column / b][column % b]. */
  declare(): string {
    const { L, a, b, pitch } = this.plan;
    return `struct Row { d: array<array<vec2f, ${b}>, ${a}>,${pitch > L ? " pad: vec2f," : ""} }
var<workgroup> plane: array<array<Row, ${a}>, ${b}>;`;
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
    return `${this.#flag(image)} = vec2f(1.0, 0.0);`;
  }
  /** Reads both flags into the registers `name`0 and `name`1, right after the barrier that ends the columns. */
  readFlags(name: string): string {
    return `let ${name}0 = ${this.#flag(0)}.x; let ${name}1 = ${this.#flag(1)}.x;${
      this.tight ? "\nworkgroupBarrier();" : ""
    }`;
  }
  /** Lowers both flags. A barrier must lie before the next columns. */
  lowerFlags(): string {
    return `if (t == 0u) { ${this.#flag(0)} = vec2f(0.0); ${this.#flag(1)} = vec2f(0.0); }`;
  }

  #at(k: string, n: string, m: string, l: string): string {
    return `plane[${k}][${n}].d[${m}][${l}]`;
  }
  #read(k: string, n: string, m: string, l: string): Complex {
    const z = this.dft.let(this.#at(k, n, m, l));
    return [`${z}.x`, `${z}.y`];
  }
  #write(z: Complex, k: string, n: string, m: string, l: string): void {
    this.dft.statement(`${this.#at(k, n, m, l)} = vec2f(${z[0]}, ${z[1]});`);
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
    this.dft.transform(full, -1).forEach((z, k) => this.#write(z, `${k}u`, "n2", "mh", "ml"));
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
        let x = this.#read("k1", `${n}u`, `${m}u`, "m2");
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
        this.#write(m > 0 ? dft.multiply(v, `tr${m}`, true) : v, "k1", `${n}u`, `${m}u`, "m2")
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
    const spectrum = dft.transform(range(b).map((m) => this.#read("k1", "k2", "kp", `${m}u`)), -1);
    const back = use(spectrum, dft);
    if (back) dft.transform(back, 1).forEach((z, m) => this.#write(z, "k1", "k2", "kp", `${m}u`));
    return this.#rowsBlock();
  }

  /** Phase 3 that leaves the spectrum in the plane: for `mirrored`. */
  rowsKept(): string {
    return this.rows((spectrum) => {
      spectrum.forEach((z, i) => this.#write(z, "k1", "k2", "kp", `${i}u`));
      return undefined;
    });
  }

  /**
   * After `rowsKept` and a barrier: statements over z{i}, the spectrum at (u, v), and m{i}, at (-u, -v), which tells the
   * transforms of two real planes packed as one apart. u = k1 + b k2, v = kp + a i.
   */
  mirrored(body: string): string {
    const { L, a, b } = this.plan;
    const values = range(b).map((i) =>
      `let z${i} = ${this.#at("k1", "k2", "kp", `${i}u`)};
let m${i} = ${this.#at("mk1", "mk2", "mkp", `select(${b - 1 - i}u, ${(b - i) % b}u, kp == 0u)`)};`
    );
    this.dft.statement(
      `let mu = (${L}u - (k1 + ${b}u * k2)) % ${L}u; let mk1 = mu % ${b}u; let mk2 = mu / ${b}u;
let mkp = (${a}u - kp) % ${a}u;
${values.join("\n")}
${body}`,
    );
    return this.#rowsBlock();
  }

  /** Phase 3 of a spectrum that comes from elsewhere: only the way back. */
  rowsBack(spectrum: readonly Complex[]): string {
    this.dft.transform(spectrum, 1).forEach((z, m) => this.#write(z, "k1", "k2", "kp", `${m}u`));
    return this.#rowsBlock();
  }

  #rowsBlock(): string {
    const { L, a } = this.plan;
    return `${
      this.guard(L * a)
    }{ let kp = t / ${L}u; let row = t % ${L}u; let k1 = row / ${a}u; let k2 = row % ${a}u;
${this.dft.take()}\n}\n`;
  }

  /** Phase 2 on the way back. */
  twistBack(width: number): string {
    const { a, b } = this.plan, { dft } = this;
    const z = range(a).map((n) =>
      dft.transform(
        range(a).map((m) => {
          const x = this.#read("k1", `${n}u`, `${m}u`, "m2");
          return m > 0 ? dft.multiply(x, `tr${m}`) : x;
        }),
        1,
      )
    );
    for (let m = 0; m < a && b * m < width; m++) {
      dft.transform(z.map((row) => row[m]), 1).forEach((v, n) =>
        this.#write(n > 0 ? dft.multiply(v, `tc${n}`) : v, "k1", `${n}u`, `${m}u`, "m2")
      );
    }
    return `${this.guard(b * b)}{ ${this.#twists()}\n${dft.take()}\n}\n`;
  }

  /** Phase 1 on the way back: `store` writes value i, the element in row a i + n2 of column m. */
  columnsBack(width: number, store: (values: Complex[]) => string): string {
    const { a, b } = this.plan, { dft } = this;
    const values = dft.transform(range(b).map((k) => this.#read(`${k}u`, "n2", "mh", "ml")), 1);
    const body = dft.take();
    return `${this.guard(width * a)}{ ${this.columnIndex(width)}\n${body}\n${store(values)}\n}\n`;
  }
}
