/** The factors of one kernel element along one axis, where it reaches: what tfjs's constructKernel loops over. */
import type { Version } from "../spec.ts";

/**
 * Beyond so many spreads a Gaussian counts as 0: it is below exp(-50) = 2e-22 there, which is nothing beside the
 * EPSILON of 1e-7 that is in its divisor.
 */
const GAUSSIAN_REACH = 10;

/** Of one axis: one element's factors and their derivatives after the other, in float64 as in the reference. */
export class AxisFactors {
  readonly extent: number;
  /** Per cell; only the cells from `from` to before `to` are this element's. */
  readonly value: Float64Array;
  readonly byPosition: Float64Array;
  readonly bySpread: Float64Array;
  from = 0;
  to = 0;
  /** Of the three tables. */
  valueSum = 0;
  positionSum = 0;
  spreadSum = 0;
  readonly #version: Version;
  readonly #centre: number;

  constructor(version: Version, extent: number) {
    this.extent = extent;
    this.value = new Float64Array(extent);
    this.byPosition = new Float64Array(extent);
    this.bySpread = new Float64Array(extent);
    this.#version = version;
    this.#centre = Math.floor(extent / 2);
  }

  /** Makes this the axis of a plane that a kernel of fewer axes does not have: one cell, of factor 1. */
  absent(): this {
    this.value[0] = 1;
    this.to = 1;
    this.valueSum = 1;
    return this;
  }

  /**
   * Turns to the element at this position.
   * @param spread of `max` and `gauss`, 1 for the others
   * @param whole visits all cells, for numbers that are not finite: 0 * NaN is NaN
   */
  place(position: number, spread: number, whole: boolean): void {
    const { extent } = this;
    const middle = this.#centre + position;
    // A trifle more, so that no rounding of the two sums leaves out a cell whose derivative is 1.
    const reach = (this.#version === "gauss" ? GAUSSIAN_REACH * spread : spread) + 1e-9;
    const from = whole ? 0 : Math.max(0, Math.ceil(middle - reach));
    const to = whole ? extent : Math.min(extent, Math.floor(middle + reach) + 1);
    this.from = from;
    this.to = to;
    if (this.#version === "gauss") this.#gaussian(position, spread, whole);
    else this.#triangle(position, spread, this.#version === "v0");
  }

  /** max(0, s - |d|). At ties `v0` is one-sided: its slope is -1 over (-1, 0] and 1 over (0, 1]. */
  #triangle(position: number, s: number, oneSided: boolean): void {
    const { value, byPosition, bySpread, to } = this;
    let valueSum = 0, positionSum = 0, spreadSum = 0;
    for (let cell = this.from; cell < to; cell++) {
      const d = cell - this.#centre - position;
      const height = Math.max(0, s - Math.abs(d));
      const under = height > 0 ? 1 : 0;
      const slope = oneSided ? (d > 0 && d <= 1 ? 1 : d > -1 && d <= 0 ? -1 : 0) : under * Math.sign(d);
      valueSum += value[cell] = height;
      positionSum += byPosition[cell] = slope;
      spreadSum += bySpread[cell] = under;
    }
    this.#sums(valueSum, positionSum, spreadSum);
  }

  /**
   * exp(-d² / (2 s²)), from which both derivatives follow. Within reach, each cell's is the last one's times
   * exp(-(2 d + 1) / (2 s²)), and that, too, goes on by a factor: three exponentials in all.
   */
  #gaussian(position: number, s: number, whole: boolean): void {
    const { value, byPosition, bySpread, to } = this;
    const inverse = 1 / s;
    const first = (this.from - this.#centre - position) * inverse;
    const bend = whole ? 0 : Math.exp(-inverse * inverse);
    let height = whole ? 0 : Math.exp(-0.5 * first * first);
    let step = whole ? 0 : Math.exp(-inverse * (first + 0.5 * inverse));
    let valueSum = 0, positionSum = 0, spreadSum = 0;
    for (let cell = this.from; cell < to; cell++) {
      const ratio = (cell - this.#centre - position) * inverse;
      if (whole) height = Math.exp(-0.5 * ratio * ratio);
      const slope = height * ratio * inverse;
      valueSum += value[cell] = height;
      positionSum += byPosition[cell] = slope;
      spreadSum += bySpread[cell] = slope * ratio;
      height *= step;
      step *= bend;
    }
    this.#sums(valueSum, positionSum, spreadSum);
  }

  #sums(value: number, position: number, spread: number): void {
    this.valueSum = value;
    this.positionSum = position;
    this.spreadSum = spread;
  }
}
