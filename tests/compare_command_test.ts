/** `deno task compare` as a user runs it: its own process, a directory of IDX files, exit statuses, Ctrl-C and resuming. */
import { join } from "node:path";
import { init } from "../src/backend.ts";
import type { LabelledImages } from "../src/data/mnist.ts";
import { CONV_KINDS } from "../src/models/mod.ts";
import type { Progress } from "../src/train/progress.ts";
import { compareOptions } from "../src/tasks/compare/options.ts";
import { type FinishedRun, readRecord, writeRecord } from "../src/tasks/compare/record.ts";
import { runComparison } from "../src/tasks/compare/runs.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "./assert.ts";
import { DATA, first, FLAGS, inTemporary, measured } from "./support/compare_runs.ts";

const ROOT = new URL("..", import.meta.url).pathname;

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

function silent(update: Progress["update"] = () => {}): Progress {
  return { update, log: () => {}, stop: () => {} };
}

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
    await Deno.mkdir(join(directory, "few"));
    await writeIdx(join(directory, "few"), "train", first(DATA.train, 100));
    await writeIdx(join(directory, "few"), "t10k", DATA.test);
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
        [["--resume", "runs/none"], 1, "Cannot resume runs/none: it must hold comparison.json, got none"],
        [
          ["--resume", "runs/whole", "--data", "few"],
          1,
          "the data must be images, 150 + 60 images of 28 x 28, got few, 100 + 60 images of 28 x 28",
        ],
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
