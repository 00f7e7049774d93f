/**
 * `deno task classify`: what images show, by a ConvNeXt with published weights, or how often it is right about a
 * labelled folder.
 * @module
 */
import { type BackendInfo, init } from "../backend.ts";
import { type ClassNames, imagenetNames, parseClassNames } from "../data/photos/class_names.ts";
import { decodePhoto } from "../data/photos/decode.ts";
import { preprocess } from "../data/photos/preprocess.ts";
import { modelName, MODELS } from "../models/mod.ts";
import {
  type CommandValues,
  defineCommand,
  type ParsedCommand,
  runCommand,
  usageError,
} from "../train/cli.ts";
import { onInterrupt } from "../train/interrupt.ts";
import { createProgress } from "../train/progress.ts";
import { evaluate, type Evaluation, type Unreadable } from "./classify/evaluate.ts";
import { listFolder } from "./classify/folder.ts";
import { predict, topClasses } from "./classify/predict.ts";
import { whereWeightsAre } from "./classify/published.ts";
import { type LoadedModel, loadModel } from "./classify/weights.ts";
import { backendOption } from "./options.ts";
import { formatSeconds, say } from "./terminal.ts";

const options = [
  {
    name: "weights",
    type: "path",
    description:
      "Trained weights: a .pth file of PyTorch's, or safetensors. Without it, published ones are listed.",
  },
  {
    name: "model",
    type: "string",
    default: "auto",
    description: `Which model the weights are for. auto takes the form that they have; else one of ${
      Object.keys(MODELS).join(", ")
    }; convnext-dcls- may be left out.`,
  },
  { name: "folder", type: "path", description: "Labelled folder to evaluate: a folder for each class." },
  {
    name: "names",
    type: "path",
    defaultText: "ImageNet-1k's, for 1,000 classes",
    description: "Names of the classes: lines of names, with WordNet ids before them or without, or JSON.",
  },
  {
    name: "top",
    type: "integer",
    min: 1,
    max: 1000,
    default: 5,
    unit: "classes",
    description: "How many classes to name for each image.",
  },
  {
    name: "size",
    type: "integer",
    min: 16,
    max: 2048,
    default: 224,
    unit: "pixels",
    source: "paper: 224",
    description: "Side of the square that the network sees.",
  },
  { name: "batch", type: "integer", min: 1, max: 1024, default: 32, description: "Images at once." },
  {
    name: "threads",
    type: "integer",
    min: 0,
    max: 64,
    defaultText: "one less than there are cores, at most 16",
    description: "Threads that decode the images of a folder.",
  },
  backendOption,
  {
    name: "key",
    type: "string",
    group: "Weights",
    defaultText: "model, state_dict, ... or the file itself",
    description: "Which of a .pth file's states to take: model_ema, for one.",
  },
  {
    name: "kernel-size",
    type: "integer",
    min: 1,
    max: 255,
    group: "Weights",
    defaultText: "17, for Gaussian elements 23",
    description: "Dilated kernel size, where --model is auto: weights do not tell it.",
  },
  {
    name: "layout",
    type: "choice",
    choices: ["torch", "native"],
    default: "torch",
    group: "Weights",
    description: "Axis order of the positions: PyTorch's, or this module's.",
  },
  { name: "json", type: "boolean", description: "Print the result as one JSON object, and nothing else." },
] as const;

/** The command line of `deno task classify`. */
export const classifyCommand = defineCommand({
  name: "deno task classify",
  summary:
    "Names what images show, or evaluates a labelled folder. Images are resized, cropped and normalised as in the " +
    "paper's evaluation: short side to 256, bicubic, centre of 224. EXIF orientation is heeded for single images, not " +
    "for folders, as usual. Exit status 1 where an image named on the command line cannot be read.",
  operands: { name: "image", description: "JPEG or PNG files to name the content of." },
  options,
  examples: [
    {
      line: "deno task classify cat.jpg --model tiny --weights convnext_dcls_tiny_1k_224_ema.pth",
      does: "the five likeliest classes of one image",
    },
    {
      line: "deno task classify --folder imagenet/val --weights convnext_dcls_tiny_1k_224_ema.pth",
      does: "top-1 and top-5 accuracy, images per second",
    },
  ],
});

type Values = CommandValues<typeof options>;

/** Writes lines to the standard error: results on the standard output stay results. */
function complain(lines: readonly string[]): void {
  const text = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
  for (let written = 0; written < text.length;) written += Deno.stderr.writeSync(text.subarray(written));
}

async function readInput<Result>(path: string, read: (path: string) => Promise<Result>): Promise<Result> {
  try {
    return await read(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    const missing = cause instanceof Deno.errors.NotFound;
    throw new Error(`Cannot read ${path}: ${missing ? "there is no such file" : (cause as Error).message}`, {
      cause,
    });
  }
}

/** Names of the classes; null where none are known. */
async function classNames(path: string | undefined, classes: number): Promise<ClassNames | null> {
  if (path === undefined) return classes === 1000 ? await imagenetNames() : null;
  const names = parseClassNames(await readInput(path, Deno.readTextFile), path);
  if (names.names.length === classes) return names;
  throw new RangeError(
    `Cannot read ${path}: it must name the ${classes} classes of the model, got ${names.names.length} names`,
  );
}

/** What a result in JSON starts with. */
function header(info: BackendInfo, { model, name }: LoadedModel, size: number): Record<string, unknown> {
  return { backend: info.name, adapter: info.adapter, model: name, classes: model.spec.classes, size };
}

/** One image after the other, in batches; status 1 where one cannot be read. */
async function nameImages(
  files: readonly string[],
  loaded: LoadedModel,
  names: ClassNames | null,
  info: BackendInfo,
  { top, size, batch, json }: Values,
): Promise<number> {
  const images: { file: string; top: { index: number; name: string | null; probability: number }[] }[] = [];
  const unreadable: Unreadable[] = [];
  for (let begin = 0; begin < files.length; begin += batch) {
    const read = [];
    for (const path of files.slice(begin, begin + batch)) {
      try {
        const photo = await decodePhoto(await readInput(path, Deno.readFile), path);
        read.push({ path, input: preprocess(photo, size) });
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        unreadable.push({ path, reason: (error as Error).message });
      }
    }
    if (read.length === 0) continue;
    const logits = await predict(loaded.model, read.map(({ input }) => input), size);
    read.forEach(({ path }, i) => {
      const found = topClasses(logits[i], top)
        .map(({ index, probability }) => ({ index, name: names?.names[index] ?? null, probability }));
      images.push({ file: path, top: found });
      if (json) return;
      say(path);
      for (const { index, name, probability } of found) {
        say(`  ${(100 * probability).toFixed(2).padStart(6)} %  ${name ?? `class ${index}`}`);
      }
    });
  }
  if (json) say(JSON.stringify({ ...header(info, loaded, size), images, unreadable }, null, 2));
  complain(unreadable.map(({ reason }) => reason));
  return unreadable.length > 0 ? 1 : 0;
}

/** The lines that end an evaluation. */
export function describeEvaluation(folder: string, found: Evaluation): string[] {
  const { images, top1, top5, unreadable, seconds, imagesPerSecond } = found;
  const percent = (count: number): string => `${(100 * count / images).toFixed(2)} %`;
  return [
    ...unreadable.length > 0
      ? [`unreadable  ${unreadable.length} of ${images + unreadable.length} images, named above`]
      : [],
    images === 0
      ? `no image of ${folder} could be read`
      : `top-1 accuracy ${percent(top1)}, top-5 accuracy ${percent(top5)} on ${
        images.toLocaleString("en-US")
      } images ` +
        `(${imagesPerSecond.toPrecision(3)} images/s, ${formatSeconds(seconds)})`,
  ];
}

/** A labelled folder; status 1 where nothing of it can be read. */
async function judgeFolder(
  folder: string,
  loaded: LoadedModel,
  names: ClassNames | null,
  info: BackendInfo,
  { size, batch, threads, json }: Values,
): Promise<number> {
  const { model } = loaded;
  const files = await readInput(
    folder,
    (path) => Promise.resolve(listFolder(path, model.spec.classes, names)),
  );
  if (!json) say(`folder    ${folder}: ${files.length.toLocaleString("en-US")} images`);
  const interrupt = onInterrupt();
  const progress = json ? null : createProgress({ total: files.length, label: "classify" });
  let found: Evaluation;
  try {
    found = await evaluate(model, files, {
      batch,
      size,
      threads: threads ?? Math.min(16, navigator.hardwareConcurrency - 1),
      report: ({ images, top1, unreadable, imagesPerSecond }) =>
        progress?.update({ step: images + unreadable, epoch: 1, accuracy: top1 / images, imagesPerSecond }),
      reportUnreadable: ({ reason }) => progress?.log(reason),
      signal: interrupt.signal,
    });
  } finally {
    progress?.stop();
    interrupt.dispose();
  }
  if (json) {
    const { images } = found;
    const rates = { top1: found.top1 / images, top5: found.top5 / images };
    say(JSON.stringify({ ...header(info, loaded, size), folder, ...found, ...rates }, null, 2));
  } else {
    for (const line of describeEvaluation(folder, found)) say(line);
  }
  return found.images > 0 ? 0 : 1;
}

/**
 * Runs the command.
 * @returns the exit status
 */
export async function classify({ values, operands }: ParsedCommand<typeof options>): Promise<number> {
  const { model: wanted, weights, folder, names: namesPath, key, kernelSize, layout, backend, json } = values;
  try {
    if (wanted !== "auto") modelName(wanted);
  } catch (error) {
    throw usageError(`Cannot run ${classifyCommand.name}: --model: ${(error as Error).message}`);
  }
  if (weights === undefined) {
    complain(whereWeightsAre(wanted));
    return 2;
  }
  if ((operands.length > 0) === (folder !== undefined)) {
    const got = folder === undefined ? "neither" : "both";
    throw usageError(`Cannot run ${classifyCommand.name}: it takes images or --folder, got ${got}`);
  }
  const bytes = await readInput(weights, Deno.readFile);
  const info = await init({ backend });
  const loaded = loadModel(bytes, weights, { model: wanted, key, kernelSize, layout });
  const names = await classNames(namesPath, loaded.model.spec.classes);
  if (!json) {
    say(`backend   ${info.name} (${info.adapter}${info.software ? ", on the CPU" : ""})`);
    say(`model     ${loaded.name}, ${loaded.model.spec.classes.toLocaleString("en-US")} classes`);
  }
  return folder === undefined
    ? await nameImages(operands, loaded, names, info, values)
    : await judgeFolder(folder, loaded, names, info, values);
}

if (import.meta.main) await runCommand(classifyCommand, classify);
