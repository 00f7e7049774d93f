/**
 * Geometry of convolutions over planes `[N, rows, columns, C]`, and the small moves they are made of.
 *
 * Pairs hold one number for the rows and one for the columns.
 */
import * as tf from "@tensorflow/tfjs";

/** One number per axis of the plane. */
export type Pair = [number, number];

/** How a kernel moves over a plane. */
export interface Window {
  readonly stride: Pair;
  readonly dilation: Pair;
  /** Zeros before the first cell; negative: cells left out. */
  readonly low: Pair;
  /** Zeros behind the last cell; negative: cells left out. */
  readonly high: Pair;
}

/** A pair, entry by entry. */
export function pair(entry: (axis: 0 | 1) => number): Pair {
  return [entry(0), entry(1)];
}

/** Zeros behind, such that a kernel axis of this extent takes `outputs` steps. */
export function paddingBehind(
  input: number,
  kernel: number,
  outputs: number,
  stride: number,
  dilation: number,
  low: number,
): number {
  return stride * (outputs - 1) + dilation * (kernel - 1) + 1 - input - low;
}

/** tfjs refuses a convolution with strides and dilations. */
export function isMixed({ stride, dilation }: Window): boolean {
  return Math.max(...stride) > 1 && Math.max(...dilation) > 1;
}

/** Padding as tfjs takes it. */
export function explicitPadding({ low, high }: Pick<Window, "low" | "high">): [Pair, Pair, Pair, Pair] {
  return [[0, 0], [low[0], high[0]], [low[1], high[1]], [0, 0]];
}

/** Leaves out the cells that negative padding stands for; null where none is left and all that is seen are zeros. */
export function crop(x: tf.Tensor4D, window: Window): { x: tf.Tensor4D; window: Window } | null {
  const { low, high } = window;
  if (Math.min(...low, ...high) >= 0) return { x, window };
  const from = pair((a) => Math.max(0, -low[a]));
  const size = pair((a) => x.shape[a + 1] - from[a] - Math.max(0, -high[a]));
  if (Math.min(...size) <= 0) return null;
  return {
    x: tf.slice(x, [0, ...from, 0], [-1, ...size, -1]),
    window: { ...window, low: pair((a) => Math.max(0, low[a])), high: pair((a) => Math.max(0, high[a])) },
  };
}

/** Puts `steps - 1` zeros behind every cell, along both axes: `[N, rows * steps, columns * steps, C]`. */
export function spread(x: tf.Tensor4D, steps: Pair): tf.Tensor4D {
  const [batch, rows, columns, channels] = x.shape;
  const behind = (flat: tf.Tensor3D, cells: number): tf.Tensor =>
    cells === 1 ? flat : tf.pad(flat, [[0, 0], [0, cells - 1], [0, 0]]);
  const wide = behind(tf.reshape(x, [batch * rows * columns, 1, channels]), steps[1]);
  const high = behind(tf.reshape(wide, [batch * rows, 1, columns * steps[1] * channels]), steps[0]);
  return tf.reshape(high, [batch, rows * steps[0], columns * steps[1], channels]);
}

/** The kernel `[O, I, rows, columns]` with its dilation written out as zeros. */
export function dilate(kernel: tf.Tensor4D, dilation: Pair): tf.Tensor4D {
  const [outputs, inputs, rows, columns] = kernel.shape;
  const planes = spread(tf.reshape(kernel, [outputs * inputs, rows, columns, 1]), dilation);
  const extent = [dilation[0] * (rows - 1) + 1, dilation[1] * (columns - 1) + 1];
  const cut = tf.slice(planes, [0, 0, 0, 0], [-1, ...extent, -1]);
  return tf.reshape(cut, [outputs, inputs, extent[0], extent[1]]);
}

/**
 * The 0/1 matrix `[kernel columns, input columns * output columns]` with a 1 where that tap joins that input column
 * to that output column. A kernel's rows times it are banded matrices: the convolution along the columns becomes a
 * product over them, which runs at the speed of dense convolution.
 */
export function bands(taps: number, inputs: number, outputs: number, window: Window): tf.Tensor2D {
  const values = new Float32Array(taps * inputs * outputs);
  for (let tap = 0; tap < taps; tap++) {
    for (let output = 0; output < outputs; output++) {
      const input = output * window.stride[1] + tap * window.dilation[1] - window.low[1];
      if (input >= 0 && input < inputs) values[(tap * inputs + input) * outputs + output] = 1;
    }
  }
  return tf.tensor2d(values, [taps, inputs * outputs]);
}

/**
 * Whether columns are better joined by {@linkcode bands} than walked over, for one group: multiplications in each
 * case, with output channels in eights, as wasm's convolution computes them.
 */
export function prefersBands(
  taps: number,
  inputColumns: number,
  outputColumns: number,
  outputChannels: number,
): boolean {
  const eights = (channels: number): number => 8 * Math.ceil(channels / 8);
  return inputColumns * eights(outputChannels * outputColumns) <
    taps * outputColumns * eights(outputChannels);
}
