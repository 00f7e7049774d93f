/**
 * Whole models: time to the first result, forward passes and training steps, and memory, each backend in a process of
 * its own, and whether the backends agree: `deno run --allow-read --allow-run bench/models.ts --help`.
 * @module
 */
import process from "node:process";
import { init, randn, shutdown, type Tensor, tensor, tidy } from "../mod.ts";
import { modelName, MODELS, summary } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import { noGrad } from "../src/tape.ts";
import { formatBytes, say, tableLines } from "../src/tasks/terminal.ts";
import { defineCommand, type ParsedCommand, runCommand } from "../src/train/cli.ts";
import { median } from "./measure.ts";
import { digits } from "./report.ts";

const options = [
  {
    name: "model",
    type: "string",
    default: "convnext-dcls-tiny",
    description: `One of ${Object.keys(MODELS).join(", ")}; convnext-dcls- may be left out.`,
  },
  {
    name: "backend",
    type: "choice",
    choices: ["all", "webgpu", "tfjs"],
    default: "all",
    description: "What to run on. all compares the logits, too.",
  },
  { name: "batch", type: "integer", min: 1, max: 4096, default: 1, description: "Images of a pass." },
  {
    name: "size",
    type: "integer",
    min: 32,
    max: 2048,
    default: 224,
    unit: "pixels",
    description: "Height and width of the images.",
  },
  {
    name: "seconds",
    type: "number",
    above: 0,
    default: 5,
    description: "How long to repeat forward passes, and training steps; three of each at least.",
  },
  { name: "training", type: "boolean", default: true, description: "Time training steps, too." },
  { name: "json", type: "boolean", description: "Print the figures as one JSON object." },
] as const;

type Values = ParsedCommand<typeof options>["values"];

const command = defineCommand({
  name: "deno run --allow-read --allow-run bench/models.ts",
  summary:
    "Times a whole model with random weights: its making, its first forward pass (kernels are compiled), the next " +
    "ones, and training steps (forward, backward, AdamW); and says how much memory the process took. Exit status 1 " +
    "where the logits of the backends differ by more than 1e-3 of the largest.",
  options,
});

/** Milliseconds of one of many repetitions. */
interface Repeated {
  readonly min: number;
  readonly median: number;
  /** Processor time of all threads. */
  readonly processor: number;
}

/** What one backend took; times in milliseconds, until a result was read. */
interface ModelFigures {
  readonly backend: string;
  readonly adapter: string;
  /** Start of the backend, and all parameters made. */
  readonly making: number;
  readonly firstForward: number;
  readonly forward: Repeated;
  /** Peak of the process up to here. */
  readonly forwardBytes: number;
  /** Null where training was left out. */
  readonly training: { readonly first: number; readonly step: Repeated; readonly bytes: number } | null;
  readonly logits: readonly number[];
}

/** Repeats `run`, which ends with a result read, for the time asked for. */
async function repeat(seconds: number, run: () => Promise<unknown>): Promise<Repeated> {
  const times: number[] = [];
  const before = process.cpuUsage(), started = performance.now();
  while (times.length < 3 || performance.now() - started < 1000 * seconds) {
    const from = performance.now();
    await run();
    times.push(performance.now() - from);
  }
  const { user, system } = process.cpuUsage(before);
  return {
    min: Math.min(...times),
    median: median(times),
    processor: (user + system) / 1000 / times.length,
  };
}

/** Peak memory of this process, in bytes. */
function peakBytes(): number {
  return 1024 * process.resourceUsage().maxRSS;
}

/** Runs the model in this process. */
async function measure(backend: "webgpu" | "tfjs", { model, batch, size, seconds, training }: Values) {
  let from = performance.now();
  const lap = (): number => {
    const passed = performance.now() - from;
    from += passed;
    return passed;
  };
  const info = await init({ backend });
  // A scale of 0.1 in place of 1e-6, so that the blocks have a part in the logits that are compared.
  const net = MODELS[modelName(model)]({ seed: 1, layerScale: 0.1 });
  await net.head.bias!.data();
  const making = lap();
  const x = randn([batch, 3, size, size], { seed: 2 });
  const labels = tensor(Float32Array.from({ length: batch }, (_, i) => i % net.spec.classes), [batch]);
  const forward = async (): Promise<Float32Array> => {
    const logits = noGrad(() => tidy(() => net.forward(x)));
    const values = await logits.data();
    logits.dispose();
    return values;
  };
  lap();
  const logits = await forward();
  const firstForward = lap();
  const figures: ModelFigures = {
    backend,
    adapter: info.adapter,
    making,
    firstForward,
    forward: await repeat(seconds, forward),
    forwardBytes: peakBytes(),
    training: null,
    logits: [...logits],
  };
  if (!training) return figures;
  const optimizer = new AdamW(parameterGroups(net, { learningRate: 1e-4 }));
  const step = async (): Promise<void> => {
    const loss = tidy((): Tensor => {
      const loss = crossEntropy(net.forward(x), labels);
      loss.backward();
      optimizer.step();
      optimizer.zeroGrad();
      net.clampParameters();
      return loss;
    });
    await net.head.bias!.data(); // which the step's last part changes
    if (!Number.isFinite(await loss.item())) throw new Error("Cannot time training: the loss is not finite");
    loss.dispose();
  };
  lap();
  await step();
  const first = lap();
  return { ...figures, training: { first, step: await repeat(seconds, step), bytes: peakBytes() } };
}

/** Runs this script for one backend in a process of its own, whose peak memory is that backend's. */
async function measureApart(backend: string): Promise<ModelFigures> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--allow-read", import.meta.url, ...Deno.args],
      ...["--backend", backend, "--json"],
    ],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot time ${backend}: its process failed`);
  return JSON.parse(new TextDecoder().decode(stdout)).figures[0];
}

/** Largest difference of two lists, relative to the first's largest magnitude; infinite where one is not finite. */
function largestDifference(a: readonly number[], b: readonly number[]): number {
  const largest = Math.max(...a.map(Math.abs));
  const difference = Math.max(...a.map((value, i) => Math.abs(value - b[i]))) / largest;
  return Number.isFinite(difference) ? difference : Infinity;
}

function describe(figures: readonly ModelFigures[], { batch }: Values): string[] {
  const milliseconds = (value?: number): string => value === undefined ? "" : digits(value);
  const row = (name: string, value: (of: ModelFigures) => string): string[] => [name, ...figures.map(value)];
  const rows = [
    row("", ({ backend }) => backend),
    row("making, ms", ({ making }) => milliseconds(making)),
    row("first forward, ms", ({ firstForward }) => milliseconds(firstForward)),
    row("forward, ms: median", ({ forward }) => milliseconds(forward.median)),
    row("  min", ({ forward }) => milliseconds(forward.min)),
    row("  processor time", ({ forward }) => milliseconds(forward.processor)),
    row("  images/s", ({ forward }) => digits(1000 * batch / forward.median)),
    row("  peak memory", ({ forwardBytes }) => formatBytes(forwardBytes)),
    row("first training step, ms", ({ training }) => milliseconds(training?.first)),
    row("training step, ms: median", ({ training }) => milliseconds(training?.step.median)),
    row("  min", ({ training }) => milliseconds(training?.step.min)),
    row("  processor time", ({ training }) => milliseconds(training?.step.processor)),
    row("  images/s", ({ training }) => training ? digits(1000 * batch / training.step.median) : ""),
    row("  peak memory", ({ training }) => training ? formatBytes(training.bytes) : ""),
  ];
  return tableLines(rows.filter(([, ...cells]) => cells.some((cell) => cell !== "")), [0]);
}

async function main({ values }: ParsedCommand<typeof options>): Promise<number> {
  const name = modelName(values.model);
  const figures: ModelFigures[] = [];
  if (values.backend === "all") {
    for (const each of ["webgpu", "tfjs"]) figures.push(await measureApart(each));
  } else figures.push(await measure(values.backend, values));
  const [first, second] = figures;
  const difference = second ? largestDifference(first.logits, second.logits) : null;
  if (values.json) say(JSON.stringify({ ...values, model: name, figures, difference }));
  else {
    const { batch, size } = values;
    const { parameters, multiplyAdds } = summary(() => MODELS[name]({ weightStd: 0 }), [
      batch,
      3,
      size,
      size,
    ]);
    say(`${name}, ${batch} x 3 x ${size} x ${size}, float32, random weights`);
    say(`${(parameters / 1e6).toFixed(1)} M parameters, ${(multiplyAdds / 1e9).toFixed(1)} G multiply-adds`);
    for (const { backend, adapter } of figures) say(`${backend.padEnd(7)} ${adapter}`);
    say();
    for (const line of describe(figures, values)) say(line);
    if (second) {
      say();
      const times = (of: "min" | "processor"): string => digits(second.forward[of] / first.forward[of]);
      say(
        `forward, ${second.backend} : ${first.backend}  ${times("min")} by min, ${
          times("processor")
        } by processor time`,
      );
      say(`largest difference of the logits  ${difference!.toExponential(1)} of the largest`);
    }
  }
  shutdown();
  return difference !== null && !(difference <= 1e-3) ? 1 : 0;
}

if (import.meta.main) await runCommand(command, main);
