/** ConvNeXt's block in fused ops: the same as layer by layer, and what training keeps of it. */
import { init, memory, shutdown } from "../src/backend.ts";
import { ones, randn, tensor } from "../src/create.ts";
import { ConvNeXt, type ConvNeXtBlock, type ConvNeXtOptions } from "../src/models/mod.ts";
import { layerNormPointwise, pointwiseResidual } from "../src/nn/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import type { Tensor } from "../src/tensor.ts";
import { assert, assertClose, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

const C = 8;

function blockOf(options: ConvNeXtOptions = {}): ConvNeXtBlock {
  const form = {
    dims: [C],
    depths: [2],
    classes: 2,
    conv: "standard", // of 3x3: quick to make pipelines for
    kernelSize: 3,
    layerScale: 0.5,
  } as const;
  const block = new ConvNeXt({ ...form, seed: 3, ...options }).stages[0][1];
  // biases and norms start at 0 and 1, which would hide what is left out
  let seed = 10;
  for (const parameter of block.parameters()) {
    const noise = Float32Array.from({ length: parameter.size }, (_, i) => 0.5 * Math.sin(seed * (i + 1)));
    parameter.assign(noise);
    seed++;
  }
  return block;
}

const image = (seed: number, batch = 3): Tensor => randn([batch, C, 7, 9], { seed, requiresGrad: true });

/** The output and every gradient of one way through a block. */
async function pass(
  block: ConvNeXtBlock,
  forward: (x: Tensor) => Tensor,
): Promise<Map<string, Float32Array>> {
  const x = image(1), results = new Map<string, Float32Array>();
  const y = forward(x);
  results.set("output", await y.data());
  y.backward(image(2));
  results.set("x", await x.grad!.data());
  for (const [name, parameter] of block.namedParameters()) {
    assert(parameter.grad, name);
    results.set(name, await parameter.grad.data());
  }
  block.zeroGrad();
  return results;
}

for (const [what, options] of [["", {}], [", without layer scale", { layerScale: 0 }]] as const) {
  testBackends(`fused block: as layer by layer, output and gradients${what}`, async ({ tolerance }) => {
    const block = blockOf(options);
    const expected = await pass(block, (x) => block.forward(x, () => {}));
    const actual = await pass(block, (x) => block.forward(x));
    for (const [name, values] of expected) assertClose(name, actual.get(name)!, values, tolerance);
    const inference = await noGrad(() => block.forward(image(1))).data();
    assertClose("without gradients", inference, expected.get("output")!, tolerance);
  });
}

testBackends("fused block: drop path leaves some samples as they are", async () => {
  const model = (): ConvNeXtBlock => blockOf({ dropPathRate: 0.5 });
  const [fused, plain] = [model(), model()]; // of one seed: they draw the same
  fused.train();
  plain.train();
  const x = image(1, 8),
    y = await fused.forward(x).data(),
    expected = await plain.forward(x, () => {}).data();
  assertClose("output", y, expected, 1e-4);
  const values = await x.data(), size = values.length / 8;
  const kept = Array.from(
    { length: 8 },
    (_, n) =>
      values.subarray(n * size, (n + 1) * size).some((value, i) => Math.abs(value - y[n * size + i]) > 1e-3),
  );
  assert(kept.includes(true) && kept.includes(false), `${kept}`);
});

testBackends(
  "fused block: training keeps 6 C elements a pixel, inference 1 C, and nothing is left",
  async ({ name }) => {
    shutdown();
    await init({ backend: name });
    const block = blockOf();
    // a multiple of 256 bytes, as buffers are
    const shape = [2, C, 8, 16],
      x = randn(shape, { seed: 1, requiresGrad: true }),
      dy = randn(shape, { seed: 2 });
    const bytes = (name === "reference" ? 8 : 4) * x.size, before = memory();
    const held = (): number => (memory().bytes - before.bytes) / bytes;
    tidy(() => {
      const y = block.forward(x);
      assertEquals(held(), 6, "until the backward pass");
      y.backward(dy);
    });
    block.zeroGrad();
    x.zeroGrad();
    assertEquals(memory().bytes, before.bytes);
    const z = noGrad(() => tidy(() => block.forward(x)));
    assertEquals(held(), 1);
    z.dispose();
    assertEquals(memory().buffers, before.buffers);
  },
);

testBackends("fused ops: the gradient of a shortcut is the output's own", async ({ tolerance }) => {
  const weight = randn([C, C], { seed: 5 }), x = image(1), shortcut = image(3), dy = image(2);
  const expected = await dy.data();
  tidy(() => pointwiseResidual(x, weight, null, shortcut).backward(dy));
  dy.dispose(); // shared with the gradient, which stays
  assertEquals(await shortcut.grad!.data(), expected);
  // one tensor as both
  const both = image(1), apart = image(1), copy = image(1);
  tidy(() => pointwiseResidual(both, weight, null, both).backward(image(2)));
  tidy(() => pointwiseResidual(apart, weight, null, copy).backward(image(2)));
  const [sum, a, b] = [await both.grad!.data(), await apart.grad!.data(), await copy.grad!.data()];
  assertClose("both", sum, a.map((value, i) => value + b[i]), tolerance);
  // frozen inputs: the shortcut's gradient is all there is to take
  const fixed = tensor(await x.data(), x.shape);
  copy.zeroGrad();
  tidy(() => pointwiseResidual(fixed, weight, null, copy).backward(image(2)));
  assertEquals(await copy.grad!.data(), expected);
});

testBackends("fused ops: refusals name what does not fit", () => {
  const x = ones([2, C, 3, 3]), norm = ones([C]), weight = ones([5, C]);
  const cases: [() => Tensor, string][] = [
    [() => layerNormPointwise(x, ones([3]), norm, weight, null), "normWeight must have shape [8], got [3]"],
    [
      () => layerNormPointwise(x, norm, norm, ones([5, 7]), null),
      "weight must be [out, 8] for an input of shape",
    ],
    [() => layerNormPointwise(x, norm, norm, weight, ones([4])), "bias must have shape [5], got [4]"],
    [() => pointwiseResidual(x, ones([5, 7]), null, x), "weight must be [out, 8] for an input of shape"],
    [() => pointwiseResidual(x, weight, null, x), "shortcut must have shape [2, 5, 3, 3], got [2, 8, 3, 3]"],
    [
      () => pointwiseResidual(x, weight, null, ones([2, 5, 3, 3]), { keep: ones([3]) }),
      "keep must have shape [2], got [3]",
    ],
    [
      () => pointwiseResidual(x, weight, null, ones([2, 5, 3, 3]), { scale: ones([8]) }),
      "scale must have shape [5], got [8]",
    ],
  ];
  for (const [run, message] of cases) assertThrows(run, RangeError, message);
}, ["reference"]);
