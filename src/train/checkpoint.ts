/**
 * Checkpoints: all that a run needs to go on as if it had never been stopped, in one safetensors file.
 * @module
 */
import { join } from "node:path";
import { writeFileAtomic } from "../io/files.ts";
import { readSafetensors, type SafetensorsFile, writeSafetensors } from "../io/mod.ts";
import type { StateDict, StateInput } from "../nn/mod.ts";
import { checkConfig, type TrainConfig } from "./config.ts";

/** What a checkpoint holds. */
export interface Checkpoint {
  /** Options of the run. */
  readonly config: TrainConfig;
  /** Steps done. */
  readonly step: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  /** Name and extents of the data, so that a run does not go on with another's. */
  readonly data: string;
  /** Parameters by path, in this module's axis order. */
  readonly model: StateInput;
  /** Moments and steps of the optimizer. */
  readonly optimizer: StateInput;
}

/** The file's name in a run's directory. */
export const CHECKPOINT_FILE = "checkpoint.safetensors";
const FORMAT = "dcls-train/1";

function withPrefix(prefix: string, state: StateInput): StateDict {
  return Object.fromEntries(
    Object.entries(state).map(([name, { shape, data }]) => [
      prefix + name,
      { shape: [...shape], data: Float32Array.from(data as ArrayLike<number>) },
    ]),
  );
}

function underPrefix(prefix: string, { tensors }: SafetensorsFile): StateInput {
  return Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, tensor]) => [name.slice(prefix.length), tensor]),
  );
}

/**
 * Writes a checkpoint. Whatever happens, the directory holds a whole one afterwards: the old one or the new one.
 * @throws {Error} "Cannot write <path>: ..." where the disk is full, for one
 */
export async function saveCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  const { config, step, seconds, data, model, optimizer } = checkpoint;
  const tensors = { ...withPrefix("model/", model), ...withPrefix("optimizer/", optimizer) };
  const metadata = {
    format: FORMAT,
    step: String(step),
    seconds: String(seconds),
    data,
    config: JSON.stringify(config),
  };
  await writeFileAtomic(join(directory, CHECKPOINT_FILE), writeSafetensors(tensors, metadata));
}

/**
 * Reads the checkpoint of a run's directory.
 * @throws {Error} "Cannot resume <directory>: ..." where there is none, or it is damaged or of another program
 */
export async function loadCheckpoint(directory: string): Promise<Checkpoint> {
  const path = join(directory, CHECKPOINT_FILE);
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new Error(
      `Cannot resume ${directory}: it must hold ${CHECKPOINT_FILE}, got ${
        cause instanceof Deno.errors.NotFound ? "none" : String(cause)
      }`,
      { cause },
    );
  }
  try {
    const file = readSafetensors(bytes);
    const { format, step, seconds, data, config } = file.metadata;
    const steps = Number(step);
    if (format !== FORMAT) {
      throw new Error(`its format must be "${FORMAT}", got ${JSON.stringify(format ?? null)}`);
    }
    if (!Number.isSafeInteger(steps) || steps < 0) throw new Error(`its step must be a number, got ${step}`);
    return {
      config: checkConfig(path, JSON.parse(config)),
      step: steps,
      seconds: Number(seconds) || 0,
      data,
      model: underPrefix("model/", file),
      optimizer: underPrefix("optimizer/", file),
    };
  } catch (cause) {
    throw new Error(
      `Cannot resume ${directory}: ${path} must be a whole checkpoint, got one that cannot be read: ${
        cause instanceof Error ? cause.message : cause
      }`,
      { cause },
    );
  }
}
