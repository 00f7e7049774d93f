/**
 * What a command is: a table of options, each with its rule.
 * @module
 */

/** What every option says about itself. */
export interface OptionBase {
  /** The flag without its dashes, in kebab-case: `kernel-count` is given as `--kernel-count`. */
  readonly name: string;
  /** One sentence for `--help`. */
  readonly description: string;
  /** Where the default comes from, for `--help`: `paper: 5`. */
  readonly source?: string;
  /** Heading under which `--help` lists the option. Default: `Options`. */
  readonly group?: string;
  /** What `--help` says in place of the default's value: `runs/<date>`. */
  readonly defaultText?: string;
}

/** A switch: `--name`, `--no-name`, `--name=true`, `--name=false`. Default: false. */
export interface BooleanOption extends OptionBase {
  /** Takes no value, or `true` or `false` after `=`. */
  readonly type: "boolean";
  /** What holds where the flag is not given. */
  readonly default?: boolean;
}

/** A number with its range. `integer` accepts safe integers only. NaN and infinities are refused. */
export interface NumberOption extends OptionBase {
  /** `integer` for whole numbers only. */
  readonly type: "integer" | "number";
  /** Must keep the range below. */
  readonly default?: number;
  /** Smallest value accepted. */
  readonly min?: number;
  /** Largest value accepted. */
  readonly max?: number;
  /** The value must be greater than this. */
  readonly above?: number;
  /** The value must be less than this. */
  readonly below?: number;
  /** Unit of the value, for `--help`: `steps`. */
  readonly unit?: string;
}

/** A text or a path; never empty. */
export interface TextOption extends OptionBase {
  /** `path` reads the same and says in `--help` that a path is meant. */
  readonly type: "string" | "path";
  /** What holds where the flag is not given; not empty. */
  readonly default?: string;
}

/** One of a list of words. */
export interface ChoiceOption extends OptionBase {
  /** The value must be one of `choices`. */
  readonly type: "choice";
  /** All words accepted, as they are typed. */
  readonly choices: readonly string[];
  /** One of `choices`. */
  readonly default?: string;
}

/** One option of a command. */
export type Option = BooleanOption | NumberOption | TextOption | ChoiceOption;

/** A command line: its name as the user types it, what it does, its options, and examples for `--help`. */
export interface Command<Options extends readonly Option[] = readonly Option[]> {
  /** As the user types it: `deno task train`. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly summary: string;
  /** In the order in which `--help` lists them. */
  readonly options: Options;
  /** What may follow the command without a flag, such as files; as many as there are. Default: nothing. */
  readonly operands?: { readonly name: string; readonly description: string };
  /** Lines that can be pasted as they are, each with what it does. */
  readonly examples?: readonly { readonly line: string; readonly does: string }[];
}

/** `kernel-count` becomes `kernelCount`. */
export type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** The type of an option's value where it is given. */
export type Given<O extends Option> = O extends { type: "boolean" } ? boolean
  : O extends { type: "integer" | "number" } ? number
  : O extends { type: "choice"; choices: readonly (infer Choice)[] } ? Choice
  : string;

/** The type of an option's value where it is not given and has no default; never where it has one. */
export type Missing<O extends Option> = O extends { type: "boolean" } ? never
  : O extends { default: string | number } ? never
  : undefined;

/** The values of a command's options by camelCase name; without a default, `undefined` where not given. */
export type CommandValues<Options extends readonly Option[]> = {
  [O in Options[number] as CamelCase<O["name"]>]: Given<O> | Missing<O>;
};

/** A parsed command line. */
export interface ParsedCommand<Options extends readonly Option[]> {
  /** By camelCase name: `--kernel-count` is `values.kernelCount`. */
  readonly values: CommandValues<Options>;
  /** The names in `values` that the command line gave; the others hold their defaults. */
  readonly given: ReadonlySet<keyof CommandValues<Options>>;
  /** What was given without a flag, in order; empty unless the command takes `operands`. */
  readonly operands: readonly string[];
  /** `--help` or `-h` was given: nothing else was looked at, and every value is its default. */
  readonly help: boolean;
  /** `--verbose` was given: failures come with their stack. */
  readonly verbose: boolean;
}

/**
 * The command as given, with its options' literal types kept, so that {@link parseCommand} can type the
 * values. Reserved names: `help`, `verbose`, and names that start with `no-`.
 *
 * @throws RangeError if the table is wrong: a name declared twice, reserved or not in kebab-case, or a default
 * that breaks its own option's rule
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseCommand } from "./parse.ts";
 * const command = defineCommand({
 *   name: "deno task train",
 *   summary: "Train a classifier.",
 *   options: [{ name: "kernel-count", type: "integer", min: 1, default: 5, description: "Elements per kernel." }],
 * });
 * const kernelCount: number = parseCommand(command, ["--kernel-count", "7"]).values.kernelCount;
 * assert.equal(kernelCount, 7);
 * ```
 */
export function defineCommand<const Options extends readonly Option[]>(
  command: Command<Options>,
): Command<Options> {
  const seen = new Set<string>(["help", "verbose"]);
  for (const option of command.options) {
    const refuse = (rule: string, got: string): never => {
      throw new RangeError(`Cannot define ${command.name}: option names must be ${rule}, got ${got}`);
    };
    if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(option.name)) refuse("kebab-case", `"${option.name}"`);
    if (option.name.startsWith("no-")) refuse("free of the prefix no-", `"${option.name}"`);
    if (seen.has(option.name)) refuse("unique, help and verbose being taken", `"${option.name}" again`);
    seen.add(option.name);
    if (option.default === undefined) continue;
    const value = readValue(option, String(option.default));
    if (value !== option.default) {
      throw new RangeError(
        `Cannot define ${command.name}: the default of --${option.name} must be ${describeRule(option)}, ` +
          `got ${JSON.stringify(option.default)}`,
      );
    }
  }
  return command;
}

/** `kernel-count` to `kernelCount`. */
export function camelCase(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** The rule that an option's value must keep, as the end of "must be ...". */
export function describeRule(option: Option): string {
  switch (option.type) {
    case "boolean":
      return "true or false";
    case "choice":
      return `one of ${option.choices.join(", ")}`;
    case "string":
      return "a text that is not empty";
    case "path":
      return "a path";
    default: {
      const { min, max, above, below } = option;
      const noun = option.type === "integer" ? "an integer" : "a number";
      if (min !== undefined && max !== undefined) return `${noun} from ${min} to ${max}`;
      const bounds = [
        min !== undefined ? `of at least ${min}` : above !== undefined ? `greater than ${above}` : "",
        max !== undefined ? `at most ${max}` : below !== undefined ? `less than ${below}` : "",
      ].filter((bound) => bound !== "");
      return [noun, bounds.join(" and ")].join(" ").trim();
    }
  }
}

/** The value that `text` stands for, or null where it breaks the option's rule. */
export function readValue(option: Option, text: string): string | number | boolean | null {
  switch (option.type) {
    case "boolean":
      return text === "true" ? true : text === "false" ? false : null;
    case "choice":
      return option.choices.includes(text) ? text : null;
    case "string":
    case "path":
      return text === "" || text.includes("\0") ? null : text;
    default: {
      // Number() alone would also read "", " 1 ", "0x10" and "Infinity".
      if (!numberPattern.test(text)) return null;
      const value = Number(text);
      const { min = -Infinity, max = Infinity, above = -Infinity, below = Infinity } = option;
      const valid = option.type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value);
      return valid && value >= min && value <= max && value > above && value < below ? value : null;
    }
  }
}

/** A decimal number, with or without exponent. */
export const numberPattern = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
