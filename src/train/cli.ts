/**
 * Command lines of the tasks: a command is a table of options, and parsing, errors and `--help` follow from it.
 * @module
 */
export {
  type BooleanOption,
  type CamelCase,
  type ChoiceOption,
  type Command,
  type CommandValues,
  defineCommand,
  type Given,
  type Missing,
  type NumberOption,
  type Option,
  type OptionBase,
  type ParsedCommand,
  type TextOption,
} from "./cli/options.ts";
export { isUsageError, parseCommand, usageError } from "./cli/parse.ts";
export { type CommandHost, runCommand } from "./cli/run.ts";
export { usageText } from "./cli/usage.ts";
