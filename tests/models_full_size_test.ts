/**
 * ConvNeXt-T-dcls at its full size, 28.6 million parameters, at 64 pixels, so that a CPU is done soon. `deno task bench --models`
 * runs 224, and training on tfjs, too.
 */
import { type BackendName, init } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { type ConvNeXt, convnextDclsTiny } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { webgpuTest } from "./adapter.ts";
import { assertClose, assertEquals, assertLess } from "./assert.ts";

const SHAPE = [1, 3, 64, 64];

/** A model of random weights and its logits. A scale of 0.1 in place of 1e-6 gives the blocks their part in them. */
async function run(backend: BackendName): Promise<{ model: ConvNeXt; logits: Tensor }> {
  await init({ backend });
  const model = convnextDclsTiny({ seed: 1, layerScale: 0.1, dropPathRate: 0.1 }).eval();
  const logits = noGrad(() => tidy(() => model.forward(randn(SHAPE, { seed: 2 }))));
  return { model, logits };
}

webgpuTest(
  "ConvNeXt-T-dcls at full size: WebGPU agrees with tfjs, and a training step lowers the loss",
  async () => {
    const { model: other, logits: expected } = await run("tfjs");
    const { model, logits } = await run("webgpu");
    assertEquals(logits.shape, [1, 1000]);
    assertClose("logits", await logits.data(), await expected.data(), 1e-3);

    const label = tensor([7], [1]);
    const optimizer = new AdamW(parameterGroups(model, { learningRate: 1e-4 }));
    model.train();
    const loss = tidy((): Tensor => {
      const loss = crossEntropy(model.forward(randn(SHAPE, { seed: 2 })), label);
      loss.backward();
      optimizer.step();
      return loss;
    });
    model.setStep(0); // the same blocks dropped
    const after = noGrad(() => tidy(() => crossEntropy(model.forward(randn(SHAPE, { seed: 2 })), label)));
    const [[first], [second]] = await readAll([loss, after]);
    assertLess(second, 0.9 * first);
    for (const each of [other, model, optimizer]) each.dispose();
  },
);
