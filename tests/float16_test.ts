/**
 * float16: every op and layer, forward and backward, against float64; what it cannot hold; memory; refusals.
 *
 * The measure is the Euclidean norm of the error over that of what is expected, tensor by tensor. The inputs are numbers
 * that float16 has, and what is expected is computed from them in float64 and rounded nowhere.
 */
import { currentBackend, init, memory, shutdown } from "../src/backend.ts";
import { compile } from "../src/compile.ts";
import { ones, randn, tensor, zeros } from "../src/create.ts";
import type { DTypeName } from "../src/dtype.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { crossEntropy, Dcls2d, layerNorm, parameter, pointwise } from "../src/nn/mod.ts";
import type { OpName } from "../src/ops/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import { readAll, type Tensor, update } from "../src/tensor.ts";
import { FOUND_DEVICE } from "./adapter.ts";
import { assert, assertClose, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { type CaseTensor, caseTensor, LAYER_CASES, type LayerCase } from "./cases.ts";
import { type LayerResults, type LayerValues, runLayer } from "./support/layer_run.ts";
import { HALF_LAYER_TOLERANCE as TOLERANCE, NO_FLOAT16 } from "./support/float16.ts";
import { normError } from "./support/relative_error.ts";
import { CASES } from "./tfjs_cases.ts";
import { compareOp, definitionOf, half, type Input, uniform } from "./webgpu_compare.ts";

/** A test on the backends that have float16. */
function float16Test(name: string, body: Parameters<typeof testBackends>[1]): void {
  testBackends(name, body, NO_FLOAT16 ? ["reference"] : ["reference", "webgpu"]);
  if (NO_FLOAT16) {
    Deno.test({ name: `${name} [webgpu] (skipped: ${NO_FLOAT16})`, ignore: true, fn: () => {} });
  }
}

/** The inputs with those that may be float16 made so. */
function halved(op: OpName, inputs: readonly (Input | null)[]): (Input | null)[] {
  const { activations = [0] } = definitionOf(op);
  return inputs.map((input, i) => input && activations.includes(i) ? half(input) : input);
}

/** The ops that see a float16 tensor, and how many of their cases to run: pipelines are compiled again for each. */
const OPS = [...new Set(CASES.map(({ op }) => op))]
  .filter((op) => definitionOf(op).activations?.length !== 0);
const CASES_OF: Partial<Record<OpName, RegExp>> = {
  convolution: /one channel|patches|stride$|depthwise 9|3-d dense/,
};

for (const op of OPS) {
  float16Test(`float16: ${op} and its gradients are within a rounding of float64`, async () => {
    const chosen = CASES.filter((each) => each.op === op && (CASES_OF[op]?.test(each.title) ?? true));
    assert(chosen.length > 0);
    for (const one of chosen) {
      await compareOp(currentBackend("test"), op, one.attributes, ...halved(op, one.inputs));
    }
  });
}

float16Test("float16: planes through the FFT, a pair and one left over, and their gradients", async () => {
  const attributes = { stride: [1, 1], padding: [8, 8], dilation: [1, 1], groups: 2 };
  const x = half(uniform([3, 2, 50, 56])); // rows of whole groups of four elements
  const inputs = [x, uniform([2, 1, 17, 17], -0.1, 0.1), uniform([2])];
  await compareOp(currentBackend("test"), "convolution", attributes, ...inputs);
});

float16Test("float16: sums are float32: they may pass 65,504, but what is written may not", async () => {
  const x = tensor([60_000, 60_000, 60_000], [1, 3], { dtype: "f16" });
  const weight = tensor([1, 1, -1, 1, 1, 0, 0.25, 0.25, 0.25], [3, 3]);
  const y = pointwise(x, weight);
  assertEquals([...await y.data()], [60_000, Infinity, 45_000].map(Math.f16round));
  for (const used of [x, weight, y]) used.dispose();
});

float16Test("float16: NaN and infinity stay in their own image", async () => {
  const { data } = half(uniform([3, 2, 9, 11])), image = 2 * 9 * 11;
  data[image + 20] = NaN;
  data[2 * image + 30] = Infinity;
  const x = tensor(data, [3, 2, 9, 11], { dtype: "f16" });
  const layer = new Dcls2d(2, 4, { kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 2, seed: 1 });
  const y = layer.forward(x).gelu();
  const values = await y.data();
  const bad = [0, 1, 2].map((n) =>
    values.subarray(2 * n * image, 2 * (n + 1) * image).filter((value) => !Number.isFinite(value)).length
  );
  assertEquals([bad[0], bad[1] > 0, bad[2] > 0], [0, true, true]);
  for (const used of [x, layer, y]) used.dispose();
});

float16Test("float16: there and back, odd lengths, gradients of either dtype", async () => {
  for (const length of [1, 2, 3, 5, 127, 129, 1001]) {
    const { data } = half(uniform([length]));
    const x = tensor(data, [length], { requiresGrad: true }),
      narrow = x.to("f16"),
      wide = narrow.to("float32");
    assertEquals([x.dtype, narrow.dtype, wide.dtype], ["float32", "float16", "float32"]);
    assertEquals(await readAll([narrow, wide]), [data, data]);
    wide.mul(3).square().sum().backward();
    assertEquals(x.grad!.dtype, "float32");
    assertClose("gradient", await x.grad!.data(), data.map((value) => 18 * value), 1e-3);
    const leaf = tensor(data, [length], { requiresGrad: true, dtype: "f16" });
    leaf.mul(3).sum().backward();
    leaf.mul(4).sum().backward();
    assertEquals(leaf.grad!.dtype, "float16");
    assert((await leaf.grad!.data()).every((value) => value === 7));
    for (const used of [x, narrow, wide, leaf]) used.dispose();
  }
});

float16Test(
  "float16: rounds to the nearest, ties to even; infinite above 65,504, 0 below 3e-8; NaN stays",
  async () => {
    const values = [
      1 + 2 ** -11,
      1 + 3 * 2 ** -11,
      0.1,
      65504,
      65519,
      65520,
      -1e9,
      Infinity,
      NaN,
      3e-8,
      2.9e-8,
      -0,
    ];
    const x = tensor(values, [values.length], { dtype: "float16" });
    const expected = [
      1,
      1 + 2 ** -9,
      0.0999755859375,
      65504,
      65504,
      Infinity,
      -Infinity,
      Infinity,
      NaN,
      2 ** -24,
      0,
      -0,
    ];
    assertEquals([...await x.data()], expected);
    const y = x.mul(2), total = x.sum();
    assertEquals([...await y.data()].slice(3, 6), [Infinity, Infinity, Infinity]);
    assert(Number.isNaN(await total.item()));
    for (const used of [x, y, total]) used.dispose();
  },
);

float16Test("float16: sums, means and losses are float32 and do not saturate", async () => {
  const x = ones([3, 70_001], { dtype: "f16", requiresGrad: true });
  const total = x.sum(), mean = x.mul(0.5).mean();
  assertEquals([total.dtype, mean.dtype, await total.item(), await mean.item()], [
    "float32",
    "float32",
    210_003,
    0.5,
  ]);
  total.backward();
  assertEquals(x.grad!.dtype, "float16");
  for (const used of [x, total, mean]) used.dispose();
});

/** A case's values as float16 has them: expected are not PyTorch's own results, which are of other inputs. */
function halfValues(layer: LayerCase): LayerValues {
  const names = (["weight", "P", "SIG", "bias"] as const).filter((name) => layer.tensors[name]);
  const rounded = ({ shape, data }: CaseTensor): CaseTensor => ({ shape, data: data.map(Math.f16round) });
  return {
    state: Object.fromEntries(names.map((name) => [name, caseTensor(layer, name)])),
    input: rounded(caseTensor(layer, "input")),
    gradient: rounded(caseTensor(layer, "grad_output")),
  };
}

for (const module of [...new Set(LAYER_CASES.map((layer) => layer.module))]) {
  float16Test(
    `float16: ${module}, every version and padding: output and gradients`,
    async ({ name: backend }) => {
      const layers = LAYER_CASES.filter((layer) => layer.module === module);
      await init({ backend: "reference" });
      const expected: LayerResults[] = [];
      for (const layer of layers) expected.push(await runLayer(layer, halfValues(layer)));
      await init({ backend });
      for (const [i, layer] of layers.entries()) {
        const actual = await runLayer(layer, { ...halfValues(layer), dtype: "float16" });
        for (const [name, { data }] of expected[i]) {
          const error = normError(actual.get(name)!.data, data);
          assert(
            error <= TOLERANCE,
            `${name} of ${layer.name}: error ${error} in norm, at most ${TOLERANCE}`,
          );
        }
      }
    },
  );
}

float16Test(
  "float16: a ConvNeXt's logits are those of float64 within 1e-2, its loss and gradients follow",
  async ({ name: backend }) => {
    const options = {
      inChannels: 3,
      classes: 10,
      depths: [1, 1],
      dims: [8, 16],
      stemSize: 2,
      dilatedKernelSize: 9,
    };
    const { data } = half(uniform([3, 3, 28, 28]));
    const run = async (dtype: DTypeName): Promise<Float32Array[]> => {
      const model = new ConvNeXt({ ...options, kernelSize: 5, layerScale: 1, seed: 3 });
      const x = tensor(data, [3, 3, 28, 28], { dtype }), labels = tensor([1, 7, 3], [3]);
      const logits = model.forward(x), loss = crossEntropy(logits, labels);
      assertEquals([logits.dtype, loss.dtype], [x.dtype, "float32"]);
      loss.backward();
      const gradients = model.parameters().map((each) => each.grad!);
      assert(gradients.every((gradient) => gradient.dtype === "float32"));
      const read = await readAll([logits, loss, ...gradients]);
      for (const used of [model, x, labels, logits, loss]) used.dispose();
      return read;
    };
    await init({ backend: "reference" });
    const wide = await run("float32");
    await init({ backend });
    const narrow = await run("float16");
    assert(normError(narrow[0], wide[0]) <= 1e-2, `logits: ${normError(narrow[0], wide[0])}`);
    assert(Math.abs(narrow[1][0] - wide[1][0]) <= 1e-2, `loss: ${narrow[1]} and ${wide[1]}`);
    const all = (results: Float32Array[]): number[] => results.slice(2).flatMap((gradient) => [...gradient]);
    assert(normError(all(narrow), all(wide)) <= 2e-2, `gradients: ${normError(all(narrow), all(wide))}`);
  },
);

if (NO_FLOAT16 === null) {
  Deno.test("float16: half the memory, and all of it comes back [webgpu]", async () => {
    shutdown(); // what other tests dropped may be collected during this one
    await init({ backend: "webgpu" });
    const before = memory();
    const x = zeros([3, 8, 32, 32], { dtype: "f16" });
    assertEquals(memory().bytes - before.bytes, 2 * x.size);
    const layer = new Dcls2d(8, 8, { kernelCount: 3, dilatedKernelSize: 9, padding: 4, groups: 8 });
    for (let step = 0; step < 5; step++) {
      tidy(() => layer.forward(x.add(1)).gelu().mean().backward());
      await layer.weight.grad!.data();
      layer.zeroGrad();
    }
    await x.data();
    for (const used of [x, layer]) used.dispose();
    assertEquals([memory().buffers, memory().bytes], [before.buffers, before.bytes]);
  });

  Deno.test("float16: a device without shader-f16 says what to do [webgpu]", async () => {
    const { device } = FOUND_DEVICE!;
    const own = (key: string | symbol): unknown => {
      const value: unknown = Reflect.get(device, key, device);
      return typeof value === "function" ? value.bind(device) : value;
    };
    const features = new Set([...device.features].filter((feature) => feature !== "shader-f16"));
    const poor = new Proxy(device, { get: (_, key) => key === "features" ? features : own(key) });
    const { dtypes } = await init({ device: poor });
    assertEquals(dtypes, ["float32"]);
    const x = ones([2]);
    const words =
      'dtype must be float32 on this backend, got float16 on webgpu without shader-f16; use "float32", or a ' +
      'device that was requested with the feature "shader-f16"';
    assertThrows(() => x.to("f16"), RangeError, words);
    assertThrows(() => ones([2], { dtype: "float16" }), RangeError, words);
    x.dispose();
  });
}

testBackends("float16: tfjs keeps float32, and says so", () => {
  const x = ones([2]);
  assertThrows(
    () => x.to("float16"),
    RangeError,
    "Cannot convert a tensor: dtype must be float32 on this backend, got float16 on tfjs",
  );
  assertThrows(() => randn([2], { dtype: "f16" }), RangeError, 'or init({ backend: "webgpu" })');
  const layer = new Dcls2d(1, 1, { kernelCount: 1, dilatedKernelSize: 3 }).eval();
  assertThrows(
    () => compile(layer, [1, 1, 5, 5], { dtype: "f16" }),
    RangeError,
    "Cannot compile a forward: dtype",
  );
  layer.dispose();
  const same = x.to("float32");
  assertEquals(same.dtype, "float32");
  for (const used of [x, same]) used.dispose();
}, ["tfjs"]);

float16Test("float16: refusals", () => {
  const { buffers } = memory();
  const narrow = ones([1, 2, 3], { dtype: "float16", requiresGrad: true }), wide = ones([1, 2, 3]);
  const refuse = (body: () => unknown, error: new (text: string) => Error, words: string): void => {
    assertThrows(() => tidy(() => void body()), error, words);
  };
  refuse(
    () => ones([2], { dtype: "f64" as DTypeName }),
    RangeError,
    'Cannot create ones: dtype must be "float32" or',
  );
  refuse(() => wide.to("half" as DTypeName), RangeError, '("f32" or "f16"), got "half"');
  refuse(
    () => narrow.add(wide),
    TypeError,
    "must have one dtype, got float16 and float32; convert one of them with x.to",
  );
  refuse(() => wide.mul(narrow), TypeError, "must have one dtype, got float32 and float16");
  const [weight, bias] = [ones([2], { dtype: "f16" }), zeros([2])];
  refuse(() => layerNorm(narrow, weight, bias), TypeError, "Cannot run layerNorm: input 1 must be float32");
  refuse(
    () => narrow.mul(2).backward(wide),
    TypeError,
    "the gradient must be float16, as the tensor is, got float32",
  );
  refuse(
    () => update("clamp", [narrow], { low: [0], high: [1] }),
    TypeError,
    "Cannot run clamp: tensors that learn must be float32, got float16",
  );
  const gamma = parameter("gamma", [1, 2], [2]);
  assertEquals(gamma.dtype, "float32");
  for (const used of [narrow, wide, weight, bias, gamma]) used.dispose();
  assertEquals(memory().buffers, buffers);
});

float16Test("float16: a compiled forward gives what the layer gives, and takes nothing else", async () => {
  const layer = new Dcls2d(3, 3, { kernelCount: 2, dilatedKernelSize: 5, padding: 2, groups: 3, seed: 1 })
    .eval();
  const shape = [2, 3, 7, 9], { data } = half(uniform(shape));
  const x = tensor(data, shape, { dtype: "f16" }), wide = tensor(data, shape);
  const compiled = compile(layer, shape, { dtype: "f16" });
  const [eager, replayed, uploaded] = [layer.forward(x), compiled.forward(x), compiled.forward(data)];
  assertEquals([replayed.dtype, uploaded.dtype], ["float16", "float16"]);
  const [expected, ...actual] = await readAll([eager, replayed, uploaded]);
  for (const each of actual) assertEquals(each, expected);
  assertThrows(() => compiled.forward(wide), TypeError, "the input must be float16, got float32");
  for (const used of [layer, x, wide, compiled, eager, replayed, uploaded]) used.dispose();
});

float16Test("float16: sharing, noGrad and tidy are as with float32", async () => {
  const { buffers } = memory();
  const x = randn([2, 3], { seed: 1, dtype: "f16", requiresGrad: true });
  const kept = tidy(() => x.to("f16").reshape([3, 2]).to("f32"));
  const outside: Tensor = noGrad(() => x.to("f32"));
  assertEquals([kept.requiresGrad, outside.requiresGrad, memory().buffers - buffers], [true, false, 3]);
  assertEquals(await kept.data(), await outside.data());
  for (const used of [x, kept, outside]) used.dispose();
  assertEquals(memory().buffers, buffers);
});

Deno.test("float16: the backends end", () => shutdown());
