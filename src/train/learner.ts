/**
 * A model that learns from images, one step at a time. A step depends on the config, the data, the state and the
 * step's number alone, so that it can be repeated.
 * @module
 */
import { tensor } from "../create.ts";
import { shuffledIndices } from "../data/batches.ts";
import type { ImageDataset, LabelledImages } from "../data/images.ts";
import { ConvNeXt, type ConvNeXtOptions, type Inspect } from "../models/mod.ts";
import { correctCount, crossEntropy } from "../nn/mod.ts";
import { AdamW, parameterGroups, type Schedule, warmupCosine } from "../optim/mod.ts";
import { tidy } from "../scope.ts";
import { noGrad } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { channelList, type TrainConfig } from "./config.ts";

/** MNIST and its relatives have ten classes. */
const CLASSES = 10;

/** The model that a config asks for. */
export function modelOptions(config: TrainConfig): ConvNeXtOptions {
  return {
    ...config,
    depths: channelList("depths", config.depths),
    dims: channelList("dims", config.dims),
    inChannels: 1,
    classes: CLASSES,
  };
}

/** What a batch gave, as scalars on the backend; whoever asked for them disposes them. */
export interface Scores {
  /** The mean over the batch. */
  readonly loss: Tensor;
  /** Right answers. */
  readonly correct: Tensor;
}

/** Grey values from 0 to 255 as numbers of mean 0 and variance 1 over the training images. */
function normalizer({ images }: LabelledImages): Float32Array {
  const counts = new Float64Array(256);
  for (const value of images) counts[value]++;
  const mean = counts.reduce((sum, count, value) => sum + count * value, 0) / images.length;
  const variance = counts.reduce((sum, count, value) => sum + count * (value - mean) ** 2, 0) / images.length;
  return Float32Array.from({ length: 256 }, (_, value) => (value - mean) / Math.sqrt(variance || 1));
}

/** Model, optimizer and schedule of a config, on the running backend. */
export class Learner {
  readonly config: TrainConfig;
  readonly data: ImageDataset;
  readonly model: ConvNeXt;
  readonly optimizer: AdamW;
  readonly stepsPerEpoch: number;
  readonly totalSteps: number;
  readonly #schedule: Schedule;
  readonly #levels: Float32Array;
  #order: { epoch: number; indices: Uint32Array } | null = null;

  /** @throws {RangeError} where the config does not make a model, or an epoch has no whole batch */
  constructor(config: TrainConfig, data: ImageDataset) {
    this.config = config;
    this.data = data;
    const { learningRate, weightDecay, positionRate, positionDecay } = config;
    this.stepsPerEpoch = Math.floor(data.train.count / config.batchSize);
    if (this.stepsPerEpoch < 1) {
      throw new RangeError(
        `Cannot train: --batch-size must be at most the ${data.train.count} training images, got ${config.batchSize}`,
      );
    }
    this.totalSteps = this.stepsPerEpoch * config.epochs;
    this.#schedule = warmupCosine({
      totalSteps: this.totalSteps,
      warmupSteps: Math.min(this.totalSteps, Math.round(config.warmup * this.stepsPerEpoch)),
    });
    this.#levels = normalizer(data.train);
    this.model = new ConvNeXt(modelOptions(config));
    const groups = parameterGroups(this.model, {
      learningRate,
      weightDecay,
      positionRate,
      positionWeightDecay: positionDecay,
    });
    this.optimizer = new AdamW(groups);
  }

  /** Number of learned values. */
  get parameterCount(): number {
    return this.model.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
  }

  /** Learning rate of a step, counted from 0. */
  learningRate(step: number): number {
    return this.config.learningRate * this.#schedule(step);
  }

  /** Epoch of a step counted from 0; the epochs, too, are counted from 0. */
  epoch(step: number): number {
    return Math.floor(step / this.stepsPerEpoch);
  }

  /** Images `[n, 1, rows, columns]` and labels `[n]`. */
  #upload({ images, labels }: LabelledImages, indices: ArrayLike<number>): { x: Tensor; y: Tensor } {
    const { rows, columns } = this.data;
    const size = rows * columns;
    const values = new Float32Array(indices.length * size);
    const classes = new Float32Array(indices.length);
    for (let i = 0; i < indices.length; i++) {
      const from = indices[i] * size;
      for (let p = 0; p < size; p++) values[i * size + p] = this.#levels[images[from + p]];
      classes[i] = labels[indices[i]];
    }
    return { x: tensor(values, [indices.length, 1, rows, columns]), y: tensor(classes, [indices.length]) };
  }

  #batch(step: number): { x: Tensor; y: Tensor } {
    const { seed, batchSize } = this.config;
    const epoch = this.epoch(step);
    if (this.#order?.epoch !== epoch) {
      this.#order = { epoch, indices: shuffledIndices(this.data.train.count, seed, epoch) };
    }
    const first = (step - epoch * this.stepsPerEpoch) * batchSize;
    return this.#upload(this.data.train, this.#order.indices.subarray(first, first + batchSize));
  }

  /** Loss and gradients of a step's batch; only queues work. */
  gradients(step: number, inspect?: Inspect): Scores {
    const { labelSmoothing, repulsiveLoss, conv } = this.config;
    this.model.train();
    this.model.setStep(step); // what is drawn follows from the seed and the step, however often it is repeated
    return tidy(() => {
      const { x, y } = this.#batch(step);
      const logits = this.model.forward(x, { inspect });
      let loss = crossEntropy(logits, y, { labelSmoothing });
      if (repulsiveLoss > 0 && conv === "dcls") {
        loss = loss.add(this.model.repulsiveLoss().square().mul(repulsiveLoss));
      }
      loss.backward();
      return { loss, correct: correctCount(logits, y) };
    });
  }

  /** Updates the parameters with the gradients of a step; only queues work. */
  update(step: number): void {
    this.optimizer.step(this.#schedule(step));
    this.optimizer.zeroGrad();
    if (this.config.clamp) this.model.clampParameters();
  }

  /** Number of batches of the test images. */
  get testBatches(): number {
    return Math.ceil(this.data.test.count / this.config.batchSize);
  }

  /** Scores of a batch of test images, and how many it has; only queues work. */
  test(batch: number): Scores & { readonly count: number } {
    const { test } = this.data;
    const first = batch * this.config.batchSize;
    const count = Math.min(this.config.batchSize, test.count - first);
    this.model.eval();
    const scores = noGrad(() =>
      tidy(() => {
        const { x, y } = this.#upload(test, Array.from({ length: count }, (_, i) => first + i));
        const logits = this.model.forward(x);
        return { loss: crossEntropy(logits, y), correct: correctCount(logits, y) };
      })
    );
    return { ...scores, count };
  }

  /** Gives all storage back. */
  dispose(): void {
    this.model.zeroGrad();
    this.model.dispose();
    this.optimizer.dispose();
  }
}
