/**
 * `deno task births`: two learnable delays find the week in twenty years of daily births.
 * @module
 */
import { join } from "node:path";
import { init } from "../backend.ts";
import { loadBirths } from "../data/births.ts";
import { writeFileAtomic } from "../io/files.ts";
import {
  type CommandValues,
  defineCommand,
  type ParsedCommand,
  runCommand,
  usageError,
} from "../train/cli.ts";
import { onInterrupt } from "../train/interrupt.ts";
import { drawLags } from "../train/pictures.ts";
import { createProgress, type Progress } from "../train/progress.ts";
import { daysFromWeek, type LearnedRun, learnLags } from "./births/learn.ts";
import { prepareSeries } from "./births/series.ts";
import { backendOption } from "./options.ts";
import { formatSeconds, say, tableLines } from "./terminal.ts";

/** What counts as found: lags so close to whole weeks, and an error so many times below the frozen lags'. */
const NEAR = 0.15, FACTOR = 3, SHARE = 0.75;

const options = [
  {
    name: "seeds",
    type: "integer",
    min: 1,
    max: 64,
    default: 4,
    description: "How many runs, each from other lags.",
  },
  {
    name: "seed",
    type: "integer",
    min: 0,
    max: 2 ** 32 - 1,
    default: 0,
    description: "The first run's seed; the next ones count up from it.",
  },
  {
    name: "steps",
    type: "integer",
    min: 1,
    max: 100_000,
    default: 200,
    description: "Steps of each training; every step sees all training days.",
  },
  backendOption,
  {
    name: "out",
    type: "path",
    default: "runs/births",
    description: "Directory of the picture and the figures.",
  },
] as const;

/** The command line of `deno task births`. */
export const birthsCommand = defineCommand({
  name: "deno task births",
  summary:
    "Learns at which lags the past tells today's number of births in the United States (1969 to 1988): a causal " +
    "Dcls1d with two Gaussian elements whose spread narrows as it learns. The lags go to whole weeks. Exit status " +
    "1 unless three quarters of the runs find the week: both lags within 0.15 days of whole weeks, and a test " +
    "error at least 3 times below that of the same lags frozen where they started.",
  options,
  examples: [
    { line: "deno task births", does: "four runs, a table, and a picture in runs/births/" },
    { line: "deno task births --seeds 16 --out runs/births-16", does: "sixteen runs side by side" },
  ],
});

/** Whether a run found the week. */
export function foundWeek({ lags, learnedError, frozenError }: LearnedRun): boolean {
  return lags.every((lag) => daysFromWeek(lag) <= NEAR) && frozenError >= FACTOR * learnedError;
}

function table(runs: readonly LearnedRun[]): string[] {
  const list = (lags: readonly number[]): string => lags.map((lag) => lag.toFixed(2)).join(" / ");
  return tableLines([
    ["seed", "start (days)", "learned lags", "test MSE", "frozen", "ratio", "verdict"],
    ...runs.map((run) => [
      String(run.seed),
      list(run.start),
      list(run.lags),
      run.learnedError.toFixed(3),
      run.frozenError.toFixed(3),
      `${(run.frozenError / run.learnedError).toFixed(1)}x`,
      foundWeek(run) ? "found the week" : "did not",
    ]),
  ], [6]);
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw usageError(`Cannot run ${birthsCommand.name}: --out must be a directory, got the file ${path}`);
  }
}

async function main({ values }: ParsedCommand<typeof options>): Promise<number> {
  const started = performance.now();
  const { seeds: count, seed, steps, backend, out }: CommandValues<typeof options> = values;
  await makeDirectory(out);
  const births = await loadBirths();
  const series = prepareSeries(births.counts);
  const info = await init({ backend });
  const days = series.values.length;
  say(`backend   ${info.name} (${info.adapter}${info.software ? ", on the CPU" : ""})`);
  say(
    `data      ${days} daily births from ${births.start}: logarithm, minus the training days' linear trend, in their ` +
      "standard deviations",
  );
  say(
    `split     in time: ${series.trainingDays} days to learn from, the ${
      days - series.trainingDays
    } after them to test`,
  );
  const interrupt = onInterrupt();
  let progress: Progress | undefined;
  let runs: LearnedRun[];
  try {
    runs = await learnLags(series, {
      seeds: Array.from({ length: count }, (_, i) => seed + i),
      steps,
      report: (lags, step, loss) => {
        progress ??= createProgress({ total: steps, label: `${lags} lags` });
        progress.update({ step, epoch: 1, loss });
        if (step < steps) return;
        progress.stop();
        progress = undefined;
      },
      signal: interrupt.signal,
    });
  } finally {
    progress?.stop();
    interrupt.dispose();
  }
  for (const line of table(runs)) say(line);
  const picture = join(out, "lags.svg");
  await writeFileAtomic(picture, await drawLags(runs));
  await writeFileAtomic(
    join(out, "lags.json"),
    `${JSON.stringify({ backend: info.name, adapter: info.adapter, steps, runs }, null, 2)}\n`,
  );
  const found = runs.filter(foundWeek).length;
  say(`picture   ${picture}`);
  say(
    `${found} of ${runs.length} runs found the week: lags within ${NEAR} days of whole weeks, error at least ${FACTOR} ` +
      `times below frozen lags (${formatSeconds((performance.now() - started) / 1000)})`,
  );
  return found >= SHARE * runs.length ? 0 : 1;
}

if (import.meta.main) await runCommand(birthsCommand, main);
