/**
 * channelSum: out[c] = sum over n, p of a[n, c, p], times b[n, c, p] where b is given; in two stages.
 *
 * Stage 1, `sumSamples`: partial[chunk, i] = sum over the samples n of a chunk of a[n, i], i = (c, p).
 *   Bindings: a [N, C * P], (b,) partial [chunks, C * P], parameters { size: C * P, samples: N, run }.
 *   One invocation an i and chunk (the workgroup's z): neighbours read neighbours, and no index is divided.
 * Stage 2, `sumPlanes`: out[first + c] = scale * sum over n, p of a[n, c, p], one workgroup a channel.
 *   Bindings: a [N, C, P], (b,) out, parameters { samples: N, channels: C, pixels: P, shift, first, scale }.
 *   2^shift invocations share a plane, the others take other samples: small planes, 1 x 1 too, keep them all busy.
 *
 * A first version had a workgroup with its tree for every 512 elements and divided by P to find them: 4.2 ms against
 * 1.0 ms on [128, 16, 14, 14] (llvmpipe, where each barrier switches coroutines).
 * a and b may be float16 (`storage`), out too (`to`); sums are float32.
 * The order of the additions is fixed: results repeat.
 */
import {
  arrayOf,
  bindings,
  flatId,
  type Kernel,
  load,
  main,
  parameters,
  type Storage,
  store,
  treeSum,
  unroll,
} from "./kernel.ts";

const SAMPLES_SIZE = 64;
const PLANES_SIZE = 128;
const EACH = 8;

type Binding = [name: string, type: string, access: "read" | "read_write"];

const inputs = (product: boolean, storage: Storage): Binding[] =>
  (product ? ["a", "b"] : ["a"]).map((name) => [name, arrayOf(storage), "read"]);
const add = (product: boolean, storage: Storage, i: string): string =>
  product
    ? `{ let i = ${i}; s += ${load(storage, "a", "i")} * ${load(storage, "b", "i")}; }`
    : `s += ${load(storage, "a", i)};`;

/** Stage 1. */
export function sumSamples(product: boolean, storage: Storage = "f32"): Kernel {
  const list = [...inputs(product, storage), ["partial", "array<f32>", "read_write"]] as Binding[];
  return {
    label: "channelSum samples",
    workgroupSize: SAMPLES_SIZE,
    workgroupBytes: 0,
    code: `${bindings(...list)}
${parameters(list.length, { size: "u32", samples: "u32", run: "u32" })}
${main(SAMPLES_SIZE)} {
${flatId(SAMPLES_SIZE)}
let size = parameters.size;
if (id >= size) { return; }
let end = min((g.z + 1u) * parameters.run, parameters.samples) * size + id;
var s = 0.0;
var at = g.z * parameters.run * size + id;
for (; at + ${EACH - 1}u * size < end; at += ${EACH}u * size) {
${unroll(EACH, (n) => add(product, storage, `at + ${n}u * size`))}
}
for (; at < end; at += size) { ${add(product, storage, "at")} }
partial[g.z * size + id] = s;
}`,
  };
}

/** Stage 2. */
export function sumPlanes(product: boolean, storage: Storage = "f32", to: Storage = "f32"): Kernel {
  const list = [...inputs(product, storage), ["out", arrayOf(to), "read_write"]] as Binding[];
  const fields = {
    samples: "u32",
    channels: "u32",
    pixels: "u32",
    shift: "u32",
    first: "u32",
    scale: "f32",
  } as const;
  return {
    label: "channelSum planes",
    workgroupSize: PLANES_SIZE,
    workgroupBytes: 4 * PLANES_SIZE,
    code: `${bindings(...list)}
${parameters(list.length, fields)}
var<workgroup> sums: array<f32, ${PLANES_SIZE}>;
${main(PLANES_SIZE)} {
let c = g.y * groups.x + g.x;
let width = 1u << parameters.shift;
var s = 0.0;
if (c < parameters.channels) {
for (var n = t >> parameters.shift; n < parameters.samples; n += ${PLANES_SIZE}u >> parameters.shift) {
let plane = (n * parameters.channels + c) * parameters.pixels;
for (var p = t & (width - 1u); p < parameters.pixels; p += width) { ${add(product, storage, "plane + p")} }
}
}
sums[t] = s;
${treeSum("sums", PLANES_SIZE)}
if (t == 0u && c < parameters.channels) { ${
      store(to, "out", "parameters.first + c", "sums[0] * parameters.scale")
    } }
}`,
  };
}
