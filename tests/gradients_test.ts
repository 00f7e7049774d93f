/**
 * Random layers of every class: the gradients of the reference against finite differences, the float32 backends
 * against the reference, and these two against one another.
 *
 * The layers are drawn from a fixed seed. A failure names it, with the path to the smallest layer that fails.
 */
import fc from "fast-check";
import { type BackendName, init } from "../src/backend.ts";
import { tensor } from "../src/create.ts";
import { FORMS, type LayerName } from "../src/nn/forms.ts";
import { tidy } from "../src/scope.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { FOUND_DEVICE } from "./adapter.ts";
import { assert, assertEquals, fail } from "./assert.ts";
import { BACKENDS, testBackends } from "./backends.ts";
import type { CaseTensorName } from "./cases.ts";
import { PADDING_MODES, type Version, VERSIONS } from "../src/spec.ts";
import { type LayerResults, makeLayer, runLayer } from "./support/layer_run.ts";
import {
  type Bounds,
  drawValues,
  GRID,
  type RandomLayer,
  randomLayer,
  randomPatchLayer,
  randomPlaneLayer,
} from "./support/random_layers.ts";
import { assertResultsClose } from "./support/results.ts";
import { watchDevice } from "./support/watched_device.ts";

const SEED = 20260722;
const CLASSES = Object.keys(FORMS) as LayerName[];

/** Layers of each class and version: differences run each some hundred times, WebGPU compiles kernels for each. */
const DIFFERENCED = 4, COMPARED = 2;

/** Bounds for the differences, and for the comparisons: with three axes everything is cubed. */
const smallBounds = (name: LayerName): Bounds =>
  FORMS[name].spatialAxes === 3
    ? { extent: 3, size: 3, channelsPerGroup: 2 }
    : { extent: 4, size: 5, channelsPerGroup: 2 };
const boundsOf = (name: LayerName): Bounds =>
  FORMS[name].spatialAxes === 3
    ? { extent: 6, size: 4, channelsPerGroup: 3 }
    : { extent: 12, size: 8, channelsPerGroup: 4 };

type Settings = Pick<
  fc.Parameters<unknown>,
  "seed" | "numRuns" | "interruptAfterTimeLimit" | "markInterruptAsFailure"
>;

/** What fast-check is told; shrinking stops after a minute, as WebGPU compiles for each attempt. */
function settingsOf(name: LayerName, version: Version, numRuns: number): Settings {
  const seed = SEED + 10 * CLASSES.indexOf(name) + VERSIONS.indexOf(version);
  return { seed, numRuns, interruptAfterTimeLimit: 60_000, markInterruptAsFailure: true };
}

/** Checks layers of a class, some of each version. */
async function forAll(
  name: LayerName,
  bounds: Bounds,
  numRuns: number,
  check: (layer: RandomLayer) => Promise<void>,
): Promise<void> {
  for (const version of VERSIONS) {
    const property = fc.asyncProperty(randomLayer(name, version, bounds), check);
    await fc.assert(property, settingsOf(name, version, numRuns));
  }
}

// Finite differences.

/** Step of the differences: at the power of two the parameters stay exact, and their error h⁴ is below 1e-10. */
const STEP = 4 * GRID;
/** Seen: 4e-8. */
const DIFFERENCE_TOLERANCE = 1e-6;

/**
 * Compares the gradients of sum(G output²) with central differences of fourth order,
 * (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, element by element. They are taken by the backend itself, so that on the
 * reference they are float64 until they are read.
 */
async function compareWithDifferences(layer: RandomLayer): Promise<void> {
  const values = drawValues(layer);
  const made = makeLayer(layer);
  made.loadStateDict(values.state);
  const G = tensor(values.gradient.data, values.gradient.shape);
  const loss = (x: Tensor): Tensor => made.forward(x).square().mul(G).sum();
  const x = tensor(values.input.data, values.input.shape, { requiresGrad: true });
  tidy(() => loss(x).backward());

  /** d loss / d element, where `at` gives the loss with that element moved. */
  const difference = (at: (distance: number) => Tensor): Tensor => {
    const near = at(STEP).sub(at(-STEP)), far = at(2 * STEP).sub(at(-2 * STEP));
    return near.mul(8).sub(far).mul(1 / (12 * STEP));
  };
  const differences = (data: Float32Array, at: (moved: Float32Array) => Tensor): Promise<Float32Array> => {
    const scalars = [...data].map((value, i) =>
      tidy(() => difference((distance) => at(data.with(i, value + distance))))
    );
    return readAll(scalars).then((read) => Float32Array.from(read, ([value]) => value));
  };
  const actual = new Map<string, { gradient: Tensor; expected: Float32Array }>();
  actual.set("input", {
    gradient: x.grad!,
    expected: await differences(
      values.input.data,
      (moved) => loss(tensor(moved, values.input.shape)),
    ),
  });
  for (const [name, parameter] of made.namedParameters()) {
    const own = values.state[name].data;
    const expected = await differences(own, (moved) => {
      parameter.assign(moved);
      return loss(x);
    });
    parameter.assign(own);
    actual.set(name, { gradient: parameter.grad!, expected });
  }
  assertEquals(actual.size, 1 + Object.keys(values.state).length);
  const results = async (
    of: (entry: { gradient: Tensor; expected: Float32Array }) => Float32Array | Promise<Float32Array>,
  ): Promise<LayerResults> =>
    new Map(
      await Promise.all(
        [...actual].map(async ([name, entry]) =>
          [`grad_${name}` as CaseTensorName, { shape: entry.gradient.shape, data: await of(entry) }] as const
        ),
      ),
    );
  assertResultsClose(
    await results(({ gradient }) => gradient.data()),
    await results(({ expected }) => expected),
    DIFFERENCE_TOLERANCE,
  );
  for (const used of [made, x, G]) used.dispose();
}

for (const name of CLASSES) {
  testBackends(
    `gradients of random ${name} layers agree with finite differences`,
    () => forAll(name, smallBounds(name), DIFFERENCED, compareWithDifferences),
    ["reference"],
  );
}

// Backends against one another.

/** One device for all of them: a change of backends would ask for a new one every time. */
const watched = FOUND_DEVICE && watchDevice(FOUND_DEVICE.device);

/** What was computed, so that each layer runs on each backend once. */
const computed = new Map<string, LayerResults>();

async function resultsOn(backend: BackendName, layer: RandomLayer): Promise<LayerResults> {
  const key = `${backend} ${JSON.stringify(layer)}`;
  const known = computed.get(key);
  if (known) return known;
  await init(backend === "webgpu" && watched ? { device: watched.device } : { backend });
  const results = await runLayer(layer, drawValues(layer));
  computed.set(key, results);
  return results;
}

for (const { name: backend, tolerance } of BACKENDS.slice(1)) {
  for (const name of CLASSES) {
    testBackends(`random ${name} layers agree with the reference`, async () => {
      await forAll(name, boundsOf(name), COMPARED, async (layer) => {
        const expected = await resultsOn("reference", layer);
        assertResultsClose(await resultsOn(backend, layer), expected, tolerance);
      });
    }, [backend]);
  }
}

// Kernels that WebGPU keeps for some shapes.

/** [what, the kernel that it is about, the layers of a version] */
const SPECIAL: [string, string, (version: Version) => fc.Arbitrary<RandomLayer>][] = [
  ["with large planes and kernels", "planeConvBackward", randomPlaneLayer],
  ["whose stride is their size, 1-d", "patches", (version) => randomPatchLayer("Dcls1d", version)],
  ["whose stride is their size, 2-d", "patches", (version) => randomPatchLayer("Dcls2_1d", version)],
  ["whose stride is their size, 3-d", "patches", (version) => randomPatchLayer("Dcls3d", version)],
];

for (const { name: backend, tolerance } of BACKENDS.slice(1)) {
  for (const [what, kernel, arbitraryOf] of SPECIAL) {
    testBackends(`random layers ${what} agree with the reference`, async () => {
      watched?.seen.kernels.clear();
      for (const version of ["v0", "gauss"] as const) { // the convolution does not know the version
        const property = fc.asyncProperty(arbitraryOf(version), async (layer) => {
          const expected = await resultsOn("reference", layer);
          assertResultsClose(await resultsOn(backend, layer), expected, tolerance);
        });
        await fc.assert(property, settingsOf("Dcls2d", version, 1));
      }
      if (backend !== "webgpu") return;
      const labels = [...watched!.seen.kernels];
      assert(labels.some((label) => label.startsWith(kernel)), `${kernel} ran, of ${labels}`);
    }, [backend]);
  }
}

for (const name of CLASSES) {
  testBackends(`random ${name} layers: tfjs agrees`, async ({ tolerance }) => {
    await forAll(name, boundsOf(name), COMPARED, async (layer) => {
      assertResultsClose(await resultsOn("tfjs", layer), await resultsOn("webgpu", layer), tolerance);
    });
  }, ["webgpu"]);
}

Deno.test("random layers: the draws reach every corner", () => {
  const layers = CLASSES.flatMap((name) =>
    VERSIONS.flatMap((version) =>
      fc.sample(randomLayer(name, version, boundsOf(name)), settingsOf(name, version, COMPARED))
    )
  );
  const corners: Record<string, (layer: RandomLayer) => boolean> = {};
  for (const mode of PADDING_MODES) {
    corners[mode] = ({ options: { paddingMode, padding } }) =>
      paddingMode === mode && (padding as number[]).some((cells) => cells > 0);
  }
  const sizes = ({ options }: RandomLayer): number[] => options.dilatedKernelSize as number[];
  const spatial = ({ inputShape, module }: RandomLayer): readonly number[] =>
    inputShape.slice(-FORMS[module].spatialAxes);
  corners.unbatched = (layer) => layer.inputShape.length === FORMS[layer.module].spatialAxes + 1;
  corners["even size"] = (layer) => sizes(layer).some((size) => size % 2 === 0);
  corners["non-square"] = (layer) => new Set(sizes(layer)).size > 1;
  corners["larger than the plane"] = (layer) => sizes(layer).at(-1)! > spatial(layer).at(-1)!;
  corners.stride = ({ options }) => (options.stride as number[]).some((stride) => stride > 1);
  corners["no bias"] = ({ options }) => options.bias === false;
  corners["one group"] = ({ options, inChannels }) => options.groups === 1 && inChannels > 1;
  corners.groups = ({ options, inChannels }) => options.groups! > 1 && inChannels > options.groups!;
  corners["depthwise with a multiplier"] = ({ options, inChannels, outChannels }) =>
    options.groups! > 1 && inChannels === options.groups && outChannels > inChannels;
  for (const [corner, reaches] of Object.entries(corners)) {
    assert(layers.filter(reaches).length >= 3, `fewer than 3 of ${layers.length} layers are: ${corner}`);
  }
});

Deno.test("random layers: the comparison refuses a wrong gradient", () => {
  const of = (value: number): LayerResults =>
    new Map([["output", { shape: [2], data: Float32Array.of(1, value) }]]);
  assertResultsClose(of(0.5), of(0.5), 1e-6);
  try {
    assertResultsClose(of(0.5), of(0.50001), 1e-6);
  } catch {
    return;
  }
  fail("an error of 1e-5 passed");
});
