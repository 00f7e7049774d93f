/**
 * The poster's numbers once more in float64: the output at random places, its sum, and every gradient of the sum.
 *
 * Legend: N batch, C channels, H x W pixels, S x S cells of the kernel, K elements per kernel.
 * @module
 */
import { INTERPOLATION } from "../../interpolation.ts";
import { createRandom } from "../../random.ts";

/** A depthwise layer of version `v0` with stride 1, and what it was run on. */
export interface DepthwiseCase {
  readonly batch: number;
  readonly channels: number;
  /** H and W. */
  readonly extent: number;
  /** S */
  readonly size: number;
  readonly padding: number;
  readonly kernelCount: number;
  /** `[N, C, H, W]` */
  readonly input: Float32Array;
  /** `[C, 1, K]` */
  readonly weight: Float32Array;
  /** `[2, C, 1, K]` */
  readonly P: Float32Array;
  /** `[C]` */
  readonly bias: Float32Array;
}

/** What a backend computed. */
export interface DepthwiseResult {
  /** `[N, C, H, W]`: padding keeps the extents. */
  readonly output: Float32Array;
  readonly sum: number;
  /** Gradients of the sum, of the parameters' shapes. */
  readonly weight: Float32Array;
  readonly P: Float32Array;
  readonly bias: Float32Array;
  /** Of the input's shape; null where it was not asked for. */
  readonly input: Float32Array | null;
}

/** One comparison: the largest error relative to the largest magnitude. */
export interface Comparison {
  readonly name: string;
  readonly values: number;
  readonly error: number;
}

/** Largest |actual - expected| over the scale; infinite where a value is not finite. */
function errorOf(actual: ArrayLike<number>, expected: ArrayLike<number>, scale?: number): number {
  let error = 0, largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (!Number.isFinite(difference)) return Infinity;
    error = Math.max(error, difference);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return error / (scale ?? largest);
}

/** Calls `visit` for each cell that an element reaches: the cell, its share, and the share's derivatives by P. */
function visitCells(
  { size, channels, kernelCount, P }: DepthwiseCase,
  channel: number,
  element: number,
  visit: (cell: number, share: number, byRow: number, byColumn: number) => void,
): void {
  const { factor, positionDerivative } = INTERPOLATION.v0;
  const at = channel * kernelCount + element, centre = Math.floor(size / 2);
  const row = centre + P[at], column = centre + P[channels * kernelCount + at];
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const down = factor(i - row, 1), across = factor(j - column, 1);
      const byRow = positionDerivative(i - row, 1) * across,
        byColumn = down * positionDerivative(j - column, 1);
      visit(i * size + j, down * across, byRow, byColumn);
    }
  }
}

/** The dense kernels `[C, S, S]`. */
function constructKernels(layer: DepthwiseCase): Float64Array {
  const { channels, kernelCount, size, weight } = layer;
  const kernels = new Float64Array(channels * size * size);
  for (let channel = 0; channel < channels; channel++) {
    for (let element = 0; element < kernelCount; element++) {
      const value = weight[channel * kernelCount + element];
      visitCells(layer, channel, element, (cell, share) => {
        kernels[channel * size * size + cell] += value * share;
      });
    }
  }
  return kernels;
}

/** One output: bias + sum over the cells t of kernel[t] x[q + t - padding]. */
function outputAt(layer: DepthwiseCase, kernels: Float64Array, index: number): number {
  const { channels, extent, size, padding, input, bias } = layer;
  const pixels = extent * extent;
  const plane = Math.floor(index / pixels), channel = plane % channels;
  const row = Math.floor(index % pixels / extent), column = index % extent;
  let sum = bias[channel];
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const y = row + i - padding, x = column + j - padding;
      if (y < 0 || y >= extent || x < 0 || x >= extent) continue;
      sum += kernels[(channel * size + i) * size + j] * input[plane * pixels + y * extent + x];
    }
  }
  return sum;
}

/** The gradient of the output's sum by one input: the sum of the cells that meet it, kernel[t] for the output q - t + padding. */
function inputGradientAt(layer: DepthwiseCase, kernels: Float64Array, index: number): number {
  const { channels, extent, size, padding } = layer;
  const pixels = extent * extent, channel = Math.floor(index / pixels) % channels;
  const row = Math.floor(index % pixels / extent), column = index % extent;
  const isInside = (at: number): boolean => at >= 0 && at < extent;
  let sum = 0;
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      if (!isInside(row - i + padding) || !isInside(column - j + padding)) continue;
      sum += kernels[(channel * size + i) * size + j];
    }
  }
  return sum;
}

/**
 * The gradient of the output's sum by every kernel cell, `[C, S, S]`: the sum of all inputs that the cell meets. Over
 * the batch these are the pixels of one summed plane, within a rectangle: prefix sums give each in four reads.
 */
function kernelGradients({ batch, channels, extent, size, padding, input }: DepthwiseCase): Float64Array {
  const pixels = extent * extent, side = extent + 1;
  const gradients = new Float64Array(channels * size * size);
  for (let channel = 0; channel < channels; channel++) {
    const plane = new Float64Array(pixels);
    for (let n = 0; n < batch; n++) {
      const first = (n * channels + channel) * pixels;
      for (let i = 0; i < pixels; i++) plane[i] += input[first + i];
    }
    const prefix = new Float64Array(side * side); // of all pixels above and left
    for (let y = 0; y < extent; y++) {
      for (let x = 0; x < extent; x++) {
        prefix[(y + 1) * side + x + 1] = plane[y * extent + x] + prefix[y * side + x + 1] +
          prefix[(y + 1) * side + x] - prefix[y * side + x];
      }
    }
    const clip = (at: number): number => Math.min(extent, Math.max(0, at));
    for (let i = 0; i < size; i++) {
      const top = clip(i - padding) * side, bottom = clip(i - padding + extent) * side;
      for (let j = 0; j < size; j++) {
        const left = clip(j - padding), right = clip(j - padding + extent);
        gradients[(channel * size + i) * size + j] = prefix[bottom + right] - prefix[top + right] -
          prefix[bottom + left] + prefix[top + left];
      }
    }
  }
  return gradients;
}

/**
 * Compares a backend's result with float64: `places` random outputs, the sum, the gradients of weight, P and bias, and
 * `places` gradients by inputs where they are given.
 * The sum's error is relative to the sum of its terms' magnitudes, since terms of both signs cancel.
 *
 * @param layer padding (size - 1) / 2, so that the output has the input's extents
 */
export function compareWithFloat64(
  layer: DepthwiseCase,
  result: DepthwiseResult,
  places = 1000,
  seed = 0,
): Comparison[] {
  const { batch, channels, extent, size, kernelCount, weight, bias } = layer;
  const kernels = constructKernels(layer), cells = size * size, terms = batch * extent * extent;
  const random = createRandom(seed);
  const chosen = Array.from({ length: places }, () => random.integer(result.output.length));
  const byKernel = kernelGradients(layer);
  const byWeight = new Float64Array(weight.length), byP = new Float64Array(2 * weight.length);
  let sum = 0, magnitude = 0;
  for (let channel = 0; channel < channels; channel++) {
    const add = (term: number): void => {
      sum += term;
      magnitude += Math.abs(term);
    };
    add(terms * bias[channel]);
    for (let cell = channel * cells; cell < (channel + 1) * cells; cell++) {
      add(kernels[cell] * byKernel[cell]);
    }
    for (let element = 0; element < kernelCount; element++) {
      const at = channel * kernelCount + element;
      visitCells(layer, channel, element, (cell, share, byRow, byColumn) => {
        const gradient = byKernel[channel * cells + cell];
        byWeight[at] += gradient * share;
        byP[at] += gradient * weight[at] * byRow;
        byP[weight.length + at] += gradient * weight[at] * byColumn;
      });
    }
  }
  const expected = chosen.map((index) => outputAt(layer, kernels, index));
  const byBias = new Float64Array(channels).fill(terms);
  const byInput = result.input ? chosen.map((index) => inputGradientAt(layer, kernels, index)) : [];
  const input = result.input;
  return [
    { name: "output", values: places, error: errorOf(chosen.map((index) => result.output[index]), expected) },
    { name: "output sum", values: 1, error: errorOf([result.sum], [sum], magnitude) },
    { name: "weight gradient", values: byWeight.length, error: errorOf(result.weight, byWeight) },
    { name: "P gradient", values: byP.length, error: errorOf(result.P, byP) },
    { name: "bias gradient", values: channels, error: errorOf(result.bias, byBias) },
    ...input
      ? [{
        name: "input gradient",
        values: places,
        error: errorOf(chosen.map((index) => input[index]), byInput),
      }]
      : [],
  ];
}
