/**
 * A model with its images on the running backend, and its tasks as calls that queue them.
 * @module
 */
import { noGrad, randn, type Tensor, tensor, tidy } from "../mod.ts";
import type { ConvNeXt } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import type { ModelTask } from "./model_figures.ts";

/** A model with its input on a backend. */
export class ModelSubject {
  readonly model: ConvNeXt;
  readonly #x: Tensor;
  readonly #labels: Tensor;
  readonly #one: Tensor;
  #optimizer: AdamW | null = null;

  constructor(create: () => ConvNeXt, batch: number, image: number, half = false) {
    this.model = create().eval();
    // The first image is the same whatever the batch is.
    this.#x = randn([batch, 3, image, image], { seed: 7, dtype: half ? "float16" : "float32" });
    this.#labels = tensor(Float32Array.from({ length: batch }, (_, i) => i % 1000), [batch]);
    this.#one = tensor([1], [1]);
  }

  /** Queues a forward pass; the logits are the caller's. */
  infer(): Tensor {
    return tidy(() => noGrad(() => this.model.forward(this.#x)));
  }

  #train(): void {
    this.model.train();
    tidy(() => crossEntropy(this.model.forward(this.#x), this.#labels).backward());
    this.#optimizer ??= new AdamW(parameterGroups(this.model, { learningRate: 1e-6 }));
    this.#optimizer.step();
    this.#optimizer.zeroGrad();
  }

  /** The images. */
  get input(): Tensor {
    return this.#x;
  }

  /** Queues the task once. */
  run(task: ModelTask): void {
    if (task === "inference") this.infer().dispose();
    else this.#train();
  }

  /** Ends once all that was queued has run. */
  async wait(): Promise<void> {
    await this.#one.data();
  }

  /** The logits of all images. */
  async logits(): Promise<Float32Array> {
    const output = this.infer(), values = await output.data();
    output.dispose();
    return values;
  }

  /** Gives everything back. */
  dispose(): void {
    for (const each of [this.#x, this.#labels, this.#one]) each.dispose();
    for (const [, parameter] of this.model.namedParameters()) parameter.dispose();
    for (const moment of this.#optimizer?.moments ?? []) moment.dispose();
  }
}
