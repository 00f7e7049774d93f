/**
 * unary: y = f(x), and its backward dx = f'(x) dy. Elementwise kernels.
 * Bindings: x, y, parameters { count, scale, offset }; backward: x, dy, dx, parameters.
 */
import type { UnaryKind } from "../src/ops/unary.ts";
import { elementwise, type ElementwiseInput } from "./elementwise.ts";
import { float, IS_NAN, type Kernel, type Storage } from "./kernel.ts";

/**
 * Phi(x) = (1 + erf(x / sqrt 2)) / 2, with erfc by Abramowitz & Stegun 7.1.28 (absolute error of erf <= 3e-7):
 * a polynomial to the 16th power, no exponential.
 */
export const NORMAL_CDF = (() => {
  const a = [0.0705230784, 0.0422820123, 0.0092705272, 0.0001520143, 0.0002765672, 0.0000430638];
  const scaled = a.map((c, i) => float(c / 2 ** ((i + 1) / 2)));
  const poly = scaled.reduceRight((sum, c) => sum === "" ? c : `fma(u, ${sum}, ${c})`, "");
  return `fn normalCdf(x: f32) -> f32 {
  let u = min(abs(x), 20.0);
  var p = fma(u, ${poly}, 1.0);
  p *= p; p *= p; p *= p; p *= p;
  let tail = 0.5 / p;
  return select(tail, 1.0 - tail, x >= 0.0);
}`;
})();

const FORWARD: Record<UnaryKind, string> = {
  affine: "fma(parameters.scale, x, parameters.offset)",
  relu: "select(max(x, 0.0), x, isNaN(x))",
  gelu: "x * normalCdf(x)",
  square: "x * x",
  abs: "abs(x)",
};

const DERIVATIVE: Record<UnaryKind, string> = {
  affine: "parameters.scale",
  relu: "select(0.0, 1.0, x > 0.0)",
  gelu: "normalCdf(x) + x * 0.3989422804 * exp(-0.5 * x * x)",
  square: "2.0 * x",
  abs: "sign(x)",
};

const FIELDS = { scale: "f32", offset: "f32" } as const;

function make(
  label: string,
  inputs: readonly ElementwiseInput[],
  to: string,
  storage: Storage,
  value: string,
): Kernel {
  const functions = value.includes("isNaN") ? IS_NAN : value.includes("normalCdf") ? NORMAL_CDF : "";
  return elementwise({ label, inputs, output: { name: to, storage }, value, fields: FIELDS, functions });
}

/** y = f(x). */
export function unary(kind: UnaryKind, storage: Storage = "f32"): Kernel {
  return make(`unary ${kind}`, [{ name: "x", storage }], "y", storage, FORWARD[kind]);
}

/** dx = f'(x) dy. Where f' does not read x, x is not bound: see `unaryBackwardReads`. */
export function unaryBackward(kind: UnaryKind, storage: Storage = "f32"): Kernel {
  const inputs = (unaryBackwardReads(kind) ? ["x", "dy"] : ["dy"]).map((name) => ({ name, storage }));
  return make(`unaryBackward ${kind}`, inputs, "dx", storage, `dy * (${DERIVATIVE[kind]})`);
}

/** Whether the derivative reads x. */
export function unaryBackwardReads(kind: UnaryKind): boolean {
  return kind !== "affine";
}
