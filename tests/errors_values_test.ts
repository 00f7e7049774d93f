/** Bad values: states that do not fit, of which nothing is loaded, and NaN in positions, which shows. */
import { memory } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { Dcls1d, Dcls2d, type StateDict } from "../src/nn/mod.ts";
import { type Version, VERSIONS } from "../src/spec.ts";
import { type Tensor, update } from "../src/tensor.ts";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

const gauss = { kernelCount: 2, dilatedKernelSize: [5, 9], version: "gauss" } as const;

/** A state with other values throughout, changed by `change`. */
function changed(state: StateDict, change: (state: StateDict) => void): StateDict {
  const other = structuredClone(state);
  for (const { data } of Object.values(other)) data.fill(0.5);
  change(other);
  return other;
}

const BAD_STATES: [string, (state: StateDict) => void, string][] = [
  ["a missing tensor", (state) => delete state.bias, "missing: bias [4]"],
  [
    "an empty state",
    (state) => Object.keys(state).forEach((key) => delete state[key]),
    "missing: weight [4, 2, 2]",
  ],
  [
    "an extra tensor",
    (state) => state.running_mean = { shape: [4], data: new Float32Array(4) },
    "unexpected: running_mean [4]",
  ],
  [
    "a misshapen tensor",
    (state) => state.SIG = { shape: [2, 2, 4, 2], data: state.SIG.data },
    "SIG must have shape [2, 4, 2, 2], got [2, 2, 4, 2]",
  ],
  [
    "too few values",
    (state) => state.bias.data = new Float32Array(3),
    "bias must hold 4 numbers, got 3 values",
  ],
  ["NaN in P", (state) => state.P.data[7] = NaN, "P must be finite, got NaN at index "],
  ["infinity in SIG", (state) => state.SIG.data[0] = Infinity, "SIG must be finite, got Infinity at index "],
];

for (const layout of ["native", "torch"] as const) {
  testBackends(`a bad state changes nothing, ${layout} layout`, async () => {
    const layer = new Dcls2d(2, 4, gauss);
    const before = await layer.stateDict({ layout });
    const { buffers } = memory();
    for (const [what, change, message] of BAD_STATES) {
      const error = assertThrows(() => layer.loadStateDict(changed(before, change), { layout }), RangeError);
      assertStringIncludes(
        error.message,
        "Cannot load a state into Dcls2d: its tensors must be the module's, got ",
      );
      assertStringIncludes(error.message, message);
      assertStringIncludes(error.message, ". Nothing was loaded");
      assertEquals(await layer.stateDict({ layout }), before, what);
      assertEquals(memory().buffers, buffers, what);
    }
    layer.loadStateDict(changed(before, () => {}), { layout }); // without a fault, the same state is loaded
    assert((await layer.weight.data()).every((value) => value === 0.5));
    layer.dispose();
  });
}

testBackends("a state is refused whole by a layer of which a part was disposed", async () => {
  const layer = new Dcls2d(2, 4, gauss);
  const before = await layer.stateDict();
  layer.P.dispose();
  const attempt = (): void => layer.loadStateDict(changed(before, () => {}));
  assertThrows(attempt, RangeError, "P of the module was disposed. Nothing was loaded");
  assertEquals(await layer.weight.data(), before.weight.data);
  layer.dispose();
});

// NaN.

testBackends("NaN in P is refused by assign, and by a layer's first values", async () => {
  const layer = new Dcls1d(1, 1, { kernelCount: 3, dilatedKernelSize: 7, seed: 1 });
  const before = await layer.P.data();
  assertThrows(
    () => layer.P.assign(before.with(1, NaN)),
    RangeError,
    "Cannot assign to parameter P: P must be finite, got NaN at index 1",
  );
  assertEquals(await layer.P.data(), before);
  layer.dispose();
});

const NAN_LAYERS: [string, (version: Version) => Dcls2d, readonly number[]][] = [
  [
    "a small plane",
    (version) =>
      new Dcls2d(2, 4, { kernelCount: 2, dilatedKernelSize: 5, padding: 2, groups: 2, version, seed: 1 }),
    [2, 2, 6, 7],
  ],
  [
    "a large plane",
    (version) =>
      new Dcls2d(3, 3, { kernelCount: 2, dilatedKernelSize: 13, padding: 6, groups: 3, version, seed: 1 }),
    [2, 3, 20, 20],
  ],
];

for (const [what, make, shape] of NAN_LAYERS) {
  testBackends(
    `a NaN that P has on the device reaches its row's kernel and output, and no other: ${what}`,
    async () => {
      for (const version of what === "a small plane" ? VERSIONS : ["v0"] as const) {
        const layer = make(version);
        const P = await layer.P.data();
        P[layer.P.shape[3]] = NaN; // axis 0, output channel 1, element 0
        update("assign", [layer.P, tensor(P, layer.P.shape)], {}); // as a step that went wrong would
        const x = randn(shape, { seed: 1 });
        const y = layer.forward(x);
        y.square().sum().backward();
        const nan = async (tensor: Tensor, axis: number): Promise<number[]> => {
          const data = await tensor.data();
          const rows = tensor.shape[axis];
          const inner = tensor.shape.slice(axis + 1).reduce((size, extent) => size * extent, 1);
          const counts = new Array<number>(rows).fill(0);
          data.forEach((value, i) => counts[Math.floor(i / inner) % rows] += Number.isNaN(value) ? 1 : 0);
          return counts.map((count) => count * rows / data.length);
        };
        const only = (rows: number): number[] => Array.from({ length: rows }, (_, row) => row === 1 ? 1 : 0);
        const kernel = layer.constructKernel();
        assertEquals(await nan(kernel, 0), only(kernel.shape[0]), `${version} kernel`);
        assertEquals(await nan(y, 1), only(y.shape[1]), `${version} output`);
        const gradient = await nan(layer.weight.grad!, 0);
        assertEquals(gradient.map(Math.ceil), only(gradient.length), `${version} gradient of weight`);
        assertEquals(
          (await nan(layer.P.grad!, 1)).map(Math.ceil),
          only(gradient.length),
          `${version} gradient of P`,
        );
        layer.clampParameters();
        assertEquals((await layer.P.data()).findIndex(Number.isNaN), layer.P.shape[3], `${version} clamped`);
        for (const used of [layer, x, y, kernel]) used.dispose();
      }
    },
  );
}
