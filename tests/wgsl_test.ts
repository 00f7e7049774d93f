/**
 * Every kernel's WGSL, parsed and validated by naga without a GPU. For machines that have none, and because a shader
 * with an error throws nothing where it runs: it leaves stale numbers.
 *
 * The shaders are those that every op, update and reference layer asks for, on a device that exists on paper only.
 */
import * as naga from "naga-wasm";
import { init, ones, randn, shutdown } from "../mod.ts";
import type { Backend, Operand } from "../src/backend.ts";
import type { OpName } from "../src/ops/mod.ts";
import { outputDtypeOf } from "../src/ops/op.ts";
import { ConvNeXt } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { createWebgpuBackend } from "../src/webgpu/backend.ts";
import { ops as webgpuOps } from "../src/webgpu/ops/mod.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { LAYER_CASES } from "./cases.ts";
import { makeLayer } from "./support/layer_run.ts";
import { type PaperDevice, paperDevice } from "./support/paper_device.ts";
import { CASES } from "./tfjs_cases.ts";
import { definitionOf, differentiable } from "./webgpu_compare.ts";

/** Forward and backward of every op's cases, in float16 where the backend has it, and the updates. */
function runOps(backend: Backend): Set<OpName> {
  const narrow = backend.info.dtypes.includes("float16");
  for (const { op, attributes, inputs } of CASES) {
    const { activations = [0] } = definitionOf(op);
    const dtypes = inputs.map((x, i) =>
      x && (narrow && activations.includes(i) ? "float16" as const : "float32" as const)
    );
    const dtype = outputDtypeOf(definitionOf(op), dtypes, attributes);
    const shape = definitionOf(op).outputShape(inputs.map((x) => x && x.shape), attributes);
    const operands: (Operand | null)[] = inputs.map((x, i) =>
      x && { handle: backend.upload(x.data, x.shape, dtypes[i]!), shape: x.shape, dtype: dtypes[i]! }
    );
    const output = { handle: backend.forward(op, operands, attributes, shape, dtype), shape, dtype };
    backend.backward(op, output, operands, attributes, differentiable(op, inputs));
  }
  const parameter = (): Operand => ({
    handle: backend.upload(new Float32Array(24), [2, 3, 4]),
    shape: [2, 3, 4],
  });
  const rates = { learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05, step: 1 };
  backend.update("adamW", [parameter(), parameter(), parameter(), parameter()], [rates]);
  backend.update("clamp", [parameter()], { low: [-1, -2], high: [1, 2] });
  backend.update("assign", [parameter(), parameter()], {});
  return new Set(CASES.map(({ op }) => op));
}

/** The shaders of everything there is. */
async function allShaders(features: readonly GPUFeatureName[]): Promise<PaperDevice> {
  const paper = paperDevice(features);
  const backend = await createWebgpuBackend(paper.device);
  assertEquals([...runOps(backend!)].sort(), Object.keys(webgpuOps).sort(), "an op without a case");
  const dtype = (await init({ device: paper.device })).dtypes.at(-1);
  try {
    for (const layer of LAYER_CASES) {
      const x = ones(layer.inputShape, { requiresGrad: true, dtype });
      makeLayer(layer).forward(x).sum().backward();
    }
    const model = new ConvNeXt({
      classes: 10,
      depths: [1, 1],
      dims: [16, 32],
      stemSize: 2,
      dilatedKernelSize: 9,
      kernelSize: 5,
    });
    crossEntropy(model.forward(randn([4, 3, 28, 28], { dtype })), ones([4])).backward();
  } finally {
    shutdown();
  }
  return paper;
}

for (const features of [[], ["subgroups"], ["shader-f16"]] as const) {
  Deno.test(`wgsl: every kernel is valid, and bound as it declares${features.length ? `, with ${features}` : ""}`, async () => {
    const { shaders, mismatches } = await allShaders(features);
    assert(shaders.length >= 60, `only ${shaders.length} shaders`);
    for (const feature of features) {
      const sign = feature === "shader-f16" ? "enable f16;" : "subgroup";
      assert(shaders.some(({ code }) => code.includes(sign)), `none uses ${feature}`);
    }
    const faults: string[] = [];
    for (const { label, code } of shaders) {
      try {
        naga.validate(naga.parseWgsl(code));
      } catch (error) {
        faults.push(`${label}: ${(error as naga.NagaError).formatted ?? error}`);
      }
    }
    assertEquals(faults, []);
    assertEquals(mismatches, []);
  });
}

Deno.test("wgsl: the validator refuses what it should", () => {
  const shader = (body: string): string => `@compute @workgroup_size(1)\nfn main() { ${body} }`;
  naga.validate(naga.parseWgsl(shader("let x = 1u + 2u;")));
  assertThrows(() => naga.parseWgsl(shader("let x = ;")), naga.NagaError);
  assertThrows(() => naga.parseWgsl(shader("let x = unknown(1);")), naga.NagaError);
  assertThrows(() => naga.validate(naga.parseWgsl(shader("let x: f32 = 1u;"))), naga.NagaError);
});
