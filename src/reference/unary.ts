/** unary in float64. */
import type { UnaryAttributes, UnaryKind } from "../ops/unary.ts";
import { normalDensity, normalDistribution } from "./erf.ts";
import { asked, elements, type ReferenceOp } from "./operand.ts";

/**
 * Each function beside its derivative. At the ties relu'(0) = abs'(0) = 0; gelu(x) = x Φ(x), so gelu' = Φ + x φ.
 * Comparisons are written so that NaN stays NaN.
 */
const FUNCTIONS: Readonly<
  Record<UnaryKind, {
    value(x: number, attributes: UnaryAttributes): number;
    derivative(x: number, attributes: UnaryAttributes): number;
  }>
> = {
  affine: { value: (x, { scale, offset }) => scale * x + offset, derivative: (_, { scale }) => scale },
  relu: { value: (x) => Math.max(0, x), derivative: (x) => x <= 0 ? 0 : 1 },
  gelu: {
    value: (x) => x * normalDistribution(x),
    derivative: (x) => normalDistribution(x) + x * normalDensity(x),
  },
  square: { value: (x) => x * x, derivative: (x) => 2 * x },
  abs: { value: Math.abs, derivative: Math.sign },
};

/** x → f(x). */
export const unary: ReferenceOp<"unary"> = {
  forward(inputs, attributes) {
    const { value } = FUNCTIONS[attributes.kind];
    return { data: elements(inputs, 0).map((x) => value(x, attributes)) };
  },

  /** y = f(x) element by element, so dL/dx = G f'(x). */
  backward(gradient, inputs, attributes, needs) {
    const { derivative } = FUNCTIONS[attributes.kind];
    const G = gradient.handle.data;
    return asked(needs, [elements(inputs, 0).map((x, i) => G[i] * derivative(x, attributes))]);
  },
};
