/** One axis of a stride-1 convolution of whole planes: which offsets occur, and how long a transform must be. */

/** One spatial axis of a stride-1 convolution. */
export interface PlaneAxis {
  readonly input: number;
  readonly output: number;
  readonly size: number;
  readonly padding: number;
}

/** First and last tap that can meet a pixel. */
export function usedTaps({ input, output, size, padding }: PlaneAxis): { first: number; last: number } {
  return { first: Math.max(0, padding - (output - 1)), last: Math.min(size - 1, padding + input - 1) };
}

/** Least and largest offset of a pixel from the result that it adds to. */
export function offsetsOf(axis: PlaneAxis): { low: number; high: number } {
  const { first, last } = usedTaps(axis);
  return { low: first - axis.padding, high: last - axis.padding };
}

/** The least transform length along an axis: pixels i and results q with i - q an offset must not alias. */
export function planeLength(axis: PlaneAxis): number {
  const { low, high } = offsetsOf(axis);
  return Math.max(axis.input - low, axis.output + high, axis.input, axis.output);
}
