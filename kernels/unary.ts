/**
 * unary: y = f(x), and its backward dx = f'(x) dy. Elementwise kernels.
 * Bindings: x, y, parameters { count, scale, offset }; backward: x, dy, dx, parameters.
 */
import type { UnaryKind } from "../src/ops/unary.ts";
import { elementwise, type ElementwiseInput } from "./elementwise.ts";
import { normalCdf } from "./gelu.ts";
import { IS_NAN, type Kernel, type Storage } from "./kernel.ts";

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
  const functions = value.includes("isNaN") ? IS_NAN : value.includes("normalCdf") ? normalCdf() : "";
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
