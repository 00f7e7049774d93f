/**
 * Compares what a layer gave on two backends.
 * @module
 */
import { assertClose, assertEquals } from "../assert.ts";
import type { LayerResults } from "./layer_run.ts";

/**
 * Gradients to P and SIG smaller than this part of the one to weight are measured against that part. Where moving an
 * element hardly changes the output (rows of equal cells, say, or a kernel of one element that is normalised) they are
 * differences of nearly equal float32 sums: seen were errors of 3e-6 of the gradient to weight.
 */
const FLOOR = 0.1;

function largest(data: Float32Array): number {
  return data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** Same tensors, same shapes, and every element within `tolerance` of the tensor's largest magnitude. */
export function assertResultsClose(actual: LayerResults, expected: LayerResults, tolerance: number): void {
  assertEquals([...actual.keys()], [...expected.keys()]);
  const floor = FLOOR * largest(expected.get("grad_weight")?.data ?? new Float32Array(0));
  for (const [name, { shape, data }] of expected) {
    assertEquals([...actual.get(name)!.shape], [...shape], name);
    const own = largest(data);
    const positional = name === "grad_P" || name === "grad_SIG";
    const allowed = positional && own < floor ? tolerance * floor / (own || 1) : tolerance;
    assertClose(name, actual.get(name)!.data, data, allowed, shape);
  }
}
