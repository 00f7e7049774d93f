/** autotune: what it finds is taken, kept in a file, and no damaged file is believed. */
import { autotune } from "../src/autotune.ts";
import { type Entry, parseTable, writeTable } from "../src/autotune/table.ts";
import { init, memory, shutdown } from "../src/backend.ts";
import { randn } from "../src/create.ts";
import { Conv2d, Dcls2d } from "../src/nn/mod.ts";
import { tidy } from "../src/scope.ts";
import { readAll } from "../src/tensor.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals, assertNotEquals, assertRejects } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { watchDevice } from "./support/watched_device.ts";

const SHAPE = [2, 2, 20, 21];

function layer(): Dcls2d {
  return new Dcls2d(2, 2, { kernelCount: 4, dilatedKernelSize: 9, padding: 4, groups: 2, seed: 1 });
}

/** Output and gradients of the layer. */
async function results(layer: Dcls2d): Promise<Float32Array[]> {
  const x = randn(SHAPE, { seed: 1, requiresGrad: true });
  const y = tidy(() => {
    const y = layer.forward(x);
    y.square().sum().backward();
    return y;
  });
  const tensors = [y, x.grad!, layer.weight.grad!, layer.P.grad!];
  const data = await readAll(tensors);
  layer.zeroGrad();
  for (const each of [x, y]) each.dispose();
  return data;
}

webgpuTest("autotune: times both passes by every algorithm, and the choice is taken", async () => {
  shutdown();
  await init({ backend: "webgpu" });
  const module = layer(), { buffers } = memory();
  const expected = await results(module);
  const file = await Deno.makeTempFile();
  await Deno.remove(file);
  const findings = await autotune(module, SHAPE, { file });
  assertEquals(findings.map(({ convolution }) => convolution.split(", ")[0]), ["forward", "backward"]);
  for (const { algorithm, milliseconds, remembered } of findings) {
    assertEquals([Object.keys(milliseconds).sort(), remembered], [["direct", "planes"], false]);
    assert(Object.values(milliseconds).every((time) => time > 0 && time < 1000));
    assertEquals(Math.min(...Object.values(milliseconds)), milliseconds[algorithm]);
  }
  assertEquals(memory().buffers, buffers);
  const actual = await results(module);
  ["output", "x", "weight", "P"].forEach((name, i) => assertClose(name, actual[i], expected[i], 1e-4));
  // Whatever is fastest here, a file can say otherwise: each algorithm's kernels are then seen.
  const text = await Deno.readTextFile(file);
  const kernels: string[] = [];
  for (const algorithm of ["planes", "direct"]) {
    shutdown();
    const { device, seen } = watchDevice((await findDevice())!.device);
    await init({ device });
    const own = layer();
    await Deno.writeTextFile(file, text.replace(/"algorithm": "\w+"/g, `"algorithm": "${algorithm}"`));
    const again = await autotune(own, SHAPE, { file });
    assertEquals(again.map((finding) => [finding.algorithm, finding.remembered]), [
      [algorithm, true],
      [algorithm, true],
    ]);
    const actual = await results(own);
    ["output", "x", "weight", "P"].forEach((name, i) => assertClose(name, actual[i], expected[i], 1e-4));
    kernels.push([...seen.kernels].sort().join());
  }
  assertNotEquals(kernels[0], kernels[1]);
  await Deno.remove(file);
  shutdown();
});

webgpuTest(
  "autotune: a damaged file is replaced, another adapter's findings stay; without a file they hold",
  async () => {
    shutdown();
    await init({ backend: "webgpu" });
    const folder = await Deno.makeTempDir(), file = `${folder}/findings.json`;
    const warnings: string[] = [], warn = (message: string): number => warnings.push(message);
    await Deno.writeTextFile(file, '{ "format": "dcls-autotune", "vers');
    const first = await autotune(layer(), SHAPE, { file, warn });
    assertEquals([first.length, warnings.length], [2, 1]);
    assert(
      warnings[0].startsWith(`Cannot use the findings of autotune in ${file}: it is not JSON`),
      warnings[0],
    );
    const text = await Deno.readTextFile(file);
    const again = await autotune(layer(), SHAPE, { file, warn });
    assertEquals(again, first.map((finding) => ({ ...finding, remembered: true })));
    assertEquals([await Deno.readTextFile(file), warnings.length], [text, 1]);
    await Deno.writeTextFile(file, text.replace(/("adapters": \{\s+")/, "$1another "));
    assert((await autotune(layer(), SHAPE, { file, warn })).every(({ remembered }) => !remembered));
    const both = JSON.parse(await Deno.readTextFile(file)) as { adapters: Record<string, unknown> };
    assertEquals([Object.keys(both.adapters).length, warnings.length], [2, 1]);
    const nowhere = `${folder}/none/findings.json`;
    assertEquals((await autotune(layer(), SHAPE, { file: nowhere, warn })).length, 2);
    assert(/^Cannot write .*kept in memory$/.test(warnings[1]), warnings[1]);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["findings.json"]);
    await Deno.remove(folder, { recursive: true });
    shutdown();
  },
);

Deno.test("autotune: a table is believed whole or not at all", () => {
  const table = {
    "an adapter": { "forward, f32": { algorithm: "direct", milliseconds: { direct: 1, planes: 2.5 } } },
  };
  const text = writeTable(table);
  assertEquals(parseTable(text), { adapters: table, problem: "" });
  const damaged: [content: string, problem: string][] = [
    [text.slice(0, text.length / 2), "it is not JSON"],
    ["[]", "its format must be dcls-autotune"],
    ["null", "its format must be dcls-autotune"],
    [text.replace('"version": 1', '"version": 2'), "its version must be 1, got 2"],
    [text.replace('"direct",', "5,"), "forward, f32 holds no finding"],
    [text.replace('"direct",', '"magic",'), "forward, f32 holds no finding"],
    [text.replace("2.5", '"soon"'), "forward, f32 holds no finding"],
    [text.replace("2.5", "-1"), "forward, f32 holds no finding"],
    [text.replace(/"adapters": /, '"other": '), "it lacks its adapters"],
    [writeTable({ "an adapter": [] as unknown as Record<string, Entry> }), "an adapter holds no finding"],
  ];
  for (const [content, problem] of damaged) {
    const parsed = parseTable(content);
    assert(parsed.adapters === null && parsed.problem.includes(problem), `${parsed.problem}, not ${problem}`);
  }
});

testBackends("autotune: nothing to choose, nothing done; shapes are checked", async ({ name }) => {
  const dense = new Conv2d(2, 2, { kernelSize: 2, seed: 1 });
  assertEquals(await autotune(name === "webgpu" ? dense : layer(), SHAPE), []);
  if (name === "webgpu") {
    await assertRejects(() => autotune(layer(), [1, 3, 20, 20]), RangeError, "Cannot run");
    await assertRejects(() => autotune(layer(), SHAPE, { dtype: "int8" as "f16" }), RangeError, "int8");
  }
});
