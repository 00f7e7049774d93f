/**
 * sum: partial[first + workgroup] = sum of a run of RUN elements; applied to its own output until one is left.
 * Each invocation adds RUN / SIZE elements, four at a time, a tree adds the invocations: rounding errors grow with the
 * logarithm. (One at a time: 20.8 ms instead of 16.1 for 4 million elements on llvmpipe, 21.1 instead of 17.1 in float16.)
 * Bindings: x, partial, parameters { count, first }.
 *
 * expand: dx[i] = dy[0]. Bindings: dy, dx, parameters { count }. An elementwise kernel.
 *
 * x and dx may be float16, the sums are float32.
 */
import { elementwise, four, LANES } from "./elementwise.ts";
import { bindings, type Kernel, main, parameters, type Storage, treeSum, unroll } from "./kernel.ts";

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
    code: `${bindings(["x", `array<${four(storage)}>`, "read"], ["partial", "array<f32>", "read_write"])}
${parameters(2, { count: "u32", first: "u32" })}
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let run = g.y * groups.x + g.x;
let base = run * ${SUM_RUN / LANES}u + t;
var s = vec4f();
if (run * ${SUM_RUN}u + ${SUM_RUN}u <= parameters.count) {
${unroll(EACH / LANES, (i) => `s += vec4f(x[base + ${i * SIZE}u]);`)}
} else {
for (var i = base; ${LANES}u * i < parameters.count; i += ${SIZE}u) {
s += select(vec4f(), vec4f(x[i]), vec4u(${LANES}u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(parameters.count));
}
}
sums[t] = (s.x + s.y) + (s.z + s.w);
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
