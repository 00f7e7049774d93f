/** Layers and modules: clamping, states, sharing, initial values, how parts are found. Their numbers: layers_test.ts. */
import { ones, randn } from "../src/create.ts";
import { Dcls1d, Dcls2_1d, Dcls2d, LayerNorm, Linear, Module, Parameter, parameter } from "../src/nn/mod.ts";
import type { Tensor } from "../src/tensor.ts";
import { tidy } from "../src/scope.ts";
import {
  assert,
  assertClose,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";

testBackends("clampParameters moves positions to the kernel's own cells", async () => {
  const layer = new Dcls2d(1, 1, { kernelCount: 3, dilatedKernelSize: [4, 5] });
  layer.P.assign([-9, 0.5, 9, -9, 0.25, 9]);
  layer.clampParameters();
  assertEquals([...await layer.P.data()], [-2, 0.5, 1, -2, 0.25, 2]);
});

testBackends("unbatched input gives the batched result without its first axis", async () => {
  const layer = new Dcls2d(2, 4, { kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 2, stride: 2 });
  const x = randn([2, 7, 9], { seed: 1 });
  const alone = layer.forward(x);
  assertEquals([...alone.shape], [4, 4, 5]);
  assertClose("unbatched", await alone.data(), await layer.forward(x.reshape([1, 2, 7, 9])).data(), 1e-6);
});

testBackends("a state comes back as it was, in either layout", async () => {
  const options = { kernelCount: 3, dilatedKernelSize: [5, 9], version: "gauss" } as const;
  const [a, b] = [new Dcls2d(2, 2, options), new Dcls2d(2, 2, options)];
  b.loadStateDict(await a.stateDict());
  assertEquals(await b.stateDict(), await a.stateDict());
  const torch = await a.stateDict({ layout: "torch" });
  assertNotEquals(torch.P.data, (await a.stateDict()).P.data);
  const c = new Dcls2d(2, 2, options);
  c.loadStateDict(torch, { layout: "torch" });
  assertClose("P", (await c.stateDict()).P.data, (await a.stateDict()).P.data, 1e-6);
});

const own = (name: string, body: () => void | Promise<void>): void => testBackends(name, body, ["reference"]);

own("initial values: bounds, spread, seeds", async () => {
  const options = { kernelCount: 16, dilatedKernelSize: 9, groups: 8, version: "max", seed: 3 } as const;
  const layer = new Dcls2d(64, 64, options);
  const bound = 1 / Math.sqrt(8 * 16);
  const weight = await layer.weight.data();
  assert(weight.every((value) => Math.abs(value) <= bound));
  assert(Math.max(...weight) > 0.95 * bound && Math.min(...weight) < -0.95 * bound);
  assert((await layer.bias!.data()).every((value) => Math.abs(value) <= bound));
  const P = await layer.P.data();
  const variance = P.reduce((sum, p) => sum + p * p, 0) / P.length;
  assert(Math.abs(Math.sqrt(variance) - 0.5) < 0.02, `std ${Math.sqrt(variance)}`);
  assert((await layer.SIG!.data()).every((value) => value > 0)); // sign(0) = 0 would never learn
  assertEquals(await new Dcls2d(64, 64, options).stateDict(), await layer.stateDict());
  assertNotEquals(await new Dcls2d(64, 64, { ...options, seed: 4 }).weight.data(), weight);
  const still = new Dcls2d(2, 2, { kernelCount: 4, dilatedKernelSize: 9, positionStd: 0 });
  assert((await still.P.data()).every((p) => p === 0));
  const uniform = await new Dcls2_1d(8, 8, { kernelCount: 8, denseKernelSize: 3, dilatedKernelSize: 9 }).P
    .data();
  assert(
    Math.max(...uniform) > 3.8 && Math.min(...uniform) < -3.8 && Math.max(...uniform.map(Math.abs)) <= 4,
  );
});

own("the spread of max learns from its first step on", async () => {
  const layer = new Dcls1d(1, 1, { kernelCount: 2, dilatedKernelSize: 9, version: "max", seed: 1 });
  layer.forward(randn([1, 1, 20], { seed: 2 })).square().sum().backward();
  assert((await layer.SIG!.grad!.data()).some((value) => Math.abs(value) > 1e-6));
});

own("layers share positions: one parameter, both gradients", async () => {
  const options = { kernelCount: 3, dilatedKernelSize: 7, groups: 2, version: "gauss" } as const;
  const a = new Dcls2d(2, 2, options);
  const b = new Dcls2d(2, 2, { ...options, P: a.P, SIG: a.SIG });
  class Pair extends Module {
    readonly layers = [a, b];
    override forward(x: Tensor): Tensor {
      return this.layers.reduce((y, layer) => layer.forward(y), x);
    }
  }
  const pair = new Pair();
  assertEquals(pair.namedParameters().map(([path]) => path), [
    ...["layers.0.weight", "layers.0.bias", "layers.0.P", "layers.0.SIG"],
    ...["layers.1.weight", "layers.1.bias", "layers.1.P", "layers.1.SIG"],
  ]);
  assertEquals(pair.parameters().length, 6);
  pair.forward(randn([1, 2, 20, 20], { seed: 1 })).sum().backward();
  assert(a.P.grad !== null && a.P.grad === b.P.grad);

  const state = await pair.stateDict();
  assertEquals(state["layers.0.P"], state["layers.1.P"]);
  const { "layers.1.P": _, ...once } = state;
  pair.loadStateDict(once); // stored under one of its paths
  const copy = state["layers.1.P"].data.slice();
  copy[0] += 1;
  const disagreeing = { ...state, "layers.1.P": { ...state["layers.1.P"], data: copy } };
  assertThrows(
    () => pair.loadStateDict(disagreeing),
    RangeError,
    "different values: layers.0.P and layers.1.P",
  );

  const c = new Dcls2d(2, 2, options);
  c.P = a.P;
  c.SIG = a.SIG;
  assert(c.P === a.P && c.SIG === a.SIG);
  assertThrows(
    () => new Dcls2d(2, 2, { ...options, kernelCount: 4, P: a.P }),
    RangeError,
    "Cannot share P with Dcls2d: it must have shape [2, 2, 1, 4], got [2, 2, 1, 3]",
  );
  assertThrows(() => c.SIG = null, TypeError, "version gauss needs one, got null");
});

own("loading checks everything first and then loads nothing", async () => {
  const layer = new Dcls2d(2, 2, { kernelCount: 3, dilatedKernelSize: 7 });
  const before = await layer.stateDict();
  const { bias: _, ...rest } = before;
  const state = {
    ...rest,
    weight: { shape: [2, 2, 4], data: new Float32Array(16) },
    extra: { shape: [1], data: new Float32Array(1) },
  };
  const error = assertThrows(() => layer.loadStateDict(state), RangeError);
  assertEquals(
    error.message,
    "Cannot load a state into Dcls2d: its tensors must be the module's, got missing: bias [2]; " +
      "unexpected: extra [1]; weight must have shape [2, 2, 3], got [2, 2, 4]. Nothing was loaded",
  );
  assertEquals(await layer.stateDict(), before);
  const misshapen = assertThrows(() => layer.loadStateDict(state, { strict: false }), RangeError);
  assert(!misshapen.message.includes("missing") && misshapen.message.includes("weight must have shape"));
  layer.loadStateDict({ bias: { shape: [2], data: [5, 6] } }, { strict: false });
  assertEquals([...await layer.bias!.data()], [5, 6]);

  const P = before.P.data.slice();
  P[5] = NaN;
  assertThrows(
    () => layer.loadStateDict({ ...before, P: { ...before.P, data: P } }),
    RangeError,
    "P must be finite, got NaN at index 5",
  );
  assertThrows(
    () => layer.P.assign(P),
    RangeError,
    "Cannot assign to parameter P: P must be finite, got NaN at index 5",
  );
  assertThrows(() => layer.P.assign([1]), RangeError, "needs 24 values, got 1");
  assertEquals((await layer.stateDict()).P, before.P);
  const short = { ...before, P: { shape: before.P.shape, data: new Float32Array(3) } };
  assertThrows(() => layer.loadStateDict(short), RangeError, "P must hold 24 numbers, got 3 values");
  const integers = { ...before, bias: { shape: [2], data: new BigInt64Array(2) } };
  assertThrows(
    () => layer.loadStateDict(integers),
    RangeError,
    "bias must hold 2 numbers, got 64-bit integers",
  );
  assertThrows(
    () => layer.loadStateDict(before, { layout: "pytorch" as "torch" }),
    RangeError,
    "layout must be",
  );
  await assertRejects(() => layer.stateDict({ layout: "pytorch" as "torch" }), RangeError, "layout must be");
});

own("parameters outlive tidy, and say what they are", async () => {
  const p = tidy(() => {
    parameter("gamma", [1], [1]);
    return parameter("gamma", [2], [1]);
  });
  assertInstanceOf(p, Parameter);
  assert(p.requiresGrad);
  assertEquals([p.name, await p.item()], ["gamma", 2]);
  const layer = tidy(() => new LayerNorm(3));
  assertEquals([...await layer.weight.data()], [1, 1, 1]);
  assertThrows(
    () => parameter("P", [Infinity], [1]),
    RangeError,
    "P must be finite, got Infinity at index 0",
  );
  assertThrows(() => parameter("weight", [1, 2], [3]), RangeError, "shape [3] needs 3 values, got 2");
});

own("modules find their parts in fields, lists and lists of lists", () => {
  class Net extends Module {
    readonly grid = [[new LayerNorm(1), new LayerNorm(1)], [new LayerNorm(1)]];
    readonly scales = [parameter("scale", [1], [1]), parameter("scale", [1], [1])];
    readonly notes = ["none of these", "is a part"];
    readonly head = null;
    override forward(x: Tensor): Tensor {
      return x;
    }
  }
  assertEquals(new Net().namedParameters().map(([path]) => path), [
    ...["scales.0", "scales.1", "grid.0.0.weight", "grid.0.0.bias"],
    ...["grid.0.1.weight", "grid.0.1.bias", "grid.1.0.weight", "grid.1.0.bias"],
  ]);
});

own("zeroGrad forgets, gradients add up until then", async () => {
  const layer = new Linear(1, 1, { bias: false });
  const run = (): void => layer.forward(ones([1, 1])).sum().backward();
  run();
  run();
  assertEquals(await layer.weight.grad!.item(), 2);
  layer.zeroGrad();
  assertEquals(layer.weight.grad, null);
});
