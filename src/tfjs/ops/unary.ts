/** unary on tfjs. */
import * as tf from "@tensorflow/tfjs";
import type { UnaryAttributes, UnaryKind } from "../../ops/unary.ts";
import { inPlaceOf } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** A function, and dy times its derivative. */
interface Pointwise {
  value(x: tf.Tensor, attributes: UnaryAttributes): tf.Tensor;
  gradient(dy: tf.Tensor, x: tf.Tensor, attributes: UnaryAttributes): tf.Tensor;
}

/** tf.sign(0) = tf.step(0) = 0, as it should be; tf.grads has abs'(0) = -1 and takes 30 % longer for gelu. */
const functions: Readonly<Record<UnaryKind, Pointwise>> = {
  affine: {
    value: (x, { scale, offset }) => tf.add(tf.mul(x, scale), offset),
    gradient: (dy, _, { scale }) => tf.mul(dy, scale),
  },
  relu: { value: (x) => tf.relu(x), gradient: (dy, x) => tf.mul(dy, tf.step(x)) },
  square: { value: (x) => tf.square(x), gradient: (dy, x) => tf.mul(tf.mul(dy, 2), x) },
  abs: { value: (x) => tf.abs(x), gradient: (dy, x) => tf.mul(dy, tf.sign(x)) },
  // d/dx x Φ(x) = Φ(x) + x φ(x), φ(x) = exp(-x²/2) / √(2π).
  gelu: {
    value: (x) => inPlaceOf(normalCdf(x), (phi) => tf.mul(x, phi)),
    gradient: (dy, x) =>
      inPlaceOf(inPlaceOf(density(x), (d) => tf.add(d, normalCdf(x))), (s) => tf.mul(dy, s)),
  },
};

/** gelu(x) and its derivative, which have Φ(x) in common. */
export function geluAndSlope(x: tf.Tensor): [value: tf.Tensor, slope: tf.Tensor] {
  const phi = normalCdf(x);
  const slope = inPlaceOf(density(x), (d) => tf.add(d, phi));
  return [inPlaceOf(phi, (p) => tf.mul(x, p)), slope];
}

/** x φ(x), φ the density of the standard normal. */
function density(x: tf.Tensor): tf.Tensor {
  const exponent = inPlaceOf(tf.square(x), (square) => tf.mul(square, -0.5));
  const phi = inPlaceOf(inPlaceOf(exponent, tf.exp), (e) => tf.mul(e, 1 / Math.sqrt(2 * Math.PI)));
  return inPlaceOf(phi, (d) => tf.mul(x, d));
}

/** Any shape, any layout. */
export const unary: TfjsOp<UnaryAttributes> = {
  images: "any",
  forward: ([x], attributes) => functions[attributes.kind].value(x!, attributes),
  backward: (dy, [x], attributes) => [functions[attributes.kind].gradient(dy, x!, attributes)],
};

/** Coefficients of P in {@linkcode normalCdf}, by powers of x². */
const LOGIT = [
  1.5957684322614794,
  0.07266856688360876,
  -6.625986656034594e-5,
  -1.1048035487098325e-4,
  7.938224237216368e-6,
  -2.6689315282852165e-7,
  3.6112404003220753e-9,
];

/**
 * Φ(x), the distribution function of the standard normal, as sigmoid(x P(x²)): P is the polynomial that fits
 * x Φ(x) within 7e-8 where |x| < 5.5 (weighted least squares until the error was level); beyond, Φ is within 2e-8 of 0
 * or 1. In float32 it is off by 1.5e-7, just as tfjs's erf, which takes twice as long on wasm (13 ms against 6 for
 * 1.6 million elements): its loop has no SIMD.
 */
function normalCdf(x: tf.Tensor): tf.Tensor {
  const square = inPlaceOf(tf.square(x), (u) => tf.clipByValue(u, 0, 5.5 ** 2));
  const [last, ...rest] = LOGIT.toReversed();
  let P: tf.Tensor = tf.mul(square, last);
  rest.forEach((coefficient, i) => {
    P = inPlaceOf(P, (sum) => tf.add(i === 0 ? sum : tf.mul(sum, square), coefficient));
  });
  square.dispose();
  return inPlaceOf(inPlaceOf(P, (p) => tf.mul(x, p)), tf.sigmoid);
}
