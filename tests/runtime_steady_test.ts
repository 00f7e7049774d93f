/** Steady state: a step that ran before makes no buffer, bind group or pipeline. */
import { init, shutdown } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { crossEntropy, Dcls2d } from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import { tidy } from "../src/scope.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import { type Seen, watchDevice } from "./support/watched_device.ts";

/** Runs `step` until nothing new can be needed, then as often again. */
async function assertSteady(
  seen: Seen,
  step: (i: number) => void | Promise<void>,
  steps: number,
): Promise<void> {
  for (let i = 1; i <= steps; i++) await step(i);
  const { buffers, bindGroups, pipelines, dispatches } = seen;
  for (let i = steps + 1; i <= 2 * steps; i++) await step(i);
  assertEquals([seen.buffers, seen.bindGroups, seen.pipelines], [buffers, bindGroups, pipelines]);
  assert(seen.dispatches === 2 * dispatches, "every step queues the same");
}

webgpuTest("steady: training steps of a ConvNeXt, inputs uploaded and losses read", async () => {
  const { device, seen } = watchDevice((await findDevice())!.device);
  shutdown();
  await init({ device });
  const model = new ConvNeXt({
    ...{
      inChannels: 1,
      classes: 3,
      depths: [1, 2],
      dims: [4, 8],
      stemSize: 2,
      dilatedKernelSize: 7,
      seed: 1,
    },
  });
  const optimizer = new AdamW(parameterGroups(model, { learningRate: 1e-3 }));
  const images = new Float32Array(4 * 14 * 14).fill(0.5);
  await assertSteady(seen, async (i) => {
    const loss = tidy(() => {
      const x = tensor(images, [4, 1, 14, 14]);
      const loss = crossEntropy(model.forward(x), tensor([0, 1, 2, 0], [4]));
      loss.backward();
      return loss;
    });
    optimizer.step(1 / i); // rates that never come back
    optimizer.zeroGrad();
    model.clampParameters();
    if (i % 10 === 0) await loss.item();
    loss.dispose();
  }, 60);
  shutdown();
});

webgpuTest("steady: forward and backward of a layer, nothing read", async () => {
  const { device, seen } = watchDevice((await findDevice())!.device);
  shutdown();
  await init({ device });
  const layer = new Dcls2d(4, 4, { kernelCount: 5, dilatedKernelSize: 17, padding: 8, groups: 4, seed: 1 });
  const x = randn([3, 4, 24, 24], { seed: 1, requiresGrad: true }), dy = randn([3, 4, 24, 24], { seed: 2 });
  await assertSteady(seen, () => {
    tidy(() => layer.forward(x).backward(dy));
    layer.zeroGrad();
    x.zeroGrad();
  }, 40);
  shutdown();
});
