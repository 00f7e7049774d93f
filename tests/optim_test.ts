/** AdamW, its groups, states and schedule. */
import { randn, tensor } from "../src/create.ts";
import { Dcls2d, LayerNorm, type Module, type Parameter, parameter } from "../src/nn/mod.ts";
import { AdamW, parameterGroups, warmupCosine } from "../src/optim/mod.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { memory } from "../src/backend.ts";
import {
  assert,
  assertAlmostEquals,
  assertClose,
  assertEquals,
  assertNotEquals,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";

/** AdamW as its paper has it, one number at a time in float64. */
function expectedSteps(
  start: number,
  gradients: readonly number[],
  learningRate: number,
  weightDecay: number,
): number {
  let [x, m, v] = [start, 0, 0];
  gradients.forEach((gradient, i) => {
    m = 0.9 * m + 0.1 * gradient;
    v = 0.999 * v + 0.001 * gradient ** 2;
    const step = (m / (1 - 0.9 ** (i + 1))) / (Math.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8);
    x = x * (1 - learningRate * weightDecay) - learningRate * step;
  });
  return x;
}

/** Leaves a gradient of these values. */
function setGradient(target: Parameter, values: readonly number[]): void {
  target.zeroGrad();
  target.mul(tensor(values, target.shape)).sum().backward();
}

testBackends("AdamW is the paper's, group by group, with a factor for each step", async ({ tolerance }) => {
  const a = parameter("weight", [1, -2], [2]);
  const b = parameter("P", [3], [1]);
  const optimizer = new AdamW([
    { parameters: [a], weightDecay: 0.5 },
    { parameters: [b], learningRate: 0.05, weightDecay: 0 },
  ], { learningRate: 0.01 });
  const gradients = [[0.5, -1, 2], [0.25, 3, -1], [-4, 0.125, 0.5]];
  for (const [first, second, third] of gradients) {
    setGradient(a, [first, second]);
    setGradient(b, [third]);
    optimizer.step();
  }
  const of = (i: number): number[] => gradients.map((row) => row[i]);
  assertClose("a", await a.data(), [
    expectedSteps(1, of(0), 0.01, 0.5),
    expectedSteps(-2, of(1), 0.01, 0.5),
  ], tolerance);
  assertAlmostEquals(await b.item(), expectedSteps(3, of(2), 0.05, 0), 3 * tolerance);

  const before = await a.data();
  optimizer.step(0);
  assertEquals(await a.data(), before);
  optimizer.zeroGrad();
  optimizer.step(); // no gradient, no update
  assertEquals(await a.data(), before);
  for (const owner of [a, b, optimizer]) owner.dispose();
});

/** A few steps on a loss of the layer's own; returns the loss after each. */
async function train(layer: Module, optimizer: AdamW, steps: number): Promise<number[]> {
  const x = randn([2, 2, 9, 9], { seed: 5 });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const loss = layer.forward(x).square().mean();
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    layer.clampParameters();
    losses.push(await loss.item());
  }
  return losses;
}

testBackends("a run that is stopped and resumed gives the same losses, bit for bit", async () => {
  const make = (): [Dcls2d, AdamW] => {
    const layer = new Dcls2d(2, 2, { kernelCount: 4, dilatedKernelSize: 7, version: "gauss", seed: 1 });
    return [layer, new AdamW(parameterGroups(layer, { learningRate: 0.05 }))];
  };
  const [layer, optimizer] = make();
  const whole = await train(layer, optimizer, 6);
  assert(whole[5] < whole[0]);

  const [first, firstOptimizer] = make();
  const start = await train(first, firstOptimizer, 3);
  const [state, moments] = [await first.stateDict(), await firstOptimizer.stateDict()];
  assertEquals(Object.keys(moments).slice(0, 3), [
    "weight.firstMoment",
    "weight.secondMoment",
    "weight.step",
  ]);
  assertEquals([...moments["P.step"].data], [3]);
  const [second, secondOptimizer] = make();
  second.loadStateDict(state);
  secondOptimizer.loadStateDict(moments);
  assertEquals([...start, ...await train(second, secondOptimizer, 3)], whole);

  const [without, fresh] = make();
  without.loadStateDict(state);
  assertNotEquals((await train(without, fresh, 3))[2], whole[5]); // the moments matter
}, ["webgpu", "tfjs"]); // The reference keeps float64, of which a state holds the float32 part.

testBackends("a state that does not fit is refused whole", async () => {
  const layer = new Dcls2d(2, 2, { kernelCount: 4, dilatedKernelSize: 7 });
  const optimizer = new AdamW(parameterGroups(layer, { learningRate: 0.05 }));
  await train(layer, optimizer, 1);
  const state = await optimizer.stateDict();
  const { "P.step": _, ...rest } = state;
  const bad = {
    ...rest,
    "bias.firstMoment": { shape: [3], data: new Float32Array(3) },
    other: state["P.step"],
  };
  const error = assertThrows(() => optimizer.loadStateDict(bad), RangeError);
  assertEquals(
    error.message,
    "Cannot load a state into AdamW: its tensors must be those of the parameters, got bias.firstMoment of shape " +
      "[3] in place of [2], no P.step [], an unexpected other. Nothing was loaded",
  );
  assertEquals(await optimizer.stateDict(), state);
}, ["reference"]);

testBackends("the paper's groups: who decays, who learns faster", () => {
  const model = new ConvNeXt({
    ...{
      inChannels: 1,
      classes: 3,
      depths: [2],
      dims: [2],
      stemSize: 2,
      kernelSize: 3,
      dilatedKernelSize: 5,
    },
    version: "gauss",
  });
  const groups = parameterGroups(model, { learningRate: 0.1, weightDecay: 0.2, positionRate: 4 });
  const found = groups.map(({ parameters, learningRate, weightDecay }) => ({
    names: parameters.map((entry) => Array.isArray(entry) ? entry[0] : "?"),
    learningRate,
    weightDecay,
  }));
  assertEquals(found.map((group) => [group.learningRate, group.weightDecay]), [
    [0.1, 0.2],
    [0.1, 0],
    [0.4, 0],
    [0.1, 0],
  ]);
  assertEquals(found[2].names, ["stages.0.0.dwconv.P"]);
  assertEquals(found[3].names, ["stages.0.0.dwconv.SIG"]);
  assert(found[0].names.every((name) => name.endsWith("weight")));
  assert(["norm.weight", "head.bias", "stages.0.1.gamma"].every((name) => found[1].names.includes(name)));
  assertEquals(found.flatMap((group) => group.names).length, model.parameters().length);
  assertEquals(parameterGroups(new LayerNorm(2), { learningRate: 1 }).length, 1);
}, ["reference"]);

testBackends("moments outlive tidy and go back on dispose", () => {
  const layer = new LayerNorm(4);
  const before = memory().buffers;
  const optimizer = new AdamW([{ parameters: layer.parameters() }]);
  assertEquals(memory().buffers, before + 4);
  optimizer.dispose();
  assertEquals(memory().buffers, before);
}, ["reference"]);

testBackends("AdamW refuses bad options and repeated parameters", () => {
  const p = parameter("weight", [1], [1]);
  const cases: [() => AdamW, string][] = [
    [
      () => new AdamW([{ parameters: [p], learningRate: -1 }]),
      "learningRate must be a finite number of at least 0, got -1",
    ],
    [() => new AdamW([{ parameters: [p] }], { beta2: 1 }), "beta2 must be from 0 to below 1, got 1"],
    [() => new AdamW([{ parameters: [p] }], { epsilon: NaN }), "epsilon must be a positive number, got NaN"],
    [
      () => new AdamW([{ parameters: [p] }], { weightDecay: Infinity }),
      "weightDecay must be a finite number",
    ],
    [() => new AdamW([]), "it needs parameters, got none"],
    [() => new AdamW([{ parameters: [p, p] }]), "every parameter must be given once, got 1 twice"],
    [
      () => new AdamW([{ parameters: [["a", p]] }, { parameters: [["a", parameter("b", [1], [1])]] }]),
      "every parameter must be given once, got a twice",
    ],
  ];
  for (const [make, message] of cases) assertThrows(make, RangeError, `Cannot create AdamW: ${message}`);
}, ["reference"]);

Deno.test("warm-up rises in equal parts, the cosine falls to the end", () => {
  const schedule = warmupCosine({ totalSteps: 100, warmupSteps: 20, final: 0.1 });
  assertEquals([schedule(0), schedule(9), schedule(19), schedule(20)], [0.05, 0.5, 1, 1]);
  assertAlmostEquals(schedule(60), 0.55, 1e-12);
  assertAlmostEquals(schedule(100), 0.1, 1e-12);
  assertEquals(schedule(1000), 0.1);
  for (let step = 20; step < 100; step++) assert(schedule(step + 1) < schedule(step));
  assertEquals(warmupCosine({ totalSteps: 5 })(0), 1);
  assertThrows(
    () => warmupCosine({ totalSteps: 0 }),
    RangeError,
    "totalSteps must be a positive integer, got 0",
  );
  assertThrows(
    () => warmupCosine({ totalSteps: 5, warmupSteps: 6 }),
    RangeError,
    "from 0 to totalSteps (5), got 6",
  );
  assertThrows(
    () => warmupCosine({ totalSteps: 5, final: 2 }),
    RangeError,
    "final must be from 0 to 1, got 2",
  );
});
