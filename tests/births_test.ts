/** The births: how the series is prepared, where the lags start, and that two of them find the week on every backend. */
import { init } from "../mod.ts";
import { loadBirths } from "../src/data/births.ts";
import { foundWeek } from "../src/tasks/births.ts";
import { daysFromWeek, learnLags, LONGEST_LAG, startingLags } from "../src/tasks/births/learn.ts";
import { prepareSeries } from "../src/tasks/births/series.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreaterOrEqual,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";

const SEEDS = [0, 1, 2, 3];
const births = await loadBirths();
const series = prepareSeries(births.counts);

Deno.test("births: the trend is taken out, and the training days have mean 0 and deviation 1", () => {
  const trend = Array.from({ length: 1000 }, (_, day) => Math.exp(3 + 0.001 * day + (day % 2 ? 0.1 : -0.1)));
  const { values, trainingDays } = prepareSeries(trend);
  assertEquals(trainingDays, 800);
  values.forEach((value, day) => assertAlmostEquals(value, day % 2 ? 1 : -1, 0.01, `day ${day}`));
  const training = series.values.subarray(0, series.trainingDays);
  const mean = training.reduce((sum, value) => sum + value, 0) / training.length;
  const square = training.reduce((sum, value) => sum + value * value, 0) / training.length;
  assertAlmostEquals(mean, 0, 1e-5);
  assertAlmostEquals(square, 1, 1e-5);
});

Deno.test("births: nothing of the test days reaches the training days", () => {
  const changed = births.counts.slice();
  changed.fill(123, series.trainingDays);
  const other = prepareSeries(changed);
  assertEquals(other.values.slice(0, series.trainingDays), series.values.slice(0, series.trainingDays));
  assert(other.values.at(-1) !== series.values.at(-1), "the test days themselves must differ");
});

Deno.test("births: counts that have no logarithm, and series too short to split, are refused", () => {
  assertThrows(
    () => prepareSeries([5, 0, 5, 5, 5, 5]),
    RangeError,
    "every count must be positive, got 0 at 1",
  );
  assertThrows(() => prepareSeries([5, NaN, 5, 5, 5, 5]), RangeError, "got NaN at 1");
  assertThrows(() => prepareSeries([5, 6]), RangeError, "3 training days and a test day, got 1 of 2");
  assertThrows(() => prepareSeries([5, 6, 7, 8], 1), RangeError, "got 4 of 4");
});

Deno.test("births: lags start in their half of the kernel, two days away from whole weeks, repeatably", () => {
  for (let seed = 0; seed < 500; seed++) {
    const [first, second] = startingLags(seed);
    assert(first > 0 && first < 14 && second > 14 && second < 28, `seed ${seed}: ${first} / ${second}`);
    for (const lag of [first, second]) {
      assert(Math.abs(lag - 7 * Math.round(lag / 7)) >= 2 - 1e-9, `seed ${seed}: ${lag}`);
    }
    assertEquals(startingLags(seed), [first, second]);
  }
});

Deno.test("births: the distance from the nearest week; week 0 is none", () => {
  assertEquals([7, 6, 22, 0, 1].map(daysFromWeek), [0, 1, 1, 7, 6]);
});

testBackends(
  "births: two lags find the week on at least 3 of 4 seeds, 3 times better than frozen",
  async () => {
    const reports: string[] = [];
    const runs = await learnLags(series, {
      seeds: SEEDS,
      steps: 200,
      report: (lags, step) => reports.push(`${lags} ${step}`),
    });
    assertEquals(runs.map(({ seed }) => seed), SEEDS);
    for (const { seed, path, start, lags, learnedError, frozenError } of runs) {
      assertEquals(path[0].step, 0);
      assertEquals(path.at(-1)!.step, 200);
      Array.from(path[0].lags).forEach((lag, i) => assertAlmostEquals(lag, start[i], 1e-5, `seed ${seed}`));
      assert(lags.every((lag) => lag >= 1 && lag <= LONGEST_LAG), `seed ${seed}: lags ${lags}`);
      assert(Number.isFinite(learnedError) && Number.isFinite(frozenError), `seed ${seed}: errors`);
    }
    assertGreaterOrEqual(runs.filter(foundWeek).length, 3, JSON.stringify(runs.map(({ lags }) => lags)));
    const expected = Array.from({ length: 10 }, (_, i) => 20 * (i + 1));
    assertEquals(reports, [
      ...expected.map((step) => `learned ${step}`),
      ...expected.map((step) => `frozen ${step}`),
    ]);
  },
);

Deno.test("births: seeds that learn side by side learn what each learns alone", async () => {
  await init({ backend: "reference" });
  const [together, alone] = [
    await learnLags(series, { seeds: SEEDS, steps: 12 }),
    await learnLags(series, { seeds: [2], steps: 12 }),
  ];
  assertEquals(together[2], alone[0]);
  // Were the lags not to move, the comparison would prove little.
  assert(Math.abs(alone[0].path.at(-1)!.lags[0] - alone[0].start[0]) > 0.5, "the lags must have moved");
});

Deno.test("births: an aborted signal stops the learning with its reason", async () => {
  await init({ backend: "reference" });
  const controller = new AbortController();
  const report = (_: string, step: number): void => {
    if (step >= 20) controller.abort(new DOMException("enough", "AbortError"));
  };
  await assertRejects(
    () => learnLags(series, { seeds: [0], steps: 60, report, signal: controller.signal }),
    DOMException,
    "enough",
  );
});
