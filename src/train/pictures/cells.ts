/**
 * The cells of a kernel, as axes of a picture.
 * @module
 */

/** Names of the spatial axes, the last one being the columns. */
export function axisName(axis: number, axes: number): string {
  const word = axes < 2 ? "" : ["columns", "rows", "depth"][axes - 1 - axis] ?? "";
  return word === "" ? `axis ${axis}` : `axis ${axis}, ${word}`;
}

/** First and last cell of an axis of `size` cells, counted from the centre cell floor(size/2). */
export function cells(size: number): [first: number, last: number] {
  return [-Math.floor(size / 2), size - 1 - Math.floor(size / 2)];
}

/** Refuses kernel sizes that are not positive integers. */
export function requireSize(what: string, size: readonly number[]): void {
  if (size.length === 0 || !size.every((extent) => Number.isSafeInteger(extent) && extent > 0)) {
    throw new RangeError(
      `Cannot draw ${what}: the kernel's size must be positive integers, got [${size.join(", ")}]`,
    );
  }
}
