/**
 * Which cells meet along one axis of a convolution, as constants for the generators.
 *
 * Output cell t, tap k and input cell f meet where f spread = t stride + k dilation - padding. A forward convolution has
 * spread 1; the gradient to its input has stride 1 and the forward stride as spread (see convBackwardInput): every
 * kernel that follows this relation computes both, and no tap is tried that meets nothing.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import { range } from "./kernel.ts";

/** One spatial axis of a convolution. */
export interface Axis {
  readonly input: number;
  readonly output: number;
  readonly size: number;
  readonly stride: number;
  readonly spread: number;
  readonly padding: number;
  readonly dilation: number;
}

/** Spatial axis `a`, from 0 to 2. */
export function axisOf(geometry: ConvolutionGeometry, a: number): Axis {
  const { input, output, size, stride, spread, padding, dilation } = geometry;
  return {
    input: input[a],
    output: output[a],
    size: size[a],
    stride: stride[a],
    spread: spread?.[a] ?? 1,
    padding: padding[a],
    dilation: dilation[a],
  };
}

/** Output `j` of a strip that begins at output `first`, tap `k`, and the input cell they meet, from first stride / spread on. */
export interface Meeting {
  readonly j: number;
  readonly k: number;
  readonly cell: number;
}

/** Everything that meets a strip of outputs; its first output is a multiple of the spread, or 0. */
export function meetings({ size, stride, spread, padding, dilation }: Axis, strip: number): Meeting[] {
  return range(size).flatMap((k) =>
    range(strip).map((j) => ({ j, k, cell: (j * stride + k * dilation - padding) / spread }))
  ).filter(({ cell }) => Number.isInteger(cell));
}

/** The meetings of all outputs at once: those on the padding are left out. */
export function insideMeetings(axis: Axis): Meeting[] {
  return meetings(axis, axis.output).filter(({ cell }) => cell >= 0 && cell < axis.input);
}

/** The taps that meet any cell of the input. */
export function usedTaps({ input, output, size, stride, spread, padding, dilation }: Axis): number[] {
  return range(size).filter((k) => {
    const first = Math.max(0, Math.ceil((padding - k * dilation) / stride));
    return range(spread).some((j) => {
      const cell = ((first + j) * stride + k * dilation - padding) / spread;
      return first + j < output && Number.isInteger(cell) && cell < input;
    });
  });
}

/** The distinct cells of meetings, ascending. */
export function cellsOf(list: readonly Meeting[]): number[] {
  return [...new Set(list.map(({ cell }) => cell))].sort((a, b) => a - b);
}
