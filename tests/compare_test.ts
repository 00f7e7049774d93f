/** `deno task compare` on 150 real images: what its runs share, stopping, resuming, failures, and as a user runs it. */
import { join } from "node:path";
import { init, memory } from "../src/backend.ts";
import { type ImageDataset, type LabelledImages, loadMnist } from "../src/data/mnist.ts";
import { CONV_KINDS } from "../src/models/mod.ts";
import { readAll } from "../src/tensor.ts";
import { parseCommand } from "../src/train/cli.ts";
import { configOf } from "../src/train/config.ts";
import { Learner } from "../src/train/learner.ts";
import type { Progress } from "../src/train/progress.ts";
import { trainCommand, trainOptions } from "../src/train/train_options.ts";
import { train } from "../src/train/trainer.ts";
import { comparisonTable } from "../src/tasks/compare.ts";
import {
  compareCommand,
  compareOptions,
  configWith,
  describeKernel,
  type SharedConfig,
  sharedConfig,
} from "../src/tasks/compare/options.ts";
import {
  type ComparisonRecord,
  describeData,
  type FinishedRun,
  readRecord,
  writeRecord,
} from "../src/tasks/compare/record.ts";
import { runComparison, warmUp } from "../src/tasks/compare/runs.ts";
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

const ROOT = new URL("..", import.meta.url).pathname;

/** Two epochs of six steps; what the paths and figures below depend on is given, whatever the defaults are. */
const FLAGS =
  "--epochs 2 --batch-size 25 --checkpoint-every 4 --seed 0 --depths 1,1 --dims 4,6 --stem-size 4 " +
  "--kernel-size 3 --dilated-kernel-size 5 --version v0 --share-positions";

const mnist = await loadMnist();

/** The first images of a set. */
function first({ images, labels }: LabelledImages, count: number): LabelledImages {
  return { images: images.subarray(0, count * 784), labels: labels.subarray(0, count), count };
}

const DATA: ImageDataset = {
  ...mnist,
  name: "images",
  train: first(mnist.train, 150),
  test: first(mnist.test, 60),
};

/** Writes a set as the two files that MNIST has of it. */
async function writeIdx(
  directory: string,
  name: string,
  { images, labels, count }: LabelledImages,
): Promise<void> {
  const header = (magic: number, ...extents: number[]): Uint8Array =>
    new Uint8Array(
      [magic, ...extents].flatMap((
        value,
      ) => [value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255]),
    );
  const write = (kind: string, ...parts: Uint8Array[]): Promise<void> =>
    Deno.writeFile(join(directory, `${name}-${kind}-ubyte`), new Blob(parts as BlobPart[]).stream());
  await write("images-idx3", header(0x803, count, 28, 28), images);
  await write("labels-idx1", header(0x801, count), labels);
}

function parse(flags: string): SharedConfig {
  return sharedConfig(parseCommand(compareCommand, flags.split(" ")));
}

/** As it reads from a file. */
function asJson<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

function newRecord(config: SharedConfig): ComparisonRecord {
  return { config, adapter: "test", data: describeData(DATA), runs: [] };
}

/** Losses and evaluations of a run, without times. */
async function measured(directory: string, conv: string): Promise<string[]> {
  const text = await Deno.readTextFile(join(directory, conv, "metrics.jsonl"));
  return text.trimEnd().split("\n").map((line) => line.replace(/,"seconds":.*/, ""));
}

function silent(update: Progress["update"] = () => {}): Progress {
  return { update, log: () => {}, stop: () => {} };
}

async function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "dcls-compare-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
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

/** The command in its own process, with the permissions of the task and `directory` as the working directory. */
function command(directory: string, ...args: string[]): Deno.ChildProcess {
  const task: string = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))).tasks.compare.command;
  const permissions = task.split(" ").filter((word) => word.startsWith("--"));
  const script = join(ROOT, "src/tasks/compare.ts");
  return new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, "--config", join(ROOT, "deno.json"), script, ...args],
    cwd: directory,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function run(
  directory: string,
  ...args: string[]
): Promise<{ code: number; out: string; error: string }> {
  const { code, stdout, stderr } = await command(directory, ...args).output();
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: decode(stdout), error: decode(stderr) };
}

Deno.test("compare: as a user runs it", (t) =>
  inTemporary(async (directory) => {
    await Deno.mkdir(join(directory, "images"));
    await writeIdx(join(directory, "images"), "train", DATA.train);
    await writeIdx(join(directory, "images"), "t10k", DATA.test);
    const small = `${FLAGS} --data images --backend tfjs`.split(" ");

    await t.step("--help tells every option but --conv", async () => {
      const { code, out } = await run(directory, "--help");
      assertEquals(code, 0);
      for (const { name } of compareOptions) assertMatch(out, new RegExp(`^ +--(\\[no-\\])?${name}\\b`, "m"));
      assert(!out.includes("--conv "), out);
    });

    await t.step("a whole comparison", async () => {
      const { code, out, error } = await run(directory, ...small, "--name", "whole");
      assertEquals([code, error], [0, ""], out);
      assertMatch(out, /^data +images: 150 training and 60 test images$/m);
      assertMatch(out, /^standard +2 of 3: 3x3$/m);
      assertMatch(out, /^dcls 1\/3 +epoch 2\/2 +step 12\/12 +100 %/m);
      assertMatch(out, /^dilated 3\/3 +epoch 2: test accuracy/m);
      assertMatch(
        out,
        /\nconv +parameters +kernel +test accuracy +images\/s\ndcls +[\d,]+ +3 elements in 5x5 +[\d.]+ % +[\d,]+\nstandard .*\ndilated +[\d,]+ +3x3 dilation 2 /,
      );
      const whole = join(directory, "runs", "whole");
      const names = (path: string): string[] => [...Deno.readDirSync(path)].map(({ name }) => name).sort();
      assertEquals(names(whole), ["comparison.json", "comparison.svg", "dcls", "dilated", "standard"]);
      assertEquals(names(join(whole, "dilated")), [
        ...["checkpoint.safetensors", "config.json", "curves.svg", "kernels.svg", "metrics.jsonl"],
      ]);
      assertMatch(Deno.readTextFileSync(join(whole, "comparison.svg")), /^<svg[^]*images, seed 0, 2 epochs/);
      const { runs } = await readRecord(whole);
      for (const { testAccuracy } of runs) {
        assertStringIncludes(out, `  ${(100 * testAccuracy).toFixed(2)} %  `);
      }
    });

    await t.step("stopped in the second run and resumed by another process: the same numbers", async () => {
      const [whole, cut] = [join(directory, "runs", "whole"), join(directory, "runs", "cut")];
      const { config, data, adapter, runs } = await readRecord(whole);
      await init({ backend: "tfjs" });
      await Deno.mkdir(cut);
      const record = { config, data, adapter, runs: [] };
      await writeRecord(cut, record);
      const controller = new AbortController();
      const stopped = await runComparison({
        record,
        data: DATA,
        directory: cut,
        signal: controller.signal,
        progress: (conv) => silent(({ step }) => conv === "standard" && step >= 8 && controller.abort()),
      });
      assertEquals(stopped.stoppedAt, "standard at step 8 of 12");
      const kept = Deno.statSync(join(cut, "dcls", "checkpoint.safetensors")).mtime;
      // A process killed before the first checkpoint of its last run.
      await Deno.mkdir(join(cut, "dilated"));
      await Deno.writeTextFile(join(cut, "dilated", "metrics.jsonl"), '{"step":1,"loss":9}\n{"step":2,"lo');

      const { code, out, error } = await run(directory, "--resume", "runs/cut/");
      assertEquals([code, error], [0, ""], out);
      assertMatch(out, /^dcls +1 of 3: 3 elements in 5x5, finished: [\d.]+ %$/m);
      assert(!out.includes("dcls 1/3"), out);
      for (const conv of CONV_KINDS) assertEquals(await measured(cut, conv), await measured(whole, conv));
      const scores = (runs: readonly FinishedRun[]): unknown[] =>
        runs.map(({ seconds: _seconds, imagesPerSecond: _imagesPerSecond, ...rest }) => rest);
      assertEquals(scores((await readRecord(cut)).runs), scores(runs));
      assertEquals(Deno.statSync(join(cut, "dcls", "checkpoint.safetensors")).mtime, kept);

      const other = { ...record, config: { ...config, seed: 1 } };
      const mixed = await assertRejects(
        () => runComparison({ record: other, data: DATA, directory: cut }),
        Error,
      );
      assertMatch(String(mixed.cause), /its options must be the comparison's/);
    });

    await t.step("Ctrl-C saves and exits with 130", async () => {
      const child = command(directory, ...small, "--name", "long", "--epochs", "1000");
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      let out = "";
      while (!/step +\d+\/6000/.test(out)) out += (await reader.read()).value ?? "";
      child.kill("SIGINT");
      for (let part = await reader.read(); !part.done; part = await reader.read()) out += part.value;
      assertEquals([(await child.status).code, await new Response(child.stderr).text()], [130, ""]);
      assertMatch(
        out,
        /stopped in dcls at step \d+ of 6000; deno task compare --resume runs\/long goes on\n$/,
      );
      assert(Deno.statSync(join(directory, "runs/long/dcls/checkpoint.safetensors")).isFile);
      assertEquals((await readRecord(join(directory, "runs/long"))).runs, []);
    });

    await t.step("mistakes are one line and change nothing", async () => {
      const cases: [string[], number, string][] = [
        [["--name", "../up"], 2, "--name must be letters"],
        [["--name", "whole"], 2, "runs/<name> must be new, got runs/whole, which exists"],
        [["--resume", "runs/whole", "--seed", "3"], 2, "Cannot resume with --seed"],
        [
          ["--data", "nowhere", "--name", "x", "--backend", "tfjs"],
          1,
          "nowhere must hold train-images-idx3-ubyte",
        ],
        [[...small, "--name", "x", "--batch-size", "151"], 1, "--batch-size must be at most the 150"],
      ];
      for (const [args, status, message] of cases) {
        const { code, error } = await run(directory, ...args);
        assertEquals(code, status, `${args.join(" ")}: ${error}`);
        assertStringIncludes(error, message);
        assertEquals(error.trimEnd().split("\n").length, 1, error);
      }
      assertEquals([...Deno.readDirSync(join(directory, "runs"))].map(({ name }) => name).sort(), [
        "cut",
        "long",
        "whole",
      ]);
    });
  }));
