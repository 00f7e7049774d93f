/**
 * Every assertion the tests use: the one place that knows where they come from.
 *
 * `@std/assert` is used where JSR can be reached. Where it cannot, a stand-in with the same names, types and
 * verdicts takes over, so that the tests run offline. `assertAlmostEquals` and `assertClose` are stricter than
 * the library's in one point, whichever is in use: NaN never passes.
 * @module
 */
import { AssertionError } from "node:assert";
import { standIn } from "./assert_stand_in.ts";

/** A class whose instances are looked for, abstract ones included. */
export type AnyClass<T> = abstract new (...args: never[]) => T;

/** The part of `@std/assert` that the tests use. */
export interface Assertions {
  assert(condition: unknown, message?: string): asserts condition;
  assertEquals<T>(actual: T, expected: T, message?: string): void;
  assertNotEquals<T>(actual: T, expected: T, message?: string): void;
  assertThrows(fn: () => unknown): unknown;
  assertThrows<E extends Error>(
    fn: () => unknown,
    errorClass: AnyClass<E>,
    messageIncludes?: string,
    message?: string,
  ): E;
  assertRejects(fn: () => PromiseLike<unknown>): Promise<unknown>;
  assertRejects<E extends Error>(
    fn: () => PromiseLike<unknown>,
    errorClass: AnyClass<E>,
    messageIncludes?: string,
    message?: string,
  ): Promise<E>;
  assertAlmostEquals(actual: number, expected: number, tolerance?: number, message?: string): void;
  assertStringIncludes(actual: string, expected: string, message?: string): void;
  assertMatch(actual: string, expected: RegExp, message?: string): void;
  assertInstanceOf<T>(actual: unknown, expectedClass: AnyClass<T>, message?: string): asserts actual is T;
  assertExists<T>(actual: T, message?: string): asserts actual is NonNullable<T>;
  assertGreater<T>(actual: T, expected: T, message?: string): void;
  assertGreaterOrEqual<T>(actual: T, expected: T, message?: string): void;
  assertLess<T>(actual: T, expected: T, message?: string): void;
  assertLessOrEqual<T>(actual: T, expected: T, message?: string): void;
  fail(message?: string): never;
}

/** The library, or null where it cannot be fetched. */
async function loadLibrary(): Promise<Assertions | null> {
  try {
    // Its own types are not there offline, so the interface above is what the tests are checked against.
    return await import("@std/assert") as unknown as Assertions;
  } catch {
    return null;
  }
}

const library = await loadLibrary();
const chosen: Assertions = library ?? standIn;

/** Which of the two is in use. */
export const assertionSource: "@std/assert" | "stand-in" = library === null ? "stand-in" : "@std/assert";

// Assertion signatures narrow only through names that carry a written type: hence the annotations.
export const assert: Assertions["assert"] = chosen.assert;
export const assertEquals: Assertions["assertEquals"] = chosen.assertEquals;
export const assertNotEquals: Assertions["assertNotEquals"] = chosen.assertNotEquals;
export const assertThrows: Assertions["assertThrows"] = chosen.assertThrows;
export const assertRejects: Assertions["assertRejects"] = chosen.assertRejects;
export const assertStringIncludes: Assertions["assertStringIncludes"] = chosen.assertStringIncludes;
export const assertMatch: Assertions["assertMatch"] = chosen.assertMatch;
export const assertInstanceOf: Assertions["assertInstanceOf"] = chosen.assertInstanceOf;
export const assertExists: Assertions["assertExists"] = chosen.assertExists;
export const assertGreater: Assertions["assertGreater"] = chosen.assertGreater;
export const assertGreaterOrEqual: Assertions["assertGreaterOrEqual"] = chosen.assertGreaterOrEqual;
export const assertLess: Assertions["assertLess"] = chosen.assertLess;
export const assertLessOrEqual: Assertions["assertLessOrEqual"] = chosen.assertLessOrEqual;
export const fail: Assertions["fail"] = chosen.fail;

/**
 * |actual - expected| <= tolerance (default 1e-7 of |expected|). NaN fails, on either side: the library
 * lets NaN equal NaN.
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  message?: string,
): void {
  if (Number.isNaN(actual) || Number.isNaN(expected)) {
    throw new AssertionError({
      message: `Expected ${actual} to be close to ${expected}, but NaN is close to nothing` +
        (message === undefined ? "" : `: ${message}`),
    });
  }
  chosen.assertAlmostEquals(actual, expected, tolerance, message);
}

/** Coordinates of a flat index in a row-major array of that shape, as "[0, 2, 1]". */
function coordinates(index: number, shape: readonly number[]): string {
  const result: number[] = [];
  let rest = index;
  for (const size of shape.toReversed()) {
    result.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return `[${result.join(", ")}]`;
}

/**
 * Every element within `tolerance`, measured as max |actual - expected| / max |expected| (absolute where all
 * expected values are 0). NaN or infinity on either side fails, and so do differing lengths and empty arrays:
 * a comparison of nothing proves nothing.
 * @param name what is compared, for the message, such as "v1 grad_P"
 * @param shape row-major shape, so that the message can give coordinates; default: one axis
 */
export function assertClose(
  name: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  shape: readonly number[] = [expected.length],
): void {
  const refuse = (what: string): never => {
    throw new AssertionError({ message: `${name}: ${what}` });
  };
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (actual.length !== expected.length) {
    refuse(`${actual.length} values where ${expected.length} were expected`);
  }
  if (expected.length === 0) refuse("nothing to compare, both sides are empty");
  if (size !== expected.length) {
    refuse(`the shape [${shape.join(", ")}] has ${size} elements, the values are ${expected.length}`);
  }
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    if (!Number.isFinite(expected[i])) refuse(`expected ${expected[i]} at ${coordinates(i, shape)}`);
    if (!Number.isFinite(actual[i])) {
      refuse(`got ${actual[i]} at ${coordinates(i, shape)}, expected ${expected[i]}`);
    }
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  const scale = largest === 0 ? 1 : largest;
  let worst = 0;
  let error = -1;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]) / scale;
    if (difference > error) [error, worst] = [difference, i];
  }
  if (error <= tolerance) return;
  const measure = largest === 0
    ? "absolute error"
    : `error relative to the largest magnitude ${largest.toPrecision(6)}:`;
  refuse(
    `worst at ${coordinates(worst, shape)}: got ${actual[worst]}, expected ${expected[worst]}; ` +
      `${measure} ${error.toExponential(3)} > tolerance ${tolerance}`,
  );
}
