/** What every op is: a name and the rule that turns its inputs' shapes into its output's. */
import { type Shape, shapeText } from "../spec.ts";

/** The pure half of an op: no tensor, no backend. */
export interface Op<Name extends string, Attributes> {
  readonly name: Name;
  /** Inputs (by index) that never receive a gradient, labels for example. */
  readonly constantInputs?: readonly number[];
  /**
   * The output's shape.
   * @throws {TypeError | RangeError} when the inputs do not fit; absent inputs are null
   */
  outputShape(inputs: readonly (Shape | null)[], attributes: Attributes): Shape;
}

/** Throws unless the input is there and has between `least` and `most` axes. */
export function requireAxes(
  op: string,
  what: string,
  shape: Shape | null | undefined,
  least: number,
  most = least,
): Shape {
  if (!shape) throw new TypeError(`Cannot run ${op}: ${what} is required, got none`);
  if (shape.length < least || shape.length > most) {
    const axes = least === most ? `${least}` : `${least} to ${most}`;
    throw new RangeError(
      `Cannot run ${op}: ${what} must have ${axes} axes, got shape ${shapeText(shape)}`,
    );
  }
  return shape;
}

/** Throws unless the shape is the expected one. */
export function requireShape(
  op: string,
  what: string,
  shape: Shape | null | undefined,
  expected: Shape,
): void {
  if (!shape) throw new TypeError(`Cannot run ${op}: ${what} is required, got none`);
  if (shape.length !== expected.length || shape.some((extent, i) => extent !== expected[i])) {
    throw new RangeError(
      `Cannot run ${op}: ${what} must have shape ${shapeText(expected)}, got ${shapeText(shape)}`,
    );
  }
}
