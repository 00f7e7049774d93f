/**
 * What the tasks that train have in common: where a run goes, and what its network is.
 * @module
 */
import { join } from "node:path";
import { type ConvNeXtSpec, convNeXtSpec } from "../models/convnext_options.ts";
import { usageError } from "../train/cli.ts";
import type { TrainConfig } from "../train/config.ts";
import { modelOptions } from "../train/learner.ts";

/** `dcls-20260131-094500`, in local time. */
function defaultName(prefix: string): string {
  const now = new Date();
  const two = (...values: number[]): string => values.map((value) => String(value).padStart(2, "0")).join("");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1, now.getDate())}`;
  return `${prefix}-${date}-${two(now.getHours(), now.getMinutes(), now.getSeconds())}`;
}

/**
 * The directory of a new run, `runs/<name>`; makes nothing.
 * @param prefix of the name, where none is given
 * @throws {RangeError} for a name that is no file name, or that is taken
 */
export async function newDirectory(
  task: string,
  prefix: string,
  name = defaultName(prefix),
): Promise<string> {
  if (!/^\w[\w.-]*$/.test(name)) {
    throw usageError(
      `Cannot run ${task}: --name must be letters, digits, dots, dashes and underscores, got "${name}"`,
    );
  }
  const directory = join("runs", name);
  const exists = await Deno.lstat(directory).then(() => true, () => false);
  if (exists) throw isTaken(task, directory);
  return directory;
}

/** The error of a directory that is there already. */
export function isTaken(task: string, directory: string): Error {
  return usageError(
    `Cannot run ${task}: runs/<name> must be new, got ${directory}, which exists; ` +
      `--resume ${directory} continues it, another --name starts anew`,
  );
}

/** Makes the directory of a new run, which must not be there. */
export async function makeDirectory(task: string, directory: string): Promise<void> {
  await Deno.mkdir("runs", { recursive: true });
  try {
    await Deno.mkdir(directory);
  } catch (error) {
    throw error instanceof Deno.errors.AlreadyExists ? isTaken(task, directory) : error;
  }
}

/**
 * A run's network with every default filled in.
 * @throws {RangeError} that names the flag
 */
export function networkSpec(config: TrainConfig): ConvNeXtSpec {
  const options = modelOptions(config);
  try {
    return convNeXtSpec(options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const flag = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw usageError(error.message.replace(/ (\w+) must be/, (_, name) => ` --${flag(name)} must be`));
  }
}
