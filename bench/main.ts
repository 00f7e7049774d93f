/**
 * `deno task bench`: ops and layers on every backend, beside the adapter's limits, PyTorch and TensorFlow.js.
 * @module
 */
import { shutdown } from "../mod.ts";
import { say } from "../src/tasks/terminal.ts";
import { defineCommand, type ParsedCommand, runCommand, usageError } from "../src/train/cli.ts";
import { blockTable, runBlocks } from "./blocks.ts";
import { CASES } from "./cases.ts";
import { claimLines, drawGrowth, growthTable, markdownSweep } from "./growth.ts";
import { type HostTimes, measureLatency, measureStep } from "./host.ts";
import { markdownModels, modelText } from "./model_report.ts";
import { runModels } from "./models.ts";
import * as report from "./report.ts";
import { describeOp, opsOf } from "./rows.ts";
import { openWebgpu, runSuite } from "./suite.ts";
import { runSweep, sweepSettings } from "./sweep.ts";

/** Keeps `deno fmt` from generated files. */
const UNFORMATTED = "<!-- deno-fmt-ignore-file -->";
/** Opens the generated sections' file. */
const TITLE =
  `${UNFORMATTED}\n\n# Results of the bench\n\nEvery section is written by the command that it names.\n`;

const options = [
  {
    name: "backend",
    type: "choice",
    choices: ["all", "webgpu", "tfjs"],
    default: "all",
    description: "What to time. Stock TensorFlow.js on the same engine comes along.",
  },
  {
    name: "filter",
    type: "string",
    description:
      'Only ops whose description contains this: "convolution", "gauss", "layer forward v0 96 x 56".',
  },
  {
    name: "dtype",
    type: "choice",
    choices: ["float32", "float16"],
    default: "float32",
    description: "float16: WebGPU's convolutions and layers in float16, too, in turns with float32.",
  },
  {
    name: "quick",
    type: "boolean",
    description: "The poster's layer and one smaller plane, short series: under 2 minutes on 2 cores.",
  },
  {
    name: "sweep",
    type: "boolean",
    description:
      "How layers grow with batch, channels, plane, size and count, in place of the ops. WebGPU only.",
  },
  {
    name: "blocks",
    type: "boolean",
    description:
      "What follows the depthwise layer in ConvNeXt-T's blocks, fused and layer by layer, in place of the ops. WebGPU only.",
  },
  {
    name: "models",
    type: "boolean",
    description: "Whole ConvNeXt models in place of the ops: inference, training steps, a new process.",
  },
  { name: "json", type: "path", description: "Write everything that was measured to this file." },
  {
    name: "results",
    type: "path",
    description:
      "Replace the generated section of this Markdown file, and draw growth.svg beside it with --sweep.",
  },
] as const;

/** The command line of `deno task bench`. */
export const benchCommand = defineCommand({
  name: "deno task bench",
  summary:
    "Measures the adapter's copy bandwidth and FMA rate, then times construction, convolution, their gradients " +
    "and whole layers on every backend, each compared with float64 first. Exit status 1 where one is wrong.",
  options,
  examples: [
    { line: "deno task bench --quick", does: "the essentials" },
    {
      line: "deno task bench --filter convolution --json bench.json",
      does: "the convolution alone, kept as JSON",
    },
    { line: "deno task bench --results bench/RESULTS.md", does: "everything, and its page" },
    {
      line: "deno task bench --sweep --results bench/RESULTS.md",
      does: "how the time grows, and its picture",
    },
    { line: "deno task bench --blocks --results bench/RESULTS.md", does: "ConvNeXt's blocks" },
    { line: "deno task bench --models --results bench/RESULTS.md", does: "ConvNeXt models" },
  ],
});

type Values = ParsedCommand<typeof options>["values"];

/** Progress, to the standard error: the standard output is the report's. */
function note(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

function surroundings(loadBefore: number): report.Surroundings {
  return {
    command: ["deno task bench", ...Deno.args].join(" "),
    date: new Date().toISOString().slice(0, 10),
    deno: Deno.version.deno,
    cores: navigator.hardwareConcurrency,
    loadBefore,
    loadAfter: Deno.loadavg()[0],
  };
}

async function readOr(path: string, otherwise: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return otherwise;
    throw error;
  }
}

/** Writes the section; a file that is not there yet begins with its title. */
async function writeSection(path: string, name: string, body: string): Promise<void> {
  await Deno.writeTextFile(path, report.withSection(await readOr(path, TITLE), name, body));
  say(`written to ${path}`);
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
  say(`written to ${path}`);
}

function print(title: string, table: report.Table): void {
  if (table.rows.length === 0) return;
  say();
  say(title);
  for (const line of report.textOf(table)) say(line);
}

async function bench({ backend, dtype, filter = "", quick, json, results }: Values): Promise<number> {
  const known = CASES.some((benched) =>
    benched.versions.some((version) =>
      opsOf(benched, version, quick).some((op) => describeOp(benched, version, op).includes(filter))
    )
  );
  if (!known) throw usageError(`--filter must be part of an op's description, got "${filter}"`);
  const loadBefore = Deno.loadavg()[0];
  const { result: suite, webgpu } = await runSuite({
    cases: CASES,
    quick,
    dtype,
    backends: backend === "all" ? ["webgpu", "tfjs"] : [backend],
    filter,
    effort: quick ? { rounds: 2, milliseconds: 60 } : { rounds: 4, milliseconds: 150 },
    note,
  });
  const host: HostTimes[] = [];
  if (webgpu && filter === "") {
    note("JavaScript's part");
    host.push(
      await measureStep(webgpu.info.software, quick ? 5 : 20),
      await measureLatency(webgpu.info.software, quick ? 20 : 200),
      await measureLatency(webgpu.info.software, quick ? 20 : 200, "recorded, quick reads"),
    );
  }
  const all: report.BenchReport = { surroundings: surroundings(loadBefore), suite, host };
  for (const line of [...report.surroundingsLines(all.surroundings), ...report.adapterLines(suite)]) {
    say(line);
  }
  for (const problem of suite.problems) say(`note         ${problem}`);
  print("Every op", report.opTable(suite));
  print("float16 beside float32", report.halfTable(suite));
  print("Against stock tfjs's convolution alone", report.rivalTable(suite));
  if (suite.software !== null) {
    print("Against PyTorch and the targets", report.targetTable(suite, suite.software ? "cpu" : "gpu"));
  }
  print("JavaScript's part", report.hostTable(host));
  print("Where the time goes", report.kernelTable(suite));
  print("Pipelines, ms to make", report.pipelineTable(suite));
  say();
  say(report.explanation().replaceAll("`", ""));
  if (json) await writeJson(json, all);
  if (results) await writeSection(results, "ops", report.markdownReport(all));
  webgpu?.adapter.dispose();
  return suite.problems.some((problem) => problem.startsWith("wrong")) ? 1 : 0;
}

async function sweep({ backend, dtype, filter, quick, json, results }: Values): Promise<number> {
  if (backend === "tfjs") throw usageError("--sweep must run on WebGPU, got --backend tfjs");
  if (filter !== undefined) throw usageError("--filter must not be given with --sweep");
  if (dtype === "float16") throw usageError("--sweep must run in float32, got --dtype float16");
  const loadBefore = Deno.loadavg()[0];
  const webgpu = await openWebgpu();
  if (!webgpu) throw new Error("Cannot sweep: no WebGPU adapter answers");
  const { software, adapter: name } = webgpu.info;
  const settings = sweepSettings(software).filter(({ version, count }) =>
    !quick || (count === 34 && (version === "v0" || version === "gauss"))
  );
  const effort = quick ? { rounds: 1, milliseconds: 50 } : { rounds: 3, milliseconds: 150 };
  const points = await runSweep(webgpu, settings, effort, note);
  const adapter = { adapter: name, software, limits: webgpu.adapter.limits };
  const around = surroundings(loadBefore);
  for (const line of [...report.surroundingsLines(around), ...report.adapterLines(adapter)]) say(line);
  print("Growth", growthTable(points));
  say();
  for (const line of claimLines(points)) say(line);
  if (json) await writeJson(json, { surroundings: around, ...adapter, points });
  if (results) {
    const picture = new URL("growth.svg", new URL(results, `file://${Deno.cwd()}/`));
    await Deno.writeTextFile(picture, `${UNFORMATTED}\n${await drawGrowth(points, name)}\n`);
    await writeSection(results, "growth", markdownSweep(points, around, adapter));
  }
  webgpu.adapter.dispose();
  return 0;
}

async function blocks({ backend, dtype, filter, quick, json, results }: Values): Promise<number> {
  if (backend === "tfjs") throw usageError("--blocks must run on WebGPU, got --backend tfjs");
  if (filter !== undefined) throw usageError("--filter must not be given with --blocks");
  if (dtype === "float16") throw usageError("--blocks must run in float32, got --dtype float16");
  const loadBefore = Deno.loadavg()[0];
  const webgpu = await openWebgpu();
  if (!webgpu) throw new Error("Cannot time blocks: no WebGPU adapter answers");
  const effort = quick ? { rounds: 1, milliseconds: 50 } : { rounds: 4, milliseconds: 150 };
  const rows = await runBlocks(webgpu, effort, note);
  const adapter = {
    adapter: webgpu.info.adapter,
    software: webgpu.info.software,
    limits: webgpu.adapter.limits,
  };
  const lines = [...report.surroundingsLines(surroundings(loadBefore)), ...report.adapterLines(adapter)];
  for (const line of lines) say(line);
  print("Blocks", blockTable(rows));
  if (json) await writeJson(json, { surroundings: surroundings(loadBefore), ...adapter, rows });
  if (results) {
    const body = ["## Blocks", "", "```", ...lines, "```", "", ...report.markdownOf(blockTable(rows))];
    await writeSection(results, "blocks", body.join("\n"));
  }
  webgpu.adapter.dispose();
  return 0;
}

async function models({ backend, dtype, filter, quick, json, results }: Values): Promise<number> {
  if (filter !== undefined) throw usageError("--filter must not be given with --models");
  if (dtype === "float16") throw usageError("--models times float16 beside float32, got --dtype float16");
  const loadBefore = Deno.loadavg()[0];
  const { result, webgpu } = await runModels({
    backends: backend === "all" ? ["webgpu", "tfjs"] : [backend],
    image: quick ? 64 : 224,
    quick,
    effort: quick ? { rounds: 1, milliseconds: 200 } : { rounds: 3, milliseconds: 1000 },
    note,
  });
  const adapter = {
    adapter: webgpu?.info.adapter ?? null,
    software: webgpu?.info.software ?? null,
    limits: webgpu?.adapter.limits ?? null,
  };
  const around = surroundings(loadBefore);
  for (const line of [...report.surroundingsLines(around), ...report.adapterLines(adapter)]) say(line);
  for (const line of modelText(result, adapter.software)) say(line);
  if (json) await writeJson(json, { surroundings: around, ...adapter, ...result });
  if (results) await writeSection(results, "models", markdownModels(result, around, adapter));
  webgpu?.adapter.dispose();
  return result.problems.some((problem) => problem.startsWith("wrong")) ? 1 : 0;
}

async function main({ values }: ParsedCommand<typeof options>): Promise<number> {
  try {
    const runs = { sweep, blocks, models };
    const [mode, other] = (["sweep", "blocks", "models"] as const).filter((name) => values[name]);
    if (other) throw usageError(`--${mode} must not be given with --${other}`);
    return await (mode ? runs[mode] : bench)(values);
  } finally {
    shutdown();
  }
}

if (import.meta.main) await runCommand(benchCommand, main);
