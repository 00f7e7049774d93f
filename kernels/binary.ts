/**
 * binary: y = a op b elementwise, where a or b may be a single element; backward: da and db elementwise (the sum over
 * a single element's uses is the `sum` kernel's work). Elementwise kernels.
 * Bindings: a, b, y, parameters { count }; backward: dy, those of a and b that the derivative reads, out, parameters.
 */
import type { BinaryKind } from "../src/ops/binary.ts";
import { elementwise, type ElementwiseInput } from "./elementwise.ts";
import type { Kernel, Storage } from "./kernel.ts";

const FORWARD: Record<BinaryKind, string> = { add: "a + b", sub: "a - b", mul: "a * b", div: "a / b" };
const DERIVATIVE: Record<BinaryKind, { a: string; b: string }> = {
  add: { a: "dy", b: "dy" },
  sub: { a: "dy", b: "-dy" },
  mul: { a: "dy * b", b: "dy * a" },
  div: { a: "dy / b", b: "-dy * a / (b * b)" },
};

/** Which of the two is a single element. */
export type Single = "none" | "a" | "b";

const input = (name: "a" | "b", single: Single, storage: Storage): ElementwiseInput => ({
  name,
  storage,
  single: single === name,
});

/** y = a op b. */
export function binary(kind: BinaryKind, single: Single, storage: Storage = "f32"): Kernel {
  return elementwise({
    label: `binary ${kind}`,
    inputs: [input("a", single, storage), input("b", single, storage)],
    output: { name: "y", storage },
    value: FORWARD[kind],
  });
}

/**
 * da or db, elementwise. Binds only what the derivative reads: unused bindings are dropped from the layout.
 * @param to how the result is kept: float32 where it will be summed
 */
export function binaryBackward(
  kind: BinaryKind,
  single: Single,
  of: "a" | "b",
  storage: Storage = "f32",
  to: Storage = storage,
): Kernel {
  const reads = binaryBackwardReads(kind, of).map((name) => input(name, single, storage));
  return elementwise({
    label: `binaryBackward ${kind} ${of}`,
    inputs: [{ name: "dy", storage }, ...reads],
    output: { name: "out", storage: to },
    value: DERIVATIVE[kind][of],
  });
}

/** Which of a and b the derivative with respect to `of` reads. */
export function binaryBackwardReads(kind: BinaryKind, of: "a" | "b"): ("a" | "b")[] {
  return (["a", "b"] as const).filter((name) => new RegExp(`\\b${name}\\b`).test(DERIVATIVE[kind][of]));
}
