/**
 * Tensors larger than a binding, more workgroups than a row holds, and no elements at all.
 *
 * A device that claims small limits stands in for large tensors: 128 KiB a binding, where no
 * device has less than 128 MiB. It refuses larger bindings, unaligned offsets and longer rows, so that a slice that is forgotten is an error.
 */
import { init, memory, shutdown } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { constructKernel } from "../src/nn/mod.ts";
import type { Shape } from "../src/spec.ts";
import { tidy } from "../src/scope.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { type LayerArguments, makeLayer, runLayer } from "./support/layer_run.ts";
import { drawValues } from "./support/random_layers.ts";
import { assertResultsClose } from "./support/results.ts";
import { type ClaimedLimits, type Seen, watchDevice } from "./support/watched_device.ts";

const TOLERANCE = 1e-4;
const BINDING: ClaimedLimits = { maxStorageBufferBindingSize: 2 ** 17 };

/** Makes a device with these limits the running backend's. */
async function claim(limits: ClaimedLimits): Promise<Seen> {
  const { device, seen } = watchDevice(FOUND_DEVICE!.device, limits);
  await init({ device });
  return seen;
}

/** A layer whose results on the reference are those on a device with these limits. */
async function compareLayer(
  layer: LayerArguments & { inputShape: Shape },
  limits: ClaimedLimits,
): Promise<Seen> {
  const values = drawValues({ ...layer, seed: 7 });
  await init({ backend: "reference" });
  const expected = await runLayer(layer, values);
  const seen = await claim(limits);
  assertResultsClose(await runLayer(layer, values), expected, TOLERANCE);
  return seen;
}

type Cut = LayerArguments & { inputShape: Shape };

/** 4 bytes an element: 3 x 7 x 9 of them are 756 bytes, of which only every 64th begins at a multiple of 256. */
const CUT: [string, Cut][] = [
  [
    "items that begin anywhere, 128 to a slice, one left over",
    {
      module: "Dcls2d",
      inChannels: 3,
      outChannels: 3,
      options: { kernelCount: 2, dilatedKernelSize: 3, padding: 1 },
      inputShape: [257, 3, 7, 9],
    },
  ],
  [
    "an output larger than the input, no bias",
    {
      module: "Dcls2d",
      inChannels: 2,
      outChannels: 6,
      options: { kernelCount: 3, dilatedKernelSize: [4, 3], padding: [3, 2], groups: 2, bias: false },
      inputShape: [150, 2, 5, 8],
    },
  ],
  [
    "an input larger than the output, strided",
    {
      module: "Dcls2d",
      inChannels: 6,
      outChannels: 2,
      options: { kernelCount: 3, dilatedKernelSize: 5, padding: 2, stride: [2, 3], groups: 2, version: "v1" },
      inputShape: [257, 6, 8, 8],
    },
  ],
  ...(["reflect", "replicate", "circular"] as const).map((paddingMode): [string, Cut] => [
    `${paddingMode} padding`,
    {
      module: "Dcls2d",
      inChannels: 2,
      outChannels: 2,
      options: { kernelCount: 2, dilatedKernelSize: 5, padding: 2, paddingMode, version: "max", groups: 2 },
      inputShape: [600, 2, 4, 5],
    },
  ]),
  [
    "one axis, items of a few bytes",
    {
      module: "Dcls1d",
      inChannels: 1,
      outChannels: 1,
      options: { kernelCount: 2, dilatedKernelSize: 4, padding: 2, stride: 2, version: "gauss" },
      inputShape: [32_769, 1, 3],
    },
  ],
  [
    "three axes",
    {
      module: "Dcls3d",
      inChannels: 3,
      outChannels: 3,
      options: { kernelCount: 2, dilatedKernelSize: [2, 3, 3], padding: 1, groups: 3, version: "gauss" },
      inputShape: [129, 3, 4, 5, 6],
    },
  ],
];

for (const [what, layer] of CUT) {
  webgpuTest(`a batch beyond one binding is cut: ${what}`, async () => {
    const seen = await compareLayer(layer, BINDING);
    assert(seen.offsets >= 4, "forward and both gradients of the convolution ran in slices");
  });
}

webgpuTest("a batch beyond one binding is cut: patches as channels", async () => {
  const seen = await compareLayer({
    module: "Dcls2d",
    inChannels: 3,
    outChannels: 4,
    options: { kernelCount: 2, dilatedKernelSize: [3, 2], stride: [3, 2], version: "v1" },
    inputShape: [321, 3, 10, 9],
  }, BINDING);
  assert([...seen.kernels].some((label) => label.startsWith("patches")) && seen.offsets >= 4);
});

webgpuTest(
  "a batch beyond one binding is cut: planes through the FFT, pairs of them, one left over",
  async () => {
    // Loops of float64 would take minutes here; the whole batch at once is the measure. That it is right: gradients_test.
    const layer: Cut = {
      module: "Dcls2d",
      inChannels: 96,
      outChannels: 96,
      options: { kernelCount: 4, dilatedKernelSize: 31, padding: 15, groups: 96 },
      inputShape: [65, 96, 20, 20],
    };
    const values = drawValues({ ...layer, seed: 7 });
    const whole = await claim({});
    const expected = await runLayer(layer, values);
    assertEquals(whole.offsets, 0);
    const seen = await claim({ maxStorageBufferBindingSize: 64 * 4 * 96 * 20 * 20 });
    assertResultsClose(await runLayer(layer, values), expected, TOLERANCE);
    assert([...seen.kernels].some((label) => label.startsWith("planeConvBackward")) && seen.offsets >= 4);
  },
);

/** Values of every element and gradient of a chain of elementwise ops. */
async function elementwise(elements: number): Promise<Map<string, Float32Array>> {
  const results = new Map<string, Float32Array>();
  const a = randn([elements], { seed: 1, requiresGrad: true });
  const b = randn([elements], { seed: 2, requiresGrad: true });
  const single = tensor([0.75], [1], { requiresGrad: true });
  const leaves = { a, b, single };
  const chains: Record<string, () => Tensor> = {
    affine: () => a.mul(3).add(-1),
    relu: () => a.relu(),
    gelu: () => a.gelu(),
    square: () => a.square(),
    abs: () => a.abs(),
    add: () => a.add(b),
    sub: () => a.sub(single),
    mul: () => single.mul(a).mul(b),
    div: () => a.div(b.square().add(1)),
    mean: () => a.mul(b).mean(),
  };
  for (const [name, chain] of Object.entries(chains)) {
    const y = chain();
    y.square().sum().backward();
    const wanted = [y, a.grad, b.grad, single.grad].filter((x) => x !== null);
    (await readAll(wanted)).forEach((data, i) => results.set(`${name} ${i}`, data));
    y.dispose();
    for (const leaf of Object.values(leaves)) leaf.zeroGrad();
  }
  for (const leaf of Object.values(leaves)) leaf.dispose();
  return results;
}

async function compareElementwise(elements: number, limits: ClaimedLimits): Promise<Seen> {
  await init({ backend: "reference" });
  const expected = await elementwise(elements);
  const seen = await claim(limits);
  const actual = await elementwise(elements);
  assertEquals([...actual.keys()], [...expected.keys()]);
  for (const [name, data] of actual) assertClose(name, data, expected.get(name)!, TOLERANCE);
  return seen;
}

webgpuTest("elementwise ops and sums beyond one binding are cut, wherever the tensor ends", async () => {
  // 32,768 elements fill a binding: one; one and an element; two and an odd number.
  for (const elements of [32_768, 32_769, 70_001]) {
    const seen = await compareElementwise(elements, BINDING);
    assertEquals(seen.offsets > 0, elements > 32_768);
  }
});

webgpuTest("more workgroups than a row holds are spread over rows: elementwise ops and sums", async () => {
  const seen = await compareElementwise(20_001, { maxComputeWorkgroupsPerDimension: 9 });
  assert(seen.rows > 20);
});

webgpuTest("more workgroups than a row holds are spread over rows: layers", async () => {
  const seen = await compareLayer({
    module: "Dcls2d",
    inChannels: 3,
    outChannels: 6,
    options: { kernelCount: 2, dilatedKernelSize: 3, padding: 1, groups: 3, version: "gauss" },
    inputShape: [31, 3, 12, 40],
  }, { maxComputeWorkgroupsPerDimension: 24 });
  assert(seen.rows > 0);
  const strided = await compareLayer({
    module: "Dcls2d",
    inChannels: 3,
    outChannels: 3,
    options: { kernelCount: 2, dilatedKernelSize: 3, padding: 1, stride: 2, paddingMode: "circular" },
    inputShape: [31, 3, 12, 20],
  }, { maxComputeWorkgroupsPerDimension: 24 });
  assert(strided.rows > 0);
});

webgpuTest("more workgroups than a row holds are spread over rows: 66,000 rows of a kernel", async () => {
  const rows = 66_000;
  const run = async (): Promise<Float32Array[]> => {
    const weight = randn([rows, 1, 1], { seed: 1, requiresGrad: true });
    const P = randn([1, rows, 1, 1], { seed: 2, requiresGrad: true });
    const kernel = constructKernel(weight, P, null, { size: [3] });
    kernel.square().sum().backward();
    const data = await readAll([kernel, weight.grad!, P.grad!]);
    for (const used of [kernel, weight, P]) used.dispose();
    return data;
  };
  await init({ backend: "reference" });
  const expected = await run();
  const seen = await claim({ maxComputeWorkgroupsPerDimension: 1000 });
  const actual = await run();
  assert(seen.rows >= 2);
  ["kernel", "weight", "P"].forEach((name, i) => assertClose(name, actual[i], expected[i], TOLERANCE));
});

webgpuTest("an item that no binding holds is refused, in words", async () => {
  await claim(BINDING);
  const layer = makeLayer({
    module: "Dcls1d",
    inChannels: 1,
    outChannels: 1,
    options: { kernelCount: 1, dilatedKernelSize: 3 },
  });
  const x = randn([2, 1, 33_001]);
  const { buffers } = memory();
  assertThrows(() => tidy(() => layer.forward(x)), RangeError, "maxStorageBufferBindingSize of 131072");
  assertEquals(memory().buffers, buffers);
  for (const used of [x, layer]) used.dispose();
});

for (const paddingMode of ["zeros", "reflect"] as const) {
  testBackends(
    `an empty batch gives an empty output and gradients of zero, ${paddingMode}`,
    async ({ name }) => {
      shutdown();
      await init({ backend: name });
      const layer = makeLayer({
        module: "Dcls2d",
        inChannels: 2,
        outChannels: 4,
        options: {
          kernelCount: 2,
          dilatedKernelSize: 3,
          padding: 1,
          groups: 2,
          version: "gauss",
          paddingMode,
        },
      });
      const x = randn([0, 2, 5, 6], { requiresGrad: true });
      const y = layer.forward(x);
      assertEquals([...y.shape], [0, 4, 5, 6]);
      assertEquals((await y.data()).length, 0);
      const loss = y.gelu().mul(y).sum();
      assertEquals(await loss.item(), 0);
      loss.backward();
      assertEquals([...x.grad!.shape], [0, 2, 5, 6]);
      assertEquals((await x.grad!.data()).length, 0);
      for (const parameter of layer.parameters()) {
        assertEquals([...parameter.grad!.shape], [...parameter.shape], parameter.name);
        assert((await parameter.grad!.data()).every((value) => value === 0), parameter.name);
      }
      for (const used of [x, y, loss, layer]) used.dispose();
    },
  );
}
