/**
 * gelu(x) = x Phi(x) and its slope Phi(x) + x phi(x), as functions of an f32 or of a vec4f, for kernels that apply them on the way.
 *
 * Phi(x) = (1 + erf(x / sqrt 2)) / 2, with erfc by Abramowitz & Stegun 7.1.28 (absolute error of erf <= 3e-7):
 * a polynomial to the 16th power, no exponential.
 */
import { float } from "./kernel.ts";

const ERFC = [0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638];

const typeOf = (width: 1 | 4): string => width === 1 ? "f32" : "vec4f";

/** `normalCdf(x)`, Phi. */
export function normalCdf(width: 1 | 4 = 1): string {
  const type = typeOf(width), constant = (x: number): string => `${type}(${float(x)})`;
  const scaled = ERFC.map((c, i) => constant(c / 2 ** ((i + 1) / 2)));
  const poly = scaled.reduceRight((sum, c) => sum === "" ? c : `fma(u, ${sum}, ${c})`, "");
  return `fn normalCdf(x: ${type}) -> ${type} {
  let u = min(abs(x), ${constant(20)});
  var p = fma(u, ${poly}, ${constant(1)});
  p *= p; p *= p; p *= p; p *= p;
  let tail = 0.5 / p;
  return select(tail, 1.0 - tail, x >= ${constant(0)});
}`;
}

/** `normalCdf` and `gelu(x)`. */
export function gelu(width: 1 | 4): string {
  const type = typeOf(width);
  return `${normalCdf(width)}\nfn gelu(x: ${type}) -> ${type} { return x * normalCdf(x); }`;
}

/** phi(x), where `normalSlope(x, Phi(x))` is the slope of gelu. */
export function normalSlope(width: 1 | 4): string {
  const type = typeOf(width);
  return `fn normalSlope(x: ${type}, cdf: ${type}) -> ${type} { return cdf + x * 0.3989422804 * exp(-0.5 * x * x); }`;
}
