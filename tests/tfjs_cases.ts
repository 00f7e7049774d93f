/** Inputs that bring every op of a backend to its edges: what to run, not what to expect. */
import type { OpName, OpTable } from "../src/ops/mod.ts";
import { type Shape, sizeOf, VERSIONS } from "../src/spec.ts";

/** Values and their shape. */
export interface Input {
  readonly shape: Shape;
  readonly data: Float32Array;
}

/** One op on given inputs. */
export interface Case<N extends OpName = OpName> {
  readonly title: string;
  readonly op: N;
  readonly attributes: OpTable[N];
  readonly inputs: readonly (Input | null)[];
}

/** A case: op, what is special about it, attributes, inputs. */
export function define<N extends OpName>(
  op: N,
  title: string,
  attributes: OpTable[N],
  ...inputs: (Input | null)[]
): Case {
  return { title: `${op} ${title}`, op, attributes, inputs } as Case;
}

let state = 1;
/** Starts the numbers again. */
export function seed(value: number): void {
  state = value;
}

/** Repeatable numbers in (-0.5, 0.5). */
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32 - 0.5;
}

/** Numbers in (-scale/2, scale/2). */
export function uniform(shape: Shape, scale = 2): Input {
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => scale * random()) };
}

/** The values, again and again. */
export function given(shape: Shape, ...values: number[]): Input {
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => values[i % values.length]) };
}

const zeros = (axes: number): number[] => new Array<number>(axes).fill(0);
const ones = (axes: number): number[] => new Array<number>(axes).fill(1);

function convolution(
  title: string,
  input: Shape,
  kernel: Shape,
  groups: number,
  attributes: Partial<OpTable["convolution"]> = {},
  bias = true,
): Case {
  const axes = input.length - 2;
  const all = { stride: ones(axes), padding: zeros(axes), dilation: ones(axes), groups, ...attributes };
  return define(
    "convolution",
    title,
    all,
    uniform(input),
    uniform(kernel),
    bias ? uniform([kernel[0]]) : null,
  );
}

/** constructKernel with random weights, positions (unless given) and spreads. */
export function construct(
  version: OpTable["constructKernel"]["version"],
  size: Shape,
  weightShape: Shape,
  P?: Input,
): Case {
  const kernelShape = [...weightShape.slice(0, -1), ...size];
  const spread = version === "max" || version === "gauss";
  const positions = [size.length, ...weightShape];
  return define(
    "constructKernel",
    `${version} ${size.join("x")}${P ? " at ties" : ""}`,
    { version, spreadOffset: version === "gauss" ? 0.27 : spread ? 1 : 0, size, weightShape, kernelShape },
    uniform(weightShape),
    P ?? uniform(positions, Math.min(...size)),
    spread ? uniform(positions, 3) : null,
  );
}

/** Positions on the cells, half way between them, and off the kernel. */
function ties(size: Shape, weightShape: Shape): Input {
  return given([size.length, ...weightShape], 0, 1, -1, 0.5, 2, -2, 5, -0.5, 1.25, -7, 3);
}

/** The two ops of a block's tail, with everything that is optional and without. */
function tail([batch, C, ...spatial]: Shape, M: number): Case[] {
  const x = [batch, C, ...spatial], y = [batch, M, ...spatial];
  return (["none", "gelu"] as const).flatMap((activation) => [
    define(
      "layerNormPointwise",
      `of ${x}, ${activation}`,
      { epsilon: 1e-6, activation },
      ...[uniform(x), uniform([C]), uniform([C]), uniform([M, C])],
      activation === "none" ? null : uniform([M]),
    ),
    define(
      "pointwiseResidual",
      `of ${x}, ${activation}`,
      { activation },
      ...[uniform(x, 8), uniform([M, C]), activation === "none" ? null : uniform([M])],
      ...[activation === "none" && spatial.length > 1 ? null : uniform([M]), uniform(y)],
      activation === "none" ? null : uniform([batch]),
    ),
  ]);
}

/** Every op. */
export const CASES: readonly Case[] = [
  ...(["add", "sub", "mul", "div"] as const).flatMap((kind) => [
    define("binary", kind, { kind }, uniform([2, 3, 4, 5]), given([2, 3, 4, 5], 1.5, -2, 0.75)),
    define("binary", `${kind}, one element right`, { kind }, uniform([2, 3, 4]), given([1, 1, 1, 1], -1.5)),
    define("binary", `${kind}, one element left`, { kind }, given([], 0.7), given([2, 3, 4], 1.5, -2, 0.75)),
    define("binary", `${kind}, two single elements`, { kind }, given([1, 1], 0.7), given([], 2)),
  ]),
  ...(["affine", "relu", "gelu", "square", "abs"] as const).flatMap((kind) => [
    define("unary", kind, { kind, scale: -1.5, offset: 0.25 }, uniform([2, 3, 5, 7], 8)),
    define("unary", `${kind} at 0`, { kind, scale: -1.5, offset: 0.25 }, given([5], 0, 1, -1, 0, -0)),
  ]),
  define("unary", "gelu far out", { kind: "gelu", scale: 1, offset: 0 }, given([6], -30, -9, -5, 5, 9, 30)),
  define("cast", "to what it is", { dtype: "float32" }, uniform([2, 3, 4])),
  define("sum", "of a few", {}, uniform([2, 3])),
  define("sum", "of a scalar", {}, uniform([])),
  define("sum", "of many", {}, given([3, 5, 70, 71], 0.1, 0.2, 0.3)),
  ...[[2, 3, 5], [2, 3, 4, 5], [2, 3, 2, 4, 3]].map((shape) =>
    define("globalAveragePool", `of ${shape}`, {}, uniform(shape))
  ),
  ...[[4, 3], [2, 3, 5], [2, 3, 4, 5], [2, 3, 2, 4, 3]].flatMap((shape) => [
    define("scaleResidual", `of ${shape}`, {}, uniform(shape), uniform(shape), uniform([3])),
    define("layerNorm", `of ${shape}`, { epsilon: 1e-6 }, uniform(shape), uniform([3]), uniform([3])),
    define("pointwise", `of ${shape}`, {}, uniform(shape), uniform([7, 3]), uniform([7])),
    define("pointwise", `of ${shape}, no bias`, {}, uniform(shape), uniform([7, 3]), null),
    ...tail(shape, 7),
  ]),
  ...[0, 0.1, 1].map((labelSmoothing) =>
    define(
      "crossEntropy",
      `smoothing ${labelSmoothing}`,
      { labelSmoothing },
      uniform([5, 4], 10),
      given([5], 0, 3, 1, 2, 3),
    )
  ),
  define("crossEntropy", "large logits", { labelSmoothing: 0.1 }, uniform([5, 4], 400), given([5], 0, 3, 1)),
  define("correctCount", "random", {}, uniform([64, 10]), given([64], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)),
  define("correctCount", "ties", {}, given([4, 3], 1, 1, 0, 0, 2, 2, 3, 3, 3), given([4], 0, 1, 2, 0)),
  define("correctCount", "NaN", {}, given([3, 3], 1, NaN, 0, NaN, 2, 2, 3, 2, NaN), given([3], 1, 1, 0)),
  define("repulsiveLoss", "2 axes", {}, uniform([2, 4, 3, 5], 3)),
  define("repulsiveLoss", "1 axis, dense axes", {}, uniform([1, 4, 1, 3, 2], 2)),
  define("repulsiveLoss", "two at one place", {}, given([2, 2, 1, 4], 0, 0, 0.25, 1)),
  define("repulsiveLoss", "K = 1", {}, uniform([2, 4, 1, 1])),
  ...(["reflect", "replicate", "circular"] as const).flatMap((mode) => [
    define("pad", `${mode} 1-d`, { mode, padding: [3] }, uniform([2, 3, 4])),
    define("pad", `${mode} 2-d`, { mode, padding: [2, 3] }, uniform([2, 3, 4, 5])),
    define("pad", `${mode} 3-d`, { mode, padding: [1, 0, 2] }, uniform([2, 3, 2, 4, 3])),
    define("pad", `${mode} by nothing`, { mode, padding: [0, 0] }, uniform([2, 3, 4, 5])),
  ]),
  construct("v0", [1], [2, 2, 1]), // normalised, it has a constant kernel and gradients of rounding errors
  ...VERSIONS.flatMap((version) => [
    construct(version, [7], [4, 1, 3]),
    construct(version, [6, 5], [4, 2, 3]),
    construct(version, [3, 4, 5], [2, 2, 3]),
    construct(version, [1, 4, 3], [2, 2, 3]),
    construct(version, [17, 17], [8, 1, 34]),
    construct(version, [5], [2, 1, 3, 4]),
    construct(version, [7, 6], [2, 2, 5], ties([7, 6], [2, 2, 5])),
    construct(version, [65], [2, 1, 3]),
  ]),
  convolution("dense 1-d", [3, 4, 11], [6, 4, 3], 1, { padding: [1] }),
  convolution("dense 1-d, one channel", [3, 1, 40], [1, 1, 25], 1),
  convolution("depthwise 1-d, long", [2, 3, 90], [3, 1, 31], 3, { padding: [15] }),
  convolution("dense 2-d", [2, 4, 6, 7], [6, 4, 3, 2], 1, { padding: [1, 1] }),
  convolution("dense 2-d, stride with remainder", [2, 4, 8, 9], [6, 4, 3, 2], 1, { stride: [2, 3] }),
  convolution("dense 2-d, patches", [2, 1, 8, 8], [6, 1, 4, 4], 1, { stride: [4, 4] }, false),
  convolution("dense 2-d, dilation", [2, 4, 9, 8], [6, 4, 3, 2], 1, { padding: [2, 1], dilation: [2, 3] }),
  convolution("dense 2-d, stride and dilation", [2, 3, 11, 12], [4, 3, 3, 2], 1, {
    stride: [2, 3],
    padding: [1, 2],
    dilation: [3, 2],
  }),
  convolution("dense 2-d, padding beyond the kernel", [2, 3, 4, 3], [4, 3, 2, 2], 1, { padding: [3, 4] }),
  convolution("dense 2-d, kernel larger than the plane", [2, 3, 3, 2], [4, 3, 5, 4], 1, { padding: [2, 2] }),
  convolution("groups", [2, 6, 5, 7], [4, 3, 3, 3], 2, { padding: [1, 1] }),
  convolution("groups, stride", [2, 6, 5, 7], [9, 2, 3, 3], 3, { padding: [1, 1], stride: [2, 2] }),
  convolution(
    "groups, small planes",
    [3, 4, 3, 3],
    [6, 2, 5, 5],
    2,
    { padding: [2, 4], dilation: [1, 2] },
    false,
  ),
  convolution("depthwise 3x3", [2, 4, 30, 31], [4, 1, 3, 3], 4, { padding: [1, 1] }),
  convolution("depthwise 3x3, stride", [2, 4, 30, 33], [4, 1, 3, 3], 4, { padding: [1, 1], stride: [2, 3] }),
  convolution("depthwise 3x3, dilation", [2, 4, 30, 31], [4, 1, 3, 3], 4, {
    padding: [1, 0],
    dilation: [2, 3],
  }),
  convolution("depthwise 7x7", [2, 3, 60, 60], [3, 1, 7, 7], 3, { padding: [3, 3] }),
  convolution("depthwise 6x8, no padding", [1, 3, 60, 61], [3, 1, 6, 8], 3),
  convolution("depthwise 7x7, dilation", [1, 3, 60, 61], [3, 1, 7, 7], 3, {
    padding: [3, 1],
    dilation: [2, 3],
  }),
  convolution("depthwise 7x7, stride", [1, 3, 60, 61], [3, 1, 7, 7], 3, { padding: [3, 1], stride: [2, 3] }),
  convolution("depthwise 9x9, small plane", [3, 5, 7, 7], [5, 1, 9, 9], 5, { padding: [4, 4] }),
  convolution("depthwise 9x9, small plane, stride", [3, 5, 8, 7], [5, 1, 9, 9], 5, {
    padding: [4, 4],
    stride: [3, 2],
  }),
  convolution("depthwise, stride and dilation", [2, 3, 15, 14], [3, 1, 4, 3], 3, {
    padding: [3, 4],
    stride: [3, 2],
    dilation: [2, 3],
  }),
  convolution("depthwise, stride on one axis and dilation on the other", [2, 3, 9, 14], [3, 1, 4, 3], 3, {
    padding: [1, 2],
    stride: [3, 1],
    dilation: [1, 2],
  }),
  convolution("depthwise multiplier 2", [2, 3, 6, 5], [6, 1, 3, 3], 3, { padding: [1, 1] }),
  convolution("depthwise multiplier 2, large plane", [1, 3, 60, 61], [6, 1, 7, 7], 3, { padding: [3, 3] }),
  convolution("depthwise multiplier 2, stride", [2, 3, 7, 6], [6, 1, 3, 3], 3, { stride: [2, 2] }),
  convolution("one channel", [2, 1, 6, 5], [1, 1, 3, 3], 1, { padding: [1, 1] }),
  convolution("1x1", [2, 4, 3, 3], [2, 4, 1, 1], 1, {}, false),
  convolution("1x1, padded", [2, 4, 3, 3], [2, 4, 1, 1], 1, { padding: [2, 1], stride: [2, 2] }),
  convolution("columns that see padding alone", [1, 4, 6, 6, 1], [4, 1, 1, 4, 3], 4, {
    stride: [1, 2, 3],
    padding: [2, 0, 5],
    dilation: [1, 1, 3],
  }),
  convolution("one image", [1, 3, 6, 5], [4, 3, 3, 3], 1, { padding: [1, 1] }),
  convolution("3-d dense", [2, 3, 4, 5, 6], [4, 3, 2, 3, 3], 1, { padding: [1, 1, 0] }),
  convolution("3-d depthwise", [2, 3, 5, 6, 6], [3, 1, 3, 3, 3], 3, { padding: [1, 1, 1] }),
  convolution("3-d groups, stride, dilation", [2, 4, 7, 8, 9], [6, 2, 2, 3, 2], 2, {
    padding: [2, 1, 0],
    stride: [2, 2, 1],
    dilation: [3, 1, 2],
  }, false),
  convolution("3-d kernel deeper than the input", [1, 2, 2, 3, 3], [2, 1, 5, 3, 3], 2, {
    padding: [2, 1, 1],
  }),
  convolution("empty batch", [0, 3, 6, 5], [4, 3, 3, 3], 1, { padding: [1, 1] }),
  define("globalAveragePool", "of an empty batch", {}, uniform([0, 3, 4])),
  define("pointwise", "of an empty batch", {}, uniform([0, 3, 4]), uniform([7, 3]), uniform([7])),
  define("layerNorm", "of an empty batch", { epsilon: 1e-6 }, uniform([0, 3]), uniform([3]), uniform([3])),
  ...tail([0, 3, 4], 7),
  define("sum", "of nothing", {}, uniform([0, 3])),
];

/** Geometries at random, small ones, where kernels hang over the edge, strides skip it and padding is all they see. */
export function randomConvolutions(count: number): Case[] {
  seed(7);
  const integer = (least: number, most: number): number =>
    least + Math.floor((random() + 0.5) * (most - least + 1));
  const mostly = (usual: number, most: number): number => random() < 0.1 ? usual : integer(usual, most);
  const cases: Case[] = [];
  while (cases.length < count) {
    const axes = integer(1, 3);
    const list = (entry: () => number): number[] => Array.from({ length: axes }, entry);
    const [groups, inputs, outputs] = [integer(1, 4), mostly(1, 3), mostly(1, 3)];
    const spatial = list(() => integer(1, [40, 14, 6][axes - 1]));
    const kernel = list(() => integer(1, axes === 3 ? 4 : 9));
    const [stride, dilation, padding] = [
      list(() => mostly(1, 3)),
      list(() => mostly(1, 3)),
      list(() => integer(0, 5)),
    ];
    const fits = spatial.every((extent, a) => extent + 2 * padding[a] > dilation[a] * (kernel[a] - 1));
    if (!fits) continue;
    const [x, k] = [[integer(1, 3), groups * inputs, ...spatial], [groups * outputs, inputs, ...kernel]];
    const title = JSON.stringify({ x, k, stride, padding, dilation, groups });
    cases.push(convolution(title, x, k, groups, { stride, padding, dilation }));
  }
  return cases;
}
