/** The reference where finite differences and the fixture cannot look: ties, NaN, edges, updates, the backend itself. */
import type { Operand } from "../src/backend.ts";
import { EPSILON } from "../src/interpolation.ts";
import { ReferenceBackend, referenceOps } from "../src/reference/backend.ts";
import { erf, erfc, normalDistribution } from "../src/reference/erf.ts";
import type { ReferenceHandle } from "../src/reference/operand.ts";
import { referenceUpdates } from "../src/reference/updates.ts";
import { type Shape, type Version, VERSIONS } from "../src/spec.ts";
import { assert, assertAlmostEquals, assertClose, assertEquals, assertThrows } from "./assert.ts";

function tensor(shape: Shape, data: ArrayLike<number>): Operand<ReferenceHandle> {
  return { shape, handle: { data: Float64Array.from(data) } };
}

/** Forward and backward of one row of elements in a 1-d kernel of 5 cells. */
function kernelRow(
  version: Version,
  spreadOffset: number,
  w: number[],
  p: number[],
  sig: number[],
  G: number[],
): {
  kernel: number[];
  gradP: number[];
  gradSIG: number[];
} {
  const K = w.length;
  const attributes = { version, spreadOffset, size: [5], weightShape: [1, 1, K], kernelShape: [1, 1, 5] };
  const inputs = [tensor([1, 1, K], w), tensor([1, 1, 1, K], p), tensor([1, 1, 1, K], sig)];
  const { forward, backward } = referenceOps.constructKernel;
  const [, gradP, gradSIG] = backward(tensor([1, 1, 5], G), inputs, attributes, [true, true, true]);
  return {
    kernel: [...forward(inputs, attributes, [1, 1, 5]).data],
    gradP: [...gradP!.data],
    gradSIG: [...gradSIG!.data],
  };
}

const G = [1, 10, 100, 1000, 10000];

Deno.test("reference: at an integer position v0 has the right-hand derivative, v1 none", () => {
  const v0 = kernelRow("v0", 0, [2], [1], [0], G);
  assertEquals(v0.kernel, [0, 0, 0, 2, 0]);
  assertEquals(v0.gradP, [2 * (10000 - 1000)]);
  const v1 = kernelRow("v1", 0, [2], [1], [0], G);
  assertClose("v1 kernel", v1.kernel, [0, 0, 0, 2 / (1 + EPSILON), 0], 1e-15);
  assertEquals(v1.gradP, [0]);
});

Deno.test("reference: an element on the last cell keeps its weight there and a derivative from that cell alone", () => {
  const { kernel, gradP } = kernelRow("v0", 0, [3], [2], [0], G);
  assertEquals(kernel, [0, 0, 0, 0, 3]);
  assertEquals(gradP, [-3 * 10000]);
});

Deno.test("reference: max with SIG 0 is v1, and its spread has no gradient", () => {
  const max = kernelRow("max", 1, [2, -1], [0.25, -1.5], [0, 0], G);
  const v1 = kernelRow("v1", 0, [2, -1], [0.25, -1.5], [0, 0], G);
  assertEquals(max.kernel, v1.kernel);
  assertEquals(max.gradP, v1.gradP);
  assertEquals(max.gradSIG, [0, 0]);
});

Deno.test("reference: the sign of SIG turns its gradient and changes nothing else", () => {
  const plus = kernelRow("gauss", 0.27, [2], [0.25], [0.4], G);
  const minus = kernelRow("gauss", 0.27, [2], [0.25], [-0.4], G);
  assertEquals(minus.kernel, plus.kernel);
  assertEquals(minus.gradP, plus.gradP);
  assertEquals(minus.gradSIG, [-plus.gradSIG[0]]);
});

for (const version of VERSIONS) {
  Deno.test(`reference: NaN in P makes every cell of its row NaN, ${version}`, () => {
    const { kernel } = kernelRow(version, 1, [1, 1], [0.5, NaN], [0.5, 0.5], G);
    assertEquals(kernel, [NaN, NaN, NaN, NaN, NaN]);
  });
}

Deno.test("reference: convolution of an empty batch is empty, and its kernel's gradient 0", () => {
  const attributes = { stride: [1], padding: [1], dilation: [1], groups: 1 };
  const inputs = [tensor([0, 2, 4], []), tensor([3, 2, 3], new Array(18).fill(1)), null];
  const { forward, backward } = referenceOps.convolution;
  assertEquals(forward(inputs, attributes, [0, 3, 4]).data.length, 0);
  const [gradX, gradKernel, gradBias] = backward(tensor([0, 3, 4], []), inputs, attributes, [
    true,
    true,
    false,
  ]);
  assertEquals(gradX?.data.length, 0);
  assertEquals([...gradKernel!.data], new Array(18).fill(0));
  assertEquals(gradBias, null);
});

Deno.test("reference: ten million multiply-adds of a convolution take well under a second", () => {
  const attributes = { stride: [1, 1], padding: [8, 8], dilation: [1, 1], groups: 4 };
  const shape = [2, 4, 64, 64];
  const inputs = [
    tensor(shape, new Array(2 * 4 * 64 * 64).fill(1)),
    tensor([4, 1, 17, 17], new Array(1156).fill(1)),
  ];
  const start = performance.now();
  const { data } = referenceOps.convolution.forward([...inputs, null], attributes, shape);
  assert(performance.now() - start < 1000);
  assertEquals(data[32 * 64 + 32], 289);
});

Deno.test("reference: pad", () => {
  const x = tensor([1, 1, 4], [1, 2, 3, 4]);
  const padded = (mode: "reflect" | "replicate" | "circular"): number[] => [
    ...referenceOps.pad.forward([x], { padding: [2], mode }, [1, 1, 8]).data,
  ];
  assertEquals(padded("reflect"), [3, 2, 1, 2, 3, 4, 3, 2]);
  assertEquals(padded("replicate"), [1, 1, 1, 2, 3, 4, 4, 4]);
  assertEquals(padded("circular"), [3, 4, 1, 2, 3, 4, 1, 2]);
});

Deno.test("reference: relu and abs have derivative 0 at 0, and NaN stays NaN", () => {
  for (const kind of ["relu", "abs"] as const) {
    const attributes = { kind, scale: 1, offset: 0 };
    const x = tensor([3], [-2, 0, NaN]);
    const [gradient] = referenceOps.unary.backward(tensor([3], [1, 1, 1]), [x], attributes, [true]);
    assertEquals(gradient!.data[1], 0);
    assertEquals(referenceOps.unary.forward([x], attributes, [3]).data[2], NaN);
  }
});

Deno.test("reference: crossEntropy with smoothing 0.5 over two classes", () => {
  const inputs = [tensor([1, 2], [1, 3]), tensor([1], [0])];
  const loss = referenceOps.crossEntropy.forward(inputs, { labelSmoothing: 0.5 }, []).data[0];
  const log = Math.log(1 + Math.exp(-2));
  assertAlmostEquals(loss, 0.75 * (2 + log) + 0.25 * log, 1e-15);
  const huge = [tensor([1, 2], [1e4, -1e4]), tensor([1], [1])];
  assertEquals(referenceOps.crossEntropy.forward(huge, { labelSmoothing: 0 }, []).data[0], 2e4);
  const noClass = [inputs[0], tensor([1], [2])];
  assertEquals(referenceOps.crossEntropy.forward(noClass, { labelSmoothing: 0 }, []).data[0], NaN);
});

Deno.test("reference: correctCount takes the first of equal entries and never counts NaN", () => {
  const count = (logits: number[][], labels: number[]): number =>
    referenceOps.correctCount.forward(
      [tensor([labels.length, logits[0].length], logits.flat()), tensor([labels.length], labels)],
      {},
      [],
    ).data[0];
  assertEquals(count([[1, 3, 2], [3, 1, 2], [0, 1, 2]], [1, 0, 0]), 2);
  assertEquals(count([[2, 2], [2, 2]], [0, 1]), 1);
  assertEquals(count([[NaN, 1], [1, NaN], [NaN, NaN]], [1, 0, 0]), 0);
});

Deno.test("reference: repulsiveLoss of touching, near and distant elements", () => {
  const { forward, backward } = referenceOps.repulsiveLoss;
  const P = tensor([2, 1, 1, 3], [0, 0.3, 5, 0, 0.4, 5]);
  assertAlmostEquals(forward([P], {}, []).data[0], 2 / 6 * 0.5, 1e-15);
  const [gradient] = backward(tensor([], [3]), [P], {}, [true]);
  assertClose("gradient", gradient!.data, [0.6, -0.6, 0, 0.8, -0.8, 0], 1e-15);
  const same = tensor([1, 2], [1, 1]);
  assertEquals(forward([same], {}, []).data[0], 1);
  assertEquals([...backward(tensor([], [1]), [same], {}, [true])[0]!.data], [0, 0]);
  assertEquals(forward([tensor([2, 4, 1], new Array(8).fill(0))], {}, []).data[0], 0);
});

// 20 digits of mpmath 1.3 at 40 digits of precision: x, erf(x), erfc(x).
const ERROR_FUNCTION = [
  [0.001, 0.0011283787909692363799, 0.99887162120903076362],
  [0.5, 0.52049987781304653768, 0.47950012218695346232],
  [1, 0.84270079294971486934, 0.15729920705028513066],
  [1.4375, 0.95794060605646006371, 0.042059393943539936287],
  [1.5625, 0.97287461382093353737, 0.027125386179066462628],
  [2, 0.99532226501895273416, 0.0046777349810472658379],
  [4, 0.99999998458274209972, 1.5417257900280018852e-8],
  [10, 1, 2.088487583762544757e-45],
  [26, 1, 5.6631924088561428465e-296],
];

Deno.test("reference: erf and erfc", () => {
  for (const [x, value, complement] of ERROR_FUNCTION) {
    assertAlmostEquals(erf(x), value, value * 1e-15);
    assertAlmostEquals(erf(-x), -value, value * 1e-15);
    assertAlmostEquals(erfc(x), complement, complement * 2e-14);
    assertAlmostEquals(erfc(-x), 1 + value, 1e-15);
  }
  assertEquals([erf(0), erf(Infinity), erf(-Infinity), erfc(Infinity), erfc(-Infinity)], [0, 1, -1, 0, 2]);
  assert(Number.isNaN(erf(NaN)) && Number.isNaN(erfc(NaN)) && Number.isNaN(normalDistribution(NaN)));
  assertAlmostEquals(normalDistribution(1), 0.84134474606854294859, 1e-15);
});

Deno.test("reference: adamW's first step is the learning rate, after the decay", () => {
  const [p, g, m, v] = [
    tensor([2], [1, -2]),
    tensor([2], [0.5, -4]),
    tensor([2], [0, 0]),
    tensor([2], [0, 0]),
  ];
  const attributes = {
    learningRate: 0.1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.05,
    step: 1,
  };
  referenceUpdates.adamW([p, g, m, v], [attributes]);
  assertClose("parameter", p.handle.data, [0.995 - 0.1, -1.99 + 0.1], 1e-8);
  assertClose("first moment", m.handle.data, [0.05, -0.4], 1e-15);
  assertClose("second moment", v.handle.data, [0.00025, 0.016], 1e-12);
  // Second step, gradient 0: m̂ = 0.9 m / (1 - 0.9²), v̂ = 0.999 v / (1 - 0.999²).
  const before = p.handle.data[0];
  referenceUpdates.adamW([p, tensor([2], [0, 0]), m, v], [{ ...attributes, weightDecay: 0, step: 2 }]);
  const expected = before - 0.1 * (0.045 / 0.19) / (Math.sqrt(0.00024975 / 0.001999) + 1e-8);
  assertAlmostEquals(p.handle.data[0], expected, 1e-12);
});

Deno.test("reference: clamp by axis, NaN stays; assign copies", () => {
  const P = tensor([2, 1, 3], [-9, 0, 9, -9, NaN, 9]);
  referenceUpdates.clamp([P], { low: [-2, -4], high: [2, 3] });
  assertEquals([...P.handle.data], [-2, 0, 2, -4, NaN, 3]);
  const target = tensor([2], [1, 2]);
  const source = tensor([2], [3, 4]);
  referenceUpdates.assign([target, source], {});
  source.handle.data[0] = 5;
  assertEquals([...target.handle.data], [3, 4]);
});

Deno.test("reference: the backend counts live storage, copies what it is given and what it hands out", async () => {
  const backend = new ReferenceBackend();
  assertEquals(backend.info.name, "reference");
  const data = new Float32Array([1, 2, 3]);
  const x = { handle: backend.upload(data, [3]), shape: [3] };
  data[0] = 9;
  const y = { handle: backend.forward("binary", [x, x], { kind: "mul" }, [3]), shape: [3] };
  const [first, second] = backend.backward("binary", y, [x, x], { kind: "mul" }, [true, false]);
  assertEquals(second, null);
  assertEquals(backend.memory(), { buffers: 3, bytes: 3 * 3 * 8, pooledBuffers: 0, pooledBytes: 0 });
  backend.update("assign", [x, y], {});
  const [read, gradient] = await backend.read([x, { handle: first!, shape: [3] }]);
  assertEquals([...read], [1, 4, 9]);
  assertEquals([...gradient], [1, 8, 27]);
  backend.release(x.handle);
  backend.release(x.handle);
  assertEquals(backend.memory().buffers, 2);
  backend.dispose();
  assertEquals(backend.memory(), { buffers: 0, bytes: 0, pooledBuffers: 0, pooledBytes: 0 });
  assertThrows(() => backend.upload(data, [2, 2]), RangeError, "shape [2, 2] holds 4 elements, got 3");
});
