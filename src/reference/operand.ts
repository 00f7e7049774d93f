/** What the reference ops share: their handle, and how they look at an operand. */
import type { Operand, OpImplementation } from "../backend.ts";
import type { OpName, OpTable } from "../ops/mod.ts";
import { type Shape, sizeOf } from "../spec.ts";

/** Storage of a tensor on the reference backend: its elements in float64, row-major. */
export interface ReferenceHandle {
  /** As many as the tensor's shape has; the updates write here. */
  readonly data: Float64Array;
}

/** The reference implementation of the op `N`. */
export type ReferenceOp<N extends OpName> = OpImplementation<OpTable[N], ReferenceHandle>;

/** Inputs of an op, null where an optional one is absent. */
export type Inputs = readonly (Operand<ReferenceHandle> | null)[];

/** The elements of a required input, which the op's `outputShape` has seen to be there. */
export function elements(inputs: Inputs, index: number): Float64Array {
  return inputs[index]!.handle.data;
}

/** The shape of a required input. */
export function shapeOf(inputs: Inputs, index: number): Shape {
  return inputs[index]!.shape;
}

/** A shape `[N, C, ...spatial]` with its spatial axes taken together. */
export interface Planes {
  /** N. */
  readonly batch: number;
  /** C. */
  readonly channels: number;
  /** Elements of one channel of one sample. */
  readonly pixels: number;
}

/** Looks at `[N, C, ...spatial]` as `[N, C, pixels]`. */
export function planes(shape: Shape): Planes {
  return { batch: shape[0], channels: shape[1], pixels: sizeOf(shape.slice(2)) };
}

/** Handles of the gradients that are asked for, null for the others. */
export function asked(
  needs: readonly boolean[],
  gradients: readonly (Float64Array | null)[],
): (ReferenceHandle | null)[] {
  return gradients.map((data, i) => needs[i] && data ? { data } : null);
}

/** `[a]` as `[1, 1, a]`, `[a, b]` as `[1, a, b]`: every spatial shape as one of three axes. */
export function threeAxes(extents: Shape, filler: number): [number, number, number] {
  const [a, b, c] = [...new Array<number>(3 - extents.length).fill(filler), ...extents];
  return [a, b, c];
}
