/** Command lines: options, errors, help and exit statuses. */
import {
  type CommandHost,
  defineCommand,
  isUsageError,
  parseCommand,
  runCommand,
  usageError,
  usageText,
} from "../src/train/cli.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "./assert.ts";

const train = defineCommand({
  name: "deno task train",
  summary: "Train a small ConvNeXt-style classifier with DCLS depthwise convolutions on MNIST.",
  options: [
    {
      name: "conv",
      type: "choice",
      choices: ["dcls", "standard", "dilated"],
      default: "dcls",
      group: "Model",
      description: "Which depthwise convolution the network uses.",
    },
    {
      name: "kernel-count",
      type: "integer",
      min: 1,
      max: 1000,
      group: "Model",
      defaultText: "as many as the baseline has weights",
      source: "paper: iso-parameters",
      description: "Learnable elements per kernel.",
    },
    {
      name: "position-rate",
      type: "number",
      above: 0,
      default: 5,
      source: "paper: 5",
      group: "Learning",
      description: "Learning rate of the positions relative to the weights'.",
    },
    {
      name: "label-smoothing",
      type: "number",
      min: 0,
      below: 1,
      default: 0.1,
      description: "Share of the label.",
    },
    { name: "warm-up", type: "integer", min: 0, default: 100, unit: "steps", description: "Linear warm-up." },
    { name: "shift", type: "number", default: 0, description: "Added to every position." },
    { name: "clamp", type: "boolean", default: true, description: "Clamp positions after each step." },
    { name: "quick", type: "boolean", description: "A tenth of the data." },
    { name: "data", type: "path", description: "Directory with the IDX files." },
    { name: "name", type: "string", default: "mnist", description: "Name of the run." },
  ],
  examples: [{ line: "deno task train --conv standard", does: "the baseline" }],
});

Deno.test("cli: defaults, camelCase names, and what was given", () => {
  const { values, given, help, verbose } = parseCommand(train, ["--kernel-count", "9", "--no-clamp"]);
  assertEquals(values, {
    conv: "dcls",
    kernelCount: 9,
    positionRate: 5,
    labelSmoothing: 0.1,
    warmUp: 100,
    shift: 0,
    clamp: false,
    quick: false,
    data: undefined,
    name: "mnist",
  });
  assertEquals([...given].sort(), ["clamp", "kernelCount"]);
  assertEquals([help, verbose], [false, false]);
  // Typed: these lines do not compile if the values' types are lost.
  const conv: "dcls" | "standard" | "dilated" = values.conv;
  const kernelCount: number | undefined = values.kernelCount;
  const clamp: boolean = values.clamp;
  assertEquals([conv, kernelCount, clamp], ["dcls", 9, false]);
});

Deno.test("cli: forms of a flag", () => {
  const parse = (...args: string[]) => parseCommand(train, args).values;
  assertEquals(parse("--shift=-2.5").shift, -2.5);
  assertEquals(parse("--shift", "-2.5").shift, -2.5);
  assertEquals(parse("--shift", "-.5e-3").shift, -0.0005);
  assertEquals(parse("--warm-up=1e3").warmUp, 1000);
  assertEquals(parse("--quick").quick, true);
  assertEquals(parse("--quick=false", "--clamp=true").quick, false);
  assertEquals(parse("--no-quick").quick, false);
  assertEquals(parse("--name", "a=b c").name, "a=b c");
  assertEquals(parse("--name=--odd").name, "--odd");
  assertEquals(parse("--data", "../x y/é").data, "../x y/é");
  assertEquals(parse("--shift", "1", "--shift", "2").shift, 2); // the last one holds
  assertEquals(parse("--", "--shift", "1").shift, 1); // as `deno task train -- --shift 1` passes it
  assertEquals(parseCommand(train, ["--verbose"]).verbose, true);
});

const refused: [string, string[], string][] = [
  [
    "unknown flag with a near one",
    ["--kernal-count", "3"],
    "got --kernal-count; did you mean --kernel-count?",
  ],
  ["camelCase flag", ["--kernelCount=3"], "got --kernelCount; did you mean --kernel-count?"],
  ["one dash", ["-quick"], "got -quick; did you mean --quick?"],
  ["unknown flag, nothing near", ["--zebra"], "every flag must be one that --help lists, got --zebra"],
  ["--no- of a flag with a value", ["--no-conv"], "got --no-conv"],
  ["unknown choice", ["--conv", "dense"], '--conv must be one of dcls, standard, dilated, got "dense"'],
  ["not a number", ["--shift", "far"], '--shift must be a number, got "far"'],
  ["empty number", ["--shift="], '--shift must be a number, got ""'],
  ["hexadecimal", ["--warm-up", "0x10"], '--warm-up must be an integer of at least 0, got "0x10"'],
  ["NaN", ["--shift", "NaN"], '--shift must be a number, got "NaN"'],
  ["infinity", ["--shift", "1e999"], '--shift must be a number, got "1e999"'],
  ["fraction", ["--warm-up", "1.5"], '--warm-up must be an integer of at least 0, got "1.5"'],
  ["past safe integers", ["--warm-up", "1e17"], "--warm-up must be an integer"],
  ["out of range", ["--kernel-count", "0"], '--kernel-count must be an integer from 1 to 1000, got "0"'],
  ["exclusive bound", ["--position-rate=0"], '--position-rate must be a number greater than 0, got "0"'],
  [
    "mixed bounds",
    ["--label-smoothing=1"],
    '--label-smoothing must be a number of at least 0 and less than 1, got "1"',
  ],
  ["value missing at the end", ["--name"], "--name needs a value (a text that is not empty), got none"],
  ["value missing before a flag", ["--name", "--quick"], "--name needs a value"],
  ["a dash in front", ["--data", "-x"], "write --data=-x for a value that starts with a dash"],
  ["empty text", ["--name="], '--name must be a text that is not empty, got ""'],
  ["bad switch", ["--quick=2"], '--quick must be true or false, got "2"'],
  ["value to --no-", ["--no-quick=true"], '--no-quick takes no value, got "true"'],
  ["positional", ["mnist"], 'it takes flags only, got the argument "mnist"'],
  ["flag without dashes", ["conv=dcls"], 'got the argument "conv=dcls"; did you mean --conv?'],
  ["--help after --", ["--quick", "--", "--help"], 'got the argument "--help"'],
  ["positional after --", ["--quick", "--", "--name"], 'got the argument "--name"'],
];

for (const [what, args, message] of refused) {
  Deno.test(`cli: refuses ${what}`, () => {
    const error = assertThrows(() => parseCommand(train, args), RangeError, message);
    assertStringIncludes(error.message, "Cannot run deno task train: ");
    assert(isUsageError(error));
  });
}

Deno.test("cli: no suggestion for a word that is far from every flag", () => {
  const error = assertThrows(() => parseCommand(train, ["--zebra"]), RangeError);
  assert(!error.message.includes("did you mean"));
});

Deno.test("cli: --help wins over mistakes, -h too, and lists every option", () => {
  for (const args of [["--help"], ["-h"], ["--zebra", "-h"]]) {
    const { help, values } = parseCommand(train, args);
    assertEquals([help, values.positionRate], [true, 5]);
  }
  const text = usageText(train);
  for (const option of train.options) assertMatch(text, new RegExp(`--(\\[no-\\])?${option.name} `));
  for (
    const part of [
      "Usage: deno task train [options]",
      "--conv <dcls|standard|dilated>",
      "--[no-]clamp",
      "(default: as many as the baseline has weights; at least 1, at most 1000; paper: iso-parameters)",
      "(default: 5; more than 0; paper: 5)",
      "(default: 100 steps; at least 0)",
      "(no default)",
      "-h, --help",
      "--verbose",
      "deno task train --conv standard",
    ]
  ) assertStringIncludes(text.replace(/\s+/g, " "), part); // wherever the lines break
  assert(text.indexOf("Model:") < text.indexOf("Learning:"));
  for (const line of text.split("\n")) assert(line.length <= 100, line);
  for (const line of usageText(train, 72).split("\n")) assert(line.length <= 72, line);
});

Deno.test("cli: a wrong table is refused where it is declared", () => {
  const define = (...options: Parameters<typeof defineCommand>[0]["options"]) =>
    defineCommand({ name: "x", summary: "X.", options });
  const option = { type: "integer", description: "N." } as const;
  assertThrows(() => define({ ...option, name: "learningRate" }), RangeError, "kebab-case");
  assertThrows(() => define({ ...option, name: "help" }), RangeError, "unique");
  assertThrows(() => define({ ...option, name: "a" }, { ...option, name: "a" }), RangeError, "unique");
  assertThrows(() => define({ ...option, name: "no-x" }), RangeError, "prefix no-");
  assertThrows(
    () => define({ ...option, name: "n", min: 1, default: 0 }),
    RangeError,
    "the default of --n must be an integer of at least 1, got 0",
  );
});

/** Runs with a host that records; the exit is the last thing that happens. */
async function run(
  args: string[],
  main: () => number | void | Promise<number | void>,
): Promise<{ status: number; out: string; error: string }> {
  const result = { status: -1, out: "", error: "" };
  const host: CommandHost = {
    args,
    print: (text) => void (result.out += text),
    printError: (text) => void (result.error += text),
    exit: (status) => {
      assertEquals(result.status, -1, "exit was called twice");
      result.status = status;
    },
  };
  await runCommand(train, main, host);
  return result;
}

Deno.test("cli: exit statuses", async () => {
  assertEquals(await run([], () => {}), { status: 0, out: "", error: "" });
  assertEquals((await run([], () => Promise.resolve(130))).status, 130);

  const help = await run(["--help"], () => 99);
  assertEquals([help.status, help.error], [0, ""]);
  assertEquals(help.out, usageText(train));

  const mistake = await run(["--shift", "far"], () => 99);
  assertEquals([mistake.status, mistake.out], [2, ""]);
  assertEquals(
    mistake.error,
    'error: Cannot run deno task train: --shift must be a number, got "far"' +
      " (deno task train --help lists the flags)\n",
  );

  const late = await run([], () => {
    throw usageError('Cannot run deno task train: --data must be a directory, got "x.txt"');
  });
  assertEquals(late.status, 2);

  const abort = await run([], () => Promise.reject(new DOMException("stop", "AbortError")));
  assertEquals(abort, { status: 130, out: "", error: "interrupted\n" });

  const pipe = await run([], () => Promise.reject(new Deno.errors.BrokenPipe("Broken pipe (os error 32)")));
  assertEquals(pipe, { status: 141, out: "", error: "" });
});

Deno.test("cli: a failure is one line, with its cause; --verbose adds the stack", async () => {
  const main = (): Promise<number> =>
    Promise.reject(
      new Error("Cannot write\n  checkpoint", { cause: new Error("No space left on device") }),
    );
  const short = await run([], main);
  assertEquals(short.status, 1);
  assertEquals(
    short.error,
    "error: Cannot write checkpoint, because: No space left on device (--verbose adds the stack)\n",
  );
  const long = await run(["--verbose"], main);
  assertEquals(long.status, 1);
  assertMatch(long.error, /^error: Cannot write checkpoint.*\n.*\n.*\n\s+at /);
});
