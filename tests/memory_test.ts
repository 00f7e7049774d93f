/** Memory: training steps leave nothing behind, neither do errors, and what waits for reuse has a bound. */
import * as tf from "@tensorflow/tfjs";
import { type BackendName, init, memory, shutdown } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { crossEntropy, Dcls1d, Dcls2d, globalAveragePool, Linear, type Module } from "../src/nn/mod.ts";
import { tidy } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";
import { describe, findDevice } from "../src/webgpu/device.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { watchDevice } from "./support/watched_device.ts";

const STEPS = 200;

/** What is held: as the backend counts, and for tfjs as tfjs itself does. */
function held(backend: BackendName): Readonly<Record<string, number>> {
  const { buffers, bytes } = memory();
  if (backend !== "tfjs") return { buffers, bytes };
  const { numTensors, numBytes } = tf.memory();
  return { buffers, bytes, numTensors, numBytes };
}

/** A backend on which nothing was leaked before. */
async function start(backend: BackendName): Promise<void> {
  shutdown();
  await init({ backend });
}

/** A Dcls layer, a head and their loss, forward and backward. */
class Classifier {
  readonly layer = new Dcls2d(2, 4, {
    kernelCount: 3,
    dilatedKernelSize: [4, 5],
    stride: [1, 2],
    padding: 2,
    paddingMode: "reflect",
    groups: 2,
    version: "gauss",
    seed: 1,
  });
  readonly head = new Linear(4, 3, { seed: 2 });
  readonly parts: readonly Module[] = [this.layer, this.head];

  loss(x: Tensor, labels: Tensor): Tensor {
    const features = globalAveragePool(this.layer.forward(x).gelu());
    return crossEntropy(this.head.forward(features), labels);
  }

  /** The loss, which the caller disposes; gradients are forgotten. */
  step(seed: number): Tensor {
    const loss = tidy(() => {
      const x = randn([3, 2, 7, 6], { seed, requiresGrad: true });
      const loss = this.loss(x, tensor([0, 1, 2], [3]));
      loss.backward();
      return loss;
    });
    for (const part of this.parts) part.zeroGrad();
    return loss;
  }

  dispose(): void {
    for (const part of this.parts) part.dispose();
  }
}

testBackends(`${STEPS} steps of a layer and its loss leave nothing behind`, async ({ name }) => {
  await start(name);
  const empty = held(name);
  const model = new Classifier();
  const before = held(name);
  assertNotEquals(before, empty);
  let warm = memory();
  for (let step = 1; step <= STEPS; step++) {
    const loss = model.step(step);
    if (step % 20 === 0) assert((await loss.item()) > 0);
    loss.dispose();
    if (step === 20) warm = memory();
  }
  assertEquals(held(name), before);
  assertEquals(memory(), warm, "nor does more and more wait for reuse");
  model.dispose();
  assertEquals(held(name), empty);
});

testBackends("gradients add up in place: no step holds more than the one before", async ({ name }) => {
  await start(name);
  const layer = new Dcls1d(2, 2, { kernelCount: 2, dilatedKernelSize: 5, seed: 1 });
  const step = (): void => tidy(() => layer.forward(randn([2, 2, 9], { seed: 1 })).square().sum().backward());
  step();
  const after = held(name);
  for (let i = 0; i < 10; i++) step();
  assertEquals(held(name), after);
  const [once] = await layer.P.grad!.data();
  layer.zeroGrad();
  step();
  const [fresh] = await layer.P.grad!.data();
  assert(Math.abs(once - 11 * fresh) <= 1e-4 * Math.abs(once));
});

testBackends("an error in the middle of a tidy leaves nothing behind", async ({ name }) => {
  await start(name);
  const model = new Classifier();
  const before = held(name);
  const x = (): Tensor => randn([3, 2, 7, 6], { seed: 1, requiresGrad: true });
  const labels = (): Tensor => tensor([0, 1, 2], [3]);
  const failures: [message: string, body: () => unknown][] = [
    ["stop", () => {
      model.loss(x(), labels()).backward();
      throw new Error("stop");
    }],
    ["Cannot run add: shapes", () => model.layer.forward(x()).add(randn([5]))],
    ["Cannot run Linear: input", () => model.head.forward(model.layer.forward(x()))],
    ["Cannot run backward(): the gradient must", () => model.loss(x(), labels()).backward(randn([5]))],
    ["Cannot run crossEntropy", () => tidy(() => model.loss(x(), tensor([0, 1], [2])))],
    ["was already taken", () => {
      const loss = model.loss(x(), labels());
      loss.backward();
      loss.backward();
    }],
    ["Cannot take the gradient of binary: the tensor of shape", () => {
      const y = model.layer.forward(x());
      const factors = randn(y.shape);
      const loss = y.mul(factors).gelu().sum();
      factors.dispose(); // gone by the time of their op's gradient, when those behind it have been taken
      loss.backward();
    }],
    ["Cannot tidy an asynchronous function", () => Promise.resolve(model.layer.forward(x()))],
  ];
  for (const [message, failure] of failures) {
    assertThrows(() => tidy(failure), Error, message);
    for (const part of model.parts) part.zeroGrad();
    assertEquals(held(name), before, message);
  }
  // And the scope is gone: what is made now stays.
  const kept = x();
  assertThrows(() => tidy(failures[1][1]), Error, "Cannot run add");
  assertEquals((await kept.data()).length, 252);
  kept.dispose();
  const loss = model.step(1);
  assert((await loss.item()) > 0);
  loss.dispose();
  assertEquals(held(name), before);
});

testBackends("reading holds nothing, nor does a read that fails", async ({ name }) => {
  await start(name);
  const before = held(name);
  const x = randn([4]), empty = randn([0, 3]);
  assertEquals([(await x.data()).length, (await empty.data()).length], [4, 0]);
  x.dispose();
  empty.dispose();
  await assertRejects(() => x.data(), Error, "was disposed");
  assertEquals(held(name), before);
});

webgpuTest(
  "a device holds as many buffers after 200 steps as after 20, parameters and staging included",
  async () => {
    const found = await findDevice();
    const { device, seen } = watchDevice(found!.device);
    shutdown();
    await init({ device });
    const model = new Classifier();
    const { buffers } = memory();
    const run = async (steps: number): Promise<void> => {
      for (let step = 0; step < steps; step++) model.step(step).dispose();
      await model.head.weight.data();
    };
    await run(20);
    const { buffers: made, bytes } = seen;
    const { buffers: live, pooledBuffers, bytes: liveBytes, pooledBytes } = memory();
    assertEquals(live, buffers);
    assert(made >= live + pooledBuffers && bytes >= liveBytes + pooledBytes, "every buffer counted was made");
    await run(180);
    assertEquals([seen.buffers, seen.bytes], [made, bytes]);
    shutdown();
  },
);

webgpuTest("the pool is emptied once more than 1 GiB waits in it", async () => {
  const found = await findDevice();
  const { device, seen } = watchDevice(found!.device);
  // Large buffers are not what they say they are, so that the test needs no gigabyte.
  const pretending = new Proxy(device, {
    get: (target, key) => {
      if (key !== "createBuffer") return Reflect.get(target, key, target);
      return (descriptor: GPUBufferDescriptor) => {
        const buffer = target.createBuffer({ ...descriptor, size: Math.min(descriptor.size, 2 ** 16) });
        Object.defineProperty(buffer, "size", { value: descriptor.size });
        return buffer;
      };
    },
  });
  const gpu = new Gpu(pretending, describe(found!.device));
  const [a, b] = ["a", "b"].map((label) => gpu.upload(new Float32Array(4), label));
  let largest = 0;
  for (let i = 0; i < 60; i++) {
    gpu.buffers.release(gpu.buffers.take((64 + i) * 2 ** 20, `${64 + i} MiB`));
    gpu.copy(a, b);
    gpu.flush();
    largest = Math.max(largest, gpu.buffers.memory.pooledBytes);
  }
  assert(largest <= 2 ** 30 && largest > 2 ** 29, `${largest}`);
  assert(seen.destroyed > 40, `${seen.destroyed}`);
  assertEquals(gpu.buffers.memory.buffers, 2);
  gpu.dispose();
});

Deno.test("tfjs: shutdown gives all tensors back", async () => {
  await start("tfjs");
  shutdown();
  const { numTensors, numBytes } = tf.memory();
  await init({ backend: "tfjs" });
  const model = new Classifier();
  model.step(1);
  assert(tf.memory().numTensors > numTensors);
  shutdown();
  assertEquals([tf.memory().numTensors, tf.memory().numBytes], [numTensors, numBytes]);
});
