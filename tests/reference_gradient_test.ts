/**
 * Every backward of the reference against finite differences of its forward, at random shapes and values.
 *
 * The differences are central and of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h: with h = 1e-3 both
 * their truncation (h⁴) and their rounding (1e-16 / h) lie far below the tolerance. Values are drawn away from ties,
 * where a derivative does not exist.
 */
import fc from "fast-check";
import type { Operand, OpImplementation } from "../src/backend.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import type { UnaryKind } from "../src/ops/unary.ts";
import { createRandom } from "../src/random.ts";
import { binary } from "../src/reference/binary.ts";
import { constructKernel } from "../src/reference/constructKernel.ts";
import { convolution } from "../src/reference/convolution.ts";
import { crossEntropy } from "../src/reference/crossEntropy.ts";
import { globalAveragePool } from "../src/reference/globalAveragePool.ts";
import { layerNorm } from "../src/reference/layerNorm.ts";
import { layerNormPointwise } from "../src/reference/layerNormPointwise.ts";
import type { ReferenceHandle } from "../src/reference/operand.ts";
import { pad } from "../src/reference/pad.ts";
import { pointwise } from "../src/reference/pointwise.ts";
import { pointwiseResidual } from "../src/reference/pointwiseResidual.ts";
import { repulsiveLoss } from "../src/reference/repulsiveLoss.ts";
import { scaleResidual } from "../src/reference/scaleResidual.ts";
import { sum } from "../src/reference/sum.ts";
import { unary } from "../src/reference/unary.ts";
import { binary as binaryOp } from "../src/ops/binary.ts";
import { constructKernel as constructKernelOp } from "../src/ops/constructKernel.ts";
import { convolution as convolutionOp } from "../src/ops/convolution.ts";
import { pad as padOp } from "../src/ops/pad.ts";
import { positionBounds, type Shape, sizeOf, VERSIONS } from "../src/spec.ts";
import { assert, assertEquals, fail } from "./assert.ts";

const STEP = 1e-3;
const TOLERANCE = 1e-6;
/** Half the width of the band around a tie that values stay out of: beyond the reach 2 STEP of the differences. */
const CLEARANCE = 0.01;
/** Gradients all below this are compared as if this were the largest: values are of order 1, so they are zeros. */
const SMALL = 1e-3;
const RUNS = 40;

type Tensor = Operand<ReferenceHandle>;
/** Draws a value; called again for every element. */
type Draw = () => number;

function filled(shape: Shape, draw: Draw): Tensor {
  return { shape, handle: { data: Float64Array.from({ length: sizeOf(shape) }, draw) } };
}

/** Draws again until the value is accepted. */
function until(accepts: (value: number) => boolean, draw: Draw): Draw {
  return () => {
    for (;;) {
      const value = draw();
      if (accepts(value)) return value;
    }
  };
}

/** Distance to the nearest integer. */
function toInteger(value: number): number {
  return Math.abs(value - Math.round(value));
}

/** Compares backward with finite differences of sum(G * forward), input by input. */
function checkGradients<Attributes>(
  op: OpImplementation<Attributes, ReferenceHandle>,
  inputs: readonly (Tensor | null)[],
  attributes: Attributes,
  outputShape: Shape,
  normal: Draw,
  constant: readonly number[] = [],
): void {
  const G = filled(outputShape, normal);
  const needs = inputs.map((input, i) => input !== null && !constant.includes(i));
  const gradients = op.backward(G, inputs, attributes, needs);
  assertEquals(gradients.map((gradient) => gradient !== null), needs);
  const objective = (): number => {
    const { data } = op.forward(inputs, attributes, outputShape);
    assertEquals(data.length, sizeOf(outputShape));
    return data.reduce((total, value, i) => total + value * G.handle.data[i], 0);
  };
  inputs.forEach((input, i) => {
    const gradient = gradients[i]?.data;
    if (!input || !gradient) return;
    const { data } = input.handle;
    const expected = data.map((value, at) => {
      const moved = (distance: number): number => {
        data[at] = value + distance;
        return objective();
      };
      const near = moved(STEP) - moved(-STEP);
      const far = moved(2 * STEP) - moved(-2 * STEP);
      data[at] = value;
      return (8 * near - far) / (12 * STEP);
    });
    assertEquals(gradient.length, expected.length);
    const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), SMALL);
    expected.forEach((value, at) => {
      const error = Math.abs(gradient[at] - value) / scale;
      // NaN fails as well.
      if (!(error <= TOLERANCE)) {
        fail(`input ${i}, element ${at} of [${input.shape}]: got ${gradient[at]}, differences give ${value}`);
      }
    });
  });
}

/** Runs a property with a generator of normal values whose seed fast-check chooses and reports. */
function property<T>(
  name: string,
  arbitrary: fc.Arbitrary<T>,
  check: (value: T, normal: Draw) => void,
): void {
  Deno.test(`reference: gradients of ${name} agree with finite differences`, () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(), (value, seed) => {
        const random = createRandom(seed);
        check(value, () => random.normal());
      }),
      { numRuns: RUNS },
    );
  });
}

const extent = fc.integer({ min: 1, max: 3 });
const spatial = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 });
/** `[N, C, ...spatial]`, small. */
const planeShape = fc.tuple(extent, extent, spatial).map(([n, c, rest]) => [n, c, ...rest]);

for (const version of VERSIONS) {
  property(
    `constructKernel ${version}`,
    fc.record({
      rows: fc.array(extent, { minLength: 1, maxLength: 3 }),
      K: extent,
      size: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 }),
      spreadOffset: fc.constantFrom(0.27, 1),
    }),
    ({ rows, K, size, spreadOffset: offset }, normal) => {
      const weightShape = [...rows, K];
      const positionShape = [size.length, ...weightShape];
      const spreadOffset = version === "gauss" ? offset : version === "max" ? 1 : 0;
      const weight = filled(weightShape, normal);
      const SIG = version === "max" || version === "gauss"
        ? filled(positionShape, until((value) => Math.abs(value) > CLEARANCE, normal))
        : null;
      const { low, high } = positionBounds(size);
      const P = filled(positionShape, () => 0);
      P.handle.data.forEach((_, i, data) => {
        const axis = Math.floor(i / sizeOf(weightShape));
        const s = SIG ? Math.abs(SIG.handle.data[i]) + spreadOffset : 1;
        const accepts = (p: number): boolean =>
          Math.min(toInteger(p), toInteger(p + s), toInteger(p - s)) > CLEARANCE;
        data[i] = until(accepts, () => Math.min(Math.max(2 * normal(), low[axis] - 0.4), high[axis] + 0.4))();
      });
      const kernelShape = [...rows, ...size];
      const attributes = { version, spreadOffset, size, weightShape, kernelShape };
      const shape = constructKernelOp.outputShape([weightShape, positionShape, positionShape], attributes);
      checkGradients(constructKernel, [weight, P, SIG], attributes, shape, normal);
    },
  );
}

property(
  "convolution",
  fc.integer({ min: 1, max: 3 }).chain((axes) => {
    const list = (min: number, max: number): fc.Arbitrary<number[]> =>
      fc.array(fc.integer({ min, max }), { minLength: axes, maxLength: axes });
    return fc.record({
      batch: fc.integer({ min: 0, max: 2 }),
      groups: extent,
      inPerGroup: fc.integer({ min: 1, max: 2 }),
      outPerGroup: fc.integer({ min: 1, max: 2 }),
      size: list(1, axes === 1 ? 9 : 5),
      kernel: list(1, 3),
      stride: list(1, 3),
      padding: list(0, 2),
      dilation: list(1, 2),
      bias: fc.boolean(),
    });
  }),
  ({ batch, groups, inPerGroup, outPerGroup, size, kernel, stride, padding, dilation, bias }, normal) => {
    const fits = size.every((s, a) => s + 2 * padding[a] > dilation[a] * (kernel[a] - 1));
    fc.pre(fits);
    const x = filled([batch, groups * inPerGroup, ...size], normal);
    const k = filled([groups * outPerGroup, inPerGroup, ...kernel], normal);
    const b = bias ? filled([groups * outPerGroup], normal) : null;
    const attributes: ConvolutionAttributes = { stride, padding, dilation, groups };
    const shape = convolutionOp.outputShape([x.shape, k.shape, b && b.shape], attributes);
    checkGradients(convolution, [x, k, b], attributes, shape, normal);
  },
);

property(
  "pad",
  fc.tuple(planeShape, fc.constantFrom("reflect", "replicate", "circular"), fc.array(fc.nat(3))),
  ([shape, mode, margins], normal) => {
    const padding = shape.slice(2).map((size, a) => Math.min(margins[a] ?? 0, size - 1));
    const attributes = { padding, mode } as const;
    checkGradients(pad, [filled(shape, normal)], attributes, padOp.outputShape([shape], attributes), normal);
  },
);

property(
  "pointwise",
  fc.tuple(fc.oneof(planeShape, fc.tuple(extent, extent)), extent, fc.boolean()),
  ([shape, outChannels, bias], normal) => {
    const inputs = [
      filled(shape, normal),
      filled([outChannels, shape[1]], normal),
      bias ? filled([outChannels], normal) : null,
    ];
    checkGradients(pointwise, inputs, {}, [shape[0], outChannels, ...shape.slice(2)], normal);
  },
);

// Nearly equal channels bend the curve within 1 / sqrt(epsilon): a usual epsilon would need a smaller step.
property("layerNorm", planeShape, (shape, normal) => {
  const inputs = [filled(shape, normal), filled([shape[1]], normal), filled([shape[1]], normal)];
  checkGradients(layerNorm, inputs, { epsilon: 0.1 }, shape, normal);
});

property(
  "unary",
  fc.tuple(planeShape, fc.constantFrom<UnaryKind[]>("affine", "relu", "gelu", "square", "abs")),
  ([shape, kind], normal) => {
    const away = until((value) => Math.abs(value) > CLEARANCE, () => 2 * normal());
    const attributes = { kind, scale: normal(), offset: normal() };
    checkGradients(unary, [filled(shape, away)], attributes, shape, normal);
  },
);

property(
  "binary",
  fc.tuple(
    planeShape,
    fc.constantFrom("add" as const, "sub" as const, "mul" as const, "div" as const),
    fc.constantFrom("equal", "left", "right"),
  ),
  ([shape, kind, single], normal) => {
    const away = until((value) => Math.abs(value) > 0.5, normal);
    const a = filled(single === "left" ? [1] : shape, normal);
    const b = filled(single === "right" ? [] : shape, kind === "div" ? away : normal);
    checkGradients(binary, [a, b], { kind }, binaryOp.outputShape([a.shape, b.shape], { kind }), normal);
  },
);

property("sum", planeShape, (shape, normal) => checkGradients(sum, [filled(shape, normal)], {}, [], normal));

property("scaleResidual", planeShape, (shape, normal) => {
  const inputs = [filled(shape, normal), filled(shape, normal), filled([shape[1]], normal)];
  checkGradients(scaleResidual, inputs, {}, shape, normal);
});

const activation = fc.constantFrom("none" as const, "gelu" as const);

property(
  "layerNormPointwise",
  fc.tuple(planeShape, extent, activation, fc.boolean()),
  ([shape, M, activation, bias], normal) => {
    const C = shape[1], shapes = [shape, [C], [C], [M, C]];
    const inputs = [...shapes.map((each) => filled(each, normal)), bias ? filled([M], normal) : null];
    const attributes = { epsilon: 0.1, activation };
    checkGradients(layerNormPointwise, inputs, attributes, [shape[0], M, ...shape.slice(2)], normal);
  },
);

property(
  "pointwiseResidual",
  fc.tuple(planeShape, extent, activation, fc.boolean(), fc.boolean(), fc.boolean()),
  ([shape, M, activation, bias, scale, keep], normal) => {
    const y = [shape[0], M, ...shape.slice(2)];
    const inputs = [
      filled(shape, normal),
      filled([M, shape[1]], normal),
      bias ? filled([M], normal) : null,
      scale ? filled([M], normal) : null,
      filled(y, normal),
      keep ? filled([shape[0]], normal) : null,
    ];
    checkGradients(pointwiseResidual, inputs, { activation }, y, normal, [5]);
  },
);

property("globalAveragePool", planeShape, (shape, normal) => {
  checkGradients(globalAveragePool, [filled(shape, normal)], {}, shape.slice(0, 2), normal);
});

property(
  "crossEntropy",
  fc.tuple(extent, fc.integer({ min: 1, max: 6 }), fc.constantFrom(0, 0.1, 1)),
  ([batch, classes, labelSmoothing], normal) => {
    const labels = filled([batch], () => Math.min(classes - 1, Math.floor(Math.abs(2 * normal()))));
    checkGradients(crossEntropy, [filled([batch, classes], normal), labels], { labelSmoothing }, [], normal, [
      1,
    ]);
  },
);

property(
  "repulsiveLoss",
  fc.tuple(extent, extent, fc.integer({ min: 1, max: 4 })),
  ([axes, rows, K], normal) => {
    const P = filled([axes, rows, 1, K], normal);
    const points = Array.from(
      { length: rows * K },
      (_, i) => Array.from({ length: axes }, (_, a) => P.handle.data[a * rows * K + i]),
    );
    const near = (tie: number, clearance: number): boolean =>
      points.some((p, i) =>
        points.some((q, j) => i < j && Math.abs(Math.hypot(...p.map((v, a) => v - q[a])) - tie) < clearance)
      );
    // At 0 the distance has a kink, and near it a curvature that the differences would need a smaller step for.
    fc.pre(!near(0, 0.1) && !near(1, CLEARANCE));
    checkGradients(repulsiveLoss, [P], {}, [], normal);
  },
);

Deno.test("reference: the gradient check refuses a wrong gradient", () => {
  const wrong: typeof sum = {
    forward: sum.forward,
    backward: (
      gradient,
      inputs,
    ) => [{ data: inputs[0]!.handle.data.map(() => gradient.handle.data[0] * 1.001) }],
  };
  let refused = false;
  try {
    checkGradients(wrong, [filled([3], () => 1)], {}, [], () => 1);
  } catch {
    refused = true;
  }
  assert(refused);
});
