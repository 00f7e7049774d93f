/** PyTorch's axis order: the table of the package's classes, the shift of the centre, and the way back. */
import fc from "fast-check";
import { FORMS, type LayerName } from "../src/nn/forms.ts";
import { fromTorch, toTorch } from "../src/nn/layout.ts";
import { createRandom } from "../src/random.ts";
import { type LayerSpec, layerSpec, sizeOf, type Version, VERSIONS } from "../src/spec.ts";
import { assertClose, assertEquals, assertThrows } from "./assert.ts";

function specOf(name: LayerName, version: Version, dilatedKernelSize: number | number[]): LayerSpec {
  const denseKernelSize = FORMS[name].denseAxes > 0 ? 3 : undefined;
  return layerSpec(FORMS[name], 2, 2, { kernelCount: 2, dilatedKernelSize, version, denseKernelSize });
}

/** Which PyTorch index each of our axes reads, from a tensor whose entries are their index. */
function order(spec: LayerSpec): number[] {
  const perAxis = sizeOf(spec.weightShape);
  const data = Float32Array.from({ length: sizeOf(spec.positionShape) }, (_, i) => Math.floor(i / perAxis));
  const turned = fromTorch(spec, "SIG", data, spec.positionShape);
  return spec.dilatedKernelSize.map((_, axis) => turned[axis * perAxis]);
}

Deno.test("layout: each class and version reads the indices of the package", () => {
  for (const version of VERSIONS) {
    assertEquals(order(specOf("Dcls1d", version, 7)), [0]);
    assertEquals(order(specOf("Dcls2_1d", version, 7)), [0]);
    assertEquals(order(specOf("Dcls3_1d", version, 7)), [0]);
    assertEquals(order(specOf("Dcls2dK1d", version, 7)), [0]);
    assertEquals(order(specOf("Dcls2d", version, 7)), version === "v0" ? [0, 1] : [1, 0]);
    assertEquals(order(specOf("Dcls3d", version, 7)), version === "v0" ? [0, 2, 1] : [2, 1, 0]);
  }
});

Deno.test("layout: positions move with the centre of the index they are read from, spreads do not", () => {
  const spec = layerSpec(FORMS.Dcls3d, 1, 1, { kernelCount: 1, dilatedKernelSize: [3, 5, 9], version: "v0" });
  const data = new Float32Array([0.25, 0.5, 0.75]);
  const shape = [3, 1, 1, 1];
  assertEquals([...fromTorch(spec, "P", data, shape)], [0.25, 0.75 + 4 - 2, 0.5 + 2 - 4]);
  assertEquals([...fromTorch(spec, "SIG", data, shape)], [0.25, 0.75, 0.5]);
});

Deno.test("layout: toTorch undoes fromTorch, bit for bit on square kernels", () => {
  const size = fc.integer({ min: 1, max: 12 });
  fc.assert(fc.property(
    fc.constantFrom<LayerName[]>("Dcls1d", "Dcls2d", "Dcls3d", "Dcls2_1d", "Dcls3_1d", "Dcls2dK1d"),
    fc.constantFrom(...VERSIONS),
    fc.array(size, { minLength: 3, maxLength: 3 }),
    fc.boolean(),
    fc.constantFrom("P" as const, "SIG" as const),
    fc.nat(),
    (name, version, sizes, square, tensor, seed) => {
      const spec = specOf(name, version, square ? sizes[0] : sizes.slice(0, FORMS[name].positionAxes));
      const random = createRandom(seed);
      const data = Float32Array.from({ length: sizeOf(spec.positionShape) }, () => random.normal());
      const there = fromTorch(spec, tensor, data, spec.positionShape);
      const back = toTorch(spec, tensor, there, spec.positionShape);
      if (square || tensor === "SIG") assertEquals([...back], [...data]);
      // The shift costs a rounding at magnitude up to 6 + 4.
      else for (const [i, value] of data.entries()) assertClose("P", [back[i] + 10], [value + 10], 1e-6);
    },
  ));
});

Deno.test("layout: a tensor of another layer is refused", () => {
  const spec = specOf("Dcls2d", "v1", 7);
  assertThrows(
    () => fromTorch(spec, "P", new Float32Array(3), [3, 1, 1, 1]),
    RangeError,
    "Cannot read P of PyTorch's layout: Dcls2d needs a tensor of 2 position axes",
  );
  assertThrows(
    () => toTorch(spec, "SIG", new Float32Array(3), [2, 2]),
    RangeError,
    "Cannot write SIG in PyTorch's layout",
  );
});
