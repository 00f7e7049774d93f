/**
 * binary: y = a op b elementwise, where a or b may be a single element; backward: da and db elementwise (the sum over
 * a single element's uses is the `sum` kernel's work). One invocation an element.
 * Bindings: a, b, y, parameters { count }; backward: dy, a, b, out, parameters.
 */
import type { BinaryKind } from "../src/ops/binary.ts";
import { bindings, flatId, type Kernel, main, parameters } from "./kernel.ts";

const SIZE = 256;
const FORWARD: Record<BinaryKind, string> = { add: "a + b", sub: "a - b", mul: "a * b", div: "a / b" };
const DERIVATIVE: Record<BinaryKind, { a: string; b: string }> = {
  add: { a: "dy", b: "dy" },
  sub: { a: "dy", b: "-dy" },
  mul: { a: "dy * b", b: "dy * a" },
  div: { a: "dy / b", b: "-dy * a / (b * b)" },
};

/** Which of the two is a single element. */
export type Single = "none" | "a" | "b";

const load = (name: "a" | "b", single: Single): string =>
  `let ${name} = ${name}_s[${single === name ? "0" : "id"}];`;
const head = (buffers: number): string =>
  `${parameters(buffers, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.count) { return; }`;

/** y = a op b. */
export function binary(kind: BinaryKind, single: Single): Kernel {
  return {
    label: `binary ${kind}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(["a_s", "array<f32>", "read"], ["b_s", "array<f32>", "read"], [
        "y",
        "array<f32>",
        "read_write",
      ])
    }
${head(3)}
${load("a", single)}
${load("b", single)}
y[id] = ${FORWARD[kind]};
}`,
  };
}

/** da or db, elementwise. Binds only what the derivative reads: unused bindings are dropped from the layout. */
export function binaryBackward(kind: BinaryKind, single: Single, of: "a" | "b"): Kernel {
  const derivative = DERIVATIVE[kind][of];
  const reads = binaryBackwardReads(kind, of);
  const list = ["dy", ...reads].map((name) =>
    [`${name}_s`, "array<f32>", "read"] as [string, string, "read"]
  );
  return {
    label: `binaryBackward ${kind} ${of}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(...list, ["out", "array<f32>", "read_write"])}
${head(list.length + 1)}
let dy = dy_s[id];
${reads.map((name) => load(name, single)).join("\n")}
out[id] = ${derivative};
}`,
  };
}

/** Which of a and b the derivative with respect to `of` reads. */
export function binaryBackwardReads(kind: BinaryKind, of: "a" | "b"): ("a" | "b")[] {
  return (["a", "b"] as const).filter((name) => new RegExp(`\\b${name}\\b`).test(DERIVATIVE[kind][of]));
}
