/** What every op is: a name and the rule that turns its inputs' shapes into its output's. */
import type { DType } from "../dtype.ts";
import { type Shape, shapeText } from "../spec.ts";

/** The pure half of an op: no tensor, no backend. */
export interface Op<Name extends string, Attributes> {
  readonly name: Name;
  /** Inputs (by index) that never receive a gradient, labels for example. */
  readonly constantInputs?: readonly number[];
  /** The input (by index) whose gradient is the output's own, a shortcut's: the tape hands it on, uncopied. */
  readonly passThrough?: number;
  /**
   * Inputs (by index) that may be float16, all of one dtype; the others, parameters and labels, are float32.
   * Default: the first.
   */
  readonly activations?: readonly number[];
  /** The output's dtype where it is not the activations': sums and losses are float32. */
  outputDtype?(attributes: Attributes): DType;
  /**
   * The output's shape.
   * @throws {TypeError | RangeError} when the inputs do not fit; absent inputs are null
   */
  outputShape(inputs: readonly (Shape | null)[], attributes: Attributes): Shape;
}

/**
 * The dtype of the op's output: that of its first activation, float32 where it has none.
 * @throws {TypeError} when activations differ, or another input is not float32
 */
export function outputDtypeOf<A>(
  op: Op<string, A>,
  inputs: readonly (DType | null)[],
  attributes: A,
): DType {
  const { name, activations = [0] } = op;
  const first = inputs[activations[0]] ?? "float32";
  inputs.forEach((dtype, i) => {
    const activation = activations.includes(i);
    if (dtype === null || dtype === (activation ? first : "float32")) return;
    throw new TypeError(
      activation
        ? `Cannot run ${name}: the tensors that it combines must have one dtype, got ${first} and ${dtype}; ` +
          `convert one of them with x.to("${first}")`
        : `Cannot run ${name}: input ${i} must be float32, as parameters and labels are, got ${dtype}; convert it ` +
          'with x.to("float32")',
    );
  });
  return op.outputDtype ? op.outputDtype(attributes) : first;
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
