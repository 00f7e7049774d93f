/**
 * Repeatable random numbers: the generator behind initial weights, `randn`, and the order of the batches.
 *
 * Words come from xoshiro128** (Blackman & Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS
 * 2021), whose 32-bit arithmetic is exact in JavaScript. Normals come from the ziggurat of Marsaglia & Tsang
 * (J. Stat. Soft. 5(8), 2000), with layer and place taken from separate bits of a word, which mends
 * the correlation that Doornik (2005) found in the original.
 */

/** A stream of repeatable random numbers, as {@link createRandom} makes it. */
export interface Random {
  /** The next number uniform in [0, 1), with 53 random bits. */
  uniform(): number;
  /** The next standard normal number, fine enough for float32 (24 bits within a layer of the ziggurat). */
  normal(): number;
  /**
   * The next integer uniform in [0, n), without bias.
   * @throws {RangeError} if n is not an integer from 1 to 2^32
   */
  integer(n: number): number;
}

const GOLDEN = 0x9e3779b9;

/** A bijection of 32-bit words with full avalanche (the form of splitmix's, constants by hash-prospector). */
function mix(word: number): number {
  let z = word ^ (word >>> 16);
  z = Math.imul(z, 0x21f0aaad);
  z ^= z >>> 15;
  z = Math.imul(z, 0x735a2d97);
  return z ^ (z >>> 15);
}

/**
 * The generator's four words for a (seed, stream), a chain of bijections: no two pairs share a state, the
 * all-zero state (forbidden) cannot occur because `second` is not 0 where `first` is, and the words that shape
 * the first outputs depend on every bit of the arguments.
 */
function createState(seed: number, stream: number): Int32Array {
  if (!Number.isSafeInteger(seed)) {
    throw new RangeError(
      `Cannot create random numbers: the seed must be an integer within ±(2^53 - 1), got ${seed}`,
    );
  }
  if (!Number.isInteger(stream) || stream < 0 || stream > 0xffffffff) {
    throw new RangeError(
      `Cannot create random numbers: the stream must be an integer from 0 to 2^32 - 1, got ${stream}`,
    );
  }
  const low = seed | 0;
  const high = Math.floor(seed / 2 ** 32) | 0;
  const fourth = mix(stream + GOLDEN);
  const third = mix((high + 2 * GOLDEN) ^ fourth);
  const first = mix((low + 3 * GOLDEN) ^ third);
  const second = mix(first + 4 * GOLDEN);
  return new Int32Array([first, second, third, fourth]);
}

/**
 * The next 32 random bits, as a signed integer; advances the four words of `state` (xoshiro128**).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { nextWord } from "./random.ts";
 *
 * const state = new Int32Array([1, 2, 3, 4]);
 * assert.deepEqual([nextWord(state), nextWord(state), nextWord(state)], [11520, 0, 5927040]);
 * ```
 */
export function nextWord(state: Int32Array): number {
  const b = state[1];
  let word = Math.imul(b, 5);
  word = Math.imul((word << 7) | (word >>> 25), 9);
  state[2] ^= state[0];
  state[3] ^= b;
  state[1] ^= state[2];
  state[0] ^= state[3];
  state[2] ^= b << 9;
  state[3] = (state[3] << 11) | (state[3] >>> 21);
  return word;
}

function nextUniform(state: Int32Array): number {
  const high = nextWord(state) >>> 5;
  const low = nextWord(state) >>> 6;
  return (high * 2 ** 26 + low) / 2 ** 53;
}

/** Layers of the ziggurat, the start of its tail, and the area of each layer (Marsaglia & Tsang, for 128). */
const LAYERS = 128;
const TAIL = 3.442619855899;
const AREA = 9.91256303526217e-3;

/** exp(-x²/2). */
function bell(x: number): number {
  return Math.exp(-0.5 * x * x);
}

/** Right edge of each layer, widest first; the base layer's is that of a rectangle with its area. */
const EDGES = new Float64Array(LAYERS + 1);
EDGES[0] = AREA / bell(TAIL);
EDGES[1] = TAIL;
for (let i = 2; i < LAYERS; i++) {
  EDGES[i] = Math.sqrt(-2 * Math.log(AREA / EDGES[i - 1] + bell(EDGES[i - 1])));
}

/**
 * The normal number of a word: its low 7 bits choose the layer, the other 25 a place in it, both signs. Where
 * that falls outside the layer's rectangle, it comes from the tail, from the wedge beside the rectangle, or
 * from the next word.
 */
function wordToNormal(state: Int32Array, firstWord: number): number {
  for (let word = firstWord;; word = nextWord(state)) {
    const layer = word & 127;
    // The half makes the places symmetric about 0. (Taking the sign from a bit of its own is a branch that
    // the processor guesses wrong every other time.)
    const x = ((word >> 7) + 0.5) * 2 ** -24 * EDGES[layer];
    if (Math.abs(x) < EDGES[layer + 1]) return x;
    if (layer === 0) return word < 0 ? -drawTail(state) : drawTail(state);
    const lower = bell(EDGES[layer]);
    const upper = bell(EDGES[layer + 1]);
    if (lower + nextUniform(state) * (upper - lower) < bell(x)) return x;
  }
}

/** A normal number known to be beyond TAIL (Marsaglia, "Generating a variable from the tail", 1964). */
function drawTail(state: Int32Array): number {
  for (;;) {
    const x = -Math.log(1 - nextUniform(state)) / TAIL;
    const y = -Math.log(1 - nextUniform(state));
    if (2 * y > x * x) return TAIL + x;
  }
}

/**
 * Creates a stream of random numbers that depends on its arguments alone.
 * @param seed any safe integer
 * @param stream an integer from 0 to 2^32 - 1 that names one of the seed's streams, such as an epoch
 * @throws {RangeError} if one of them is out of its range
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { createRandom } from "./random.ts";
 *
 * const random = createRandom(7);
 * const die = 1 + random.integer(6);
 * assert(die >= 1 && die <= 6);
 * assert.equal(createRandom(7).integer(6) + 1, die);
 * ```
 */
export function createRandom(seed: number, stream = 0): Random {
  const state = createState(seed, stream);
  return {
    uniform: (): number => nextUniform(state),
    normal: (): number => wordToNormal(state, nextWord(state)),
    integer: (n: number): number => {
      if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
        throw new RangeError(`Cannot draw a random integer: n must be an integer from 1 to 2^32, got ${n}`);
      }
      // Words past the last whole multiple of n would favour the small results: draw again.
      const limit = 2 ** 32 - (2 ** 32 % n);
      let word = nextWord(state) >>> 0;
      while (word >= limit) word = nextWord(state) >>> 0;
      return word % n;
    },
  };
}

/**
 * Fills `out` with normal numbers: those of `createRandom(seed).normal()`, scaled, in about 10 ns each.
 * @param mean default 0
 * @param std standard deviation, default 1
 * @returns `out`
 * @throws {RangeError} if mean or std is not finite, or std is negative, or the seed no safe integer
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fillNormal } from "./random.ts";
 *
 * const noise = fillNormal(new Float32Array(1000), 42, 0, 0.5);
 * assert(Math.abs(noise.reduce((a, b) => a + b) / 1000) < 0.1);
 * ```
 */
export function fillNormal(out: Float32Array, seed: number, mean = 0, std = 1): Float32Array {
  if (!Number.isFinite(mean) || !Number.isFinite(std) || std < 0) {
    throw new RangeError(
      `Cannot fill with normal numbers: mean and std must be finite and std >= 0, got ${mean} and ${std}`,
    );
  }
  const state = createState(seed, 0);
  for (let i = 0; i < out.length; i++) out[i] = mean + std * wordToNormal(state, nextWord(state));
  return out;
}

/**
 * Fills `out` with numbers uniform in [low, high), on a grid of 2^24 steps. Rounding to float32 can give
 * `high` itself where the range is narrow for its magnitude; for [0, 1) and [-1, 1) it cannot.
 * @returns `out`
 * @throws {RangeError} if low or high is not finite, or low > high, or the seed is no safe integer
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fillUniform } from "./random.ts";
 *
 * const values = fillUniform(new Float32Array(100), 42, -1, 1);
 * assert(values.every((value) => value >= -1 && value < 1));
 * ```
 */
export function fillUniform(out: Float32Array, seed: number, low: number, high: number): Float32Array {
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high) {
    throw new RangeError(
      `Cannot fill with uniform numbers: low and high must be finite and low <= high, got ${low} and ${high}`,
    );
  }
  const state = createState(seed, 0);
  const step = (high - low) * 2 ** -24;
  for (let i = 0; i < out.length; i++) out[i] = low + (nextWord(state) >>> 8) * step;
  return out;
}
