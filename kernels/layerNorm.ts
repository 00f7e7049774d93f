/**
 * layerNorm over the channels of a pixel: u[c] = (x[c] - mean) r, r = 1 / sqrt(variance + epsilon), y = u weight + bias.
 * x, y, dx, dy are [N, C, P], float32 or float16 (`storage`), weight, bias [C]. C and P are constants of the code.
 *
 * `layerNorm`: x, weight, bias, y, parameters { pixels: N * P, epsilon }. One invocation a pixel, so that neighbours
 * read neighbours. Up to FORWARD_CHANNELS channels stay in registers: every element is read once. Beyond, they are read
 * twice, the second time from a cache, and the variance comes from one pass over x - x[0]: the first channel lies
 * within sqrt(C) standard deviations of the mean, so that the difference of squares loses a factor C at most.
 *
 * Backward, with h = dy weight and means over the channels of a pixel:
 *   dx[c] = r (h[c] - mean(h) - u[c] mean(h u)),  dweight[c] = sum over n, p of dy u,  dbias[c] = sum over n, p of dy
 * `layerNormBackward`, few channels: x, dy, weight, dx, partialWeight, partialBias [chunks, C, P], parameters
 *   { samples, run, chunks, epsilon }. One invocation a pixel position and chunk of `run` samples: it walks the samples with the
 *   channels, and its own sums of dweight and dbias, in registers; dx and dy are touched once.
 * `layerNormBackwardInput`: x, dy, weight, dx, statistics [N, P] of (mean, r), parameters { pixels, epsilon };
 * `layerNormBackwardParameters`: x, dy, statistics, partialWeight, partialBias, parameters { size: C * P, samples, run }.
 *   One invocation an element of [C, P] and chunk. For many channels, whose sums would not fit the registers.
 */
import {
  arrayOf,
  bindings,
  flatId,
  float,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  store,
  unroll,
} from "./kernel.ts";

const SIZE = 64;
const EACH = 8;
/** Most channels that a forward invocation keeps in registers. */
const FORWARD_CHANNELS = 96;

type Binding = [name: string, type: string, access: "read" | "read_write"];
const reads = (storage: Storage, ...names: string[]): Binding[] =>
  names.map((name) => [name, arrayOf(storage), "read"]);
const writes = (storage: Storage, ...names: string[]): Binding[] =>
  names.map((name) => [name, arrayOf(storage), "read_write"]);

/** A sum as a tree: short chains for the compiler to overlap, and a rounding error that grows with the logarithm. */
function sumOf(terms: readonly string[]): string {
  if (terms.length === 1) return terms[0];
  const half = terms.length >> 1;
  return `(${sumOf(terms.slice(0, half))} + ${sumOf(terms.slice(half))})`;
}

const meanOf = (C: number, term: (c: number) => string): string =>
  `${sumOf(range(C).map(term))} * ${float(1 / C)}`;

/** A loop over the channels, EACH at a time. */
function channelLoop(C: number, body: (c: string) => string): string {
  const blocks = Math.floor(C / EACH) * EACH;
  const loop = `for (var k = 0u; k < ${blocks}u; k += ${EACH}u) {\n${
    unroll(EACH, (i) => body(`(k + ${i}u)`))
  }\n}`;
  return `${blocks > 0 ? loop : ""}\n${unroll(C - blocks, (i) => body(`${blocks + i}u`))}`;
}

/** Where the pixel `id` of [N, P] starts in [N, C, P]. */
const pixelBase = (C: number, P: number): string => `let base = id / ${P}u * ${C * P}u + id % ${P}u;`;

/** The centred channels d0, d1, ... and r, from x in memory. */
const normalise = (C: number, P: number, storage: Storage): string => `
${unroll(C, (c) => `let x${c} = ${load(storage, "x", `base + ${c * P}u`)};`)}
let mean = ${meanOf(C, (c) => `x${c}`)};
${unroll(C, (c) => `let d${c} = x${c} - mean;`)}
let r = inverseSqrt(${meanOf(C, (c) => `d${c} * d${c}`)} + parameters.epsilon);`;

const kernel = (label: string, code: string): Kernel => ({
  label,
  workgroupSize: SIZE,
  workgroupBytes: 0,
  code,
});

/** y. */
export function layerNorm(C: number, P: number, storage: Storage = "f32"): Kernel {
  const at = (index: string): string => load(storage, "x", index);
  const registers = `${normalise(C, P, storage)}
${unroll(C, (c) => store(storage, "y", `base + ${c * P}u`, `fma(d${c} * r, weight[${c}], bias[${c}])`))}`;
  const loops = `let shift = ${at("base")};
var s = 0.0;
var squares = 0.0;
${
    channelLoop(C, (c) =>
      `{ let d = ${at(`base + ${c} * ${P}u`)} - shift; s += d; squares = fma(d, d, squares); }`)
  }
let m = s * ${float(1 / C)};
let r = inverseSqrt(max(squares * ${float(1 / C)} - m * m, 0.0) + parameters.epsilon);
${
    channelLoop(C, (c) =>
      `{ let i = base + ${c} * ${P}u; ${
        store(storage, "y", "i", `fma((${at("i")} - shift - m) * r, weight[${c}], bias[${c}])`)
      } }`)
  }`;
  return kernel(
    `layerNorm ${C}x${P}`,
    `${bindings(...reads(storage, "x"), ...reads("f32", "weight", "bias"), ...writes(storage, "y"))}
${parameters(4, { pixels: "u32", epsilon: "f32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.pixels) { return; }
${pixelBase(C, P)}
${C <= FORWARD_CHANNELS ? registers : loops}
}`,
  );
}

/** dx, and dweight and dbias summed over the samples of a chunk. */
export function layerNormBackward(C: number, P: number, storage: Storage = "f32"): Kernel {
  return kernel(
    `layerNormBackward ${C}x${P}`,
    `${
      bindings(
        ...reads(storage, "x", "dy"),
        ...reads("f32", "weight"),
        ...writes(storage, "dx"),
        ...writes("f32", "partialWeight", "partialBias"),
      )
    }
${parameters(6, { samples: "u32", run: "u32", chunks: "u32", epsilon: "f32" })}
${main(SIZE)} {
${flatId(SIZE)}
let chunk = id / ${P}u;
if (chunk >= parameters.chunks) { return; }
let p = id % ${P}u;
let end = min((chunk + 1u) * parameters.run, parameters.samples);
${unroll(C, (c) => `var sumWeight${c} = 0.0; var sumBias${c} = 0.0;`)}
for (var n = chunk * parameters.run; n < end; n++) {
let base = n * ${C * P}u + p;
${normalise(C, P, storage)}
${
      unroll(C, (c) =>
        `let g${c} = ${load(storage, "dy", `base + ${c * P}u`)}; let h${c} = g${c} * weight[${c}];`)
    }
let meanH = ${meanOf(C, (c) => `h${c}`)};
let meanHD = ${meanOf(C, (c) => `h${c} * d${c}`)} * r * r;
${
      unroll(C, (c) =>
        `${store(storage, "dx", `base + ${c * P}u`, `r * (h${c} - meanH - d${c} * meanHD)`)}
sumWeight${c} = fma(g${c} * r, d${c}, sumWeight${c}); sumBias${c} += g${c};`)
    }
}
let at = chunk * ${C * P}u + p;
${
      unroll(C, (c) =>
        `partialWeight[at + ${c * P}u] = sumWeight${c}; partialBias[at + ${c * P}u] = sumBias${c};`)
    }
}`,
  );
}

/** dx and the statistics of every pixel. */
export function layerNormBackwardInput(C: number, P: number, storage: Storage = "f32"): Kernel {
  const h = (c: string): string =>
    `let i = base + ${c} * ${P}u; let d = ${load(storage, "x", "i")} - shift; ` +
    `let h = ${load(storage, "dy", "i")} * weight[${c}];`;
  return kernel(
    `layerNormBackwardInput ${C}x${P}`,
    `${
      bindings(
        ...reads(storage, "x", "dy"),
        ...reads("f32", "weight"),
        ...writes(storage, "dx"),
        ["statistics", "array<vec2f>", "read_write"],
      )
    }
${parameters(5, { pixels: "u32", epsilon: "f32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.pixels) { return; }
${pixelBase(C, P)}
let shift = ${load(storage, "x", "base")};
var s = 0.0;
var squares = 0.0;
var sumH = 0.0;
var sumHD = 0.0;
${
      channelLoop(C, (c) =>
        `{ ${h(c)} s += d; squares = fma(d, d, squares); sumH += h; sumHD = fma(h, d, sumHD); }`)
    }
let m = s * ${float(1 / C)};
let r = inverseSqrt(max(squares * ${float(1 / C)} - m * m, 0.0) + parameters.epsilon);
let meanH = sumH * ${float(1 / C)};
let meanHD = (sumHD - m * sumH) * ${float(1 / C)} * r * r;
${channelLoop(C, (c) => `{ ${h(c)} ${store(storage, "dx", "i", "r * (h - meanH - (d - m) * meanHD)")} }`)}
statistics[id] = vec2f(shift + m, r);
}`,
  );
}

/** dweight and dbias summed over the samples of a chunk, from the statistics. */
export function layerNormBackwardParameters(P: number, storage: Storage = "f32"): Kernel {
  return kernel(
    `layerNormBackwardParameters ${P}`,
    `${
      bindings(
        ...reads(storage, "x", "dy"),
        ["statistics", "array<vec2f>", "read"],
        ...writes("f32", "partialWeight", "partialBias"),
      )
    }
${parameters(5, { size: "u32", samples: "u32", run: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
let size = parameters.size;
if (id >= size) { return; }
let end = min((g.z + 1u) * parameters.run, parameters.samples);
var sumWeight = 0.0;
var sumBias = 0.0;
for (var n = g.z * parameters.run; n < end; n++) {
let i = n * size + id;
let s = statistics[n * ${P}u + id % ${P}u];
let g = ${load(storage, "dy", "i")};
sumWeight = fma(g * s.y, ${load(storage, "x", "i")} - s.x, sumWeight);
sumBias += g;
}
partialWeight[g.z * size + id] = sumWeight;
partialBias[g.z * size + id] = sumBias;
}`,
  );
}
