/**
 * `deno task train`: trains a classifier with DCLS on MNIST.
 * @module
 */
import { join } from "node:path";
import { init } from "../backend.ts";
import { loadMnist } from "../data/mnist.ts";
import { writeFileAtomic } from "../io/files.ts";
import { isoKernelCount } from "../models/mod.ts";
import { type Checkpoint, loadCheckpoint } from "../train/checkpoint.ts";
import { runCommand } from "../train/cli.ts";
import { configOf, resumedConfig, type TrainArguments, type TrainConfig } from "../train/config.ts";
import { onInterrupt } from "../train/interrupt.ts";
import { createProgress } from "../train/progress.ts";
import { trainCommand } from "../train/train_options.ts";
import { percent, train } from "../train/trainer.ts";
import { makeDirectory, networkSpec, newDirectory } from "./runs.ts";
import { say } from "./terminal.ts";

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

/** The depthwise layers in words, with the arithmetic behind the kernel count. */
function describeLayers(config: TrainConfig): string {
  const { conv, kernelSize, dilation, dilatedKernelSize, kernelCount, version, ...spec } = networkSpec(
    config,
  );
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
    const config = configOf(parsed);
    networkSpec(config);
    job = { config, directory: await newDirectory(trainCommand.name, config.conv, parsed.values.name) };
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
    if (!checkpoint) await makeDirectory(trainCommand.name, directory);
    await writeFileAtomic(
      join(directory, "config.json"),
      `${JSON.stringify({ ...config, adapter: info.adapter, model: networkSpec(config) }, null, 2)}\n`,
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
