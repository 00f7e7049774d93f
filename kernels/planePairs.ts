/**
 * Image pairs in and out of a plane FFT: two images of one channel form the complex plane x[2q] + i x[2q + 1]. The kernel
 * is real, so the convolution of the plane is the two convolutions.
 *
 * A pair is read into registers (`slots`) well before it is used, in straight-line code with clamped addresses: a load
 * whose value meets another at the end of an `if` is waited for there. The second image of an odd last pair is a copy of
 * the first; it is masked or not stored where it matters.
 *
 * The two share a transform, so its rounding errors too: next to an image 10^4 times larger the relative error of the smaller
 * one is about 10^-3 rather than 10^-7.
 *
 * An Inf or NaN would spread over the whole pair. So values that are not finite count as 0, their image is flagged, and
 * whoever stores the image's results stores NaN: it stays within its own image.
 */
import type { Complex } from "./dft.ts";
import type { PlaneFft } from "./planeFft.ts";
import type { PairPasses } from "./planeTilePairs.ts";
import { load, range, type Storage, store, unroll } from "./kernel.ts";

/** WGSL that the functions below rely on. */
export const PAIR_HELPERS =
  `fn isFinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
fn nanWhere(flag: f32) -> f32 { return bitcast<f32>(select(0u, 0x7fc00000u, flag != 0.0)); }`;

/** A tensor [N, C, height, width] whose planes are transformed. */
export class PlanePairs implements PairPasses {
  readonly #fft: PlaneFft;
  readonly #height: number;
  readonly #width: number;
  readonly #storage: Storage;

  constructor(fft: PlaneFft, height: number, width: number, storage: Storage = "f32") {
    this.#fft = fft;
    this.#height = height;
    this.#width = width;
    this.#storage = storage;
  }

  get width(): number {
    return this.#width;
  }
  /** Rows that one invocation holds of its column. */
  get slots(): number {
    return Math.ceil(this.#height / this.#fft.plan.a);
  }

  /** Loads pair `pair` of `buffer` into the slots p and q. Row a i + n2 of column m lies i a width + t from the plane. */
  load(buffer: string, pair: string): string {
    const a = this.#fft.plan.a, H = this.#height, W = this.#width;
    const line = (slot: string, base: string): string =>
      unroll(this.slots, (i) => {
        const inside = a * (i + 1) <= H ? "" : ` - select(0u, ${a * W}u, t >= ${(H - a * i) * W}u)`;
        return `${slot}${i} = ${load(this.#storage, buffer, `${base} + ${i * a * W}u${inside}`)};`;
      }, " ");
    return `{ let base = (2u * (${pair}) * parameters.channels + c) * ${H * W}u + min(t, ${W * a - 1}u);
let next = base + select(0u, parameters.channels * ${H * W}u, 2u * (${pair}) + 1u < parameters.count);
${line("p", "base")}
${line("q", "next")} }`;
  }

  /** Phase 1 of the loaded pair. `live`: factor of the second image. */
  columns(_item: string, live?: string): string {
    const fft = this.#fft, a = fft.plan.a, H = this.#height, W = this.#width;
    const checks = (slot: string, image: number): string =>
      `if (!(${range(this.slots).map((i) => `isFinite(${slot}${i})`).join(" && ")})) {
${fft.raiseFlag(image)}
${unroll(this.slots, (i) => `${slot}${i} = select(0.0, ${slot}${i}, isFinite(${slot}${i}));`, " ")} }`;
    const values = range(this.slots).map((i): Complex => {
      const im = live ? fft.dft.let(`q${i} * ${live}`) : `q${i}`;
      if (a * (i + 1) <= H) return [`p${i}`, im];
      const ok = `t < ${(H - a * i) * W}u`; // rows below the plane
      return [fft.dft.let(`select(0.0, p${i}, ${ok})`), fft.dft.let(`select(0.0, ${im}, ${ok})`)];
    });
    return fft.columns(W, values, `${checks("p", 0)}\n${checks("q", 1)}`);
  }

  /** The last phase: stores the results of pair `pair`; `add` is added to every one, NaN where flag `flags`0 or 1 is up. */
  store(buffer: string, pair: string, flags: string, add: string): string {
    const fft = this.#fft, a = fft.plan.a, H = this.#height, W = this.#width;
    return fft.columnsBack(W, (values) => {
      const line = (part: 0 | 1, base: string): string =>
        unroll(this.slots, (i) => {
          const at = `${base} + ${i * a * W}u`;
          const statement = store(this.#storage, buffer, at, `${values[i][part]} + plus${part}`);
          return a * (i + 1) <= H ? statement : `if (t < ${(H - a * i) * W}u) { ${statement} }`;
        }, " ");
      return `let base = (2u * (${pair}) * parameters.channels + c) * ${H * W}u + t;
let plus0 = ${add} + nanWhere(${flags}0);
${line(0, "base")}
if (2u * (${pair}) + 1u < parameters.count) {
let next = base + parameters.channels * ${H * W}u; let plus1 = ${add} + nanWhere(${flags}1);
${line(1, "next")} }`;
    });
  }
}

/** Registers for the larger of the tensors that take turns in the slots. */
export function declareSlots(...pairs: readonly PairPasses[]): string {
  return unroll(
    Math.max(...pairs.map((pair) => pair.slots)),
    (i) => `var p${i} = 0.0; var q${i} = 0.0;`,
    " ",
  );
}
