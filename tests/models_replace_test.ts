/** replaceDepthwise: the papers' models out of their baselines, any module, what stays, and what is refused. */
import { randn, tensor, zeros } from "../src/create.ts";
import {
  ConvNeXt,
  convnextBase,
  convnextDclsBase,
  convnextDclsGaussTiny,
  convnextDclsSmall,
  convnextDclsTiny,
  convnextSmall,
  convnextTiny,
  replaceDepthwise,
  type ReplaceOptions,
  summary,
} from "../src/models/mod.ts";
import {
  Conv1d,
  Conv2d,
  Conv3d,
  crossEntropy,
  Dcls1d,
  type Dcls2d,
  Dcls3d,
  type DclsNd,
  globalAveragePool,
  Linear,
  Module,
} from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import type { Tensor } from "../src/tensor.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

Deno.test("replaceDepthwise: ConvNeXt becomes ConvNeXt-dcls, layer by layer, at no more parameters", () => {
  const gauss: ReplaceOptions = { dilatedKernelSize: 23, version: "gauss" };
  for (
    const [baseline, dcls, options, kernelCount] of [
      [convnextTiny, convnextDclsTiny, {}, 34],
      [convnextSmall, convnextDclsSmall, {}, 40],
      [convnextBase, convnextDclsBase, {}, 40],
      [convnextTiny, convnextDclsGaussTiny, gauss, 26],
    ] as const
  ) {
    const replaced = summary(() => {
      const model = baseline({ weightStd: 0 });
      const report = replaceDepthwise(model, options);
      assertEquals([report.kernelCount, report.layers.length], [kernelCount, model.stages.flat().length]);
      assert(report.parametersAfter <= report.parametersBefore);
      return model;
    }, [1, 3, 64, 64]);
    assertEquals(replaced, summary(() => dcls({ weightStd: 0 }), [1, 3, 64, 64]));
  }
});

const SMALL = {
  inChannels: 1,
  classes: 4,
  depths: [2, 1],
  dims: [4, 6],
  stemSize: 2,
  kernelSize: 5,
} as const;

testBackends("replaceDepthwise: the model learns, and its state is that of a DCLS model", async () => {
  const model = new ConvNeXt({ ...SMALL, conv: "standard", seed: 1 });
  const before = await model.stateDict();
  const { bias } = model.stages[0][1].dwconv;
  model.stages[0][1].eval();
  const { layers, parametersBefore, parametersAfter } = replaceDepthwise(model, {
    dilatedKernelSize: 9,
    seed: 2,
  });
  assertEquals(
    layers.map(({ path, from, to, sharesWith }) => [path, from, to, sharesWith]),
    [
      ["stages.0.0.dwconv", "Conv2d", "Dcls2d", null],
      ["stages.0.1.dwconv", "Conv2d", "Dcls2d", "stages.0.0.dwconv"],
      ["stages.1.0.dwconv", "Conv2d", "Dcls2d", null],
    ],
  );
  // 350 weights of 5x5 kernels; 14 rows and 2 * 10 positions for each element: 10 of them take 340.
  assertEquals(layers.map((layer) => layer.parametersBefore), [104, 104, 156]);
  assertEquals(layers.map((layer) => layer.parametersAfter), [124, 44, 186]);
  assertEquals([parametersBefore - parametersAfter], [10]);
  assert(model.stages[0][1].dwconv.bias === bias);
  assertEquals(model.stages[0].map(({ dwconv }) => dwconv.training), [true, false]);

  const dcls = new ConvNeXt({ ...SMALL, dilatedKernelSize: 9, kernelCount: 10 });
  const state = await model.stateDict();
  dcls.loadStateDict(state);
  const kept = Object.keys(before).filter((path) => !path.endsWith("dwconv.weight"));
  for (const path of kept) assertEquals(state[path], before[path], path);
  const x = randn([3, 1, 12, 12], { seed: 3 }), labels = tensor([0, 1, 2], [3]);
  assertEquals(await model.forward(x).data(), await dcls.forward(x).data());

  const optimizer = new AdamW(parameterGroups(model, { learningRate: 1e-2 }));
  const losses: number[] = [];
  for (let step = 0; step < 5; step++) {
    const loss = crossEntropy(model.forward(x), labels);
    loss.backward();
    optimizer.step();
    optimizer.zeroGrad();
    model.clampParameters();
    losses.push(await loss.item());
  }
  assert(losses[4] < 0.9 * losses[0], String(losses));
  const positions = (await model.stateDict())["stages.0.1.dwconv.P"];
  assert(positions.data.some((value, i) => value !== state["stages.0.1.dwconv.P"].data[i]));
  model.dispose();
  dcls.dispose();
  optimizer.dispose();
});

/** Depthwise layers of all sorts, in fields and lists, one of them in two places; and layers that are none. */
class Mixed extends Module {
  readonly stem = new Conv2d(1, 4, { kernelSize: 3 }); // one channel is no depthwise layer
  readonly first: Module = new Conv2d(4, 8, {
    ...{
      kernelSize: [3, 5],
      stride: [1, 2],
      padding: [2, 1],
      groups: 4,
      bias: false,
      paddingMode: "replicate",
    },
  });
  readonly rest: (Module | Module[])[] = [
    [new Conv2d(8, 8, { kernelSize: 3, dilation: 2, padding: 2, groups: 8 })],
    new Conv2d(8, 8, { kernelSize: 3, padding: 1, groups: 2 }), // nor is one of groups
  ];
  readonly again = (this.rest[0] as Module[])[0];

  override forward(x: Tensor): Tensor {
    const y = this.first.forward(this.stem.forward(x));
    return this.again.forward((this.rest[0] as Module[])[0].forward(y));
  }
}

testBackends("replaceDepthwise: shapes stay, whatever stride, dilation, padding and multiplier", async () => {
  const model = new Mixed();
  const x = randn([2, 1, 11, 14], { seed: 1 });
  const { shape } = model.forward(x);
  const { layers, kernelCount } = replaceDepthwise(model, { dilatedKernelSize: 7, version: "max" });
  assertEquals(layers.map(({ path, kernelSize, sharesWith }) => [path, kernelSize, sharesWith]), [
    ["first", [3, 5], null],
    ["rest.0.0", [3, 3], "first"], // as many axes and outputs
  ]);
  assertEquals(kernelCount, Math.floor(8 * (15 + 9) / (8 * (1 + 4) + 8)));
  const [first, second] = [model.first, (model.rest[0] as Module[])[0]] as [Dcls2d, Dcls2d];
  assert(model.again === second);
  assertEquals(first.spec.padding, [4, 2]);
  assertEquals(second.spec.padding, [3, 3]);
  assertEquals([first.spec.stride, first.spec.paddingMode, first.bias], [[1, 2], "replicate", null]);
  assert(second.P === first.P);
  assert(second.SIG === first.SIG);
  const y = model.forward(x);
  assertEquals(y.shape, shape);
  y.square().sum().backward();
  assert((await first.P.grad!.data()).some((value) => value !== 0));
  model.dispose();
}, ["reference", "tfjs"]);

/** A chain of layers, of images of any number of axes. */
class Chain extends Module {
  readonly layers: Module[];
  readonly head = new Linear(4, 2);
  constructor(...layers: Module[]) {
    super();
    this.layers = layers;
  }
  override forward(x: Tensor): Tensor {
    return this.head.forward(globalAveragePool(this.layers.reduce((y, layer) => layer.forward(y), x)));
  }
}

testBackends("replaceDepthwise: one and three axes, and positions of their own", () => {
  const options = { kernelSize: 3, padding: 1, groups: 4 };
  const chain1 = new Chain(new Conv1d(4, 4, options), new Conv1d(4, 4, options));
  assertEquals(replaceDepthwise(chain1, { dilatedKernelSize: 5 }).kernelCount, 2); // 24 / (4 + 4 + 4)
  assert(chain1.layers[0] instanceof Dcls1d);
  assert((chain1.layers[1] as Dcls1d).P === chain1.layers[0].P);
  assertEquals(chain1.forward(zeros([2, 4, 6])).shape, [2, 2]);

  const chain3 = new Chain(new Conv3d(4, 4, options), new Conv3d(4, 4, options));
  const { kernelCount, layers } = replaceDepthwise(chain3, { dilatedKernelSize: 3, sharePositions: false });
  assertEquals(kernelCount, 6); // 27 / (1 + 3)
  assertEquals(layers.map(({ sharesWith }) => sharesWith), [null, null]);
  assert(chain3.layers[1] instanceof Dcls3d);
  assert((chain3.layers[0] as Dcls3d).P !== chain3.layers[1].P);
  assertEquals(chain3.forward(zeros([1, 4, 3, 4, 5])).shape, [1, 2]);

  // One after the other and alike share; what comes between parts them.
  const square = (): Conv2d => new Conv2d(4, 4, options);
  const wide = new Conv2d(4, 8, options);
  const parted = replaceDepthwise(new Chain(square(), square(), wide, square()), { dilatedKernelSize: 5 });
  assertEquals(parted.layers.map(({ sharesWith }) => sharesWith), [null, "layers.0", null, null]);
}, ["reference", "tfjs"]);

testBackends("replaceDepthwise: what cannot be replaced is refused, and nothing changes", async () => {
  const good = (): Conv2d => new Conv2d(4, 4, { kernelSize: 5, padding: 2, groups: 4 });
  const refuse = (model: Module, message: string, options: ReplaceOptions = {}): void => {
    const before = model.namedModules().map(([, module]) => module);
    assertThrows(() => replaceDepthwise(model, options), RangeError, message);
    assert(model.namedModules().every(([, module], i) => module === before[i]), message);
  };
  refuse(new Chain(new Conv2d(4, 4, { kernelSize: 3 })), "of Chain: it must have a Conv1d, Conv2d or Conv3d");
  refuse(new Chain(good()), "dilatedKernelSize must be a positive odd integer, got 16", {
    dilatedKernelSize: 16,
  });
  refuse(
    new Chain(good(), new Conv2d(4, 4, { kernelSize: [3, 4], padding: 1, groups: 4 })),
    "Cannot replace layers.1: its kernel must reach over an odd number of cells, so that its output keeps its shape, " +
      "got kernelSize 4 with dilation 1",
  );
  refuse(
    new Chain(good(), new Conv2d(4, 4, { kernelSize: 9, padding: 1, groups: 4 })),
    "Cannot replace layers.1: dilatedKernelSize must be at least 7, so that its output keeps its shape, got 5",
    { dilatedKernelSize: 5 },
  );
  refuse(good(), "Cannot replace the model: it must hold the layers that are to be replaced");
  const frozen = new Chain(good());
  Object.freeze(frozen.layers);
  refuse(
    frozen,
    "Cannot replace layers.0: it must be in a public field or a list in one, neither of them frozen",
  );
  class Hidden extends Chain {
    readonly #layer = good();
    override children(): Record<string, Module> {
      return { hidden: this.#layer };
    }
  }
  refuse(new Hidden(), "Cannot replace hidden: it must be in a public field");
  refuse(
    new Chain(new Conv2d(4, 4, { kernelSize: 1, groups: 4 })),
    "give kernelCount where the model may grow",
  );
  refuse(new Chain(good()), "kernelCount must be a positive integer, got 1.5", { kernelCount: 1.5 });
  refuse(new Chain(good()), "version must be one of", { version: "v9" as "v0" });

  const grown = new Chain(new Conv2d(4, 4, { kernelSize: 1, groups: 4 }));
  replaceDepthwise(grown, { kernelCount: 2, dilatedKernelSize: 3 });
  assertEquals((await (grown.layers[0] as DclsNd).P.data()).length, 16);
}, ["reference"]);
