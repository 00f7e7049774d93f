/** The layers against the PyTorch package: every tensor of the 63 cases through the public classes, every backend. */
import type { BackendName } from "../src/backend.ts";
import { toTorch } from "../src/nn/layout.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import { BACKENDS, testBackends } from "./backends.ts";
import { type CaseTensor, caseTensor, type CaseTensorName, LAYER_CASES, type LayerCase } from "./cases.ts";
import { runLayer } from "./support/layer_run.ts";
import { relativeError } from "./support/relative_error.ts";

/** The stored parameters of a case, back in PyTorch's order as a checkpoint has them. */
function torchState(layer: LayerCase): Record<string, CaseTensor> {
  const names = (["weight", "P", "SIG", "bias"] as const).filter((name) => layer.tensors[name]);
  return Object.fromEntries(names.map((name) => {
    const { shape, data } = caseTensor(layer, name);
    const positional = name === "P" || name === "SIG";
    return [name, { shape, data: positional ? toTorch(layer.spec, name, data, shape) : data }];
  }));
}

/** What a case holds besides the layer's inputs: five tensors at least, a gradient for each parameter there is. */
function expectedNames({ spec, tensors }: LayerCase): CaseTensorName[] {
  const names: CaseTensorName[] = ["grad_P", "grad_input", "grad_weight", "kernel", "output"];
  if (tensors.SIG) names.push("grad_SIG");
  if (spec.bias) names.push("grad_bias");
  return names.toSorted();
}

/** The largest error seen on each backend, and where. */
const worst = new Map<BackendName, { cases: number; error: number; where: string }>();

// Backend by backend, as a change of backend starts a new device.
for (const { name: backend } of BACKENDS) {
  for (const layer of LAYER_CASES) {
    testBackends(
      `layer ${layer.name}: kernel, output and gradients are PyTorch's`,
      async ({ tolerance }) => {
        const results = await runLayer(layer, {
          state: torchState(layer),
          layout: "torch",
          input: caseTensor(layer, "input"),
          gradient: caseTensor(layer, "grad_output"),
        });
        assertEquals([...results.keys()].toSorted(), expectedNames(layer));
        const record = worst.get(backend) ?? { cases: 0, error: 0, where: "" };
        worst.set(backend, record);
        for (const [name, { shape, data }] of results) {
          const expected = caseTensor(layer, name);
          assertEquals([...shape], [...expected.shape], name);
          assertClose(name, data, expected.data, tolerance, shape);
          const error = relativeError(data, expected.data);
          if (error > record.error) Object.assign(record, { error, where: `${name} of ${layer.name}` });
        }
        record.cases++;
      },
      [backend],
    );
  }
}

Deno.test("layers: there are 63 cases, and this is the worst error of each backend", async (t) => {
  assertEquals(LAYER_CASES.length, 63);
  for (const { name, tolerance } of BACKENDS) {
    const record = worst.get(name);
    if (!record) continue; // skipped, or filtered out
    await t.step(
      `${name}: ${record.error.toExponential(1)} in ${record.where}, ${record.cases} cases`,
      () => {
        assert(record.error > 0 && record.error <= tolerance);
      },
    );
  }
});
