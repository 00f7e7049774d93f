/**
 * comparison.json: what a comparison is about, and what its finished runs came to.
 * @module
 */
import { join } from "node:path";
import { writeFileAtomic } from "../../io/files.ts";
import { CONV_KINDS, type ConvKind } from "../../models/mod.ts";
import { checkConfig } from "../../train/config.ts";
import type { SharedConfig } from "./options.ts";

/** The file's name in a comparison's directory. */
export const RECORD_FILE = "comparison.json";

/** A finished run. */
export interface FinishedRun {
  readonly conv: ConvKind;
  /** In words: `8 elements in 9x9`. */
  readonly kernel: string;
  /** Learned values. */
  readonly parameters: number;
  readonly steps: number;
  /** Share of right answers on all test images, after the last step. */
  readonly testAccuracy: number;
  /** Mean cross-entropy on all test images, after the last step. */
  readonly testLoss: number;
  /** Of training, without evaluations; what was done before a stop included. */
  readonly seconds: number;
  readonly imagesPerSecond: number;
}

/** A comparison as far as it has come. */
export interface ComparisonRecord {
  /** What the runs share. Its backend is the one that ran. */
  readonly config: SharedConfig;
  /** The backend's adapter or engine. */
  readonly adapter: string;
  /** Name and extents of the data. */
  readonly data: string;
  /** The finished ones. */
  readonly runs: readonly FinishedRun[];
}

/**
 * Writes the record, whole or not at all.
 * @throws {Error} "Cannot write <path>: ..."
 */
export async function writeRecord(directory: string, record: ComparisonRecord): Promise<void> {
  await writeFileAtomic(join(directory, RECORD_FILE), `${JSON.stringify(record, null, 2)}\n`);
}

/** The run, if that is what `value` is. */
function readRun(value: unknown): FinishedRun {
  const run = value as FinishedRun;
  const right = typeof run === "object" && run !== null && CONV_KINDS.includes(run.conv) &&
    typeof run.kernel === "string" &&
    [run.parameters, run.steps, run.testAccuracy, run.testLoss, run.seconds, run.imagesPerSecond]
      .every(Number.isFinite);
  if (!right) throw new Error(`every run must have its conv and its numbers, got ${JSON.stringify(value)}`);
  return run;
}

/**
 * Reads the record of a comparison's directory.
 * @throws {Error} "Cannot resume <directory>: ..." where there is none, or it is damaged
 */
export async function readRecord(directory: string): Promise<ComparisonRecord> {
  const path = join(directory, RECORD_FILE);
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    const got = cause instanceof Deno.errors.NotFound ? "none" : String(cause);
    throw new Error(`Cannot resume ${directory}: it must hold ${RECORD_FILE}, got ${got}`, { cause });
  }
  try {
    const { config, adapter, data, runs } = JSON.parse(text) as ComparisonRecord;
    const { conv: _conv, ...shared } = checkConfig(path, { ...config, conv: CONV_KINDS[0] });
    if (typeof data !== "string" || !Array.isArray(runs)) throw new Error("it must have data and runs");
    return { config: shared, adapter: String(adapter), data, runs: runs.map(readRun) };
  } catch (cause) {
    throw new Error(
      `Cannot resume ${directory}: ${path} must be whole, got one that cannot be read: ${
        cause instanceof Error ? cause.message : cause
      }`,
      { cause },
    );
  }
}
