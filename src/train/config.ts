/**
 * The config of a training run: what the command line gave, and what is kept beside the results.
 * @module
 */
import { type CommandValues, type Option, type ParsedCommand, usageError } from "./cli.ts";
import { camelCase } from "./cli/options.ts";
import { trainCommand, trainOptions } from "./train_options.ts";

/** The parsed command line of `deno task train`. */
export type TrainArguments = ParsedCommand<typeof trainOptions>;

/** All that decides the results of a run: its options, but for where they go. */
export type TrainConfig = Omit<CommandValues<typeof trainOptions>, "name" | "resume" | "help" | "verbose">;

/** Options that a resumed run may change: they change where it runs, not what it computes. */
const RESUMABLE: ReadonlySet<string> = new Set(["resume", "backend", "data"]);

/** The config of a command line. */
export function configOf({ values }: TrainArguments): TrainConfig {
  const { name: _name, resume: _resume, ...config } = values;
  channelList("depths", config.depths);
  channelList("dims", config.dims);
  return config;
}

/**
 * The saved config with what a resumed run may change.
 * @throws {RangeError} that names a flag which may not
 */
export function resumedConfig(saved: TrainConfig, { values, given }: TrainArguments): TrainConfig {
  for (const option of trainOptions) {
    const key = camelCase(option.name) as keyof typeof values;
    if (given.has(key) && !RESUMABLE.has(option.name)) {
      throw usageError(
        `Cannot resume with --${option.name}: a resumed run keeps its own options, got ${values[key]}`,
      );
    }
  }
  return {
    ...saved,
    backend: given.has("backend") ? values.backend : saved.backend,
    data: given.has("data") ? values.data : saved.data,
  };
}

/**
 * Checks a config that was read from a file.
 * @throws {Error} "Cannot read the config of <source>: ..." naming the first entry that is missing or wrong
 */
export function checkConfig(source: string, value: unknown): TrainConfig {
  const refuse = (rule: string, got: unknown): never => {
    throw new Error(
      `Cannot read the config of ${source}: ${rule}, got ${JSON.stringify(got) ?? String(got)}`,
    );
  };
  if (typeof value !== "object" || value === null) return refuse("it must be an object", value);
  const entries = value as Record<string, unknown>;
  const config: Record<string, unknown> = {};
  for (const option of trainOptions as readonly Option[]) {
    if (option.name === "name" || option.name === "resume") continue;
    const key = camelCase(option.name);
    const entry = entries[key];
    if (entry === undefined && option.default === undefined) continue;
    const right = option.type === "boolean"
      ? typeof entry === "boolean"
      : option.type === "integer"
      ? Number.isSafeInteger(entry)
      : option.type === "number"
      ? Number.isFinite(entry)
      : option.type === "choice"
      ? option.choices.includes(entry as string)
      : typeof entry === "string";
    if (!right) {
      refuse(
        `${key} must be ${option.type === "choice" ? option.choices.join(", ") : `a ${option.type}`}`,
        entry,
      );
    }
    config[key] = entry;
  }
  return config as TrainConfig;
}

/**
 * `"16,32"` as numbers.
 * @throws {RangeError} that names the flag, unless it is a list of positive integers
 */
export function channelList(flag: "depths" | "dims", text: string): number[] {
  const numbers = text.split(",").map(Number);
  if (!numbers.every((number) => Number.isSafeInteger(number) && number > 0)) {
    throw usageError(
      `Cannot run ${trainCommand.name}: --${flag} must be positive integers with commas between them, such as ` +
        `"1,1", got "${text}"`,
    );
  }
  return numbers;
}
