/**
 * scaleResidual: y[n, c, p] = shortcut[n, c, p] + scale[c] x[n, c, p]. C and P are constants of the code: they divide.
 *
 * shortcut, x, y, dy and dx may be float16 (`storage`), what belongs to the scale is float32.
 *
 * `scaleResidual`: shortcut, x, scale [C], y, parameters { count }. An elementwise kernel. (One invocation a pixel and 16
 *   channels, for fewer divisions and shared scales, took 2.0 ms against 1.3 of one invocation an element on
 *   [128, 16, 14, 14]: llvmpipe loads lane by lane, in as many small loops as the code has loads.)
 * `scaleResidualBackward`: dx = scale dy, and partialScale [chunks, C, P], dy x summed over the samples of a chunk.
 *   x, dy, scale, dx, partialScale, parameters { samples, run, chunks, firstBlock }. One invocation a pixel position, a chunk and a
 *   block of channels: it walks the samples, so that x and dy are read once for both. (dshortcut is dy itself.)
 */
import { elementwise } from "./elementwise.ts";
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
  unroll,
} from "./kernel.ts";

const SIZE = 64;

/** Channels of one invocation of the backward: the largest divisor of C up to 4. */
export function scaleResidualBlock(C: number): number {
  let block = Math.min(C, 4);
  while (C % block !== 0) block--;
  return block;
}

/** y. */
export function scaleResidual(C: number, P: number, storage: Storage = "f32"): Kernel {
  return elementwise({
    label: `scaleResidual ${C}x${P}`,
    inputs: [{ name: "shortcut", storage }, { name: "x", storage }],
    more: { name: "scale", element: `scale_s[i / ${P}u % ${C}u]` },
    output: { name: "y", storage },
    value: "fma(scale, x, shortcut)",
  });
}

/** dx and the partial sums of dscale. */
export function scaleResidualBackward(C: number, P: number, storage: Storage = "f32"): Kernel {
  const block = scaleResidualBlock(C);
  return {
    label: `scaleResidualBackward ${C}x${P}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(
        ["x", arrayOf(storage), "read"],
        ["dy", arrayOf(storage), "read"],
        ["scale", "array<f32>", "read"],
        ["dx", arrayOf(storage), "read_write"],
        ["partialScale", "array<f32>", "read_write"],
      )
    }
${parameters(5, { samples: "u32", run: "u32", chunks: "u32", firstBlock: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
let chunk = id / ${P}u;
if (chunk >= parameters.chunks) { return; }
let c = (parameters.firstBlock + g.z) * ${block}u;
let at = c * ${P}u + id % ${P}u;
let end = min((chunk + 1u) * parameters.run, parameters.samples);
${unroll(block, (i) => `let scale${i} = scale[c + ${i}u]; var sum${i} = 0.0;`)}
for (var n = chunk * parameters.run; n < end; n++) {
let base = n * ${C * P}u + at;
${
      unroll(block, (i) =>
        `let g${i} = ${load(storage, "dy", `base + ${i * P}u`)}; ` +
        store(storage, "dx", `base + ${i * P}u`, `scale${i} * g${i}`) +
        ` sum${i} = fma(g${i}, ${load(storage, "x", `base + ${i * P}u`)}, sum${i});`)
    }
}
${unroll(block, (i) => `partialScale[chunk * ${C * P}u + at + ${i * P}u] = sum${i};`)}
}`,
  };
}
