/**
 * sum: partial[first + workgroup] = sum of a run of RUN elements; applied to its own output until one is left.
 * Each invocation adds RUN / SIZE elements, a tree adds the invocations: rounding errors grow with the logarithm.
 * Bindings: x, partial, parameters { count, first }.
 *
 * expand: dx[i] = dy[0]. Bindings: dy, dx, parameters { count }.
 */
import { bindings, flatId, type Kernel, main, parameters, treeSum, unroll } from "./kernel.ts";

const SIZE = 256;
const EACH = 32;
/** Elements that one workgroup adds. */
export const SUM_RUN = SIZE * EACH;

/** One level of the sum. */
export function sum(): Kernel {
  return {
    label: "sum",
    workgroupSize: SIZE,
    workgroupBytes: 4 * SIZE,
    code: `${bindings(["x", "array<f32>", "read"], ["partial", "array<f32>", "read_write"])}
${parameters(2, { count: "u32", first: "u32" })}
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let run = g.y * groups.x + g.x;
let base = run * ${SUM_RUN}u + t;
var s = 0.0;
if (run * ${SUM_RUN}u + ${SUM_RUN}u <= parameters.count) {
${unroll(EACH, (i) => `s += x[base + ${i * SIZE}u];`)}
} else {
for (var i = base; i < parameters.count; i += ${SIZE}u) { s += x[i]; }
}
sums[t] = s;
${treeSum("sums", SIZE)}
if (t == 0u && run * ${SUM_RUN}u < parameters.count) { partial[parameters.first + run] = sums[0]; }
}`,
  };
}

/** The backward of sum. */
export function expand(): Kernel {
  return {
    label: "expand",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["dy", "array<f32>", "read"], ["dx", "array<f32>", "read_write"])}
${parameters(2, { count: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id < parameters.count) { dx[id] = dy[0]; }
}`,
  };
}
