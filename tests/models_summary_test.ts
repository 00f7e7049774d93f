/** Parameters and multiply-adds: the papers' tables, every layer, any module, and the command that prints them. */
import { memory, shutdown } from "../src/backend.ts";
import { ones, randn, zeros } from "../src/create.ts";
import { ConvNeXt, MODELS, summary } from "../src/models/mod.ts";
import { DECIDED_OPS } from "../src/models/summary.ts";
import { Conv2d, convolution, Dcls1d, Linear, Module, parameter } from "../src/nn/mod.ts";
import * as ops from "../src/ops/mod.ts";
import type { Tensor } from "../src/tensor.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

/** Parameters and multiply-adds at 224 x 224, as the papers round them (DCLS: table 2). */
const PUBLISHED: Readonly<Record<string, [string, string]>> = {
  "convnext-tiny": ["29M", "4.5G"],
  "convnext-small": ["50M", "8.7G"],
  "convnext-base": ["89M", "15.4G"],
  "convnext-dcls-tiny": ["29M", "5.0G"],
  "convnext-dcls-small": ["50M", "9.5G"],
  "convnext-dcls-base": ["89M", "16.5G"],
  "convnext-dcls-gauss-tiny": ["29M", "5.5G"],
};

Deno.test("summary: parameters and multiply-adds of every model are the papers', without init", () => {
  shutdown();
  assertEquals(Object.keys(MODELS), Object.keys(PUBLISHED));
  for (const [name, make] of Object.entries(MODELS)) {
    const counted = summary(() => make({ weightStd: 0 }), [1, 3, 224, 224]);
    const { parameters, multiplyAdds, rows } = counted;
    assertEquals(
      [`${(parameters / 1e6).toFixed(0)}M`, `${(multiplyAdds / 1e9).toFixed(1)}G`],
      PUBLISHED[name],
      `${name}: ${parameters} and ${multiplyAdds}`,
    );
    assertEquals(rows.reduce((sum, row) => sum + row.parameters, 0), parameters);
    assertEquals(rows.reduce((sum, row) => sum + row.multiplyAdds, 0), multiplyAdds);
  }
});

Deno.test("summary: it is decided about every op whether it counts", () => {
  const names = Object.values(ops).map((op) => op.name);
  assert(names.length >= 16);
  assertEquals(DECIDED_OPS.toSorted(), names.toSorted());
});

testBackends("summary: shapes are those of a real pass, and nothing is left behind", async () => {
  const model = new ConvNeXt({
    ...{ inChannels: 1, classes: 4, depths: [2, 1], dims: [4, 6], stemSize: 2, kernelSize: 3 },
    ...{ dilatedKernelSize: 7, dropPathRate: 0.5, stageNorms: true, seed: 1 },
  });
  model.stages[0][1].eval();
  const modes = model.namedModules().map(([, { training }]) => training);
  const before = memory();
  const { rows, parameters, multiplyAdds } = summary(model, [2, 1, 13, 16]);
  assertEquals(memory(), before);
  assertEquals(model.namedModules().map(([, { training }]) => training), modes);

  const shapes = new Map<string, readonly number[]>();
  model.forward(zeros([2, 1, 13, 16]), { inspect: (path, { shape }) => shapes.set(path, shape) });
  for (const { path, outputShape } of rows) {
    if (outputShape === null) continue;
    const seen = shapes.get(path) ?? shapes.get(`${path}.gamma`);
    assertEquals(outputShape, seen, path);
  }
  assertEquals(
    rows.filter(({ outputShape }) => outputShape === null).map(({ path }) => path),
    ["norm0", "norm1"], // a classification does not come to them
  );
  assertEquals(parameters, model.parameters().reduce((sum, { size }) => sum + size, 0));
  const block = (channels: number, places: number): number => 2 * places * channels * (49 + 8 * channels);
  assertEquals(
    multiplyAdds, // stem, blocks, downsampling, head
    2 * 48 * 4 * 4 + 2 * block(4, 48) + 2 * 12 * 6 * 4 * 4 + block(6, 12) + 2 * 6 * 4,
  );

  // The draws of drop path did not move on.
  const x = randn([8, 1, 8, 8], { seed: 2 });
  const output = model.train().forward(x);
  model.setStep(1); // the pass above was step 0, this one is the next
  assertEquals((await output.data()).length, 32);
  const again = model.forward(x);
  model.setStep(1);
  assertEquals(await model.forward(x).data(), await again.data());
  model.dispose();
});

/** What users write: parts in lists, one of them used twice, parameters of its own, ops as functions. */
class Own extends Module {
  readonly delays = [new Dcls1d(2, 2, { kernelCount: 3, dilatedKernelSize: 9, padding: 4, groups: 2 })];
  readonly twice = new Linear(2, 2, { bias: false });
  readonly kernel = parameter("weight", new Float32Array(6), [1, 2, 3]);
  readonly offset = parameter("bias", [1], [1]);
  readonly unused = new Conv2d(1, 1, { kernelSize: 3 });

  override forward(x: Tensor): Tensor {
    const y = convolution(this.delays[0].forward(x), this.kernel.mul(2), null).gelu();
    const features = y.reshape([y.shape[0], -1]).mul(ones([1])).add(this.offset);
    return this.twice.forward(this.twice.forward(features));
  }
}

testBackends("summary: any module", () => {
  const model = new Own();
  const { rows, multiplyAdds } = summary(model, [5, 2, 4]);
  assertEquals(
    rows.map(({ path, layer, parameters, multiplyAdds }) => [path, layer, parameters, multiplyAdds]),
    [
      ["delays.0", "Dcls1d", 2 * 3 + 2 + 2 * 3, 5 * 2 * 4 * 9],
      ["", "Own", 7, 5 * 2 * 2 * 3],
      ["twice", "Linear", 4, 2 * 5 * 2 * 2],
      ["unused", "Conv2d", 10, 0],
    ],
  );
  assertEquals(rows.map(({ outputShape }) => outputShape), [[5, 2, 4], [5, 2], [5, 2], null]);
  assertEquals(multiplyAdds, 360 + 60 + 40);
  assertEquals(summary(() => new Own(), [5, 2, 4]).multiplyAdds, multiplyAdds);
  assertThrows(() => summary(model, [5, 3, 4]), RangeError, "Cannot run Dcls1d: input must be [N, 2, L]");
  assert(model.training); // after an error, too
  model.dispose();
}, ["reference", "tfjs"]);

Deno.test("summary: the command prints a table or JSON, and knows its models", async () => {
  const run = async (...args: string[]): Promise<[number, string]> => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "task",
        "--quiet",
        "--config",
        new URL("../deno.json", import.meta.url).pathname,
        "summary",
        ...args,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    return [code, new TextDecoder().decode(code === 0 ? stdout : stderr)];
  };
  const [[, table], [, json], [status, message], [, help]] = await Promise.all([
    run("tiny", "--size", "64"),
    run("--json", "convnextDclsTiny", "--size=64"),
    run("huge"),
    run("--help"),
  ]);
  assertStringIncludes(table, "convnext-dcls-tiny, one image of 64 x 64");
  assertMatch(table, /\nstages\.0\.0\.dwconv +Dcls2d +96 x 16 x 16 +9,888 +7\.1 M\n/);
  assertStringIncludes(table, "parameters     28,587,688 (28.6 M)\nmultiply-adds  406,447,104 (0.4 G)\n");
  const { model, inputShape, rows, parameters } = JSON.parse(json);
  assertEquals([model, inputShape, parameters], ["convnext-dcls-tiny", [1, 3, 64, 64], 28587688]);
  assertEquals(rows[0].path, "downsample_layers.0.0");
  assertEquals(status, 2);
  assertStringIncludes(message, `must be one of ${Object.keys(MODELS).join(", ")}, got "huge"`);
  assertStringIncludes(help, "--size <integer>");
});
