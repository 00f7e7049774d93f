/**
 * channelSum: out[c] = sum over n, p of a[n, c, p], times b[n, c, p] where b is given; in two stages.
 *
 * Stage 1, `channelSum`: a workgroup adds `run` of the items * P elements of one channel into partial[c, first + chunk].
 *   Bindings: a [items, C, P], (b,) partial [C, chunksInAll], parameters { items, channels, run, chunks, first,
 *   chunksInAll }. P is a constant of the code: it divides.
 * Stage 2, `channelSumChunks`: a workgroup adds the chunks of one channel. Bindings: partial, out [C], parameters.
 *
 * Chunks cut the pixels of all samples taken together, so that planes of any size, 1 x 1 too, fill the workgroups.
 * Every invocation adds its own elements and a tree adds the invocations: the order is fixed, results repeat.
 */
import { bindings, type Kernel, main, parameters, treeSum, unroll } from "./kernel.ts";

const SIZE = 64;
const EACH = 8;
/** Elements that a workgroup adds without a loop around them. */
export const CHANNEL_SUM_BLOCK = SIZE * EACH;

/** Stage 1. */
export function channelSum(P: number, product: boolean): Kernel {
  const buffers = product ? ["a", "b"] : ["a"];
  const add = (element: string): string =>
    `{ let e = ${element}; let i = (e / ${P}u * parameters.channels + c) * ${P}u + e % ${P}u; ` +
    `s += ${buffers.map((name) => `${name}[i]`).join(" * ")}; }`;
  return {
    label: product ? "channelSum product" : "channelSum",
    workgroupSize: SIZE,
    workgroupBytes: 4 * SIZE,
    code: `${
      bindings(
        ...buffers.map((name) => [name, "array<f32>", "read"] as [string, string, "read"]),
        ["partial", "array<f32>", "read_write"],
      )
    }
${
      parameters(buffers.length + 1, {
        items: "u32",
        channels: "u32",
        run: "u32",
        chunks: "u32",
        first: "u32",
        chunksInAll: "u32",
      })
    }
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let id = g.y * groups.x + g.x;
let c = id / parameters.chunks;
let chunk = id % parameters.chunks;
let end = min((chunk + 1u) * parameters.run, parameters.items * ${P}u);
var at = chunk * parameters.run + t;
var s = 0.0;
if (c < parameters.channels) {
for (; at - t + ${CHANNEL_SUM_BLOCK}u <= end; at += ${CHANNEL_SUM_BLOCK}u) {
${unroll(EACH, (i) => add(`at + ${i * SIZE}u`))}
}
for (; at < end; at += ${SIZE}u) {
${add("at")}
}
}
sums[t] = s;
${treeSum("sums", SIZE)}
if (t == 0u && c < parameters.channels) {
partial[c * parameters.chunksInAll + parameters.first + chunk] = sums[0];
}
}`,
  };
}

/** Stage 2. */
export function channelSumChunks(): Kernel {
  return {
    label: "channelSumChunks",
    workgroupSize: SIZE,
    workgroupBytes: 4 * SIZE,
    code: `${bindings(["partial", "array<f32>", "read"], ["out", "array<f32>", "read_write"])}
${parameters(2, { channels: "u32", chunks: "u32" })}
var<workgroup> sums: array<f32, ${SIZE}>;
${main(SIZE)} {
let c = g.y * groups.x + g.x;
var s = 0.0;
if (c < parameters.channels) {
for (var i = t; i < parameters.chunks; i += ${SIZE}u) { s += partial[c * parameters.chunks + i]; }
}
sums[t] = s;
${treeSum("sums", SIZE)}
if (t == 0u && c < parameters.channels) { out[c] = sums[0]; }
}`,
  };
}
