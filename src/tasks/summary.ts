/**
 * `deno task summary`: parameters and multiply-adds of a model, layer by layer.
 * @module
 */
import { modelName, MODELS } from "../models/presets.ts";
import { type Summary, summary } from "../models/summary.ts";
import { defineCommand, type ParsedCommand, runCommand, usageError } from "../train/cli.ts";
import { say, tableLines } from "./terminal.ts";

const options = [
  {
    name: "size",
    type: "integer",
    min: 32,
    max: 8192,
    default: 224,
    unit: "pixels",
    description: "Height and width of the image.",
  },
  { name: "json", type: "boolean", description: "Print everything as one JSON object." },
] as const;

/** The command line of `deno task summary`. */
export const summaryCommand = defineCommand({
  name: "deno task summary",
  summary:
    "Prints the parameters and multiply-adds of a model for one image, layer by layer, with totals. Multiply-adds are " +
    "those of convolutions and linear maps; a DCLS layer counts with its constructed kernel. Nothing is run.",
  operands: {
    name: "model",
    description: `${
      Object.keys(MODELS).join(", ")
    }. convnext-dcls- may be left out; default: convnext-dcls-tiny.`,
  },
  options,
  examples: [
    { line: "deno task summary convnext-dcls-tiny", does: "ConvNeXt-T-dcls at 224 x 224: 28.6 M, 5.0 G" },
    { line: "deno task summary convnext-base --size 384", does: "the baseline of Base, at another size" },
  ],
});

/** `1,234,567`. */
function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** `87.0 M`, `5.0 G`; nothing for 0. */
function short(value: number): string {
  if (value === 0) return "";
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(2)} G`;
}

/** The summary as a table. */
export function describeSummary(name: string, size: number, { rows, ...totals }: Summary): string[] {
  const head = ["layer", "class", "output", "parameters", "multiply-adds"];
  const cells = rows.map(({ path, layer, outputShape, parameters, multiplyAdds }) => [
    path,
    layer,
    outputShape === null ? "not run" : outputShape.slice(1).join(" x "),
    count(parameters),
    short(multiplyAdds),
  ]);
  return [
    `${name}, one image of ${size} x ${size}`,
    "",
    ...tableLines([head, ...cells], [0, 1, 2]),
    "",
    `parameters     ${count(totals.parameters)} (${(totals.parameters / 1e6).toFixed(1)} M)`,
    `multiply-adds  ${count(totals.multiplyAdds)} (${(totals.multiplyAdds / 1e9).toFixed(1)} G)`,
  ];
}

/** The model of the command line, by its full name. */
function checkedName(name: string): string {
  try {
    return modelName(name);
  } catch (error) {
    throw error instanceof RangeError ? usageError(error.message) : error;
  }
}

function main({ values, operands }: ParsedCommand<typeof options>): number {
  const { size, json } = values;
  if (operands.length > 1) {
    throw usageError(`Cannot run ${summaryCommand.name}: it takes one model, got ${operands.join(", ")}`);
  }
  const name = checkedName(operands[0] ?? "convnext-dcls-tiny");
  // No value matters here: weights of zeros take no time to draw.
  const counted = summary(() => MODELS[name]({ weightStd: 0 }), [1, 3, size, size]);
  if (json) say(JSON.stringify({ model: name, inputShape: [1, 3, size, size], ...counted }, null, 2));
  else for (const line of describeSummary(name, size, counted)) say(line);
  return 0;
}

if (import.meta.main) await runCommand(summaryCommand, main);
