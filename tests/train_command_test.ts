/** `deno task train` as a user runs it: its own process, a directory of IDX files, exit statuses and Ctrl-C. */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { createRandom } from "../src/random.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "./assert.ts";

const ROOT = new URL("..", import.meta.url).pathname;
const COUNTS = { train: 120, t10k: 40 };

/** Images of 8 x 8 with a bright square whose place is the class, as MNIST's four files, one of them gzipped. */
async function writeImages(directory: string): Promise<void> {
  await Deno.mkdir(directory);
  const random = createRandom(7);
  for (const [name, count] of Object.entries(COUNTS)) {
    const images = new Uint8Array(16 + count * 64);
    images.set([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 8, 0, 0, 0, 8]);
    const labels = new Uint8Array(8 + count);
    labels.set([0, 0, 8, 1, 0, 0, 0, count]);
    for (let i = 0; i < count; i++) {
      labels[8 + i] = random.integer(10);
      const corner = 16 + i * 64 + 2 * Math.floor(labels[8 + i] / 3) * 8 + 2 * (labels[8 + i] % 3);
      for (const p of [0, 1, 8, 9]) images[corner + p] = 255;
    }
    await Deno.writeFile(join(directory, `${name}-images-idx3-ubyte`), images);
    await Deno.writeFile(join(directory, `${name}-labels-idx1-ubyte.gz`), gzipSync(labels));
  }
}

/** The command in its own process, with the permissions of the task and `directory` as the working directory. */
function command(directory: string, args: readonly string[]): Deno.ChildProcess {
  const task: string = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))).tasks.train.command;
  const permissions = task.split(" ").filter((word) => word.startsWith("--"));
  return new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...permissions,
      "--config",
      join(ROOT, "deno.json"),
      join(ROOT, "src/tasks/train.ts"),
      ...args,
    ],
    cwd: directory,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

async function run(
  directory: string,
  ...args: string[]
): Promise<{ code: number; out: string; error: string }> {
  const { code, stdout, stderr } = await command(directory, args).output();
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { code, out: decode(stdout), error: decode(stderr) };
}

const SMALL = [
  ..."--data images --backend tfjs --batch-size 10 --dims 4,6 --kernel-size 3 --dilated-kernel-size 5".split(
    " ",
  ),
];

async function losses(directory: string, name: string): Promise<number[]> {
  const text = await Deno.readTextFile(join(directory, "runs", name, "metrics.jsonl"));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line)).filter((row) => "loss" in row).map((
    row,
  ) => row.loss);
}

Deno.test("train: runs, Ctrl-C, resuming, mistakes", async (t) => {
  const directory = await Deno.makeTempDir({ prefix: "dcls-command-" });
  await writeImages(join(directory, "images"));
  try {
    await t.step("--help tells every option", async () => {
      const { code, out } = await run(directory, "--help");
      assertEquals(code, 0);
      for (
        const flag of ["--conv", "--data", "--backend", "--resume", "--position-rate", "--repulsive-loss"]
      ) {
        assertStringIncludes(out, flag);
      }
      assertMatch(out, /paper: 5/);
    });

    await t.step("a whole run", async () => {
      const { code, out, error } = await run(directory, ...SMALL, "--name", "whole", "--epochs", "3");
      assertEquals(error, "");
      assertEquals(code, 0);
      assertMatch(out, /DCLS v0, 3 elements in 5x5 \(no more parameters than 3x3\)/);
      assertMatch(out, /^train {2}epoch 3\/3 {2}step 36\/36 {2}100 % {2}loss \d.*images\/s/m);
      assertMatch(out, /\nepoch 1: test accuracy [^]*\nepoch 3: test accuracy /);
      assertMatch(
        out,
        /\ntest accuracy \d+\.\d\d % on 40 images \([\d,]+ parameters, [\d,]+ images\/s, \d+ s\)\n$/,
      );
      const files = [...Deno.readDirSync(join(directory, "runs", "whole"))].map(({ name }) => name).sort();
      assertEquals(files, [
        ...["checkpoint.safetensors", "config.json", "curves.svg", "kernels.svg", "metrics.jsonl"],
        ...["position-map.svg", "positions.svg"],
      ]);
      const config = JSON.parse(Deno.readTextFileSync(join(directory, "runs", "whole", "config.json")));
      assertEquals([config.backend, config.epochs, config.model.kernelCount], ["tfjs", 3, 3]);
    });

    await t.step(
      "Ctrl-C saves and exits with 130; --resume gives the losses of a run never stopped",
      async () => {
        const child = command(directory, [...SMALL, "--name", "cut", "--epochs", "300"]);
        const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
        let out = "";
        while (!/step +\d+\/3600/.test(out)) out += (await reader.read()).value ?? "";
        child.kill("SIGINT");
        for (let part = await reader.read(); !part.done; part = await reader.read()) out += part.value;
        const { code } = await child.status;
        await child.stderr.cancel();
        assertEquals(code, 130);
        assertMatch(out, /stopped at step \d+ of 3600; deno task train --resume runs\/cut goes on/);
        const before = await losses(directory, "cut");
        const step = Number(/stopped at step (\d+)/.exec(out)![1]);
        assertEquals(before.length, step);
        assert(step < 3600);

        // A resumed run that would last is stopped again; what it did in between must be what the first would have done.
        const again = command(directory, ["--resume", "runs/cut"]);
        const lines = again.stdout.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        while (!/step +\d+\/3600/.test(text)) text += (await lines.read()).value ?? "";
        again.kill("SIGTERM");
        for (let part = await lines.read(); !part.done; part = await lines.read()) text += part.value;
        assertEquals((await again.status).code, 130);
        await again.stderr.cancel();
        assertStringIncludes(text, `runs/cut, from step ${step} on`);
        const after = await losses(directory, "cut");
        assert(after.length > before.length);
        assertEquals(after.slice(0, before.length), before);
      },
    );

    await t.step("mistakes name the flag and change nothing", async () => {
      const cases: [string[], number, string][] = [
        [["--epoch", "2"], 2, "did you mean --epochs?"],
        [["--epochs", "0"], 2, '--epochs must be an integer of at least 1, got "0"'],
        [["--conv", "sparse"], 2, "--conv must be"],
        [["--kernel-size", "4"], 2, "--kernel-size must be a positive odd integer, got 4"],
        [["--dims", "4"], 2, "--dims must be one number or 2 of them, got 1"],
        [["--name", "../up"], 2, "--name must be letters"],
        [["--name", "whole"], 2, "runs/<name> must be new, got runs/whole, which exists"],
        [["--resume", "runs/whole", "--seed", "3"], 2, "Cannot resume with --seed"],
        [
          ["--resume", "runs/none"],
          1,
          "Cannot resume runs/none: it must hold checkpoint.safetensors, got none",
        ],
        [
          ["--data", "nowhere", "--name", "x", "--backend", "tfjs"],
          1,
          "nowhere must hold train-images-idx3-ubyte",
        ],
      ];
      for (const [args, status, message] of cases) {
        const { code, error } = await run(directory, ...args);
        assertEquals(code, status, `${args.join(" ")}: ${error}`);
        assertStringIncludes(error, message);
        assertEquals(error.trimEnd().split("\n").length, 1, error);
      }
    });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
