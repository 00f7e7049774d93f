/**
 * unary: y = f(x), and its backward dx = f'(x) dy. One invocation an element.
 * Bindings: x, y, parameters { count, scale, offset }; backward: x, dy, dx, parameters.
 */
import type { UnaryKind } from "../src/ops/unary.ts";
import { bindings, flatId, float, IS_NAN, type Kernel, main, parameters } from "./kernel.ts";

const SIZE = 256;

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
  affine: "fma(parameters.scale, v, parameters.offset)",
  relu: "select(max(v, 0.0), v, isNaN(v))",
  gelu: "v * normalCdf(v)",
  square: "v * v",
  abs: "abs(v)",
};

const DERIVATIVE: Record<UnaryKind, string> = {
  affine: "parameters.scale",
  relu: "select(0.0, 1.0, v > 0.0)",
  gelu: "normalCdf(v) + v * 0.3989422804 * exp(-0.5 * v * v)",
  square: "2.0 * v",
  abs: "sign(v)",
};

const HELPERS: Partial<Record<UnaryKind, string>> = { relu: IS_NAN, gelu: NORMAL_CDF };

function head(kind: UnaryKind, buffers: number, body: string): string {
  const helper = body.includes("isNaN") || body.includes("normalCdf") ? HELPERS[kind] ?? "" : "";
  return `${parameters(buffers, { count: "u32", scale: "f32", offset: "f32" })}\n${helper}\n${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }
let v = x[id];`;
}

/** y = f(x). */
export function unary(kind: UnaryKind): Kernel {
  return {
    label: `unary ${kind}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["x", "array<f32>", "read"], ["y", "array<f32>", "read_write"])}
${head(kind, 2, FORWARD[kind])}
y[id] = ${FORWARD[kind]};
}`,
  };
}

/** dx = f'(x) dy. */
export function unaryBackward(kind: UnaryKind): Kernel {
  return {
    label: `unaryBackward ${kind}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(["x", "array<f32>", "read"], ["dy", "array<f32>", "read"], ["dx", "array<f32>", "read_write"])
    }
${head(kind, 3, DERIVATIVE[kind])}
dx[id] = dy[id] * (${DERIVATIVE[kind]});
}`,
  };
}
