/**
 * Runs a command: help, errors and exit statuses.
 * @module
 */
import type { Command, Option, ParsedCommand } from "./options.ts";
import { isUsageError, parseCommand } from "./parse.ts";
import { usageText } from "./usage.ts";

/** Where a command's text goes and how it ends. */
export interface CommandHost {
  /** Arguments as in `Deno.args`. */
  readonly args: readonly string[];
  /** Writes to the standard output. */
  print(text: string): void;
  /** Writes to the standard error. */
  printError(text: string): void;
  /** Ends the process with that status. */
  exit(status: number): void;
}

/** Writes all of `text`, however small the pieces that the stream takes. */
function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) written += stream.writeSync(bytes.subarray(written));
}

/** The process itself. Needs no permission. */
const processHost: CommandHost = {
  args: typeof Deno === "undefined" ? [] : Deno.args,
  print: (text) => writeAll(Deno.stdout, text),
  printError: (text) => writeAll(Deno.stderr, text),
  exit: (status) => Deno.exit(status),
};

/** The message of a failure and of what caused it, in one line. */
function oneLine(error: unknown): string {
  const parts: string[] = [];
  for (let at: unknown = error; at !== undefined && parts.length < 4;) {
    const message = at instanceof Error ? at.message || at.name : String(at);
    if (!parts.some((part) => part.includes(message))) parts.push(message);
    at = at instanceof Error ? at.cause : undefined;
  }
  return parts.join(", because: ").replace(/\s*\n\s*/g, " ");
}

/**
 * Runs a command and ends the process: status 0, or the number that `main` returns (130 after a graceful stop);
 * 2 for a mistake in the command line, 130 for an `AbortError`, 141 where the reader of a pipe went away,
 * 1 for any other failure. A failure is one line on the standard error; `--verbose` adds the stack.
 * Needs no permission.
 *
 * @param main gets the parsed command line; not called for `--help`
 * @param host for tests: arguments, streams and exit. Default: the process's own
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineCommand } from "./options.ts";
 * const command = defineCommand({
 *   name: "deno task train",
 *   summary: "Train a classifier.",
 *   options: [{ name: "epochs", type: "integer", min: 1, default: 5, description: "Passes over the data." }],
 * });
 * const said: string[] = [];
 * const host = { print: () => {}, printError: (text: string) => void said.push(text) };
 * let status = -1;
 * await runCommand(command, () => 0, { ...host, args: ["--epochs", "0"], exit: (code) => void (status = code) });
 * assert.equal(status, 2);
 * assert.match(said[0], /--epochs must be an integer of at least 1, got "0"/);
 * ```
 */
export async function runCommand<const Options extends readonly Option[]>(
  command: Command<Options>,
  main: (parsed: ParsedCommand<Options>) => number | void | Promise<number | void>,
  host: CommandHost = processHost,
): Promise<void> {
  let verbose = host.args.includes("--verbose");
  try {
    const parsed = parseCommand(command, host.args);
    verbose = parsed.verbose;
    if (parsed.help) {
      host.print(usageText(command));
      return host.exit(0);
    }
    return host.exit(await main(parsed) ?? 0);
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return host.exit(141); // 128 + SIGPIPE, as a shell reports it
    if (error instanceof Error && error.name === "AbortError") {
      host.printError("interrupted\n");
      return host.exit(130);
    }
    const mistake = isUsageError(error);
    const hint = mistake
      ? ` (${command.name} --help lists the flags)`
      : verbose
      ? `\n${error instanceof Error ? error.stack ?? "" : ""}`
      : " (--verbose adds the stack)";
    host.printError(`error: ${oneLine(error)}${hint}\n`);
    return host.exit(mistake ? 2 : 1);
  }
}
