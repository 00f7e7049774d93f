/**
 * clamp: P[a, i] = min(max(P[a, i], low[a]), high[a]) in place; NaN stays NaN.
 * Bindings: P [axes, size], parameters { first, size, low0, high0, low1, high1, ... }: the binding's first element is
 * number `first` of P. One invocation an element; the number of axes is a constant of the code.
 */
import { bindings, flatId, IS_NAN, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const SIZE = 64;

/** All axes in one dispatch. */
export function clamp(axes: number): Kernel {
  const fields: Record<string, "u32" | "f32"> = { first: "u32", size: "u32" };
  for (const a of range(axes)) Object.assign(fields, { [`low${a}`]: "f32", [`high${a}`]: "f32" });
  return {
    label: `clamp ${axes}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["P", "array<f32>", "read_write"])}
${parameters(1, fields)}
${IS_NAN}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= arrayLength(&P)) { return; }
let axis = (id + parameters.first) / parameters.size;
var low = parameters.low0;
var high = parameters.high0;
${
      unroll(axes - 1, (a) =>
        `if (axis == ${a + 1}u) { low = parameters.low${a + 1}; high = parameters.high${a + 1}; }`)
    }
let v = P[id];
P[id] = select(min(max(v, low), high), v, isNaN(v));
}`,
  };
}
