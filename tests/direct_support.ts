/**
 * Runs one direct kernel of a convolution, whichever would be chosen here, beside the float64 reference.
 * @module
 */
import { mirroredGeometry } from "../kernels/convBackwardInput.ts";
import type { ConvolutionGeometry } from "../kernels/convolution.ts";
import { rowLayout } from "../kernels/rowConvolution.ts";
import { rowGradientPlan } from "../kernels/rowKernelGradient.ts";
import { type SlidingPlan, slidingPlan, upright } from "../kernels/slidingPlan.ts";
import { isFlatDepthwise, WINDOW_SIZE } from "../kernels/windowConvolution.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import type { DirectChoice, KernelGradientChoice } from "../src/webgpu/chooseDirect.ts";
import type { Gpu } from "../src/webgpu/gpu.ts";
import { converted } from "../src/webgpu/ops/cast.ts";
import { geometryOf as convolutionGeometry } from "../src/webgpu/ops/convolution.ts";
import {
  directConvolution,
  directInputGradient,
  directKernelGradient,
} from "../src/webgpu/ops/directConvolution.ts";
import type { Elements } from "../src/webgpu/ops/op.ts";
import { type Input, runOp, uniform } from "./webgpu_compare.ts";

/** A convolution to run. */
export interface DirectCase {
  readonly title: string;
  readonly x: Shape;
  readonly kernel: Shape;
  readonly attributes: ConvolutionAttributes;
}

/** A case; stride, padding and dilation default to 1, 0 and 1 on every axis. */
export function directCase(
  title: string,
  x: Shape,
  kernel: Shape,
  attributes: Partial<ConvolutionAttributes> = {},
): DirectCase {
  const fill = (value: number): number[] => new Array<number>(x.length - 2).fill(value);
  return {
    title,
    x,
    kernel,
    attributes: { stride: fill(1), padding: fill(0), dilation: fill(1), groups: x[1], ...attributes },
  };
}

/** The case as the kernels see it. */
export function geometryOf({ x, kernel, attributes }: DirectCase): ConvolutionGeometry {
  return convolutionGeometry(x, kernel, attributes);
}

/** A plan unlike those that are chosen: strips and runs that leave a rest, two steps a turn. */
function oddPlan(geometry: ConvolutionGeometry): SlidingPlan {
  const { output, spread, outChannels, groups } = upright(geometry);
  const cut = (extent: number, wanted: number, step: number): number =>
    extent <= wanted ? extent : Math.ceil(wanted / step) * step;
  const strip = cut(output[2], 5, spread?.[2] ?? 1), rows = cut(output[1], 6, spread?.[1] ?? 1);
  return {
    strip,
    strips: Math.ceil(output[2] / strip),
    rows,
    runs: Math.ceil(output[1] / rows),
    block: outChannels / groups % 3 === 0 ? 3 : 1,
    steps: 2,
  };
}

const SMALL = { bytes: 16384, invocations: 256 };

/** All direct kernels that can run a convolution, or by the mirrored geometry its gradient to the input. */
export function directChoices(geometry: ConvolutionGeometry, count: number): Map<string, DirectChoice> {
  const choices = new Map<string, DirectChoice>([["strips", { kernel: "strips" }]]);
  const plan = slidingPlan(upright(geometry), count);
  if (plan) choices.set("sliding", { kernel: "sliding", plan });
  choices.set("sliding, odd plan", { kernel: "sliding", plan: oddPlan(geometry) });
  if (!isFlatDepthwise(geometry)) return choices;
  if (Math.max(...geometry.size) <= WINDOW_SIZE) choices.set("window", { kernel: "window" });
  const layout = rowLayout(geometry, count, SMALL);
  if (layout) choices.set("rows", { kernel: "rows", layout });
  return choices;
}

/** Likewise for the gradient to the kernel. */
export function gradientChoices(
  geometry: ConvolutionGeometry,
  count: number,
): Map<string, KernelGradientChoice> {
  const choices = new Map<string, KernelGradientChoice>([["strips", { kernel: "strips" }]]);
  const plan = slidingPlan(upright(geometry), count, "kernelGradient");
  if (plan) choices.set("sliding", { kernel: "sliding", plan });
  choices.set("sliding, odd plan", { kernel: "sliding", plan: { ...oddPlan(geometry), block: 1 } });
  const rows = isFlatDepthwise(geometry) ? rowGradientPlan(geometry, SMALL) : null;
  if (rows) choices.set("rows", { kernel: "rows", plan: rows });
  return choices;
}

/** Inputs of a case, and what the reference makes of them: output and three gradients. */
export interface Expected {
  readonly inputs: readonly [x: Input, taps: Input, bias: Input];
  readonly dy: Input;
  readonly results: readonly (Float32Array | null)[];
}

/** Random inputs (or these) and the reference's results. */
export async function expectedOf(drawn: DirectCase, x: Input = uniform(drawn.x)): Promise<Expected> {
  const { output } = geometryOf(drawn), axes = drawn.x.length - 2;
  const inputs = [x, uniform(drawn.kernel), uniform([drawn.kernel[0]])] as const;
  const dy = uniform([drawn.x[0], drawn.kernel[0], ...output.slice(3 - axes)]);
  const results = await runOp(new ReferenceBackend(), "convolution", drawn.attributes, inputs, dy, [
    true,
    true,
    true,
  ]);
  return { inputs, dy, results };
}

/** What one kernel wrote, and what it should have. */
export interface Outcome {
  readonly what: string;
  readonly shape: Shape;
  readonly actual: Float32Array;
  readonly expected: Float32Array;
}

/**
 * Runs every direct kernel of a case, forward and both gradients, on images of float32 or float16.
 * @param only names of the kernels to run
 */
export async function runDirect(
  gpu: Gpu,
  drawn: DirectCase,
  { inputs: [x, taps, bias], dy, results }: Expected,
  dtype: "float32" | "float16" = "float32",
  only = /./,
): Promise<Outcome[]> {
  const geometry = geometryOf(drawn), count = drawn.x[0], mirrored = mirroredGeometry(geometry);
  const upload = ({ data }: Input): Elements => ({ handle: gpu.upload(data, "test") });
  const image = (input: Input): Elements => {
    const wide = upload(input);
    return dtype === "float32" ? wide : { handle: converted(gpu, wide, sizeOf(input.shape), dtype), dtype };
  };
  const empty = (shape: Shape): Elements => image({ shape, data: new Float32Array(sizeOf(shape)).fill(NaN) });
  const [xs, ws, bs, ds] = [image(x), upload(taps).handle, upload(bias).handle, image(dy)];
  const made: { what: string; shape: Shape; of: Elements; expected: Float32Array }[] = [];
  for (const [name, choice] of directChoices(geometry, count)) {
    if (!only.test(name)) continue;
    const y = empty(dy.shape);
    directConvolution(gpu, geometry, count, xs, [ws, bs], y, choice);
    made.push({ what: `${name}: output`, shape: dy.shape, of: y, expected: results[0]! });
  }
  for (const [name, choice] of directChoices(mirrored, count)) {
    if (!only.test(name)) continue;
    const handle = directInputGradient(gpu, geometry, count, ds, ws, choice);
    made.push({
      what: `${name}: gradient to the input`,
      shape: x.shape,
      of: { handle, dtype },
      expected: results[1]!,
    });
  }
  for (const [name, choice] of gradientChoices(geometry, count)) {
    if (!only.test(name)) continue;
    const handle = directKernelGradient(gpu, geometry, count, xs, ds, choice);
    made.push({
      what: `${name}: gradient to the kernel`,
      shape: taps.shape,
      of: { handle },
      expected: results[2]!,
    });
  }
  const wide = made.map(({ of, shape }) =>
    of.dtype === "float16" ? converted(gpu, of, sizeOf(shape), "float32") : of.handle
  );
  const data = await gpu.read(wide);
  return made.map(({ what, shape, expected }, i) => ({
    what: `${drawn.title}, ${dtype}, ${what}`,
    shape,
    actual: data[i].subarray(0, sizeOf(shape)),
    expected,
  }));
}
