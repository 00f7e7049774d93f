/**
 * The runs of a comparison, one after the other: each in a directory of its own, as `deno task train` would leave it.
 * @module
 */
import { join } from "node:path";
import type { ImageDataset } from "../../data/images.ts";
import { writeFileAtomic } from "../../io/files.ts";
import { CONV_KINDS, type ConvKind } from "../../models/mod.ts";
import { readAll, type Tensor } from "../../tensor.ts";
import { type Checkpoint, CHECKPOINT_FILE, loadCheckpoint } from "../../train/checkpoint.ts";
import { checkConfig, type TrainConfig } from "../../train/config.ts";
import { Learner } from "../../train/learner.ts";
import { cutMetrics, readMetrics } from "../../train/metrics.ts";
import type { Progress } from "../../train/progress.ts";
import { train } from "../../train/trainer.ts";
import { networkSpec } from "../runs.ts";
import { configWith, describeKernel } from "./options.ts";
import { type ComparisonRecord, type FinishedRun, writeRecord } from "./record.ts";

/** What {@link runComparison} is given. */
export interface ComparisonOptions {
  /** Where the comparison stands. */
  readonly record: ComparisonRecord;
  readonly data: ImageDataset;
  /** Where results go; must exist. */
  readonly directory: string;
  /** Stops after the present step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Makes the progress line of a run. */
  readonly progress?: (conv: ConvKind, total: number, startStep: number) => Progress;
  /** Told of a run before it begins or goes on, and of one that is kept as it is. */
  readonly begin?: (conv: ConvKind, kept: FinishedRun | null) => void;
}

/** How far a comparison came. */
export interface ComparisonResult {
  /** As it was last written. */
  readonly record: ComparisonRecord;
  /** Where `signal` stopped it: `dilated at step 12 of 600`; null where it came to its end. */
  readonly stoppedAt: string | null;
}

/** The runs that are not finished. */
export function openRuns({ runs }: ComparisonRecord): ConvKind[] {
  return CONV_KINDS.filter((conv) => !runs.some((run) => run.conv === conv));
}

/** An error of one of the runs, saying which. */
function failureOf(conv: ConvKind, error: unknown, fix = ""): unknown {
  // Nobody reads the output any more: that is not the run's failure.
  if (error instanceof Deno.errors.BrokenPipe) return error;
  return new Error(`Cannot compare: the run with ${conv} failed${fix}`, { cause: error });
}

/**
 * One step of every network that is still to be trained, thrown away. It finds what cannot run before anything is
 * written, and leaves compiled kernels, so that the first run's speed does not bear what all three share.
 * @throws {Error} that names the convolution
 */
export async function warmUp({ record, data, signal }: ComparisonOptions): Promise<void> {
  for (const conv of openRuns(record)) {
    if (signal?.aborted) return;
    const scalars: Tensor[] = [];
    let learner: Learner | null = null;
    try {
      learner = new Learner(configWith(record.config, conv), data);
      const { loss, correct } = learner.gradients(0);
      scalars.push(loss, correct);
      learner.update(0);
      const tested = learner.test(0);
      scalars.push(tested.loss, tested.correct);
      await readAll(scalars);
    } catch (error) {
      throw failureOf(conv, error);
    } finally {
      for (const scalar of scalars) scalar.dispose();
      learner?.dispose();
    }
  }
}

/** The checkpoint of a run that was begun, else none. */
async function findCheckpoint(directory: string, config: TrainConfig): Promise<Checkpoint | undefined> {
  try {
    await Deno.stat(join(directory, CHECKPOINT_FILE));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const checkpoint = await loadCheckpoint(directory);
  // Where it ran and where the images lay may change; all else is what makes the runs comparable.
  const essence = (one: TrainConfig): string =>
    JSON.stringify({ ...checkConfig(directory, one), backend: null, data: null });
  if (essence(checkpoint.config) !== essence(config)) {
    throw new Error(
      `Cannot resume ${directory}: its options must be the comparison's, got a checkpoint of others`,
    );
  }
  return checkpoint;
}

/** Trains one network to its end; or says where it was stopped. */
async function runOne(conv: ConvKind, options: ComparisonOptions): Promise<FinishedRun | string> {
  const { record, data, signal, progress } = options;
  const config = configWith(record.config, conv);
  const directory = join(options.directory, conv);
  const metricsPath = join(directory, "metrics.jsonl");
  await Deno.mkdir(directory, { recursive: true });
  const checkpoint = await findCheckpoint(directory, config);
  // What a killed process measured before its first checkpoint will be measured again.
  if (!checkpoint) await cutMetrics(metricsPath, 0);
  const described = { ...config, adapter: record.adapter, model: networkSpec(config) };
  await writeFileAtomic(join(directory, "config.json"), `${JSON.stringify(described, null, 2)}\n`);
  const result = await train({
    config,
    data,
    directory,
    checkpoint,
    signal,
    progress: progress && ((total, startStep) => progress(conv, total, startStep)),
  });
  // A stop between the last step and the pictures leaves a run without pictures: resumed, it draws them.
  if (result.stopped || result.pictures.length === 0) {
    return `${conv} at step ${result.step} of ${result.totalSteps}`;
  }
  const { testAccuracy, testLoss, seconds } = (await readMetrics(metricsPath)).evaluations.at(-1)!;
  return {
    conv,
    kernel: describeKernel(config),
    parameters: result.parameters,
    steps: result.step,
    testAccuracy,
    testLoss,
    seconds,
    imagesPerSecond: result.step * config.batchSize / seconds,
  };
}

/**
 * Trains the networks that are not finished, from their checkpoints where they have one, and records each in
 * comparison.json when it is. The same config, data and backend give the same losses, however often it was stopped.
 *
 * @throws {Error} "Cannot compare: the run with <conv> failed", with the reason as `cause`
 */
export async function runComparison(options: ComparisonOptions): Promise<ComparisonResult> {
  const { directory, signal, begin } = options;
  let { record } = options;
  for (const conv of CONV_KINDS) {
    const kept = record.runs.find((run) => run.conv === conv) ?? null;
    if (!kept && signal?.aborted) return { record, stoppedAt: `${conv}, before its first step` };
    begin?.(conv, kept);
    if (kept) continue;
    let run: FinishedRun | string;
    try {
      run = await runOne(conv, options);
    } catch (error) {
      throw failureOf(conv, error, ` (--resume ${directory} goes on from its last checkpoint)`);
    }
    if (typeof run === "string") return { record, stoppedAt: run };
    record = { ...record, runs: [...record.runs, run] };
    await writeRecord(directory, record);
  }
  return { record, stoppedAt: null };
}
