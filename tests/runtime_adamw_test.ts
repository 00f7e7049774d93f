/** adamW over many parameters: as few dispatches as bindings allow, every parameter with its own rates. */
import { init, shutdown } from "../src/backend.ts";
import { sizeOf } from "../src/spec.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { parameter } from "../src/nn/mod.ts";
import { AdamW } from "../src/optim/mod.ts";
import { createWebgpuBackend } from "../src/webgpu/backend.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { uniform } from "./webgpu_compare.ts";
import { watchDevice } from "./support/watched_device.ts";

/** A device that does not look like a CPU, with as many storage buffers as asked for. */
async function pretendGpu(
  storageBuffers: number,
  bindingBytes = 2 ** 27,
): Promise<ReturnType<typeof watchDevice>> {
  const watched = watchDevice((await findDevice())!.device, { maxStorageBufferBindingSize: bindingBytes });
  const limits = new Proxy(watched.device.limits, {
    get: (target, key) =>
      key === "maxStorageBuffersPerShaderStage" ? storageBuffers : Reflect.get(target, key, target),
  });
  const device = new Proxy(watched.device, {
    get: (target, key) =>
      key === "adapterInfo"
        ? { description: "a GPU" }
        : key === "limits"
        ? limits
        : Reflect.get(target, key, target),
  });
  return { ...watched, device };
}

const SHAPES = [[3], [0], [70000], [5, 7], [64], [65], [1], [2, 3, 4], [4096], [11], [128], [7]];

webgpuTest("adamW: twelve parameters in few dispatches agree with the reference", async () => {
  for (
    const [storageBuffers, bindingBytes, dispatches] of [[8, 2 ** 27, 6], [32, 2 ** 27, 2], [11, 2 ** 16, 8]]
  ) {
    const { device, seen } = await pretendGpu(storageBuffers, bindingBytes);
    const backend = (await createWebgpuBackend(device))!, reference = new ReferenceBackend();
    assert(!backend.info.software);
    const values = SHAPES.map((shape) => [0, 1, 2, 3].map((i) => uniform(shape, i === 3 ? 0 : -1, 1)));
    const run = async (on: ReferenceBackend): Promise<Float32Array[]> => {
      const operands = values.flat().map(({ shape, data }) => ({ shape, handle: on.upload(data, shape) }));
      for (const step of [1, 2, 3]) {
        const before = seen.dispatches;
        on.update(
          "adamW",
          operands,
          SHAPES.map((_, i) => ({
            learningRate: 0.01 * (i + 1),
            beta1: 0.9 - 0.05 * i,
            beta2: 0.99,
            epsilon: 1e-8,
            weightDecay: 0.1 / (i + 1),
            step: step + i,
          })),
        );
        if (on !== reference) assertEquals(seen.dispatches - before, dispatches, `${storageBuffers} buffers`);
      }
      return await on.read(operands);
    };
    const expected = await run(reference), actual = await run(backend as ReferenceBackend);
    expected.forEach((want, i) => {
      const shape = SHAPES[i >> 2];
      if (sizeOf(shape) > 0) assertClose(`operand ${i & 3} of ${shape}`, actual[i], want, 1e-4, shape);
    });
    backend.dispose();
  }
});

webgpuTest("adamW: steps with new rates make no buffer once the first few have run", async () => {
  const { device, seen } = await pretendGpu(8);
  shutdown();
  await init({ device });
  const parameters = SHAPES.filter((shape) => sizeOf(shape) > 0).map((shape) =>
    parameter("weight", new Float32Array(sizeOf(shape)).fill(1), shape)
  );
  for (const each of parameters) each.square().sum().backward();
  const optimizer = new AdamW([{ parameters }]);
  for (let step = 0; step < 40; step++) optimizer.step(1 / (step + 1));
  const { buffers } = seen;
  for (let step = 0; step < 40; step++) optimizer.step(0.5 / (step + 1));
  assertEquals(seen.buffers, buffers);
  shutdown();
});

testBackends("a step leaves alone what has no gradient, and what has no elements", async ({ tolerance }) => {
  const [a, b, none] = [
    parameter("weight", [1, 2], [2]),
    parameter("weight", [3], [1]),
    parameter("x", [], [0]),
  ];
  const optimizer = new AdamW([{ parameters: [["a", a], ["b", b], ["none", none]] }], {
    learningRate: 0.5,
    weightDecay: 0,
  });
  a.add(none.sum()).square().sum().backward();
  optimizer.step();
  assertClose("a", await a.data(), [0.5, 1.5], tolerance);
  assertEquals([...await b.data()], [3]);
  assertEquals(optimizer.stepCounts, [1, 0, 1]);
  for (const each of [a, b, none, optimizer]) each.dispose();
});
