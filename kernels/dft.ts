/**
 * Straight-line complex DFTs in WGSL.
 *
 * `Dft` turns a transform of fixed size into `let` statements. Nothing is indexed at run time, so every value is a named
 * scalar that the compiler keeps in a register. Inputs known to be zero are ZERO and all arithmetic on them vanishes:
 * zero padding costs nothing. Outputs that nobody reads are removed by the compiler.
 *
 * Sizes 2, 3, 4, 5, 7 and 8 have codelets of their own, others are split by Cooley and Tukey.
 */

/** A complex number as two WGSL scalars: identifiers, "0", or a "-" before an identifier. */
export type Complex = readonly [re: string, im: string];

/** A number known to be zero when the code is written. */
export const ZERO: Complex = ["0", "0"];

/** First radix of the split of composite sizes. */
const RADIX: Readonly<Record<number, number>> = {
  6: 3,
  9: 3,
  10: 5,
  12: 4,
  14: 7,
  15: 5,
  16: 4,
  18: 3,
  20: 5,
  24: 8,
  28: 4,
  32: 4,
  36: 4,
  40: 8,
  48: 8,
  64: 8,
  72: 8,
  80: 8,
};

const isZero = (z: Complex): boolean => z[0] === "0" && z[1] === "0";

/** Writes complex arithmetic; `take` hands over the statements. */
export class Dft {
  #statements: string[] = [];
  #names = 0;

  /** The statements since the last call. */
  take(): string {
    const text = this.#statements.join("\n");
    this.#statements = [];
    return text;
  }

  /** Adds a statement. */
  statement(text: string): void {
    this.#statements.push(text);
  }

  /** Names the value of an expression. */
  let(expression: string): string {
    const name = `v${this.#names++}`;
    this.#statements.push(`let ${name} = ${expression};`);
    return name;
  }

  /** z times the vec2f expression w, or its conjugate. */
  multiply(z: Complex, w: string, conjugate = false): Complex {
    if (isZero(z)) return ZERO;
    const [re, im] = z;
    return conjugate
      ? [this.let(`fma(${re}, ${w}.x, (${im}) * ${w}.y)`), this.let(`fma(${im}, ${w}.x, -(${re}) * ${w}.y)`)]
      : [this.let(`fma(${re}, ${w}.x, -(${im}) * ${w}.y)`), this.let(`fma(${re}, ${w}.y, (${im}) * ${w}.x)`)];
  }

  /** X[k] = sum over n of x[n] exp(sign 2 pi i n k / size), not scaled. */
  transform(x: readonly Complex[], sign: 1 | -1): Complex[] {
    if (x.every(isZero)) return x.map(() => ZERO);
    switch (x.length) {
      case 1:
        return [x[0]];
      case 2:
        return [this.#add(x[0], x[1]), this.#subtract(x[0], x[1])];
      case 3:
      case 5:
      case 7:
        return this.#prime(x, sign);
      case 4:
        return this.#four(x, sign);
      case 8:
        return this.#eight(x, sign);
      default:
        return this.#composite(x, sign);
    }
  }

  #four(x: readonly Complex[], sign: 1 | -1): Complex[] {
    const a = this.#add(x[0], x[2]), b = this.#subtract(x[0], x[2]);
    const c = this.#add(x[1], x[3]), d = this.#timesI(this.#subtract(x[1], x[3]), sign);
    return [this.#add(a, c), this.#add(b, d), this.#subtract(a, c), this.#subtract(b, d)];
  }

  #eight(x: readonly Complex[], sign: 1 | -1): Complex[] {
    const even = this.#four([x[0], x[2], x[4], x[6]], sign), odd = this.#four([x[1], x[3], x[5], x[7]], sign);
    const turned = odd.map((z, k) => this.#turn(z, k, 8, sign));
    return [
      ...even.map((z, k) => this.#add(z, turned[k])),
      ...even.map((z, k) => this.#subtract(z, turned[k])),
    ];
  }

  /** Pairs x[j] +- x[n - j] share their products. */
  #prime(x: readonly Complex[], sign: 1 | -1): Complex[] {
    const n = x.length, half = (n - 1) / 2;
    const plus: Complex[] = [], minus: Complex[] = [];
    for (let j = 1; j <= half; j++) {
      plus.push(this.#add(x[j], x[n - j]));
      minus.push(this.#subtract(x[j], x[n - j]));
    }
    const out: Complex[] = new Array(n);
    out[0] = plus.reduce((sum, z) => this.#add(sum, z), x[0]);
    for (let k = 1; k <= half; k++) {
      let a: Complex = x[0], b: Complex = ZERO;
      for (let j = 1; j <= half; j++) {
        const angle = 2 * Math.PI * j * k / n, p = plus[j - 1], m = minus[j - 1];
        a = [this.#fma(p[0], Math.cos(angle), a[0]), this.#fma(p[1], Math.cos(angle), a[1])];
        b = [this.#fma(m[0], sign * Math.sin(angle), b[0]), this.#fma(m[1], sign * Math.sin(angle), b[1])];
      }
      const ib = this.#timesI(b, 1);
      out[k] = this.#add(a, ib);
      out[n - k] = this.#subtract(a, ib);
    }
    return out;
  }

  #composite(x: readonly Complex[], sign: 1 | -1): Complex[] {
    const n = x.length, n1 = RADIX[n];
    if (!n1) throw new RangeError(`Cannot write a DFT of size ${n}: its factors must be 2, 3, 5 or 7`);
    const n2 = n / n1;
    const columns = Array.from({ length: n2 }, (_, j) => {
      const column = Array.from({ length: n1 }, (_, i) => x[n2 * i + j]);
      return this.transform(column, sign).map((z, k) => this.#turn(z, j * k, n, sign));
    });
    const out: Complex[] = new Array(n);
    for (let k = 0; k < n1; k++) {
      this.transform(columns.map((column) => column[k]), sign).forEach((z, j) => out[k + n1 * j] = z);
    }
    return out;
  }

  /** z exp(sign 2 pi i k / n), with the constants folded into the instructions. */
  #turn(z: Complex, turns: number, n: number, sign: number): Complex {
    const k = ((turns % n) + n) % n;
    if (k === 0 || isZero(z)) return z;
    if (2 * k === n) return [this.#negate(z[0]), this.#negate(z[1])];
    if (4 * k === n) return this.#timesI(z, sign);
    if (4 * k === 3 * n) return this.#timesI(z, -sign);
    const c = Math.cos(2 * Math.PI * k / n), s = sign * Math.sin(2 * Math.PI * k / n);
    if ((8 * k) % n === 0) { // odd multiples of 45 degrees: two sums, two products
      const same = Math.sign(c) === Math.sign(s), q = Math.sign(c) * Math.SQRT1_2;
      const re = same ? this.#minus(z[0], z[1]) : this.#plus(z[0], z[1]);
      const im = same ? this.#plus(z[0], z[1]) : this.#minus(z[1], z[0]);
      return [this.#times(re, q), this.#times(im, q)];
    }
    return [this.#fma(z[0], c, this.#times(z[1], -s)), this.#fma(z[0], s, this.#times(z[1], c))];
  }

  #add(a: Complex, b: Complex): Complex {
    return [this.#plus(a[0], b[0]), this.#plus(a[1], b[1])];
  }
  #subtract(a: Complex, b: Complex): Complex {
    return [this.#minus(a[0], b[0]), this.#minus(a[1], b[1])];
  }
  #timesI(z: Complex, sign: number): Complex {
    return sign > 0 ? [this.#negate(z[1]), z[0]] : [z[1], this.#negate(z[0])];
  }

  // Scalars. A leading "-" is carried along instead of being computed.
  #negate(a: string): string {
    return a === "0" ? "0" : a.startsWith("-") ? a.slice(1) : `-${a}`;
  }
  #plus(a: string, b: string): string {
    if (a === "0") return b;
    if (b === "0") return a;
    if (b.startsWith("-")) return this.#minus(a, b.slice(1));
    if (a.startsWith("-")) return this.#minus(b, a.slice(1));
    return this.let(`${a} + ${b}`);
  }
  #minus(a: string, b: string): string {
    if (b === "0") return a;
    if (b.startsWith("-")) return this.#plus(a, b.slice(1));
    if (a === "0") return this.#negate(b);
    return this.let(`${a} - ${b}`);
  }
  #literal(c: number): string {
    return c < 0 ? `(${c.toPrecision(9)}f)` : `${c.toPrecision(9)}f`;
  }
  #times(a: string, c: number): string {
    if (a === "0" || c === 0) return "0";
    if (c === 1) return a;
    if (c === -1) return this.#negate(a);
    return a.startsWith("-")
      ? this.let(`${a.slice(1)} * ${this.#literal(-c)}`)
      : this.let(`${a} * ${this.#literal(c)}`);
  }
  /** a c + b */
  #fma(a: string, c: number, b: string): string {
    if (a === "0" || c === 0) return b;
    if (b === "0") return this.#times(a, c);
    return a.startsWith("-")
      ? this.let(`fma(${a.slice(1)}, ${this.#literal(-c)}, ${b})`)
      : this.let(`fma(${a}, ${this.#literal(c)}, ${b})`);
  }
}
