/** ConvNeXt's paths against the published checkpoints' names, feature maps of all stages, and models without scale. */
import { randn } from "../src/create.ts";
import {
  ConvNeXt,
  convnextDclsGaussTiny,
  convnextDclsTiny,
  convnextTiny,
  modelName,
} from "../src/models/mod.ts";
import { layerNorm } from "../src/nn/mod.ts";
import { noGrad } from "../src/tape.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { assert, assertClose, assertEquals, assertNotEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { fixtureModel, fixtures } from "./model_case.ts";

testBackends("paths and shapes are those of the authors' model", () => {
  const described = (entries: [string, { shape: readonly number[] }][]): string[] =>
    entries.map(([path, { shape }]) => `${path} ${shape.join("x")}`).sort();
  const model = fixtureModel();
  assertEquals(described(model.namedParameters()), described(Object.entries(fixtures("state"))));

  // The names of ConvNeXt's published checkpoints, written out for a model of one block each stage.
  const layers = (name: string, ...parts: string[]): string[] => parts.map((part) => `${name}.${part}`);
  const affine = (name: string): string[] => layers(name, "weight", "bias");
  const expected = (dwconv: string[]): string[] =>
    [
      ...[0, 1, 2, 3].flatMap((stage) => [
        ...affine(`downsample_layers.${stage}.0`),
        ...affine(`downsample_layers.${stage}.1`),
        `stages.${stage}.0.gamma`,
        ...layers(`stages.${stage}.0.dwconv`, ...dwconv),
        ...["norm", "pwconv1", "pwconv2"].flatMap((name) => affine(`stages.${stage}.0.${name}`)),
      ]),
      ...affine("norm"),
      ...affine("head"),
    ].sort();
  const small = { depths: [1, 1, 1, 1], dims: [2, 4, 6, 8], classes: 3 };
  for (
    const [make, dwconv] of [
      [convnextTiny, ["weight", "bias"]],
      [convnextDclsTiny, ["weight", "bias", "P"]],
      [convnextDclsGaussTiny, ["weight", "bias", "P", "SIG"]],
    ] as const
  ) {
    const paths = make(small).namedParameters().map(([path]) => path);
    assertEquals(paths.sort(), expected([...dwconv]));
  }
}, ["reference"]);

testBackends("presets take every option, and undefined for left out", () => {
  const { spec } = convnextDclsGaussTiny({
    ...{
      dims: [2, 4, 6, 8],
      depths: undefined,
      dilatedKernelSize: 11,
      version: "max",
      sharePositions: false,
    },
    ...{ classes: 7, inChannels: 1, dropPathRate: 0.1, layerScale: 0.5, seed: 4 },
  });
  assertEquals([spec.depths, spec.dilatedKernelSize, spec.version], [[3, 3, 9, 3], 11, "max"]);
  assertEquals([spec.kernelCount, spec.classes, spec.inChannels], [9, 7, 1]); // 49 / (1 + 4)
  assertEquals([spec.dropPathRate, spec.layerScale], [0.1, 0.5]);
  assertEquals(convnextDclsTiny({ dims: [2, 4, 6, 8], kernelCount: 5 }).spec.kernelCount, 5);
  assertEquals(["Base", "gauss_tiny", "convnextSmall"].map(modelName), [
    "convnext-dcls-base",
    "convnext-dcls-gauss-tiny",
    "convnext-small",
  ]);
  assertThrows(() => modelName("constructor"), RangeError, 'got "constructor"');
}, ["reference"]);

const SMALL = {
  ...{
    inChannels: 1,
    classes: 4,
    depths: [1, 2],
    dims: [4, 6],
    stemSize: 2,
    kernelSize: 3,
    dilatedKernelSize: 5,
  },
} as const;

testBackends(
  "feature maps are what the stages give, normalised where asked, and gradients pass",
  async ({ tolerance }) => {
    const plain = new ConvNeXt({ ...SMALL, seed: 1 });
    const normed = new ConvNeXt({ ...SMALL, seed: 1, stageNorms: true });
    const x = randn([2, 1, 9, 8], { seed: 2 });
    const outputs: Tensor[] = [], seen: string[] = [];
    plain.forward(x, {
      inspect: (path, output) => /^stages\.(0\.0|1\.1)\.gamma$/.test(path) && outputs.push(output),
    });
    const maps = plain.forwardFeatures(x);
    assertEquals(maps.map(({ shape }) => shape), [[2, 4, 4, 4], [2, 6, 2, 2]]);
    for (const [stage, map] of maps.entries()) {
      // Inspected passes run layer by layer, others fused.
      assertClose(`stage ${stage}`, await map.data(), await outputs[stage].data(), tolerance);
    }
    for (const [stage, map] of noGrad(() => plain.forwardFeatures(x)).entries()) {
      assertClose(`stage ${stage} in inference`, await map.data(), await outputs[stage].data(), tolerance);
    }

    const paths = normed.namedParameters().map(([path]) => path);
    assertEquals(paths.filter((path) => /^norm\d/.test(path)), [
      "norm0.weight",
      "norm0.bias",
      "norm1.weight",
      "norm1.bias",
    ]);
    assertEquals(
      paths.filter((path) => !/^norm\d/.test(path)),
      plain.namedParameters().map(([path]) => path),
    );
    normed.stageNorms[1].weight.assign([1, 2, 3, 4, 5, 6]);
    const { weight, bias } = normed.stageNorms[1];
    const features = normed.forwardFeatures(x, { inspect: (path) => seen.push(path) });
    assertEquals(seen.slice(-3), ["stages.1.1.gamma", "norm0", "norm1"]);
    const [first, second] = await readAll(features);
    assertNotEquals(first, await maps[0].data());
    assertClose("norm1", second, await layerNorm(maps[1], weight, bias).data(), tolerance);

    features[0].square().sum().add(features[1].square().sum()).backward();
    assert((await normed.stageNorms[0].weight.grad!.data()).every((value) => value !== 0));
    assert((await normed.stages[0][0].dwconv.weight.grad!.data()).some((value) => value !== 0));
    assertEquals(normed.head.weight.grad, null);
    assertThrows(
      () => plain.forwardFeatures(randn([1, 2, 8, 8])),
      RangeError,
      "Cannot run ConvNeXt: input must be [N, 1, H, W]",
    );
    plain.dispose();
    normed.dispose();
  },
  ["reference", "tfjs"],
);

testBackends("without layer scale a block adds its branch as it is", async () => {
  const x = randn([2, 1, 8, 8], { seed: 2 });
  const scaled = new ConvNeXt({ ...SMALL, seed: 1, layerScale: 1 });
  const expected = await scaled.forward(x).data();
  for (const layerScale of [0, null]) {
    const model = new ConvNeXt({ ...SMALL, seed: 1, layerScale });
    assertEquals(model.spec.layerScale, 0);
    assertEquals(model.stages[0][0].gamma, null);
    assert(model.namedParameters().every(([path]) => !path.endsWith("gamma")));
    assertClose("logits", await model.forward(x).data(), expected, 1e-6);
  }
}, ["reference"]);
