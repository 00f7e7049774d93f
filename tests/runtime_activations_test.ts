/** Activations: an inference holds one block's however deep the model is, and training with `recompute` the blocks' inputs. */
import { init, memory, shutdown } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { ConvNeXt, type ConvNeXtOptions } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import { readAll } from "../src/tensor.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { watchDevice } from "./support/watched_device.ts";

const SMALL = {
  inChannels: 2,
  classes: 3,
  dims: [8],
  stemSize: 1,
  conv: "standard",
  kernelSize: 3,
  seed: 1,
} as const;

webgpuTest("an inference of 6 blocks takes no more memory than one of 2", async () => {
  const bytes: number[] = [];
  for (const depth of [2, 6]) {
    const { device, seen } = watchDevice((await findDevice())!.device);
    shutdown();
    await init({ device });
    const model = new ConvNeXt({ ...SMALL, depths: [depth] }).eval(), x = randn([2, 2, 32, 32], { seed: 1 });
    const before = seen.bytes;
    const y = noGrad(() => model.forward(x)); // no tidy: it gives back by itself
    await y.data();
    bytes.push(seen.bytes - before);
    assert(!x.isDisposed && (await x.data()).length === 4096);
    shutdown();
  }
  const plane = 4 * 2 * 8 * 32 * 32;
  assert(
    bytes[1] - bytes[0] < plane / 2,
    `${bytes[1]} and ${bytes[0]} bytes, one image of 8 channels takes ${plane}`,
  );
});

testBackends("an inference leaves its input and the maps that it returns", async () => {
  const model = new ConvNeXt({ ...SMALL, depths: [1, 1], dims: [4, 6], stageNorms: true }).eval();
  const x = randn([2, 2, 8, 8], { seed: 1 }), { buffers } = memory();
  const maps = noGrad(() => tidy(() => model.forwardFeatures(x)));
  const expected = tidy(() => model.forwardFeatures(x)); // recorded, so nothing goes early
  assertEquals(memory().buffers, buffers + 4);
  for (const [i, map] of maps.entries()) assertEquals(await map.data(), await expected[i].data());
  assertEquals((await x.data()).length, 256);
  for (const each of [...maps, ...expected, x, model]) each.dispose();
});

testBackends("recompute: the same loss and gradients from less memory, with drop path", async () => {
  const options: ConvNeXtOptions = {
    ...SMALL,
    depths: [2, 3],
    dims: [4, 6],
    dropPathRate: 0.5,
    layerScale: 0.5,
  };
  const x = randn([6, 2, 8, 8], { seed: 1 }), labels = tensor([0, 1, 2, 0, 1, 2], [6]);
  const results: Float32Array[][] = [], bytes: number[] = [];
  for (const recompute of [false, true]) {
    const model = new ConvNeXt({ ...options, recompute });
    assertEquals(model.spec.recompute, recompute);
    const before = memory().bytes;
    const loss = tidy(() => {
      const loss = crossEntropy(model.forward(x), labels);
      bytes.push(memory().bytes - before);
      loss.backward();
      return loss;
    });
    results.push(await readAll([loss, ...model.parameters().map(({ grad }) => grad!)]));
    loss.dispose();
    model.zeroGrad();
    model.dispose();
  }
  assertEquals(results[1], results[0]);
  assert(bytes[1] < 0.6 * bytes[0], `${bytes[1]} bytes with recompute, ${bytes[0]} without`);
  for (const each of [x, labels]) each.dispose();
});
