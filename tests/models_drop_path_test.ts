/** Drop path: its draws, its arithmetic, its place in ConvNeXt, and training that goes on as if never stopped. */
import { randn, tensor } from "../src/create.ts";
import type { ImageDataset } from "../src/data/images.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { DropPath, Linear, Module, parameter, scaleResidual } from "../src/nn/mod.ts";
import { createRandom } from "../src/random.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { parseCommand } from "../src/train/cli.ts";
import { configOf } from "../src/train/config.ts";
import { Learner } from "../src/train/learner.ts";
import { trainCommand } from "../src/train/train_options.ts";
import {
  assert,
  assertAlmostEquals,
  assertClose,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";

testBackends("drop path: draws depend on seed and step alone, and drop the rate's share", async () => {
  const layer = new DropPath(0.25, { seed: 5 });
  const draw = async (of: DropPath): Promise<Float32Array> => await of.keep(4000)!.data();
  const first = await draw(layer), second = await draw(layer);
  for (const value of first) assert(value === 0 || value === Math.fround(4 / 3), String(value));
  assertAlmostEquals(first.filter((value) => value === 0).length / 4000, 0.25, 0.03);
  assertNotEquals(first, second);
  layer.setStep(1);
  assertEquals(await draw(layer), second);
  assertEquals(await draw(new DropPath(0.25, { seed: 5 })), first);
  assertNotEquals(await draw(new DropPath(0.25, { seed: 6 })), first);
  assertEquals([layer.eval().keep(3), layer.train().keep(0), new DropPath(0).keep(3)], [null, null, null]);

  const x = randn([6, 2, 3], { seed: 1 });
  layer.setStep(0);
  const expected = (await x.data()).map((value, i) => value * first[Math.floor(i / 6)]);
  assertClose("dropped", await layer.forward(x).data(), expected, 1e-6);
  assertEquals(await layer.eval().forward(x).data(), await x.data());
}, ["reference"]);

testBackends("drop path: values and gradients of scale, keep and residual", async ({ tolerance }) => {
  const [N, C, P] = [3, 4, 6];
  const values = (shape: number[], seed: number): Tensor => randn(shape, { seed, requiresGrad: true });
  const keeps = [2, 0, 1.25];
  for (const scaled of [true, false]) {
    const shortcut = values([N, C, 2, 3], 1),
      x = values([N, C, 2, 3], 2),
      gradient = randn([N, C, 2, 3], { seed: 3 });
    const scale = scaled ? parameter("gamma", [0.5, -1, 2, 3], [C]) : null;
    const y = scaleResidual(shortcut, x, scale, tensor(keeps, [N]));
    assertEquals(y.shape, [N, C, 2, 3]);
    const [s, v, g] = await readAll([shortcut, x, gradient]);
    const gamma = [0.5, -1, 2, 3].map((value) => scaled ? value : 1);
    const factor = (i: number): number => keeps[Math.floor(i / (C * P))] * gamma[Math.floor(i / P) % C];
    assertClose("y", await y.data(), s.map((value, i) => value + factor(i) * v[i]), tolerance);
    y.backward(gradient);
    assertEquals(await shortcut.grad!.data(), g);
    assertClose("dx", await x.grad!.data(), g.map((value, i) => factor(i) * value), tolerance);
    if (!scale) continue;
    const expected = new Float64Array(C);
    g.forEach((value, i) => expected[Math.floor(i / P) % C] += value * v[i] * keeps[Math.floor(i / (C * P))]);
    assertClose("dscale", await scale.grad!.data(), Float32Array.from(expected), tolerance);
  }
});

const SMALL = {
  ...{
    inChannels: 1,
    classes: 4,
    depths: [2, 3],
    dims: [4, 6],
    stemSize: 2,
    kernelSize: 3,
    dilatedKernelSize: 5,
  },
} as const;

testBackends("drop path: in ConvNeXt the rates grow linearly, and a dropped block is left out", async () => {
  const model = new ConvNeXt({ ...SMALL, dropPathRate: 0.8, layerScale: 1, seed: 1 });
  const rates = model.stages.flat().map(({ dropPath }) => dropPath?.rate ?? 0);
  assertClose("rates", rates, [0, 0.2, 0.4, 0.6, 0.8], 1e-6);
  const plain = new ConvNeXt({ ...SMALL, layerScale: 1, seed: 1 });
  assert(plain.stages.flat().every(({ dropPath }) => dropPath === null));
  assertEquals(model.namedParameters().map(([path]) => path), plain.namedParameters().map(([path]) => path));

  const x = randn([8, 1, 8, 8], { seed: 2 });
  const expected = await plain.forward(x).data();
  assertEquals(await model.eval().forward(x).data(), expected); // with the initial values of the same seed
  assertNotEquals(await model.train().forward(x).data(), expected);

  const block = model.stages[1][2];
  const y = randn([8, 6, 2, 2], { seed: 3 });
  block.setStep(7);
  const keep = await block.dropPath!.keep(8)!.data();
  assert(keep.some((value) => value === 0) && keep.some((value) => value > 0), String(keep));
  block.setStep(7);
  const [input, dropped, whole] = await readAll([y, block.forward(y), block.eval().forward(y)]);
  dropped.forEach((value, i) => {
    const branch = (whole[i] - input[i]) * keep[Math.floor(i / 24)];
    assertAlmostEquals(value, input[i] + branch, 1e-4);
  });
  assertEquals(
    new ConvNeXt({ ...SMALL, depths: [1], dims: [2], dropPathRate: 0.5 }).stages[0][0].dropPath,
    null,
  );
}, ["reference"]);

/** A learner of random images, its blocks dropped half of the time. */
function learner(): Learner {
  const random = createRandom(1);
  const some = (count: number): { images: Uint8Array; labels: Uint8Array; count: number } => ({
    images: Uint8Array.from({ length: count * 64 }, () => random.integer(256)),
    labels: Uint8Array.from({ length: count }, () => random.integer(10)),
    count,
  });
  const data: ImageDataset = { name: "noise", train: some(60), test: some(10), rows: 8, columns: 8 };
  const flags = "--depths 1,2 --dims 4,6 --kernel-size 3 --dilated-kernel-size 5 --batch-size 10 --epochs 2";
  const config = configOf(parseCommand(trainCommand, flags.split(" ")));
  // layerScale 1, so that a block counts.
  return new Learner({ ...config, ...{ dropPathRate: 0.5, layerScale: 1 } }, data);
}

testBackends(
  "drop path: a resumed training draws as one that was never stopped, and tests drop nothing",
  async () => {
    const train = (of: Learner, from: number, to: number): void => {
      for (let step = from; step < to; step++) {
        of.gradients(step);
        of.update(step);
      }
    };
    const whole = learner();
    train(whole, 0, 4);
    const stopped = learner();
    train(stopped, 0, 2);
    const first = stopped.test(0);
    stopped.gradients(2); // looked at, not taken
    stopped.model.zeroGrad();
    const [again, other] = await readAll([first.loss, stopped.test(0).loss]);
    assertEquals(again, other);
    const resumed = learner();
    resumed.model.loadStateDict(await stopped.model.stateDict());
    resumed.optimizer.loadStateDict(await stopped.optimizer.stateDict());
    train(resumed, 2, 4);
    assertEquals(await resumed.model.stateDict(), await whole.model.stateDict());

    const undropped = learner();
    undropped.model.loadStateDict(await stopped.model.stateDict());
    undropped.optimizer.loadStateDict(await stopped.optimizer.stateDict());
    const { model } = undropped;
    model.train = (): ConvNeXt => ConvNeXt.prototype.train.call(model, false) as ConvNeXt;
    train(undropped, 2, 4);
    assertNotEquals((await model.stateDict())["head.weight"], (await whole.model.stateDict())["head.weight"]);
    for (const each of [whole, stopped, resumed, undropped]) each.dispose();
  },
  ["tfjs"], // the reference keeps float64, which a state rounds
);

class Nested extends Module {
  readonly parts = [[new DropPath(0.5), new Linear(2, 2)]];
  override forward(x: Tensor): Tensor {
    return this.parts[0].reduce((y, part) => part.forward(y), x);
  }
}

testBackends("modes and steps reach every part, and bad values are refused", () => {
  const model = new Nested();
  const modes = (): boolean[] => model.namedModules().map(([, { training }]) => training);
  assertEquals(modes(), [true, true, true]);
  assertEquals(model.eval(), model);
  assertEquals(modes(), [false, false, false]);
  model.parts[0][1].train();
  assertEquals(modes(), [false, false, true]);
  assertEquals(model.train(false).train(), model);
  assertEquals(modes(), [true, true, true]);
  for (const rate of [-0.1, 1, NaN]) {
    assertThrows(
      () => new DropPath(rate),
      RangeError,
      `Cannot create DropPath: rate must be from 0 to below 1, got ${rate}`,
    );
  }
  assertThrows(
    () => new ConvNeXt({ ...SMALL, dropPathRate: 1 }),
    RangeError,
    "Cannot create ConvNeXt: dropPathRate must be from 0 to below 1, got 1",
  );
  for (const step of [-1, 0.5, 2 ** 32]) {
    assertThrows(
      () => model.setStep(step),
      RangeError,
      `Cannot set the step of Nested: it must be an integer from 0 to 2^32 - 1, got ${step}`,
    );
  }
}, ["reference"]);
