/**
 * The command line of `deno task compare`: that of `deno task train`, without what differs between the runs.
 * @module
 */
import { CONV_KINDS, type ConvKind } from "../../models/mod.ts";
import {
  type Command,
  defineCommand,
  isUsageError,
  type Option,
  type ParsedCommand,
  usageError,
} from "../../train/cli.ts";
import { configOf, type TrainConfig } from "../../train/config.ts";
import { trainCommand, trainOptions } from "../../train/train_options.ts";
import { networkSpec } from "../runs.ts";

/** What a comparison decides itself, or means in its own way. */
const OWN = ["conv", "name", "resume"] as const;

type SharedOption = Exclude<typeof trainOptions[number], { readonly name: typeof OWN[number] }>;

const ownOptions = [
  {
    name: "name",
    type: "string",
    group: "Run",
    defaultText: "compare-<date>-<time>",
    description: "Results go to runs/<name>/, those of each run to a directory of its own in there.",
  },
  {
    name: "resume",
    type: "path",
    group: "Run",
    description: "Continues the comparison in that directory, runs/<name>: finished runs are kept.",
  },
] as const satisfies readonly Option[];

/** Every option; what is shared with `deno task train` has the same defaults. */
export const compareOptions: readonly (SharedOption | typeof ownOptions[number])[] = [
  ...ownOptions,
  ...trainOptions.filter((option): option is SharedOption =>
    !(OWN as readonly string[]).includes(option.name)
  ),
];

/** The parsed command line of `deno task compare`. */
export type CompareArguments = ParsedCommand<typeof compareOptions>;

/** What the runs of a comparison have in common. */
export type SharedConfig = Omit<TrainConfig, "conv">;

/** `deno task compare`. */
export const compareCommand: Command<typeof compareOptions> = defineCommand({
  name: "deno task compare",
  summary:
    "Trains the same network with the same seed, images and schedule three times, each time with other depthwise " +
    "layers: DCLS, dense kernels, and dense kernels spread by a fixed dilation. Prints their parameters, kernels, " +
    "test accuracy and speed. Takes three times as long as deno task train; Ctrl-C saves.",
  options: compareOptions,
  examples: [
    { line: "deno task compare", does: "the default network: a table, and a picture in runs/" },
    { line: "deno task compare --epochs 5 --name five", does: "results in runs/five" },
    { line: "deno task compare --resume runs/five", does: "goes on where that comparison was stopped" },
  ],
});

/** The config of one of the runs. */
export function configWith(shared: SharedConfig, conv: ConvKind): TrainConfig {
  return { ...shared, conv };
}

/** A shared rule's error, in the name of this command. */
function inOurName(error: unknown): unknown {
  return error instanceof Error && isUsageError(error)
    ? usageError(error.message.replace(trainCommand.name, compareCommand.name))
    : error;
}

/**
 * The config of a command line, once all three networks are known to be possible.
 * @throws {RangeError} that names the flag
 */
export function sharedConfig({ values, help, verbose }: CompareArguments): SharedConfig {
  try {
    const all = configOf({
      values: { ...values, conv: "dcls" },
      given: new Set(),
      operands: [],
      help,
      verbose,
    });
    const { conv: _conv, ...shared } = all;
    for (const conv of CONV_KINDS) networkSpec(configWith(shared, conv));
    return shared;
  } catch (error) {
    throw inOurName(error);
  }
}

/** A run's kernels in words: `8 elements in 9x9`, `5x5`, `5x5 dilation 2`. */
export function describeKernel(config: TrainConfig): string {
  const { conv, kernelSize, dilation, kernelCount, dilatedKernelSize: size, version } = networkSpec(config);
  const dense = `${kernelSize}x${kernelSize}`;
  if (conv === "standard") return dense;
  if (conv === "dilated") return `${dense} dilation ${dilation}`;
  return `${kernelCount} ${version === "v0" ? "" : `${version} `}elements in ${size}x${size}`;
}
