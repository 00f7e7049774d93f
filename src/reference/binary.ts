/** binary in float64. */
import type { BinaryKind } from "../ops/binary.ts";
import { sizeOf } from "../spec.ts";
import { asked, elements, type ReferenceOp } from "./operand.ts";

/** Each operation beside its derivatives by a and by b. */
const OPERATIONS: Readonly<
  Record<BinaryKind, {
    value(a: number, b: number): number;
    byA(a: number, b: number): number;
    byB(a: number, b: number): number;
  }>
> = {
  add: { value: (a, b) => a + b, byA: () => 1, byB: () => 1 },
  sub: { value: (a, b) => a - b, byA: () => 1, byB: () => -1 },
  mul: { value: (a, b) => a * b, byA: (_, b) => b, byB: (a) => a },
  div: { value: (a, b) => a / b, byA: (_, b) => 1 / b, byB: (a, b) => -a / (b * b) },
};

/** a, b → a op b. */
export const binary: ReferenceOp<"binary"> = {
  forward(inputs, { kind }, outputShape) {
    const [a, b] = [elements(inputs, 0), elements(inputs, 1)];
    const { value } = OPERATIONS[kind];
    const y = new Float64Array(sizeOf(outputShape));
    for (let i = 0; i < y.length; i++) y[i] = value(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i]);
    return { data: y };
  },

  /** dL/da = G da(a, b) and dL/db = G db(a, b); a single element meets all of them and receives their sum. */
  backward(gradient, inputs, { kind }, needs) {
    const [a, b, G] = [elements(inputs, 0), elements(inputs, 1), gradient.handle.data];
    const { byA, byB } = OPERATIONS[kind];
    const gradA = new Float64Array(a.length);
    const gradB = new Float64Array(b.length);
    for (let i = 0; i < G.length; i++) {
      const ia = a.length === 1 ? 0 : i;
      const ib = b.length === 1 ? 0 : i;
      gradA[ia] += G[i] * byA(a[ia], b[ib]);
      gradB[ib] += G[i] * byB(a[ia], b[ib]);
    }
    return asked(needs, [gradA, gradB]);
  },
};
