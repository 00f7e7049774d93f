/**
 * `deno task train`: trains a classifier with DCLS on MNIST.
 * @module
 */
import { join } from "node:path";
import { init } from "../backend.ts";
import { loadMnist } from "../data/mnist.ts";
import { writeFileAtomic } from "../io/files.ts";
import { convNeXtSpec, isoKernelCount } from "../models/convnext_options.ts";
import { type Checkpoint, loadCheckpoint } from "./checkpoint.ts";
import { runCommand, usageError } from "./cli.ts";
import { configOf, resumedConfig, type TrainArguments, type TrainConfig } from "./config.ts";
import { onInterrupt } from "./interrupt.ts";
import { modelOptions } from "./learner.ts";
import { createProgress } from "./progress.ts";
import { trainCommand } from "./train_options.ts";
import { percent, train } from "./trainer.ts";

/** Prints a line. */
function say(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
}

/** `1,234`. */
function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** What a command line asks for. */
interface Job {
  readonly config: TrainConfig;
  readonly directory: string;
  readonly checkpoint?: Checkpoint;
}

/** `dcls-20260131-094500`, in local time. */
function defaultName(conv: string): string {
  const now = new Date();
  const two = (value: number): string => String(value).padStart(2, "0");
  const date = `${now.getFullYear()}${two(now.getMonth() + 1)}${two(now.getDate())}`;
  return `${conv}-${date}-${two(now.getHours())}${two(now.getMinutes())}${two(now.getSeconds())}`;
}

/** A new run's job; makes its directory. */
async function newJob(parsed: TrainArguments): Promise<Job> {
  const config = configOf(parsed);
  const name = parsed.values.name ?? defaultName(config.conv);
  if (!/^[\w][\w.-]*$/.test(name)) {
    throw usageError(
      `Cannot run ${trainCommand.name}: --name must be letters, digits, dots, dashes and underscores, got "${name}"`,
    );
  }
  checkSpec(config);
  const directory = join("runs", name);
  await Deno.mkdir("runs", { recursive: true });
  try {
    await Deno.mkdir(directory);
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw usageError(
      `Cannot run ${trainCommand.name}: runs/<name> must be new, got ${directory}, which exists; ` +
        `--resume ${directory} continues it, another --name starts anew`,
    );
  }
  return { config, directory };
}

/** The model's own rules, before anything is made or loaded. */
function checkSpec(config: TrainConfig): ReturnType<typeof convNeXtSpec> {
  try {
    return convNeXtSpec(modelOptions(config));
  } catch (error) {
    throw error instanceof RangeError
      ? usageError(error.message.replace(/ (\w+) must be/, (_, name) => ` --${kebabCase(name)} must be`))
      : error;
  }
}

function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The depthwise layers in words, with the arithmetic behind the kernel count. */
function describeLayers(config: TrainConfig): string {
  const { conv, kernelSize, dilation, dilatedKernelSize, kernelCount, version, ...spec } = checkSpec(config);
  if (conv === "standard") return `${kernelSize}x${kernelSize} kernels`;
  if (conv === "dilated") return `${kernelSize}x${kernelSize} kernels, dilation ${dilation}`;
  const iso = isoKernelCount({ kernelSize, version, ...spec });
  const why = kernelCount === iso
    ? `no more parameters than ${kernelSize}x${kernelSize}`
    : `${iso} would have as many parameters as ${kernelSize}x${kernelSize}`;
  return `DCLS ${version}, ${kernelCount} elements in ${dilatedKernelSize}x${dilatedKernelSize} (${why})`;
}

async function main(parsed: TrainArguments): Promise<number> {
  const { resume } = parsed.values;
  const started = performance.now();
  let job: Job;
  if (resume === undefined) {
    job = await newJob(parsed);
  } else {
    const directory = resume.replace(/\/+$/, "") || "/";
    const checkpoint = await loadCheckpoint(directory);
    job = { config: resumedConfig(checkpoint.config, parsed), directory, checkpoint };
  }
  const { directory, checkpoint } = job;
  const interrupt = onInterrupt({
    onRequest: () => say("\nstopping after this step; once more ends at once"),
  });
  try {
    const info = await init({ backend: job.config.backend });
    // What ran it is part of the config: a resumed run gives the same losses only there.
    const config = { ...job.config, backend: info.name };
    const data = await loadMnist({ directory: config.data });
    await writeFileAtomic(
      join(directory, "config.json"),
      `${JSON.stringify({ ...config, adapter: info.adapter, model: checkSpec(config) }, null, 2)}\n`,
    );
    say(`backend   ${info.name} (${info.adapter}${info.software ? ", on the CPU" : ""})`);
    say(
      `data      ${data.name}: ${count(data.train.count)} training and ${count(data.test.count)} test images`,
    );
    say(`layers    ${describeLayers(config)}`);
    say(`results   ${directory}${checkpoint ? `, from step ${checkpoint.step} on` : ""}`);
    const result = await train({
      config,
      data,
      directory,
      checkpoint,
      signal: interrupt.signal,
      progress: (total, startStep) =>
        createProgress({ total, startStep, label: "train", epochs: config.epochs }),
    });
    if (result.stopped) {
      say(
        `stopped at step ${result.step} of ${result.totalSteps}; deno task train --resume ${directory} goes on`,
      );
      return 130;
    }
    const seconds = Math.round((performance.now() - started) / 1000);
    const speed = result.imagesPerSecond === null
      ? ""
      : `${count(Math.round(result.imagesPerSecond))} images/s, `;
    say(`pictures  ${result.pictures.map((name) => join(directory, name)).join(", ")}`);
    say(
      `test accuracy ${percent(result.testAccuracy ?? NaN)} on ${count(data.test.count)} images ` +
        `(${count(result.parameters)} parameters, ${speed}${seconds} s)`,
    );
    return 0;
  } finally {
    interrupt.dispose();
  }
}

if (import.meta.main) await runCommand(trainCommand, main);
