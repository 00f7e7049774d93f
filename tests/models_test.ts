/** ConvNeXt against the authors' model, and its forms. */
import { tensor, zeros } from "../src/create.ts";
import { crossEntropy, type Dcls2d } from "../src/nn/mod.ts";
import { ConvNeXt, isoKernelCount } from "../src/models/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import type { Tensor } from "../src/tensor.ts";
import { assert, assertClose, assertEquals, assertNotEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { fixture, fixtureModel, fixtures } from "./model_case.ts";

function batch(): { x: Tensor; labels: Tensor } {
  const { shape, data } = fixture("input");
  return { x: tensor(data, shape), labels: tensor(fixture("labels").data, [shape[0]]) };
}

testBackends("the reference model: logits, loss, repulsive loss and every gradient", async () => {
  const model = fixtureModel();
  const { x, labels } = batch();
  const logits = model.forward(x);
  assertClose("logits", await logits.data(), fixture("logits").data, 1e-3);
  const loss = crossEntropy(logits, labels);
  assertClose("loss", await loss.data(), fixture("loss").data, 1e-3);
  assertClose("repulsive loss", await model.repulsiveLoss().data(), fixture("loss_rep").data, 1e-3);
  loss.backward();
  const parameters = new Map(model.namedParameters());
  const expected = Object.entries(fixtures("grad"));
  assertEquals(expected.length, model.parameters().length);
  for (const [path, { shape, data }] of expected) {
    const gradient = parameters.get(path)?.grad;
    assert(gradient, path);
    assertClose(path, await gradient.data(), data, 1e-3, shape);
  }
  model.dispose();
});

testBackends("the reference model: six training steps", async () => {
  const model = fixtureModel();
  const { x, labels } = batch();
  const optimizer = new AdamW(parameterGroups(model, { learningRate: 1e-3, weightDecay: 0.05 }));
  const losses: number[] = [];
  for (let step = 0; step < 6; step++) {
    const loss = tidy(() => {
      const entropy = crossEntropy(model.forward(x), labels);
      // The fixture's loss is the cross-entropy alone, its gradient from the fourth step on is not.
      (step < 3 ? entropy : entropy.add(model.repulsiveLoss().square())).backward();
      return entropy;
    });
    optimizer.step();
    optimizer.zeroGrad();
    model.clampParameters();
    losses.push(await loss.item());
    loss.dispose();
  }
  assertClose("losses", losses, fixture("trajectory_loss").data, 1e-3);
  const parameters = new Map(model.namedParameters());
  for (const [path, { shape, data }] of Object.entries(fixtures("after"))) {
    const parameter = parameters.get(path);
    assert(parameter, path);
    assertClose(path, await parameter.data(), data, 1e-3, shape);
  }
  model.dispose();
  optimizer.dispose();
});

const SMALL = {
  inChannels: 1,
  classes: 4,
  depths: [2, 1],
  dims: [4, 6],
  stemSize: 2,
  kernelSize: 3,
} as const;

testBackends("paths, sharing, and what differs between the kinds of layers", async () => {
  const make = (options: object): ConvNeXt =>
    new ConvNeXt({ ...SMALL, dilatedKernelSize: 7, seed: 1, ...options });
  const dcls = make({});
  const paths = dcls.namedParameters().map(([path]) => path);
  for (
    const path of [
      ...["downsample_layers.0.0.weight", "downsample_layers.1.1.bias", "stages.0.1.dwconv.P", "norm.weight"],
      ...["stages.1.0.pwconv1.weight", "stages.0.1.gamma", "stages.0.1.norm.bias", "head.bias"],
    ]
  ) assert(paths.includes(path), path);
  assertEquals(dcls.parameters().filter(({ name }) => name === "P").length, 2);
  const apart = make({ sharePositions: false, version: "gauss" });
  assertEquals(apart.parameters().filter(({ name }) => name === "P").length, 3);
  assertEquals(apart.parameters().filter(({ name }) => name === "SIG").length, 3);
  assertEquals(make({ version: "gauss" }).parameters().filter(({ name }) => name === "SIG").length, 2);

  const standard = make({ conv: "standard" });
  const dilated = make({ conv: "dilated" });
  assertEquals(dilated.spec.dilation, 3); // 3 cells, 3 apart, reach 7
  for (const other of [standard, dilated]) {
    assert(other.namedParameters().every(([, { name }]) => name !== "P"));
    const shared = other.namedParameters().filter(([path]) => !path.includes("dwconv"));
    const values = new Map(dcls.namedParameters());
    for (const [path, parameter] of shared) {
      assertEquals(await parameter.data(), await values.get(path)!.data(), path); // same seed, same start
    }
    assertEquals([...other.forward(zeros([2, 1, 28, 28])).shape], [2, 4]);
  }
  assertNotEquals(await make({ seed: 2 }).head.weight.data(), await dcls.head.weight.data());
}, ["reference"]);

testBackends("inspect sees every layer in order", () => {
  const model = new ConvNeXt({ ...SMALL, depths: [1, 1], dilatedKernelSize: 5 });
  const seen: string[] = [];
  noGrad(() => model.forward(zeros([1, 1, 8, 8]), { inspect: (path) => seen.push(path) }));
  const block = (stage: number): string[] =>
    ["dwconv", "norm", "pwconv1", "gelu", "pwconv2", "gamma"].map((name) => `stages.${stage}.0.${name}`);
  assertEquals(seen, [
    ...["downsample_layers.0.0", "downsample_layers.0.1", ...block(0)],
    ...["downsample_layers.1.0", "downsample_layers.1.1", ...block(1), "pool", "norm", "head"],
  ]);
}, ["reference"]);

testBackends("clamping keeps shared positions within their kernel", async () => {
  const model = new ConvNeXt({ ...SMALL, dilatedKernelSize: 5, positionStd: 40 });
  const layer = model.stages[0][1].dwconv as Dcls2d;
  layer.P.assign(new Float32Array(layer.P.size).fill(3.5));
  model.clampParameters();
  assert((await layer.P.data()).every((p) => p === 2));
  assert((await model.repulsiveLoss().item()) > 0.5); // all in one place
}, ["reference"]);

Deno.test("kernel counts at iso-parameters", () => {
  const tiny = { depths: [3, 3, 9, 3], dims: [96, 192, 384, 768], kernelSize: 7 };
  assertEquals(isoKernelCount(tiny), 34);
  const count = (options: object): number =>
    isoKernelCount({ depths: [2], dims: [8], kernelSize: 5, ...options });
  assertEquals(count({}), 12); // 25 * 2 / (2 + 2) = 12.5
  assertEquals(count({ sharePositions: false }), 8); // 25 / 3
  assertEquals(count({ version: "gauss" }), 8); // 25 * 2 / (2 + 4)
  assertEquals(count({ version: "max", sharePositions: false }), 5); // 25 / 5
  assertEquals(count({ kernelSize: 1, sharePositions: false }), 1);
});

testBackends("no more parameters than the baseline, and fewer than one element per layer below it", () => {
  for (const version of ["v0", "gauss"] as const) {
    for (const sharePositions of [true, false]) {
      const size = (options: object): number => {
        const model = new ConvNeXt({ ...SMALL, kernelSize: 5, version, sharePositions, ...options });
        const total = model.parameters().reduce((sum, parameter) => sum + parameter.size, 0);
        model.dispose();
        return total;
      };
      const iso = isoKernelCount({ ...SMALL, kernelSize: 5, version, sharePositions });
      assert(size({}) <= size({ conv: "standard" }));
      assert(size({ kernelCount: iso + 1 }) > size({ conv: "standard" }));
    }
  }
}, ["reference"]);

testBackends("bad options and input name what is wrong", () => {
  const cases: [object, string][] = [
    [{ conv: "sparse" }, 'conv must be one of dcls, standard, dilated, got "sparse"'],
    [{ kernelSize: 4 }, "kernelSize must be a positive odd integer, got 4"],
    [{ dilatedKernelSize: 0 }, "dilatedKernelSize must be a positive odd integer, got 0"],
    [{ depths: [] }, "depths must be at least one number of blocks, got []"],
    [{ dims: [4] }, "dims must be one number or 2 of them, got 1"],
    [{ classes: 0 }, "classes must be a positive integer, got 0"],
    [{ kernelCount: 1.5 }, "kernelCount must be a positive integer, got 1.5"],
    [{ version: "v3" }, 'version must be one of v0, v1, max, gauss, got "v3"'],
    [{ layerScale: -1 }, "layerScale must be a finite number of at least 0, got -1"],
  ];
  for (const [options, message] of cases) {
    assertThrows(
      () => new ConvNeXt({ ...SMALL, ...options }),
      RangeError,
      `Cannot create ConvNeXt: ${message}`,
    );
  }
  const model = new ConvNeXt(SMALL);
  assertThrows(
    () => model.forward(zeros([1, 3, 8, 8])),
    RangeError,
    "Cannot run ConvNeXt: input must be [N, 1, H, W] with H and W of at least 4, got [1, 3, 8, 8]",
  );
  assertThrows(() => model.forward(zeros([1, 1, 3, 8])), RangeError, "got [1, 1, 3, 8]");
  const standard = new ConvNeXt({ ...SMALL, conv: "standard" });
  assertThrows(() => standard.repulsiveLoss(), Error, 'the layers must be "dcls", got "standard"');
}, ["reference"]);

testBackends("the defaults are those of the published model", () => {
  const { spec } = new ConvNeXt({ depths: [1], dims: [2] });
  assertEquals([spec.dilatedKernelSize, spec.version, spec.sharePositions], [17, "v0", true]);
  assertEquals([spec.layerScale, spec.positionStd, spec.stemSize, spec.classes], [1e-6, 0.5, 4, 1000]);
}, ["reference"]);
