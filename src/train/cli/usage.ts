/**
 * The text of `--help`, made from a command's table of options.
 * @module
 */
import type { Command, Option } from "./options.ts";

/** Widest entry of the left column, in characters. */
const widestLeft = 30;

/** Breaks `text` at spaces into lines of at most `width` characters; longer words keep a line of their own. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return line === "" ? lines : [...lines, line];
}

/** `--epochs <integer>`, `--[no-]clamp`. */
function signature(option: Option): string {
  switch (option.type) {
    case "boolean":
      return option.default === true ? `--[no-]${option.name}` : `--${option.name}`;
    case "choice":
      return `--${option.name} <${option.choices.join("|")}>`;
    case "string":
      return `--${option.name} <text>`;
    default:
      return `--${option.name} <${option.type}>`;
  }
}

/** `default: 5 epochs; from 1 to 100; paper: 5`. */
function details(option: Option): string {
  const parts: string[] = [];
  const unit = "unit" in option && option.unit !== undefined ? ` ${option.unit}` : "";
  if (option.defaultText !== undefined) {
    parts.push(`default: ${option.defaultText}`);
  } else if (option.type === "boolean") {
    parts.push(`default: ${option.default === true ? "on" : "off"}`);
  } else {
    parts.push(option.default === undefined ? "no default" : `default: ${option.default}${unit}`);
  }
  if (option.type === "integer" || option.type === "number") {
    const { min, max, above, below } = option;
    const range = [
      min !== undefined ? `at least ${min}` : above !== undefined ? `more than ${above}` : "",
      max !== undefined ? `at most ${max}` : below !== undefined ? `less than ${below}` : "",
    ].filter((bound) => bound !== "").join(", ");
    if (range !== "") parts.push(range);
  }
  if (option.source !== undefined) parts.push(option.source);
  return `(${parts.join("; ")})`;
}

/** One row of the two columns; what is too wide for the left one gets a line of its own. */
function row(left: string, right: readonly string[], width: number): string[] {
  const indent = " ".repeat(width + 4);
  const lines = right.map((line) => indent + line);
  if (left.length > width) return [`  ${left}`, ...lines];
  return [`  ${left.padEnd(width)}  ${right[0] ?? ""}`.trimEnd(), ...lines.slice(1)];
}

/**
 * What `--help` prints: summary, every option under its group's heading with its default, range and source,
 * and the examples.
 *
 * @param width columns to wrap at, 100 by default
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = usageText({
 *   name: "deno task train",
 *   summary: "Train a classifier.",
 *   options: [{
 *     name: "position-rate", type: "number", above: 0, default: 5, source: "paper: 5",
 *     description: "Learning rate of the positions relative to the weights'.",
 *   }],
 * });
 * assert.match(text, /--position-rate <number>/);
 * assert.match(text, /\(default: 5; more than 0; paper: 5\)/);
 * ```
 */
export function usageText(command: Command, width = 100): string {
  const groups = new Map<string, Option[]>();
  for (const option of command.options) {
    const group = option.group ?? "Options";
    groups.set(group, [...groups.get(group) ?? [], option]);
  }
  // One width for all groups, so that the descriptions line up from heading to heading.
  const left = Math.max(
    "-h, --help".length,
    ...command.options.map((option) => signature(option).length).filter((length) => length <= widestLeft),
  );
  const right = width - left - 4;
  const operand = command.operands === undefined ? "" : ` [${command.operands.name} ...]`;
  const out = [...wrap(command.summary, width), "", `Usage: ${command.name} [options]${operand}`];
  if (command.operands !== undefined) {
    out.push(
      "",
      "Arguments:",
      ...row(command.operands.name, wrap(command.operands.description, right), left),
    );
  }
  for (const [heading, options] of groups) {
    out.push("", `${heading}:`);
    for (const option of options) {
      const text = [...wrap(option.description, right), ...wrap(details(option), right)];
      out.push(...row(signature(option), text, left));
    }
  }
  out.push("", "Always:");
  out.push(...row("--verbose", ["Print the stack of a failure."], left));
  out.push(...row("-h, --help", ["Print this and exit."], left));
  const examples = command.examples ?? [];
  if (examples.length > 0) {
    out.push("", "Examples:");
    for (const { line, does } of examples) out.push(`  ${line}`, `      ${does}`);
  }
  return `${out.join("\n")}\n`;
}
