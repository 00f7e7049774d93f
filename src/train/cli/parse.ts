/**
 * Reads a command line by a command's table of options.
 *
 * Splitting the arguments is `parseArgs` of `node:util`, of Deno's own standard library; what is added here
 * is what it does not know: numbers with ranges, choices, defaults, and errors that name the flag.
 * @module
 */
import { parseArgs } from "node:util";
import {
  type BooleanOption,
  camelCase,
  type Command,
  type CommandValues,
  describeRule,
  numberPattern,
  type Option,
  type ParsedCommand,
  readValue,
} from "./options.ts";

/** Errors of the user's command line: built-in classes, so they are told apart by membership. */
const usageErrors = new WeakSet<Error>();

/**
 * An error that `runCommand` reports as a mistake in the command line (exit status 2): for rules that
 * only the command itself can check, such as a directory that must exist.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const error = usageError("Cannot run deno task train: --data must be a directory, got \"x.txt\"");
 * assert.ok(error instanceof RangeError && isUsageError(error));
 * ```
 */
export function usageError(message: string): RangeError {
  const error = new RangeError(message);
  usageErrors.add(error);
  return error;
}

/** Whether `error` came from {@link usageError} or from {@link parseCommand}. */
export function isUsageError(error: unknown): boolean {
  return error instanceof Error && usageErrors.has(error);
}

/** Every command has it, beside `--help`. */
const verboseOption: BooleanOption = {
  name: "verbose",
  type: "boolean",
  description: "Print the stack of a failure.",
};

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j] + 1, row[j - 1] + 1));
    }
    previous = row;
  }
  return previous[b.length];
}

/** "; did you mean --epochs?", or "" where no flag is near. Case and dashes do not count as differences. */
function suggestion(typed: string, flags: readonly string[]): string {
  const plain = (text: string): string => text.toLowerCase().replace(/[-_]/g, "");
  const word = plain(typed.split("=")[0]);
  let best = "";
  let bestDistance = Infinity;
  for (const flag of flags) {
    const distance = editDistance(word, plain(flag));
    if (distance < bestDistance) [best, bestDistance] = [flag, distance];
  }
  // A third of the letters may differ: more than that is another word, not a typing mistake.
  return bestDistance <= Math.max(1, Math.floor(word.length / 3)) ? `; did you mean --${best}?` : "";
}

/**
 * Reads a command line.
 *
 * Accepts `--flag value`, `--flag=value`, negative numbers (`--shift -3`), `--switch`, `--no-switch`; where a
 * flag is given twice the last one holds. A `--` in front, which `deno task name -- --flag` passes on, is skipped.
 *
 * @param args as in `Deno.args`
 * @throws RangeError (one that {@link isUsageError} knows) that names the flag, the rule and what was passed:
 * unknown flag, missing or bad value, an argument without a flag where the command takes none
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineCommand } from "./options.ts";
 * const command = defineCommand({
 *   name: "deno task train",
 *   summary: "Train a classifier.",
 *   options: [
 *     { name: "conv", type: "choice", choices: ["dcls", "standard"], default: "dcls", description: "Convolution." },
 *     { name: "learning-rate", type: "number", above: 0, default: 4e-3, description: "Peak learning rate." },
 *   ],
 * });
 * const { values, given } = parseCommand(command, ["--conv=standard"]);
 * assert.deepEqual(values, { conv: "standard", learningRate: 4e-3 });
 * assert.ok(given.has("conv") && !given.has("learningRate"));
 * assert.throws(() => parseCommand(command, ["--learning-rte", "1"]), /did you mean --learning-rate/);
 * ```
 */
export function parseCommand<const Options extends readonly Option[]>(
  command: Command<Options>,
  args: readonly string[],
): ParsedCommand<Options> {
  const own = args[0] === "--" ? args.slice(1) : [...args];
  const options = new Map<string, Option>(command.options.map((option) => [option.name, option]));
  options.set("verbose", verboseOption);
  const values = new Map<string, string | number | boolean | undefined>();
  const given = new Set<string>();
  const operands: string[] = [];
  for (const option of options.values()) {
    values.set(option.name, option.default ?? (option.type === "boolean" ? false : undefined));
  }
  const result = (help: boolean): ParsedCommand<Options> => {
    const verbose = values.get("verbose") === true;
    values.delete("verbose");
    given.delete("verbose");
    return {
      // The table above is what CommandValues describes; a Map cannot say so.
      values: Object.fromEntries(
        [...values].map(([name, value]) => [camelCase(name), value]),
      ) as CommandValues<Options>,
      given: new Set([...given].map(camelCase)) as ReadonlySet<string> as ReadonlySet<
        keyof CommandValues<Options>
      >,
      operands,
      help,
      verbose,
    };
  };
  const end = own.indexOf("--");
  if ((end < 0 ? own : own.slice(0, end)).some((arg) => arg === "--help" || arg === "-h")) {
    return result(true);
  }

  const flags = [...options.keys(), "help"];
  const refuse = (rule: string, got: string, fix = ""): never => {
    throw usageError(`Cannot run ${command.name}: ${rule}, got ${got}${fix}`);
  };
  const { tokens } = parseArgs({
    args: own,
    options: Object.fromEntries(
      [...options.values()].map((option) => [option.name, {
        type: option.type === "boolean" ? "boolean" as const : "string" as const,
      }]),
    ),
    strict: false, // the messages below say more than parseArgs' own
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "option-terminator") continue;
    if (token.kind === "positional") {
      if (command.operands !== undefined && token.value !== "") {
        operands.push(token.value);
        continue;
      }
      refuse("it takes flags only", `the argument "${token.value}"`, suggestion(token.value, flags));
      continue;
    }
    const typed = own[token.index];
    const isLong = token.rawName.startsWith("--");
    const negated = isLong && token.name.startsWith("no-") ? options.get(token.name.slice(3)) : undefined;
    const option = isLong ? options.get(token.name) ?? negated : undefined;
    if (option === undefined || (negated !== undefined && negated.type !== "boolean")) {
      const flag = typed.split("=")[0];
      refuse("every flag must be one that --help lists", flag, suggestion(flag, flags));
      continue;
    }
    const flag = `--${token.name}`;
    let value: string | number | boolean | null;
    if (option.type === "boolean") {
      if (negated !== undefined && token.value !== undefined) {
        refuse(`${flag} takes no value`, JSON.stringify(token.value));
      }
      value = token.value === undefined ? negated === undefined : readValue(option, token.value);
    } else {
      const needs = `${flag} needs a value (${describeRule(option)})`;
      if (token.value === undefined) return refuse(needs, "none");
      if (!token.inlineValue && token.value.startsWith("-") && !numberPattern.test(token.value)) {
        const fix = options.has(token.value.replace(/^--/, "").split("=")[0])
          ? ""
          : `; write ${flag}=${token.value} for a value that starts with a dash`;
        refuse(needs, `${token.value} in its place`, fix);
      }
      value = readValue(option, token.value);
    }
    if (value === null) refuse(`${flag} must be ${describeRule(option)}`, JSON.stringify(token.value));
    values.set(option.name, value ?? undefined);
    given.add(option.name);
  }
  return result(false);
}
