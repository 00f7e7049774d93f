/**
 * Random numbers: known words, moments, reproducibility, refusals. Every statistic is of a fixed seed, so these
 * tests cannot fail by chance; the bounds are five standard errors, so a wrong generator has little room.
 */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertLess,
  assertLessOrEqual,
  assertNotEquals,
  assertThrows,
} from "./assert.ts";
import { createRandom, fillNormal, fillUniform, nextWord } from "../src/random.ts";

const COUNT = 1_000_000;

/** Standard error of the mean of f(X) over COUNT draws, times five, from the variance of f(X). */
const within = (variance: number): number => 5 * Math.sqrt(variance / COUNT);

function mean(values: Float32Array, f: (value: number) => number): number {
  let sum = 0;
  for (const value of values) sum += f(value);
  return sum / values.length;
}

Deno.test("nextWord: the words of xoshiro128** from state 1, 2, 3, 4", () => {
  const state = new Int32Array([1, 2, 3, 4]);
  const words = Array.from({ length: 4 }, () => nextWord(state) >>> 0);
  // By hand: rotl(2 * 5, 7) * 9 = 11520, then state 1 is 0, and so on; the vector of other implementations too.
  assertEquals(words, [11520, 0, 5927040, 70819200]);
});

Deno.test("fillNormal: moments, tails and independence", () => {
  const values = fillNormal(new Float32Array(COUNT), 1);
  // Var X = 1, Var X² = 2, Var X³ = 15, Var X⁴ = 96 for a standard normal.
  assertAlmostEquals(mean(values, (x) => x), 0, within(1));
  assertAlmostEquals(mean(values, (x) => x ** 2), 1, within(2));
  assertAlmostEquals(mean(values, (x) => x ** 3), 0, within(15));
  assertAlmostEquals(mean(values, (x) => x ** 4), 3, within(96));
  // P(|X| > t), the last of them beyond the ziggurat's base layer (3.44), where the tail sampler works.
  for (const [limit, p] of [[0.25, 0.8025873], [1, 0.3173105], [2, 0.0455003], [3.5, 4.652582e-4]]) {
    assertAlmostEquals(
      mean(values, (x) => Math.abs(x) > limit ? 1 : 0),
      p,
      within(p * (1 - p)),
      `beyond ${limit}`,
    );
  }
  // Products of neighbours have mean 0 and variance 1 if they are independent.
  for (const lag of [1, 2, 7]) {
    let sum = 0;
    for (let i = lag; i < COUNT; i++) sum += values[i] * values[i - lag];
    assertAlmostEquals(sum / COUNT, 0, within(1), `lag ${lag}`);
  }
});

Deno.test("fillNormal: the distribution function, bin by bin", () => {
  const values = fillNormal(new Float32Array(COUNT), 2);
  const edges = [-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2];
  const phi = [0.0227501, 0.0668072, 0.1586553, 0.3085375, 0.5, 0.6914625, 0.8413447, 0.9331928, 0.9772499];
  edges.forEach((edge, i) => {
    const p = phi[i];
    assertAlmostEquals(mean(values, (x) => x < edge ? 1 : 0), p, within(p * (1 - p)), `below ${edge}`);
  });
});

Deno.test("fillNormal: mean and std scale the same numbers; createRandom gives them too", () => {
  const plain = fillNormal(new Float32Array(100), 5);
  const scaled = fillNormal(new Float32Array(100), 5, 3, 0.5);
  const random = createRandom(5);
  for (let i = 0; i < 100; i++) {
    const value = random.normal();
    assertEquals(plain[i], Math.fround(value));
    assertEquals(scaled[i], Math.fround(3 + 0.5 * value));
  }
  assertEquals(fillNormal(new Float32Array(3), 5, 2, 0), new Float32Array([2, 2, 2]));
});

Deno.test("fillUniform: moments, range and the half-open end", () => {
  const values = fillUniform(new Float32Array(COUNT), 3, -1, 1);
  assertAlmostEquals(mean(values, (x) => x), 0, within(1 / 3));
  assertAlmostEquals(mean(values, (x) => x * x), 1 / 3, within(4 / 45));
  assert(values.every((x) => x >= -1 && x < 1));
  assertLess(values.reduce((a, b) => Math.min(a, b)), -0.9999);
  assertLess(0.9999, values.reduce((a, b) => Math.max(a, b)));
  assertEquals(fillUniform(new Float32Array(2), 3, 4, 4), new Float32Array([4, 4]));
});

Deno.test("createRandom: uniform and integer", () => {
  const random = createRandom(4);
  const values = new Float32Array(COUNT).map(() => random.uniform());
  assertAlmostEquals(mean(values, (x) => x), 0.5, within(1 / 12));
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60_000; i++) counts[random.integer(6)]++;
  // Chi-square with 5 degrees of freedom: 25.7 is exceeded once in 10,000.
  const chiSquare = counts.reduce((sum, count) => sum + (count - 10_000) ** 2 / 10_000, 0);
  assertLess(chiSquare, 25.7);
  assertEquals(random.integer(1), 0);
  for (let i = 0; i < 100; i++) assertLess(random.integer(2 ** 32), 2 ** 32);
});

Deno.test("createRandom: seeds and streams give their own numbers, and the same ones each time", () => {
  const first = (seed: number, stream = 0): number[] => {
    const random = createRandom(seed, stream);
    return [random.uniform(), random.normal(), random.integer(1000), random.uniform()];
  };
  assertEquals(first(7), first(7));
  assertEquals(first(7, 3), first(7, 3));
  const seeds = [
    0,
    1,
    -1,
    2,
    2 ** 32,
    2 ** 32 + 1,
    -(2 ** 32),
    Number.MAX_SAFE_INTEGER,
    Number.MIN_SAFE_INTEGER,
  ];
  const starts = new Set(seeds.flatMap((seed) => [0, 1, 0xffffffff].map((stream) => first(seed, stream)[0])));
  assertEquals(starts.size, seeds.length * 3);
  // Neighbouring seeds must not start alike: the first uniforms of 10,000 seeds are themselves uniform.
  let sum = 0;
  for (let seed = 0; seed < 10_000; seed++) sum += first(seed)[0];
  assertAlmostEquals(sum / 10_000, 0.5, 5 * Math.sqrt(1 / 12 / 10_000));
  assertNotEquals(fillNormal(new Float32Array(4), 0), fillNormal(new Float32Array(4), 1));
});

Deno.test("the numbers of a seed are part of the format: a change breaks every recorded run", () => {
  const random = createRandom(42);
  assertEquals([random.integer(1000), random.integer(1000), random.integer(1000)], [500, 60, 205]);
  assertEquals(Array.from(fillNormal(new Float32Array(3), 42)), [
    1.254747986793518,
    0.07237009704113007,
    0.07683432102203369,
  ]);
  assertEquals(Array.from(fillUniform(new Float32Array(3), 42, 0, 1)), [
    0.34453052282333374,
    0.03143864870071411,
    0.02440577745437622,
  ]);
});

Deno.test("random numbers: refusals", () => {
  const out = new Float32Array(1);
  for (const seed of [0.5, NaN, Infinity, 2 ** 53]) {
    const message =
      `Cannot create random numbers: the seed must be an integer within ±(2^53 - 1), got ${seed}`;
    assertThrows(() => createRandom(seed), RangeError, message);
    assertThrows(() => fillNormal(out, seed), RangeError, message);
    assertThrows(() => fillUniform(out, seed, 0, 1), RangeError, message);
  }
  for (const stream of [-1, 0.5, 2 ** 32, NaN]) {
    assertThrows(
      () => createRandom(1, stream),
      RangeError,
      `the stream must be an integer from 0 to 2^32 - 1, got`,
    );
  }
  for (const n of [0, -1, 1.5, NaN, 2 ** 32 + 1]) {
    assertThrows(
      () => createRandom(1).integer(n),
      RangeError,
      `n must be an integer from 1 to 2^32, got ${n}`,
    );
  }
  assertThrows(() => fillNormal(out, 1, 0, -1), RangeError, "std >= 0, got 0 and -1");
  assertThrows(() => fillNormal(out, 1, NaN, 1), RangeError, "must be finite");
  assertThrows(() => fillUniform(out, 1, 2, 1), RangeError, "low <= high, got 2 and 1");
  assertThrows(() => fillUniform(out, 1, 0, Infinity), RangeError, "must be finite");
});

Deno.test("fillNormal: fast enough for a batch of the poster's layer", () => {
  // 38.5 million normals are to take at most 1.5 s, that is 39 ns each; a busy machine is given ten times that.
  const values = new Float32Array(2_000_000);
  fillNormal(values, 1);
  const start = performance.now();
  fillNormal(values, 2);
  assertLessOrEqual((performance.now() - start) * 1e6 / values.length, 390);
});
