/**
 * sum: partial[first + workgroup] = sum of a run of RUN elements; applied to its own output until one is left.
 * Each invocation adds RUN / SIZE elements, a tree adds the invocations: rounding errors grow with the logarithm.
 * Bindings: x, partial, parameters { count, first }.
 *
 * expand: dx[i] = dy[0]. Bindings: dy, dx, parameters { count }. An elementwise kernel.
 *
 * x and dx may be float16, the sums are float32.
 */
import { elementwise } from "./elementwise.ts";
import {
  arrayOf,
  bindings,
  type Kernel,
  load,
  main,
  parameters,
  type Storage,
  treeSum,
  unroll,
} from "./kernel.ts";

const SIZE = 256;
const EACH = 32;
/** Elements that one workgroup adds. */
export const SUM_RUN = SIZE * EACH;

/** One level of the sum. */
export function sum(storage: Storage = "f32"): Kernel {
  return {
    label: "sum",
    workgroupSize: SIZE,
    workgroupBytes: 4 * SIZE,
    code: `${bindings(["x", arrayOf(storage), "read"], ["partial", "array<f32>", "read_write"])}
${parameters(2, { count: "u32", first: "u32" })}
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let run = g.y * groups.x + g.x;
let base = run * ${SUM_RUN}u + t;
var s = 0.0;
if (run * ${SUM_RUN}u + ${SUM_RUN}u <= parameters.count) {
${unroll(EACH, (i) => `s += ${load(storage, "x", `base + ${i * SIZE}u`)};`)}
} else {
for (var i = base; i < parameters.count; i += ${SIZE}u) { s += ${load(storage, "x", "i")}; }
}
sums[t] = s;
${treeSum("sums", SIZE)}
if (t == 0u && run * ${SUM_RUN}u < parameters.count) { partial[parameters.first + run] = sums[0]; }
}`,
  };
}

/** The backward of sum. */
export function expand(storage: Storage = "f32"): Kernel {
  return elementwise({
    label: "expand",
    inputs: [{ name: "dy", storage: "f32", single: true }],
    output: { name: "dx", storage },
    value: "dy",
  });
}
