/** `deno task compare` on 150 real images: what its runs share, what they leave, failures and its record. */
import { join } from "node:path";
import { memory } from "../src/backend.ts";
import { CONV_KINDS } from "../src/models/mod.ts";
import { readAll } from "../src/tensor.ts";
import { parseCommand } from "../src/train/cli.ts";
import { configOf } from "../src/train/config.ts";
import { Learner } from "../src/train/learner.ts";
import { trainCommand, trainOptions } from "../src/train/train_options.ts";
import { train } from "../src/train/trainer.ts";
import { comparisonTable } from "../src/tasks/compare.ts";
import {
  compareOptions,
  configWith,
  describeKernel,
  type SharedConfig,
} from "../src/tasks/compare/options.ts";
import {
  type ComparisonRecord,
  type FinishedRun,
  readRecord,
  writeRecord,
} from "../src/tasks/compare/record.ts";
import { runComparison, warmUp } from "../src/tasks/compare/runs.ts";
import { describeData } from "../src/train/trainer.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";
import { DATA, first, FLAGS, inTemporary, measured, parse } from "./support/compare_runs.ts";

function newRecord(config: SharedConfig): ComparisonRecord {
  return { config, adapter: "test", data: describeData(DATA), runs: [] };
}

/** As it reads from a file. */
function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

Deno.test("compare: has train's options and defaults, but for those that the runs differ in", () => {
  const names = compareOptions.map(({ name }) => name).sort();
  assertEquals(names, trainOptions.map(({ name }) => name).filter((name) => name !== "conv").sort());
  const { conv: _conv, ...shared } = configOf(parseCommand(trainCommand, ["--epochs", "3"]));
  assertEquals(parse("--epochs 3"), shared);
});

Deno.test("compare: flags are refused by their names, and in the name of this task", () => {
  const refuse = (flags: string, message: string): void => {
    assertThrows(() => parse(flags), RangeError, message);
  };
  refuse("--conv dcls", "Cannot run deno task compare: every flag must be one that --help lists, got --conv");
  refuse("--epoch 2", "did you mean --epochs?");
  refuse("--epochs 0", '--epochs must be an integer of at least 1, got "0"');
  refuse("--dims 4,x", "Cannot run deno task compare: --dims must be positive integers");
  refuse("--dims 4", "--dims must be one number or 2 of them");
  refuse("--kernel-size 4", "--kernel-size must be a positive odd integer, got 4");
  refuse("--dilated-kernel-size 8", "--dilated-kernel-size must be a positive odd integer, got 8");
});

Deno.test("compare: kernels in words, and the table", () => {
  const kernels = (flags: string): string[] =>
    CONV_KINDS.map((conv) => describeKernel(configWith(parse(flags), conv)));
  assertEquals(kernels("--kernel-size 5 --dilated-kernel-size 9 --kernel-count 12"), [
    ...["12 elements in 9x9", "5x5", "5x5 dilation 2"],
  ]);
  assertEquals(kernels("--kernel-size 3 --dilated-kernel-size 7 --version gauss --kernel-count 4"), [
    ...["4 gauss elements in 7x7", "3x3", "3x3 dilation 3"],
  ]);
  const run = { steps: 600, testLoss: 0.1, seconds: 1 };
  const lines = comparisonTable([
    {
      ...run,
      conv: "dcls",
      kernel: "8 elements in 9x9",
      parameters: 14442,
      testAccuracy: 0.98765,
      imagesPerSecond: 1234.5,
    },
    { ...run, conv: "standard", kernel: "5x5", parameters: 900, testAccuracy: 1, imagesPerSecond: 99 },
  ]);
  assertEquals(lines, [
    "conv      parameters  kernel             test accuracy  images/s",
    "dcls          14,442  8 elements in 9x9        98.77 %     1,235",
    "standard         900  5x5                     100.00 %        99",
  ]);
});

Deno.test("compare: a damaged record is refused, and says why", () =>
  inTemporary(async (directory) => {
    await assertRejects(() => readRecord(directory), Error, "it must hold comparison.json, got none");
    const record = newRecord(parse(FLAGS));
    await writeRecord(directory, record);
    assertEquals(await readRecord(directory), asJson(record));
    const path = join(directory, "comparison.json");
    const damage = async (change: (text: string) => string, message: string): Promise<void> => {
      await writeRecord(directory, record);
      await Deno.writeTextFile(path, change(await Deno.readTextFile(path)));
      await assertRejects(() => readRecord(directory), Error, message);
    };
    await damage((text) => text.slice(0, 40), "comparison.json must be whole");
    await damage((text) => text.replace('"epochs": 2', '"epochs": "two"'), "epochs must be a integer");
    await damage((text) => text.replace('"runs": []', '"runs": [{"conv": "dcls"}]'), "every run must have");
    await damage((text) => text.replace('"runs": []', '"runs": 3'), "it must have data and runs");
  }));

testBackends(
  "compare: the runs share images, their order and all values but the depthwise layers'",
  async () => {
    const orders: number[][] = [];
    const outside: unknown[] = [];
    const counts: number[] = [];
    const shared = parse(`${FLAGS} --batch-size 10`);
    const train = first(DATA.train, 40);
    for (const conv of CONV_KINDS) {
      const order: number[] = [];
      const labels = new Proxy(train.labels, {
        get(target, key) {
          if (typeof key === "string" && /^\d+$/.test(key)) order.push(Number(key));
          return Reflect.get(target, key);
        },
      });
      const learner = new Learner(configWith(shared, conv), { ...DATA, train: { ...train, labels } });
      const others = learner.model.namedParameters().filter(([path]) => !path.includes(".dwconv."));
      const values = await readAll(others.map(([, parameter]) => parameter));
      for (let step = 0; step < learner.totalSteps; step++) {
        const { loss, correct } = learner.gradients(step);
        loss.dispose();
        correct.dispose();
        learner.model.zeroGrad();
      }
      orders.push(order);
      outside.push(others.map(([path], i) => [path, [...values[i]]]));
      counts.push(learner.parameterCount - values.reduce((sum, { length }) => sum + length, 0));
      learner.dispose();
    }
    const [order] = orders;
    assertEquals([order.length, new Set(order.slice(0, 40)).size, new Set(order.slice(40)).size], [
      80,
      40,
      40,
    ]);
    assertNotEquals(order.slice(0, 40), order.slice(40));
    assertEquals(orders, [order, order, order]);
    assertEquals(outside, [outside[0], outside[0], outside[0]]);
    // One block a stage, 4 + 6 channels: K = 3 weights and 2 x 3 coordinates, or 3 x 3 weights; and a bias.
    assertEquals(counts, [10 * (3 + 6 + 1), 10 * (9 + 1), 10 * (9 + 1)]);
  },
  ["reference"],
);

testBackends(
  "compare: three runs, each as train would do it alone; memory comes back",
  (backend) =>
    inTemporary(async (base) => {
      const [directory, alone] = [join(base, "all"), join(base, "alone")];
      for (const path of [directory, alone]) await Deno.mkdir(path);
      const shared = { ...parse(FLAGS), backend: backend.name, kernelCount: 2 };
      const options = { record: newRecord(shared), data: DATA, directory };
      const before = memory();
      await warmUp(options);
      assertEquals([...Deno.readDirSync(directory)], []);
      const { record, stoppedAt } = await runComparison(options);
      assertEquals([memory().buffers, memory().bytes], [before.buffers, before.bytes]);
      assertEquals(stoppedAt, null);
      assertEquals(await readRecord(directory), asJson(record));
      assertEquals(record.runs.map(({ conv, kernel, steps }) => [conv, kernel, steps]), [
        ["dcls", "2 elements in 5x5", 12],
        ["standard", "3x3", 12],
        ["dilated", "3x3 dilation 2", 12],
      ]);
      const [dcls, standard, dilated] = record.runs.map(({ parameters }) => parameters);
      assertEquals([standard - dcls, dilated], [(9 - 3 * 2) * 10, standard]);
      for (const { conv, testAccuracy, imagesPerSecond } of record.runs) {
        assert(testAccuracy >= 0 && testAccuracy <= 1 && imagesPerSecond > 0, JSON.stringify(record.runs));
        const { model, ...config } = JSON.parse(Deno.readTextFileSync(join(directory, conv, "config.json")));
        assertEquals([config.conv, model.conv, config.epochs, config.adapter], [conv, conv, 2, "test"]);
      }
      const losses = await Promise.all(CONV_KINDS.map((conv) => measured(directory, conv)));
      assertEquals(losses.map(({ length }) => length), [14, 14, 14]);
      assertNotEquals(losses[0], losses[1]);
      assertNotEquals(losses[1], losses[2]);

      // What ran before leaves no trace in a run.
      await Deno.mkdir(join(alone, "dilated"));
      await train({ config: configWith(shared, "dilated"), data: DATA, directory: join(alone, "dilated") });
      assertEquals(await measured(alone, "dilated"), losses[2]);
    }),
  ["webgpu", "tfjs"],
);

testBackends("compare: what fails says which run it was", (backend) =>
  inTemporary(async (directory) => {
    const before = memory();
    const finished: FinishedRun = {
      conv: "dcls",
      kernel: "3 elements in 5x5",
      parameters: 1,
      steps: 12,
      testAccuracy: 0.5,
      testLoss: 1,
      seconds: 1,
      imagesPerSecond: 1,
    };
    const shared = { ...parse(FLAGS), backend: backend.name };
    const record = { ...newRecord(shared), runs: [finished] };
    const fails = async (record: ComparisonRecord, message: string): Promise<string> =>
      String(
        (await assertRejects(() => runComparison({ record, data: DATA, directory }), Error, message)).cause,
      );
    const inTheWay = join(directory, "standard");
    await Deno.writeTextFile(inTheWay, "a file where a directory belongs");
    const rule = `Cannot compare: the run with standard failed (--resume ${directory} goes on`;
    assertStringIncludes(await fails(record, rule), "AlreadyExists");
    await Deno.remove(inTheWay);

    const hot = { ...record, config: { ...shared, learningRate: 1e30 } };
    assertMatch(await fails(hot, rule), /the loss must be finite, got NaN at step \d+/);

    const signal = AbortSignal.abort();
    const { stoppedAt } = await runComparison({ record, data: DATA, directory, signal });
    assertEquals(stoppedAt, "standard, before its first step");

    const large = newRecord({ ...shared, batchSize: 151 });
    const refused = await assertRejects(
      () => warmUp({ record: large, data: DATA, directory }),
      Error,
      "Cannot compare: the run with dcls failed",
    );
    assertMatch(String(refused.cause), /--batch-size must be at most the 150 training images, got 151/);
    assertEquals(memory().buffers, before.buffers);
  }), ["tfjs"]);
