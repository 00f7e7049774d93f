/** Training runs on a tiny data set: resuming, stopping, diagnosing, and what is written. */
import { join } from "node:path";
import type { ImageDataset, LabelledImages } from "../src/data/mnist.ts";
import { readSafetensors } from "../src/io/mod.ts";
import { memory } from "../src/backend.ts";
import { createRandom } from "../src/random.ts";
import { loadCheckpoint } from "../src/train/checkpoint.ts";
import { parseCommand } from "../src/train/cli.ts";
import { checkConfig, configOf, resumedConfig, type TrainConfig } from "../src/train/config.ts";
import { readMetrics } from "../src/train/metrics.ts";
import { trainCommand } from "../src/train/train_options.ts";
import type { Progress } from "../src/train/progress.ts";
import { train, type TrainOptions, type TrainResult } from "../src/train/trainer.ts";
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

const SIZE = 8;

/** Images of ten classes that differ in where a bright square lies. */
function images(count: number, seed: number): LabelledImages {
  const random = createRandom(seed);
  const pixels = new Uint8Array(count * SIZE * SIZE);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    const label = labels[i] = random.integer(10);
    for (let p = 0; p < SIZE * SIZE; p++) pixels[i * SIZE * SIZE + p] = random.integer(60);
    const corner = 2 * Math.floor(label / 3) * SIZE + 2 * (label % 3);
    for (const p of [0, 1, SIZE, SIZE + 1]) pixels[i * SIZE * SIZE + corner + p] = 255;
  }
  return { images: pixels, labels, count };
}

const DATA: ImageDataset = {
  name: "squares",
  train: images(62, 1),
  test: images(23, 2),
  rows: SIZE,
  columns: SIZE,
};

/** 12 steps: two epochs of six batches; two images of each epoch are left out. */
const FLAGS =
  "--epochs 2 --batch-size 10 --checkpoint-every 4 --dims 4,6 --kernel-size 3 --dilated-kernel-size 5";

function configFrom(flags: string): TrainConfig {
  return configOf(parseCommand(trainCommand, `${FLAGS} ${flags}`.trim().split(" ")));
}

async function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "dcls-train-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Trains until the first reading at or after `stopAt` steps. */
async function run(
  directory: string,
  flags: string,
  stopAt = Infinity,
  more: Partial<TrainOptions> = {},
): Promise<
  TrainResult & { log: string[] }
> {
  await Deno.mkdir(directory, { recursive: true });
  const controller = new AbortController();
  const log: string[] = [];
  const progress: Progress = {
    update: ({ step }) => step >= stopAt && controller.abort(),
    log: (line) => log.push(line),
    stop: () => {},
  };
  const result = await train({
    config: configFrom(flags),
    data: DATA,
    directory,
    signal: controller.signal,
    progress: () => progress,
    ...more,
  });
  return { ...result, log };
}

/** The losses of a run, and what its evaluations found. */
async function results(directory: string): Promise<unknown[]> {
  const { steps, evaluations } = await readMetrics(join(directory, "metrics.jsonl"));
  return [
    ...steps,
    ...evaluations.map(({ step, testAccuracy, testLoss }) => ({ step, testAccuracy, testLoss })),
  ];
}

testBackends(
  "a run that was stopped and resumed, or killed, gives the same losses bit for bit",
  () =>
    inTemporary(async (base) => {
      const [whole, cut, killed] = ["whole", "cut", "killed"].map((name) => join(base, name));
      const flags = "--version gauss --seed 5";
      const result = await run(whole, flags);
      assertEquals([result.stopped, result.step, result.totalSteps], [false, 12, 12]);
      const expected = await results(whole);
      assertEquals(expected.length, 12 + 2);

      const stopped = await run(cut, flags, 8); // in the middle of the second epoch
      assertEquals([stopped.stopped, stopped.step, stopped.pictures.length], [true, 8, 0]);
      const checkpoint = await loadCheckpoint(cut);
      assertEquals(checkpoint.step, 8);
      const resumed = await run(cut, flags, Infinity, { checkpoint, config: checkpoint.config });
      assertEquals([resumed.stopped, resumed.testAccuracy], [false, result.testAccuracy]);
      assertEquals(await results(cut), expected);
      const [a, b] = [whole, cut].map((directory) =>
        readSafetensors(Deno.readFileSync(join(directory, "checkpoint.safetensors")))
      );
      assertEquals(b.tensors, a.tensors);

      await run(killed, flags, 4);
      const path = join(killed, "metrics.jsonl");
      const later = '{"step":5,"epoch":1,"loss":9,"accuracy":0,"learningRate":1}\n{"step":6,"epo'; // a torn line
      await Deno.writeTextFile(path, later, { append: true });
      await run(killed, flags, Infinity, { checkpoint: await loadCheckpoint(killed) });
      assertEquals(await results(killed), expected);

      const other = join(base, "other");
      await run(other, "--version gauss --seed 6");
      assertNotEquals(await results(other), expected);
    }),
  ["webgpu", "tfjs"],
);

testBackends("a run stopped during an evaluation goes on with it", () =>
  inTemporary(async (base) => {
    const [whole, cut] = [join(base, "whole"), join(base, "cut")];
    await run(whole, "");
    assertEquals((await run(cut, "", 6)).stopped, true); // the end of the first epoch
    assertEquals((await readMetrics(join(cut, "metrics.jsonl"))).evaluations.length, 0);
    await run(cut, "", Infinity, { checkpoint: await loadCheckpoint(cut) });
    const accuracies = async (directory: string): Promise<number[]> =>
      (await readMetrics(join(directory, "metrics.jsonl"))).evaluations.map((evaluation) => evaluation.step);
    assertEquals(await accuracies(cut), [6, 12]);
    assertEquals(await accuracies(whole), [6, 12]);
    const done = await run(cut, "", Infinity, { checkpoint: await loadCheckpoint(cut) }); // nothing left to do
    assertEquals([done.stopped, done.step, done.imagesPerSecond], [false, 12, null]);
  }), ["reference"]);

testBackends("what a run writes, prints and gives back", () =>
  inTemporary(async (directory) => {
    const before = memory();
    const result = await run(directory, "");
    assertEquals(memory().buffers, before.buffers);
    assertEquals(memory().bytes, before.bytes);
    const files = [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
    assertEquals(files, [
      ...["checkpoint.safetensors", "curves.svg", "kernels.svg", "metrics.jsonl"],
      ...["position-map.svg", "positions.svg"],
    ]);
    assertEquals([...result.pictures].sort(), files.filter((name) => name.endsWith(".svg")));
    for (const name of result.pictures) {
      assertMatch(Deno.readTextFileSync(join(directory, name)), /^<svg[^]*<\/svg>/);
    }
    assertEquals(result.log.length, 2);
    assertMatch(result.log[0], /^epoch 1: test accuracy \d+\.\d\d %, test loss \d\.\d{4}$/);
    assert(result.imagesPerSecond! > 0);
    const { steps, evaluations } = await readMetrics(join(directory, "metrics.jsonl"));
    assertEquals(
      steps.map(({ step }) => step),
      Array.from({ length: 12 }, (_, i) => i + 1),
    );
    assertEquals(steps.map(({ epoch }) => epoch), [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    assertEquals(evaluations.at(-1)!.testAccuracy, result.testAccuracy);
    assert(Number.isInteger(Math.round(result.testAccuracy! * 23 * 1e6) / 1e6)); // of all 23 test images
    const { config, data } = await loadCheckpoint(directory);
    assertEquals(config, JSON.parse(JSON.stringify(configFrom(""))));
    assertEquals(data, "squares, 62 + 23 images of 8 x 8");
  }));

testBackends(
  "it learns, with every kind of layer; the loss of every technique is minimised",
  () =>
    inTemporary(async (base) => {
      const first = new Map<string, number>();
      for (
        const flags of [
          ...["", "--conv standard", "--conv dilated", "--version v1", "--version max", "--repulsive-loss 1"],
          ...["--no-share-positions --depths 2,1", "--no-clamp --position-rate 0", "--label-smoothing 0"],
        ]
      ) {
        const directory = join(base, flags.replaceAll(" ", "_") || "default");
        const result = await run(directory, `--epochs 8 --learning-rate 0.02 ${flags}`);
        const losses = (await readMetrics(join(directory, "metrics.jsonl"))).steps.map(({ loss }) => loss);
        first.set(flags, losses[0]);
        assert(losses.at(-1)! < 0.8 * losses[0], `${flags}: ${losses[0]} to ${losses.at(-1)}`);
        assertEquals(result.kernelCount !== null, !flags.includes("--conv"), flags);
        assertEquals(result.pictures.includes("positions.svg"), result.kernelCount !== null);
      }
      assert(first.get("--repulsive-loss 1")! > first.get("")!);
      assert(first.get("--label-smoothing 0") !== first.get(""));
    }),
  ["reference"],
);

testBackends(
  "frozen positions stay where they began, clamped ones in their kernel",
  () =>
    inTemporary(async (base) => {
      const positions = async (name: string, flags: string): Promise<Float32Array> => {
        const directory = join(base, name);
        await run(directory, flags);
        return Float32Array.from(
          (await loadCheckpoint(directory)).model["stages.0.0.dwconv.P"].data as Float32Array,
        );
      };
      const frozen = await positions("frozen", "--position-rate 0");
      const wide = "--learning-rate 0.1 --position-rate 30";
      assertEquals(frozen, await positions("longer", "--position-rate 0 --epochs 3"));
      assert((await positions("clamped", wide)).every((p) => Math.abs(p) <= 2));
      assert((await positions("free", `${wide} --no-clamp`)).some((p) => Math.abs(p) > 2));
    }),
  ["reference"],
);

testBackends(
  "a loss that is not finite stops the run, naming step and layer; the checkpoint stays",
  () =>
    inTemporary(async (directory) => {
      const flags = "--learning-rate 1e25 --warmup 0";
      const error = await assertRejects(() => run(directory, flags), Error);
      assertMatch(
        error.message,
        /^Cannot go on training: the loss must be finite, got (NaN|Infinity) at step \d+; the first value that is not finite came at step \d+ in .*(downsample_layers|stages|head)[\w.]*.*\. Most often a smaller --learning-rate helps/,
      );
      const { steps } = await readMetrics(join(directory, "metrics.jsonl"));
      assert(steps.every(({ loss }) => Number.isFinite(loss)));
      await assertRejects(
        () => loadCheckpoint(directory),
        Error,
        "must hold checkpoint.safetensors, got none",
      );
    }),
);

testBackends(
  "a checkpoint that does not fit is refused before anything is changed",
  () =>
    inTemporary(async (base) => {
      const directory = join(base, "run");
      await run(directory, "", 4);
      const checkpoint = await loadCheckpoint(directory);
      const wider = run(directory, "--dims 4,8", Infinity, { checkpoint });
      await assertRejects(() => wider, RangeError, "Cannot load a state into ConvNeXt");
      const data = { ...DATA, name: "circles" };
      await assertRejects(
        () => run(directory, "", Infinity, { checkpoint, data }),
        Error,
        "the data must be squares, 62 + 23 images of 8 x 8, got circles",
      );
      assertEquals((await readMetrics(join(directory, "metrics.jsonl"))).steps.length, 4);

      const path = join(directory, "checkpoint.safetensors");
      const bytes = await Deno.readFile(path);
      await Deno.writeFile(path, bytes.subarray(0, 5000));
      const torn = await assertRejects(() => loadCheckpoint(directory), Error);
      assertStringIncludes(torn.message, `Cannot resume ${directory}: ${path} must be a whole checkpoint`);
      assertStringIncludes(torn.message, "is the file truncated?");
      await Deno.writeFile(path, bytes);
      await assertRejects(
        () => run(directory, "--batch-size 63"),
        RangeError,
        "--batch-size must be at most the 62 training images",
      );
    }),
  ["reference"],
);

testBackends(
  "a disk that cannot be written ends the run with the file's name",
  () =>
    inTemporary(async (base) => {
      const gone = join(base, "run");
      await assertRejects(
        () =>
          run(gone, "", Infinity, {
            progress: () => {
              Deno.removeSync(gone);
              return { update: () => {}, log: () => {}, stop: () => {} };
            },
          }),
        Error,
        `Cannot write ${join(gone, "metrics.jsonl")}`,
      );
    }),
  ["reference"],
);

Deno.test("train config: what a file may hold, what a resumed run may change", () => {
  const config = configFrom("--data images --kernel-count 3 --drop-path-rate 0.1");
  assertEquals(checkConfig("x", JSON.parse(JSON.stringify(config))), config);
  assertEquals(checkConfig("x", JSON.parse(JSON.stringify(configFrom("")))).data, undefined);
  const refused: [object, string][] = [
    [{ ...config, epochs: "2" }, 'Cannot read the config of x: epochs must be a integer, got "2"'],
    [{ ...config, conv: "sparse" }, "conv must be dcls, standard, dilated"],
    [{ ...config, clamp: 1 }, "clamp must be a boolean, got 1"],
    [{}, "backend must be"],
  ];
  for (const [value, message] of refused) assertThrows(() => checkConfig("x", value), Error, message);
  assertThrows(() => checkConfig("x", null), Error, "it must be an object, got null");

  const given = (line: string): ReturnType<typeof parseCommand<typeof trainCommand.options>> =>
    parseCommand(trainCommand, line.split(" "));
  assertEquals(resumedConfig(config, given("--resume runs/a")), config);
  assertEquals(resumedConfig(config, given("--resume runs/a --data other")).data, "other");
  assertThrows(
    () => resumedConfig(config, given("--resume runs/a --epochs 9")),
    RangeError,
    "Cannot resume with --epochs: a resumed run keeps its own options, got 9",
  );
  assertThrows(() => configOf(given("--dims 4,x")), RangeError, "--dims must be positive integers");
});
