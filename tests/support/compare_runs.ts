/**
 * What the tests of `deno task compare` share: a small part of MNIST, a small network, and what a run measured.
 * @module
 */
import { join } from "node:path";
import { type ImageDataset, type LabelledImages, loadMnist } from "../../src/data/mnist.ts";
import { parseCommand } from "../../src/train/cli.ts";
import { compareCommand, type SharedConfig, sharedConfig } from "../../src/tasks/compare/options.ts";

/** Two epochs of six steps; what the paths and figures below depend on is given, whatever the defaults are. */
export const FLAGS =
  "--epochs 2 --batch-size 25 --checkpoint-every 4 --seed 0 --depths 1,1 --dims 4,6 --stem-size 4 " +
  "--kernel-size 3 --dilated-kernel-size 5 --version v0 --share-positions";

const mnist = await loadMnist();

/** The first images of a set. */
export function first({ images, labels }: LabelledImages, count: number): LabelledImages {
  return { images: images.subarray(0, count * 784), labels: labels.subarray(0, count), count };
}

/** Real images, 150 to learn from and 60 to test. */
export const DATA: ImageDataset = {
  ...mnist,
  name: "images",
  train: first(mnist.train, 150),
  test: first(mnist.test, 60),
};

/** The config of a command line. */
export function parse(flags: string): SharedConfig {
  return sharedConfig(parseCommand(compareCommand, flags.split(" ")));
}

/** Losses and evaluations of a run, without times. */
export async function measured(directory: string, conv: string): Promise<string[]> {
  const text = await Deno.readTextFile(join(directory, conv, "metrics.jsonl"));
  return text.trimEnd().split("\n").map((line) => line.replace(/,"seconds":.*/, ""));
}

/** Runs `body` in a directory that is removed afterwards. */
export async function inTemporary(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "dcls-compare-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
