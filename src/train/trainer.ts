/**
 * The training loop: steps, metrics, evaluations, checkpoints, pictures, and what stops it.
 *
 * No step waits for the device. Losses are read in batches, each while the next steps are already queued.
 * @module
 */
import { join } from "node:path";
import type { ImageDataset } from "../data/images.ts";
import { readAll } from "../tensor.ts";
import { type Checkpoint, saveCheckpoint } from "./checkpoint.ts";
import type { TrainConfig } from "./config.ts";
import { findTrouble } from "./diagnose.ts";
import { Learner, type Scores } from "./learner.ts";
import {
  cutMetrics,
  type EvaluationMetrics,
  MetricsWriter,
  readMetrics,
  type StepMetrics,
} from "./metrics.ts";
import type { Progress } from "./progress.ts";
import { drawRun, readPositions } from "./run_pictures.ts";
import { Snapshots } from "./snapshot.ts";

/** Steps whose losses are read together. */
const READ_EVERY = 10;

/** What {@link train} is given. */
export interface TrainOptions {
  /** All that decides the results. */
  readonly config: TrainConfig;
  /** Images to learn from and to test on. */
  readonly data: ImageDataset;
  /** Where results go; must exist. */
  readonly directory: string;
  /** Where to go on, in place of the first step. */
  readonly checkpoint?: Checkpoint;
  /** Stops the run after the present step, with a checkpoint. */
  readonly signal?: AbortSignal;
  /** Makes the progress line, once the number of steps is known. */
  readonly progress?: (total: number, startStep: number) => Progress;
}

/** What a run came to. */
export interface TrainResult {
  /** Whether `signal` stopped it before its end. */
  readonly stopped: boolean;
  /** Steps done. */
  readonly step: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
  /** Learned values. */
  readonly parameters: number;
  /** K of the DCLS layers; null for other layers. */
  readonly kernelCount: number | null;
  /** Of the last evaluation, all test images; null before the first. */
  readonly testAccuracy: number | null;
  /** Training images per second, without evaluations; null where no step was done. */
  readonly imagesPerSecond: number | null;
  /** Names of the pictures that were drawn. */
  readonly pictures: readonly string[];
}

/** A step's scores on their way from the backend. */
interface Queued extends Scores {
  readonly step: number;
}

/** Lets signals, timers and writes have their turn: some backends never leave the thread. */
function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** A loss that is NaN or infinite. */
class LossError extends Error {
  constructor(readonly step: number, readonly loss: number) {
    super(`the loss of step ${step} is ${loss}`);
  }
}

/** One run of the loop. */
class Run {
  readonly #options: TrainOptions;
  readonly #learner: Learner;
  readonly #metrics: MetricsWriter;
  readonly #snapshots: Snapshots;
  readonly #progress: Progress | undefined;
  /** Steps queued so far. */
  #step: number;
  #queued: Queued[] = [];
  /** The reading of the batch of losses before `#queued`. */
  #reading: Promise<void> = Promise.resolve();
  /** Seconds of training before this process. */
  readonly #secondsBefore: number;
  /** Milliseconds of training in this process, up to the last pause. */
  #elapsed = 0;
  #since: number | null = null;
  #stepsHere = 0;
  #savedStep: number;

  constructor(options: TrainOptions, learner: Learner) {
    this.#options = options;
    this.#learner = learner;
    this.#step = options.checkpoint?.step ?? 0;
    this.#savedStep = this.#step;
    this.#secondsBefore = options.checkpoint?.seconds ?? 0;
    this.#metrics = new MetricsWriter(metricsPath(options.directory));
    this.#snapshots = new Snapshots(learner, this.#step);
    this.#progress = options.progress?.(learner.totalSteps, this.#step);
  }

  get step(): number {
    return this.#step;
  }

  get #isStopped(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  /** Milliseconds of training in this process. */
  get #trained(): number {
    return this.#elapsed + (this.#since === null ? 0 : performance.now() - this.#since);
  }

  get imagesPerSecond(): number | null {
    return this.#stepsHere === 0
      ? null
      : this.#stepsHere * this.#learner.config.batchSize / this.#trained * 1000;
  }

  /** Stops the clock: what follows is not training. */
  #pause(): void {
    this.#elapsed = this.#trained;
    this.#since = null;
  }

  /** Trains to the end, or until it is stopped; whether it came to the end. */
  async run(isEvaluated: boolean): Promise<boolean> {
    const { totalSteps, stepsPerEpoch, config } = this.#learner;
    try {
      // A run that was stopped during an evaluation goes on with it.
      if (!isEvaluated && !await this.#evaluate()) return false;
      while (this.#step < totalSteps) {
        if (this.#isStopped) {
          await this.#save();
          return false;
        }
        this.#queueStep();
        if (this.#step % stepsPerEpoch === 0) {
          const isDone = await this.#evaluate();
          await this.#save();
          if (!isDone) return false;
        } else if (this.#step % config.checkpointEvery === 0) {
          await this.#save();
        } else if (this.#queued.length >= READ_EVERY) {
          await this.#readQueued();
        }
      }
      return true;
    } catch (error) {
      throw error instanceof LossError ? await this.#explain(error) : error;
    }
  }

  #queueStep(): void {
    this.#since ??= performance.now();
    const scores = this.#learner.gradients(this.#step);
    this.#learner.update(this.#step);
    this.#step++;
    this.#stepsHere++;
    this.#queued.push({ step: this.#step, ...scores });
  }

  /** Begins to read the queued scores, and waits for those before them. */
  async #readQueued(): Promise<void> {
    const [queued, before] = [this.#queued, this.#reading];
    this.#queued = [];
    this.#reading = this.#record(queued, before);
    this.#reading.catch(() => {}); // whoever awaits it sees the error; until then it is not an unhandled one
    this.#snapshots.offer(this.#step);
    await before;
    await breathe();
  }

  /** Waits for every queued step. */
  async #settle(): Promise<void> {
    await this.#readQueued();
    await this.#reading;
  }

  /** Reads the scores of steps, and records them once those `before` them are. */
  async #record(queued: readonly Queued[], before: Promise<void>): Promise<void> {
    const scalars = queued.flatMap(({ loss, correct }) => [loss, correct]);
    const values = await readAll(scalars);
    for (const scalar of scalars) scalar.dispose();
    await before; // reads may end in any order
    const { batchSize } = this.#learner.config;
    const rows = queued.map(({ step }, i): StepMetrics => ({
      step,
      epoch: this.#learner.epoch(step - 1) + 1,
      loss: values[2 * i][0],
      accuracy: values[2 * i + 1][0] / batchSize,
      learningRate: this.#learner.learningRate(step - 1),
    }));
    const bad = rows.findIndex(({ loss }) => !Number.isFinite(loss));
    await this.#metrics.write(bad < 0 ? rows : rows.slice(0, bad));
    if (bad >= 0) throw new LossError(rows[bad].step, rows[bad].loss);
    const last = rows.at(-1);
    if (!last) return;
    this.#snapshots.confirm(last.step);
    const accuracy = rows.reduce((sum, row) => sum + row.accuracy, 0) / rows.length;
    this.#progress?.update({ ...last, accuracy, imagesPerSecond: this.imagesPerSecond ?? undefined });
  }

  /** Tests on all test images; false where it was stopped before its end. */
  async #evaluate(): Promise<boolean> {
    await this.#settle();
    this.#pause();
    const { testBatches, data: { test } } = this.#learner;
    let [correct, loss] = [0, 0];
    let queued: ReturnType<Learner["test"]>[] = [];
    for (let batch = 0; batch < testBatches; batch++) {
      queued.push(this.#learner.test(batch));
      if (queued.length < READ_EVERY && batch < testBatches - 1) continue;
      const scalars = queued.flatMap((scores) => [scores.correct, scores.loss]);
      const values = await readAll(scalars);
      for (const scalar of scalars) scalar.dispose();
      queued.forEach(({ count }, i) => {
        correct += values[2 * i][0];
        loss += values[2 * i + 1][0] * count;
      });
      queued = [];
      await breathe();
      if (this.#isStopped) return false;
    }
    const evaluation: EvaluationMetrics = {
      step: this.#step,
      epoch: this.#learner.epoch(this.#step - 1) + 1,
      testAccuracy: correct / test.count,
      testLoss: loss / test.count,
      seconds: this.#secondsBefore + this.#trained / 1000,
    };
    await this.#metrics.write([evaluation]);
    this.#progress?.log(
      `epoch ${evaluation.epoch}: test accuracy ${percent(evaluation.testAccuracy)}, ` +
        `test loss ${evaluation.testLoss.toFixed(4)}`,
    );
    return true;
  }

  async #save(): Promise<void> {
    await this.#settle();
    const { config, data, model, optimizer } = this.#learner;
    await saveCheckpoint(this.#options.directory, {
      config,
      step: this.#step,
      seconds: this.#secondsBefore + this.#trained / 1000,
      data: describeData(data),
      model: await model.stateDict(),
      optimizer: await optimizer.stateDict(),
    });
    this.#savedStep = this.#step;
  }

  /** What to tell about a loss that is not finite: the step and the layer, found by repeating the steps before it. */
  async #explain({ step, loss }: LossError): Promise<Error> {
    const from = this.#snapshots.restore();
    const trouble = await findTrouble(this.#learner, from, step);
    const where = trouble
      ? `the first value that is not finite came at step ${trouble.step} in ${trouble.what}`
      : `all values were finite when steps ${from + 1} to ${step} were repeated`;
    const saved = this.#savedStep > 0 ? `; the checkpoint of step ${this.#savedStep} is whole` : "";
    return new Error(
      `Cannot go on training: the loss must be finite, got ${loss} at step ${step}; ${where}. ` +
        `Most often a smaller --learning-rate helps${saved}`,
    );
  }

  dispose(): void {
    for (const { loss, correct } of this.#queued) {
      loss.dispose();
      correct.dispose();
    }
    this.#progress?.stop();
    this.#snapshots.dispose();
  }
}

function metricsPath(directory: string): string {
  return join(directory, "metrics.jsonl");
}

/** `98.12 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** Name and extents of the data: a run cannot go on with another's. */
export function describeData({ name, train, test, rows, columns }: ImageDataset): string {
  return `${name}, ${train.count} + ${test.count} images of ${rows} x ${columns}`;
}

/**
 * Trains on the running backend, and writes metrics, checkpoints and, at the end, pictures into `directory`. The same
 * config, data and backend give the same losses, whether the run was stopped in between or not.
 *
 * @throws {Error} where the loss is not finite (naming the step and the layer where it began), a file cannot be
 * written, or the checkpoint does not fit config or data
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, data, directory, checkpoint, signal } = options;
  if (checkpoint && checkpoint.data !== describeData(data)) {
    throw new Error(
      `Cannot resume ${directory}: the data must be ${checkpoint.data}, got ${
        describeData(data)
      }; give its ` +
        "directory with --data",
    );
  }
  const learner = new Learner(config, data);
  let run: Run | null = null;
  try {
    const initial = await readPositions(learner.model);
    if (checkpoint) {
      learner.model.loadStateDict(checkpoint.model);
      learner.optimizer.loadStateDict(checkpoint.optimizer);
      await cutMetrics(metricsPath(directory), checkpoint.step);
    }
    const before = await readMetrics(metricsPath(directory));
    const step = checkpoint?.step ?? 0;
    const isEvaluated = step % learner.stepsPerEpoch !== 0 || step === 0 ||
      before.evaluations.some((evaluation) => evaluation.step === step);
    run = new Run(options, learner);
    const isDone = await run.run(isEvaluated);
    const metrics = await readMetrics(metricsPath(directory));
    const title = `${data.name}, ${config.conv}, seed ${config.seed}`;
    const pictures = isDone && !signal?.aborted
      ? await drawRun(directory, learner.model, initial, metrics, title)
      : [];
    return {
      stopped: !isDone,
      step: run.step,
      totalSteps: learner.totalSteps,
      parameters: learner.parameterCount,
      kernelCount: config.conv === "dcls" ? learner.model.spec.kernelCount : null,
      testAccuracy: metrics.evaluations.at(-1)?.testAccuracy ?? null,
      imagesPerSecond: run.imagesPerSecond,
      pictures,
    };
  } finally {
    run?.dispose();
    learner.dispose();
  }
}
