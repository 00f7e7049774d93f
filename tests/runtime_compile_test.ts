/** Compiled forwards: what the module gives, to the last bit, and nothing made in steady state. */
import { init, memory, shutdown } from "../src/backend.ts";
import { compile } from "../src/compile.ts";
import { randn, tensor, zeros } from "../src/create.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { Conv2d, Dcls1d, Dcls2d, Linear, Module, parameter } from "../src/nn/mod.ts";
import { AdamW } from "../src/optim/mod.ts";
import { keep, tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import type { Tensor } from "../src/tensor.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { watchDevice } from "./support/watched_device.ts";

const MODEL = {
  inChannels: 2,
  classes: 5,
  depths: [2, 1],
  dims: [4, 8],
  stemSize: 2,
  dilatedKernelSize: 7,
  seed: 3,
};

/** What compile has to give again. */
async function eager(module: Module, x: Tensor): Promise<Float32Array> {
  const y = noGrad(() => tidy(() => module.forward(x)));
  const data = await y.data();
  if (y !== x) y.dispose();
  return data;
}

/** Makes tensors in its forward, and returns another shape. */
class Odd extends Module {
  readonly scale = parameter("scale", [2, 3, 4], [3]);
  override forward(x: Tensor): Tensor {
    return x.mul(tensor([1, 2, 3, 4, 5, 6], [2, 3])).add(zeros([1]).add(7)).mul(this.scale.sum()).reshape([
      3,
      2,
    ]);
  }
}

class Identity extends Module {
  override forward(x: Tensor): Tensor {
    return x;
  }
}

testBackends("compile: what the module gives, to the last bit", async () => {
  const dcls = { kernelCount: 3, dilatedKernelSize: 7, seed: 4 };
  const cases: [Module, number[]][] = [
    [new ConvNeXt(MODEL), [3, 2, 16, 18]],
    [new Dcls2d(4, 4, { ...dcls, version: "gauss", padding: 3, paddingMode: "reflect", groups: 4 }), [
      2,
      4,
      9,
      8,
    ]],
    [new Dcls1d(2, 3, { ...dcls, stride: 2 }), [2, 2, 20]],
    [new Conv2d(3, 4, { kernelSize: 3, padding: 1, seed: 1 }), [1, 3, 7, 7]],
    [new Linear(6, 4, { seed: 2 }), [5, 6]],
    [new Linear(6, 4, { seed: 2 }), [0, 6]],
    [new Odd(), [2, 3]],
    [new Identity(), [2, 3]],
  ];
  for (const [module, shape] of cases) {
    const before = memory().buffers;
    const compiled = compile(module.eval(), shape);
    const inputs = [1, 2, 3].map((seed) => randn(shape, { seed }));
    const outputs = inputs.map((x) => compiled.forward(x)); // none of them overwrites another
    for (const [i, x] of inputs.entries()) {
      assertEquals(await outputs[i].data(), await eager(module, x), `${module.constructor.name} ${i}`);
      assert(!outputs[i].requiresGrad);
    }
    const again = compiled.forward(await inputs[1].data());
    assertEquals(again.shape, outputs[1].shape);
    assertEquals(await again.data(), await outputs[1].data());
    for (const each of [...inputs, ...outputs, again, compiled]) each.dispose();
    assertEquals(memory().buffers, before, module.constructor.name);
    module.dispose();
  }
});

testBackends("compile: parameters that change in place are seen", async () => {
  const model = new ConvNeXt(MODEL), optimizer = new AdamW([{ parameters: model.parameters() }]);
  const compiled = compile(model.eval(), [1, 2, 16, 16]);
  const x = randn([1, 2, 16, 16], { seed: 1 });
  const results = [await compiled.forward(x).data()];
  tidy(() => model.forward(x).square().sum().backward());
  optimizer.step();
  model.clampParameters();
  results.push(await compiled.forward(x).data());
  const other = new ConvNeXt({ ...MODEL, seed: 9 });
  model.loadStateDict(await other.stateDict());
  results.push(await compiled.forward(x).data());
  model.head.bias!.assign([1, 2, 3, 4, 5]);
  results.push(await compiled.forward(x).data());
  assertEquals(results[3], await eager(model, x));
  assertEquals(results[2], await eager(other.eval(), x));
  for (const i of [1, 2, 3]) assertNotEquals(results[i], results[i - 1]);
  for (const each of [compiled, x, model, other, optimizer]) each.dispose();
});

testBackends("compile: errors say what to do", async ({ name }) => {
  const layer = new Dcls1d(2, 2, { kernelCount: 2, dilatedKernelSize: 5, seed: 1 });
  assertThrows(
    () => compile(layer, [1, 2, 9]),
    Error,
    "Cannot compile Dcls1d: the module must be in evaluation",
  );
  layer.eval();
  assertThrows(() => compile(layer, [1, 2, 9], { dtype: "int8" as "f16" }), RangeError, 'got "int8"');
  const { buffers } = memory();
  if (name === "webgpu") { // the others run the module only when called
    assertThrows(() => compile(layer, [1, 3, 9]), RangeError, "Cannot run");
    assertEquals(memory().buffers, buffers);
  }
  const compiled = compile(layer, [1, 2, 9]);
  const run = (x: unknown): () => Tensor => () => compiled.forward(x as Tensor);
  const what = "Cannot run a compiled forward: ";
  assertThrows(
    run(randn([1, 2, 8])),
    RangeError,
    `${what}the input must have shape [1, 2, 9], got [1, 2, 8]`,
  );
  assertThrows(run(new Float32Array(17)), RangeError, "a Float32Array of 18 elements, got 17 elements");
  assertThrows(run("x"), RangeError, "got string");
  layer.train();
  assertThrows(run(zeros([1, 2, 9])), Error, `${what}the module must be in evaluation, got one that trains`);
  layer.eval();
  assertEquals((await compiled.forward(zeros([1, 2, 9])).data()).length, 10);
  const stale = zeros([1, 2, 9]);
  shutdown();
  assertThrows(run(stale), Error, `${what}its backend was ended by shutdown(); compile again after init()`);
  compiled.dispose();
  await init({ backend: name });
  const fresh = new Dcls1d(2, 2, { kernelCount: 2, dilatedKernelSize: 5, seed: 1 }).eval();
  const second = compile(fresh, [1, 2, 9]);
  fresh.dispose();
  assertThrows(() => second.forward(zeros([1, 2, 9])), Error, `${what}its parameters were disposed`);
  second.dispose();
  second.dispose();
  assertThrows(() => second.forward(zeros([1, 2, 9])), Error, "parameters were disposed");
  const third = compile(new Identity().eval(), [1]);
  third.dispose();
  assertThrows(() => third.forward(zeros([1])), Error, `${what}it was disposed`);
});

webgpuTest("compile: calls make no buffer, bind group or pipeline; activations share buffers", async () => {
  const { device, seen } = watchDevice((await findDevice())!.device);
  shutdown();
  await init({ device });
  const model = new ConvNeXt({ ...MODEL, depths: [3, 3] }).eval(), x = randn([4, 2, 32, 32], { seed: 1 });
  const { bytes: before, buffers } = memory();
  const compiled = compile(model, [4, 2, 32, 32]);
  assertEquals(memory().bytes - before, compiled.bytes);
  const dispatchesOfCall = (): number => {
    const sofar = seen.dispatches;
    compiled.forward(x).dispose();
    return seen.dispatches - sofar;
  };
  const first = dispatchesOfCall(), { dispatches } = compiled;
  assert(first > dispatches, "kernels are constructed");
  assertEquals([dispatchesOfCall(), dispatchesOfCall()], [dispatches, dispatches], "and kept");
  const { P } = model.stages[0][0].dwconv as Dcls2d;
  model.head.bias!.assign(new Float32Array(5));
  assertEquals(dispatchesOfCall(), dispatches, "nothing but the last product reads the head's bias");
  P.assign(await P.data());
  assertEquals([dispatchesOfCall(), dispatchesOfCall()], [first, dispatches], "until they change");
  // Every activation at once would take more than 6 blocks of 12 planes.
  const stem = 4 * 4 * 4 * 16 * 16;
  assert(compiled.bytes < 16 * stem, `${compiled.bytes} bytes, the stem's output has ${stem}`);
  const kept = compiled.forward(x);
  await kept.data();
  compiled.forward(x).dispose();
  const { buffers: made, bindGroups, pipelines } = seen;
  for (let call = 0; call < 30; call++) compiled.forward(x).dispose();
  assertEquals([seen.buffers, seen.bindGroups, seen.pipelines], [made, bindGroups, pipelines]);
  compiled.dispose();
  assertEquals(memory().buffers, buffers + 1); // what is kept
  shutdown();
});

/** Does in its forward what a recording cannot hold. */
class Restless extends Module {
  constructor(readonly act: (x: Tensor) => unknown) {
    super();
  }
  override forward(x: Tensor): Tensor {
    this.act(x);
    return x.add(1);
  }
}

webgpuTest(
  "compile: a forward that updates parameters, or that runs a compiled one, is refused whole",
  async () => {
    await init({ backend: "webgpu" });
    const p = parameter("weight", [1, 2], [2]), optimizer = new AdamW([{ parameters: [p] }]);
    p.square().sum().backward();
    const inner = compile(new Odd().eval(), [2, 3]), { buffers } = memory();
    const acts: [(x: Tensor) => unknown, string][] = [
      [() => optimizer.step(), "Cannot update parameters in a forward that is being compiled"],
      [(x) => inner.forward(x), "Cannot run a compiled forward in a forward that is being compiled"],
    ];
    for (const [act, message] of acts) {
      assertThrows(() => compile(new Restless(act).eval(), [2, 3]), Error, message);
      assertEquals(memory().buffers, buffers, message);
    }
    let kept: Tensor | null = null;
    const leaky = compile(new Restless((x) => kept = keep(x.mul(2))).eval(), [2, 3]);
    await assertRejects(() => kept!.data(), Error, "Cannot use a tensor made while a forward was compiled");
    assertEquals([...await leaky.forward(zeros([2, 3])).data()], [1, 1, 1, 1, 1, 1]); // and all still works
    for (const each of [leaky, inner, optimizer, p]) each.dispose();
  },
);

webgpuTest("compile: slices, float16, and work around it", async () => {
  const found = await findDevice();
  const { device, seen } = watchDevice(found!.device, { maxStorageBufferBindingSize: 2 ** 15 });
  shutdown();
  const { dtypes } = await init({ device });
  const layer = new Dcls2d(2, 2, { kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 2, seed: 1 })
    .eval();
  const shape = [9, 2, 24, 25];
  const compiled = compile(layer, shape);
  const x = randn(shape, { seed: 1 });
  // Disposed and overwritten while the calls wait in one submit.
  const outputs = [1, 2, 3].map((factor) => {
    const input = x.mul(factor), y = compiled.forward(input).add(0);
    input.dispose();
    randn(shape, { seed: factor }).dispose();
    return y;
  });
  assert(seen.offsets > 0, "nothing was cut");
  for (const [i, y] of outputs.entries()) assertEquals(await y.data(), await eager(layer, x.mul(i + 1)));
  if (dtypes.includes("float16")) {
    const half = x.to("float16"), narrow = compile(layer, shape, { dtype: "f16" });
    const y = narrow.forward(half);
    assertEquals(y.dtype, "float16");
    assertEquals(await y.data(), await eager(layer, half));
    assertEquals(await narrow.forward(await x.data()).data(), await y.data());
    assertThrows(() => narrow.forward(x), TypeError, "the input must be float16, got float32");
  }
  shutdown();
});
