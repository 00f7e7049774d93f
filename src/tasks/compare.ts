/**
 * `deno task compare`: the same network with three kinds of depthwise layers.
 * @module
 */
import { join } from "node:path";
import { init } from "../backend.ts";
import { type ImageDataset, loadMnist } from "../data/mnist.ts";
import { writeFileAtomic } from "../io/files.ts";
import { CONV_KINDS, type ConvKind } from "../models/mod.ts";
import { runCommand, usageError } from "../train/cli.ts";
import { onInterrupt } from "../train/interrupt.ts";
import { drawComparison } from "../train/pictures.ts";
import { createProgress, type Progress } from "../train/progress.ts";
import { describeData, percent } from "../train/trainer.ts";
import {
  type CompareArguments,
  compareCommand,
  configWith,
  describeKernel,
  type SharedConfig,
  sharedConfig,
} from "./compare/options.ts";
import { type ComparisonRecord, type FinishedRun, readRecord, writeRecord } from "./compare/record.ts";
import { runComparison, warmUp } from "./compare/runs.ts";
import { makeDirectory, newDirectory } from "./runs.ts";
import { formatSeconds, say, tableLines } from "./terminal.ts";

/** What a command line asks for. */
interface Job {
  readonly directory: string;
  readonly config: SharedConfig;
  /** Of the comparison that is continued. */
  readonly record: ComparisonRecord | null;
}

/** A new comparison's job; writes nothing. */
async function newJob(parsed: CompareArguments): Promise<Job> {
  const config = sharedConfig(parsed);
  const directory = await newDirectory(compareCommand.name, "compare", parsed.values.name);
  return { directory, config, record: null };
}

/** A continued comparison's job: its own options, but for the place of the images. */
async function resumedJob(path: string, { values, given }: CompareArguments): Promise<Job> {
  const directory = path.replace(/\/+$/, "") || "/";
  for (const key of given) {
    if (key === "resume" || key === "data") continue;
    const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw usageError(
      `Cannot resume with --${flag}: a resumed comparison keeps its own options, got ${values[key]}`,
    );
  }
  const record = await readRecord(directory);
  return {
    directory,
    config: given.has("data") ? { ...record.config, data: values.data } : record.config,
    record,
  };
}

/** The directory and the record of a comparison that begins. */
async function begin(directory: string, record: ComparisonRecord): Promise<void> {
  await makeDirectory(compareCommand.name, directory);
  await writeRecord(directory, record);
}

/** `1,234`. */
function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** The table that it all is for. */
export function comparisonTable(runs: readonly FinishedRun[]): string[] {
  return tableLines([
    ["conv", "parameters", "kernel", "test accuracy", "images/s"],
    ...runs.map(({ conv, parameters, kernel, testAccuracy, imagesPerSecond }) => [
      conv,
      count(parameters),
      kernel,
      percent(testAccuracy),
      count(imagesPerSecond),
    ]),
  ], [0, 2]);
}

/** A progress line that says whose it is, in what it logs too. */
function progressOf(conv: ConvKind, total: number, startStep: number, epochs: number): Progress {
  const label = `${conv} ${CONV_KINDS.indexOf(conv) + 1}/${CONV_KINDS.length}`;
  const progress = createProgress({ total, startStep, label, epochs });
  return { ...progress, log: (line) => progress.log(`${label}  ${line}`) };
}

/** The picture and the last lines. */
async function conclude(
  directory: string,
  { config, runs }: ComparisonRecord,
  data: ImageDataset,
): Promise<void> {
  const picture = join(directory, "comparison.svg");
  const epochs = `${config.epochs} epoch${config.epochs === 1 ? "" : "s"}`;
  const rows = runs.map(({ testAccuracy: accuracy, ...run }) => ({ ...run, accuracy }));
  await writeFileAtomic(picture, await drawComparison(rows, `${data.name}, seed ${config.seed}, ${epochs}`));
  for (const line of ["", ...comparisonTable(runs), ""]) say(line);
  const error = Math.max(...runs.map(({ testAccuracy: p }) => Math.sqrt(p * (1 - p) / data.test.count)));
  const points = (100 * error).toFixed(2);
  say(`standard error of these accuracies: ${points} points; --seed shows what other initial values do`);
  say(`picture   ${picture}`);
}

/** Runs the command; its exit status. */
export async function compare(parsed: CompareArguments): Promise<number> {
  const { resume } = parsed.values;
  const started = performance.now();
  const job = resume === undefined ? await newJob(parsed) : await resumedJob(resume, parsed);
  const { directory } = job;
  const interrupt = onInterrupt({
    onRequest: () => say("\nstopping after this step; once more ends at once"),
  });
  try {
    const info = await init({ backend: job.config.backend });
    const config = { ...job.config, backend: info.name };
    const data = await loadMnist({ directory: config.data });
    const described = describeData(data);
    if (job.record && job.record.data !== described) {
      throw new Error(
        `Cannot resume ${directory}: the data must be ${job.record.data}, got ${described}; give its directory ` +
          "with --data",
      );
    }
    say(`backend   ${info.name} (${info.adapter}${info.software ? ", on the CPU" : ""})`);
    say(
      `data      ${data.name}: ${count(data.train.count)} training and ${count(data.test.count)} test images`,
    );
    const record = { config, adapter: info.adapter, data: described, runs: job.record?.runs ?? [] };
    const options = { record, data, directory, signal: interrupt.signal };
    await warmUp(options);
    if (!job.record) await begin(directory, record);
    say(`results   ${directory}`);
    const result = await runComparison({
      ...options,
      begin: (conv, kept) => {
        const place = `${CONV_KINDS.indexOf(conv) + 1} of ${CONV_KINDS.length}`;
        const kernel = describeKernel(configWith(config, conv));
        say(
          `${conv.padEnd(9)} ${place}: ${kernel}${kept ? `, finished: ${percent(kept.testAccuracy)}` : ""}`,
        );
      },
      progress: (conv, total, startStep) => progressOf(conv, total, startStep, config.epochs),
    });
    if (result.stoppedAt !== null) {
      say(`stopped in ${result.stoppedAt}; ${compareCommand.name} --resume ${directory} goes on`);
      return 130;
    }
    await conclude(directory, result.record, data);
    say(`compared ${CONV_KINDS.join(", ")} in ${formatSeconds((performance.now() - started) / 1000)}`);
    return 0;
  } finally {
    interrupt.dispose();
  }
}

if (import.meta.main) await runCommand(compareCommand, compare);
