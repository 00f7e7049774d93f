/**
 * adamW: m = beta1 m + (1 - beta1) dp,  v = beta2 v + (1 - beta2) dp²,  p = decay p - rate m / (sqrt(v) scale + epsilon),
 * with decay = 1 - learningRate weightDecay, rate = learningRate / (1 - beta1^step), scale = 1 / sqrt(1 - beta2^step):
 * Loshchilov & Hutter, ICLR 2019, the corrections taken out of the elements.
 *
 * Bindings: p, dp, m, v of each of `tensors` parameters, then the table of their rates. One invocation an element; the
 * workgroups of the first parameter come first, then those of the second: `ends` says where. The bindings' length says
 * how many elements there are. A place that is not needed gets no workgroup.
 */
import { bindings, type Kernel, main, range, unroll } from "./kernel.ts";

const SIZE = 64;

/** Storage buffers of one parameter. */
export const ADAMW_BUFFERS = 4;

/** Words of the table: ends (in whole rows of four), then eight rates for each parameter. */
export function adamWTable<W>(ends: readonly number[], rates: readonly (readonly W[])[]): (number | W)[] {
  const padded = [...ends, ...new Array<number>(Math.ceil(ends.length / 4) * 4 - ends.length).fill(0)];
  return [...padded, ...rates.flat()];
}

/** One step of every element of up to `tensors` parameters. */
export function adamW(tensors: number): Kernel {
  const names = range(tensors).flatMap((i): [string, string, "read" | "read_write"][] => [
    [`p${i}`, "array<f32>", "read_write"],
    [`dp${i}`, "array<f32>", "read"],
    [`m${i}`, "array<f32>", "read_write"],
    [`v${i}`, "array<f32>", "read_write"],
  ]);
  const end = (i: number): string => `table.ends[${i >> 2}].${"xyzw"[i & 3]}`;
  const branch = (i: number): string =>
    `if (group < ${end(i)}) {
let id = (group${i > 0 ? ` - ${end(i - 1)}` : ""}) * ${SIZE}u + t;
if (id >= arrayLength(&p${i})) { return; }
let next = step(p${i}[id], dp${i}[id], m${i}[id], v${i}[id], table.rates[${2 * i}], table.rates[${
      2 * i + 1
    }]);
p${i}[id] = next.x;
m${i}[id] = next.y;
v${i}[id] = next.z;
}`;
  return {
    label: "adamW",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(...names)}
struct Table { ends: array<vec4u, ${Math.ceil(tensors / 4)}>, rates: array<vec4f, ${2 * tensors}> }
@group(0) @binding(${names.length}) var<uniform> table: Table;
/* a: beta1, 1 - beta1, beta2, 1 - beta2; b: decay, rate, scale, epsilon. Returns p, m, v. */
fn step(p: f32, gradient: f32, m: f32, v: f32, a: vec4f, b: vec4f) -> vec3f {
let first = fma(a.x, m, a.y * gradient);
let second = fma(a.z, v, a.w * gradient * gradient);
return vec3f(b.x * p - b.y * first / fma(sqrt(second), b.z, b.w), first, second);
}
${main(SIZE)} {
let group = g.y * groups.x + g.x;
${unroll(tensors, branch, " else ")}
}`,
  };
}
