/**
 * metrics.jsonl: one line for each step and for each evaluation.
 * @module
 */
import { writeFileAtomic } from "../io/files.ts";

/** What a step measured. */
export interface StepMetrics {
  /** Steps done, this one included. */
  step: number;
  /** Epoch, counted from 1. */
  epoch: number;
  /** The loss that was minimised, before the step. */
  loss: number;
  /** Share of right answers in the batch. */
  accuracy: number;
  /** Of the step, for all but positions. */
  learningRate: number;
}

/** What an evaluation on the test images measured. */
export interface EvaluationMetrics {
  /** Steps done. */
  step: number;
  /** Epochs done. */
  epoch: number;
  /** Share of right answers on all test images. */
  testAccuracy: number;
  /** Mean cross-entropy on all test images, without label smoothing. */
  testLoss: number;
  /** Seconds of training up to here, without evaluations. */
  seconds: number;
}

/** Every line of a run. */
export interface Metrics {
  /** In the order of the steps. */
  readonly steps: StepMetrics[];
  /** In the order of the steps. */
  readonly evaluations: EvaluationMetrics[];
}

type Line = StepMetrics | EvaluationMetrics;

/** The lines of a file, without a last one that a killed process left torn. */
async function readLines(path: string): Promise<Line[]> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  return text.split("\n").flatMap((line) => {
    try {
      const value = JSON.parse(line);
      return typeof value?.step === "number" ? [value] : [];
    } catch {
      return [];
    }
  });
}

/** Reads a run's metrics; empty where there is no file. */
export async function readMetrics(path: string): Promise<Metrics> {
  const metrics: Metrics = { steps: [], evaluations: [] };
  for (const line of await readLines(path)) {
    if ("testAccuracy" in line) metrics.evaluations.push(line);
    else metrics.steps.push(line);
  }
  return metrics;
}

/** Takes out what was measured after `step`: a resumed run will measure it again. */
export async function cutMetrics(path: string, step: number): Promise<void> {
  const kept = (await readLines(path)).filter((line) => line.step <= step);
  await writeFileAtomic(path, kept.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

/** Appends whole lines to a run's metrics. */
export class MetricsWriter {
  readonly #path: string;

  /** The file is made with the first line. */
  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Appends lines, all at once.
   * @throws {Error} "Cannot write <path>: ..." with the system's error as `cause`
   */
  async write(lines: readonly Line[]): Promise<void> {
    if (lines.length === 0) return;
    try {
      const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
      await Deno.writeTextFile(this.#path, text, { append: true });
    } catch (cause) {
      throw new Error(`Cannot write ${this.#path}: ${cause instanceof Error ? cause.message : cause}`, {
        cause,
      });
    }
  }
}
