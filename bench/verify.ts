/**
 * Float64 before any time: each op's result is compared with the reference, whole where that is quick, else in planes
 * picked from the first, the middle and the last images and channels.
 * @module
 */
import { referenceOps } from "../src/reference/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import { type BenchCase, type BenchOpName, outputExtents } from "./cases.ts";
import type { CaseData, Subject } from "./subject.ts";

/** Largest error allowed, relative to the largest expected magnitude: that of all comparisons of float32 backends. */
export const TOLERANCE = 1e-4;
/** The same for float16 tensors: a rounding or two, of 2^-11 each. */
export const HALF_TOLERANCE = 2e-3;
/** Multiplications that one comparison may take, some tenths of a second: at least one plane is compared. */
const MULTIPLICATIONS = 3e8;

/** A range of one axis. */
type Range = readonly [first: number, end: number];
interface Piece {
  readonly handle: { readonly data: Float64Array };
  readonly shape: Shape;
}

/** The elements within the ranges of the leading axes; the other axes whole. */
export function pieceOf(data: ArrayLike<number>, shape: Shape, ...ranges: readonly Range[]): Piece {
  const all: Range[] = shape.map((extent, a) => ranges[a] ?? [0, extent]);
  const extents = all.map(([first, end]) => end - first);
  const values = new Float64Array(sizeOf(extents));
  const inner = sizeOf(shape.slice(ranges.length));
  const lead = extents.slice(0, ranges.length);
  for (let i = 0; i < sizeOf(lead); i++) {
    let rest = i, from = 0, stride = inner;
    for (let a = lead.length - 1; a >= 0; a--) {
      from += (all[a][0] + rest % lead[a]) * stride;
      rest = Math.floor(rest / lead[a]);
      stride *= shape[a];
    }
    for (let j = 0; j < inner; j++) values[i * inner + j] = data[from + j];
  }
  return { handle: { data: values }, shape: extents };
}

/** Largest error relative to the largest expected magnitude; infinite where a value is not finite. */
export function errorOf(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0, largest = 0;
  if (actual.length !== expected.length) return Infinity;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (!Number.isFinite(difference)) return Infinity;
    error = Math.max(error, difference);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return error === 0 ? 0 : error / largest;
}

/** First, last and middle of `count`, without repetition. */
function picks(count: number): number[] {
  return [...new Set([0, count - 1, Math.floor(count / 2)])];
}

/** What the reference of a convolution needs to know; a subject does. */
interface ConvolutionSetup {
  readonly benched: BenchCase;
  readonly data: CaseData;
  readonly shape: { readonly x: Shape; readonly y: Shape };
  readonly convolution: ConvolutionAttributes;
}

/** The reference for parts of one convolution with the given kernel. */
class ConvolutionReference {
  readonly #subject: ConvolutionSetup;
  readonly #kernelShape: Shape;
  readonly #kernel: ArrayLike<number>;
  readonly #bias: Float32Array | null;
  readonly #inPerGroup: number;
  readonly #outPerGroup: number;

  constructor(subject: ConvolutionSetup, kernel: ArrayLike<number>, bias: Float32Array | null) {
    const { inChannels, outChannels, groups, size, axes } = subject.benched;
    this.#kernelShape = [outChannels, inChannels / groups, ...new Array<number>(axes).fill(size)];
    this.#subject = subject;
    this.#kernel = kernel;
    this.#bias = bias;
    this.#inPerGroup = inChannels / groups;
    this.#outPerGroup = outChannels / groups;
  }

  /** Largest error of the output's planes (n, o). */
  output(actual: Float32Array): number {
    const { shape, data, convolution } = this.#subject;
    const attributes = { ...convolution, groups: 1 };
    const taps = this.#taps();
    return this.#worst(shape.y, taps * this.#inPerGroup * sizeOf(shape.y.slice(2)), ([n, o]) => {
      const y = pieceOf(actual, shape.y, [n, n + 1], [o, o + 1]);
      const bias = this.#bias ? pieceOf(this.#bias, [this.#bias.length], [o, o + 1]) : null;
      const x = pieceOf(data.x, shape.x, [n, n + 1], this.#inputsOf(o));
      const kernel = pieceOf(this.#kernel, this.#kernelShape, [o, o + 1]);
      const expected = referenceOps.convolution.forward([x, kernel, bias], attributes, y.shape);
      return errorOf(y.handle.data, expected.data);
    });
  }

  /** Largest error of the input gradient's planes (n, c). */
  inputGradient(actual: Float32Array): number {
    const { shape, data } = this.#subject;
    return this.#worst(shape.x, this.#taps() * this.#outPerGroup * sizeOf(shape.y.slice(2)), ([n, c]) => {
      const g = Math.floor(c / this.#inPerGroup), i = c % this.#inPerGroup;
      const outs: Range = [g * this.#outPerGroup, (g + 1) * this.#outPerGroup];
      const kernel = pieceOf(this.#kernel, this.#kernelShape, outs, [i, i + 1]);
      const dy = pieceOf(data.dy, shape.y, [n, n + 1], outs);
      const [expected] = this.#backward(dy, pieceOf(data.x, shape.x, [n, n + 1], [c, c + 1]), kernel);
      return errorOf(pieceOf(actual, shape.x, [n, n + 1], [c, c + 1]).handle.data, expected);
    });
  }

  /** The float64 kernel gradients of picked pairs (o, i) of output channels and inputs of their group. */
  kernelGradients(): { readonly o: number; readonly i: number; readonly gradient: Float64Array }[] {
    const { shape, data } = this.#subject;
    const each = this.#taps() * data.batch * sizeOf(shape.y.slice(2));
    const chosen = this.#chosen(this.#kernelShape.slice(0, 2), each);
    return chosen.map(([o, i]) => {
      const c = this.#inputsOf(o)[0] + i;
      const kernel = pieceOf(this.#kernel, this.#kernelShape, [o, o + 1], [i, i + 1]);
      const dy = pieceOf(data.dy, shape.y, [0, data.batch], [o, o + 1]);
      const x = pieceOf(data.x, shape.x, [0, data.batch], [c, c + 1]);
      return { o, i, gradient: this.#backward(dy, x, kernel)[1] };
    });
  }

  /** Largest error of those pairs. */
  kernelGradient(actual: Float32Array): number {
    return Math.max(
      ...this.kernelGradients().map(({ o, i, gradient }) =>
        errorOf(pieceOf(actual, this.#kernelShape, [o, o + 1], [i, i + 1]).handle.data, gradient)
      ),
    );
  }

  #taps(): number {
    return sizeOf(this.#kernelShape.slice(2));
  }

  #inputsOf(o: number): Range {
    const first = Math.floor(o / this.#outPerGroup) * this.#inPerGroup;
    return [first, first + this.#inPerGroup];
  }

  #backward(dy: Piece, x: Piece, kernel: Piece): [Float64Array, Float64Array] {
    const attributes = { ...this.#subject.convolution, groups: 1 };
    const [dx, dk] = referenceOps.convolution.backward(dy, [x, kernel, null], attributes, [
      true,
      true,
      false,
    ]);
    return [dx!.data, dk!.data];
  }

  /** Pairs of the first two axes, as many as `each` multiplications allow, corners first. */
  #chosen([n, c]: Shape, each: number): [number, number][] {
    const images = picks(n), channels = picks(c);
    const pairs = Array.from(
      { length: Math.max(images.length, channels.length) },
      (_, i): [number, number] => [images[i % images.length], channels[i % channels.length]],
    );
    return pairs.slice(0, Math.max(1, Math.floor(MULTIPLICATIONS / each)));
  }

  #worst(shape: Shape, each: number, error: (pair: [number, number]) => number): number {
    return Math.max(...this.#chosen(shape, each).map(error));
  }
}

/** The largest error in what an op of the subject made. */
export async function verify(
  subject: Subject,
  op: BenchOpName,
  made: Readonly<Record<string, Float32Array>>,
): Promise<number> {
  const { layer, construction, data, benched } = subject;
  const { weightShape, positionShape, kernelShape } = layer.spec;
  const whole = async (tensor: { data(): Promise<Float32Array> } | null, shape: Shape): Promise<Piece> =>
    pieceOf(await tensor!.data(), shape);
  const weight = await whole(layer.weight, weightShape), P = await whole(layer.P, positionShape);
  const SIG = layer.SIG && await whole(layer.SIG, positionShape);
  const bias = layer.bias && await layer.bias.data();
  const constructed = (): Float64Array =>
    referenceOps.constructKernel.forward([weight, P, SIG], construction, kernelShape).data;
  const toParameters = (gradient: Piece): (Float64Array | null)[] =>
    referenceOps.constructKernel.backward(gradient, [weight, P, SIG], construction, [
      true,
      true,
      SIG !== null,
    ]).map((handle) => handle && handle.data);
  const NAMES = ["weight gradient", "P gradient", "SIG gradient"];
  switch (op) {
    case "constructKernel":
      return errorOf(made.kernel, constructed());
    case "constructKernelBackward":
      return Math.max(
        ...toParameters(pieceOf(data.kernel, kernelShape)).map((expected, i) =>
          expected ? errorOf(made[NAMES[i]], expected) : 0
        ),
      );
    case "layer forward":
      return new ConvolutionReference(subject, constructed(), bias).output(made.output);
    case "layer forward + backward": {
      const reference = new ConvolutionReference(subject, constructed(), bias);
      // Gradients of the picked kernels, zeros elsewhere; then only those rows of the parameters are compared.
      const taps = sizeOf(kernelShape.slice(2)), K = benched.kernelCount, rows = sizeOf(weightShape) / K;
      const rowsOf = reference.kernelGradients().map(({ o, i, gradient }) => ({
        row: o * kernelShape[1] + i,
        gradient,
      }));
      const dense = new Float64Array(sizeOf(kernelShape));
      for (const { row, gradient } of rowsOf) dense.set(gradient, row * taps);
      const expected = toParameters({ handle: { data: dense }, shape: kernelShape });
      const errors = expected.flatMap((values, i) =>
        values
          ? rowsOf.map(({ row }) => {
            const shape = [values.length / rows / K, rows, K];
            const picked = (from: ArrayLike<number>): Float64Array =>
              pieceOf(from, shape, [0, shape[0]], [row, row + 1]).handle.data;
            return errorOf(picked(made[NAMES[i]]), picked(values));
          })
          : []
      );
      return Math.max(...errors, reference.inputGradient(made["input gradient"]), biasError(subject, made));
    }
    default: {
      const reference = new ConvolutionReference(subject, data.kernel, bias);
      const { output, "input gradient": dx, "kernel gradient": dk } = made;
      return Math.max(
        output ? reference.output(output) : 0,
        dx ? reference.inputGradient(dx) : 0,
        dk ? reference.kernelGradient(dk) : 0,
      );
    }
  }
}

/** The bias's gradient is the sum of dy's planes. */
function biasError({ data, shape }: Subject, made: Readonly<Record<string, Float32Array>>): number {
  const pixels = sizeOf(shape.y.slice(2)), channels = shape.y[1];
  const expected = new Float64Array(channels);
  for (let i = 0; i < data.dy.length; i++) expected[Math.floor(i / pixels) % channels] += data.dy[i];
  return errorOf(made["bias gradient"], expected);
}

/** Largest error of a convolution's output by others, without a bias. */
export function outputError(benched: BenchCase, data: CaseData, output: Float32Array): number {
  const { axes, inChannels, outChannels, groups, padding, extents } = benched;
  const all = (value: number): number[] => new Array<number>(axes).fill(value);
  const setup: ConvolutionSetup = {
    benched,
    data,
    shape: {
      x: [data.batch, inChannels, ...extents],
      y: [data.batch, outChannels, ...outputExtents(benched)],
    },
    convolution: { stride: all(1), padding: all(padding), dilation: all(1), groups },
  };
  return new ConvolutionReference(setup, data.kernel, null).output(output);
}
