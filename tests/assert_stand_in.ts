/**
 * Stand-in for `@std/assert` on `node:assert`, for machines that cannot reach JSR. The verdicts are the
 * library's: in particular NaN equals NaN and 0 equals -0 in `assertEquals`, and an object without a prototype
 * equals a plain one. Import from `assert.ts`, which chooses; this file is not for tests to import directly.
 * @module
 */
import { AssertionError } from "node:assert";
import { inspect } from "node:util";
import type { AnyClass, Assertions } from "./assert.ts";

function throwFailure(what: string, message: string | undefined): never {
  throw new AssertionError({ message: message === undefined ? what : `${what}: ${message}` });
}

/** Plain objects and objects without a prototype count as one kind. */
function kindOf(value: object): unknown {
  return Object.getPrototypeOf(value) ?? Object.prototype;
}

function equalSets(a: Set<unknown>, b: Set<unknown>, seen: Map<object, object>): boolean {
  return a.size === b.size && [...a].every((x) => b.has(x) || [...b].some((y) => equal(x, y, seen)));
}

function equalMaps(
  a: Map<unknown, unknown>,
  b: Map<unknown, unknown>,
  seen: Map<object, object>,
): boolean {
  return a.size === b.size &&
    [...a].every(([key, value]) =>
      b.has(key)
        ? equal(value, b.get(key), seen)
        : [...b].some(([otherKey, other]) => equal(key, otherKey, seen) && equal(value, other, seen))
    );
}

function equalElements(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i] && !(Number.isNaN(a[i]) && Number.isNaN(b[i]))) return false;
  }
  return true;
}

/** Structural equality. `seen` holds the pairs under comparison, so that cycles end. */
function equal(a: unknown, b: unknown, seen: Map<object, object> = new Map()): boolean {
  if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (kindOf(a) !== kindOf(b)) return false;
  if (seen.get(a) === b) return true;
  seen.set(a, b);
  if (a instanceof Date && b instanceof Date) return equal(a.getTime(), b.getTime());
  if (a instanceof RegExp && b instanceof RegExp) return String(a) === String(b);
  if (a instanceof Set && b instanceof Set) return equalSets(a, b, seen);
  if (a instanceof Map && b instanceof Map) return equalMaps(a, b, seen);
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) {
    return equalElements(new Uint8Array(a), new Uint8Array(b));
  }
  if (a instanceof DataView && b instanceof DataView) {
    const bytes = (view: DataView): Uint8Array =>
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    return equalElements(bytes(a), bytes(b));
  }
  // Typed arrays one by one: as objects, millions of elements would become millions of string keys.
  if (ArrayBuffer.isView(a) && ArrayBuffer.isView(b)) {
    return equalElements(a as unknown as ArrayLike<unknown>, b as unknown as ArrayLike<unknown>);
  }
  if (a instanceof Error && b instanceof Error && (a.name !== b.name || a.message !== b.message)) {
    return false;
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false;
  const left = a as Record<PropertyKey, unknown>;
  const right = b as Record<PropertyKey, unknown>;
  const keys = Reflect.ownKeys(a).filter((key) => Object.prototype.propertyIsEnumerable.call(a, key));
  const otherKeys = Reflect.ownKeys(b).filter((key) => Object.prototype.propertyIsEnumerable.call(b, key));
  return keys.length === otherKeys.length &&
    keys.every((key) => Object.hasOwn(b, key) && equal(left[key], right[key], seen));
}

/** The checks that assertThrows and assertRejects share. */
function checkError<E extends Error>(
  error: unknown,
  errorClass: AnyClass<E> | undefined,
  messageIncludes: string | undefined,
  message: string | undefined,
): E {
  if (errorClass !== undefined && !(error instanceof errorClass)) {
    const got = error instanceof Error ? `${error.constructor.name}: ${error.message}` : inspect(error);
    throwFailure(`Expected an error of class ${errorClass.name}, got ${got}`, message);
  }
  if (messageIncludes !== undefined && !(error as Error).message.includes(messageIncludes)) {
    throwFailure(
      `Expected the error's message to include "${messageIncludes}", got "${(error as Error).message}"`,
      message,
    );
  }
  return error as E;
}

function compare(
  holds: (actual: unknown, expected: unknown) => boolean,
  relation: string,
): <T>(actual: T, expected: T, message?: string) => void {
  return (actual, expected, message) => {
    if (!holds(actual, expected)) {
      throwFailure(`Expected ${inspect(actual)} ${relation} ${inspect(expected)}`, message);
    }
  };
}

// The operands are of any one type that the language can order; numbers in practice.
const less = (a: unknown, b: unknown): boolean => (a as number) < (b as number);
const lessOrEqual = (a: unknown, b: unknown): boolean => (a as number) <= (b as number);

/** The stand-in, under the library's names. */
export const standIn: Assertions = {
  assert(condition: unknown, message?: string): asserts condition {
    if (!condition) throw new AssertionError({ message: message ?? "Assertion failed" });
  },
  assertEquals<T>(actual: T, expected: T, message?: string): void {
    if (equal(actual, expected)) return;
    const difference = new AssertionError({ actual, expected, operator: "deepStrictEqual" }).message;
    throwFailure(difference, message);
  },
  assertNotEquals<T>(actual: T, expected: T, message?: string): void {
    if (equal(actual, expected)) {
      throwFailure(`Expected anything but ${inspect(expected, { depth: 4 })}`, message);
    }
  },
  assertThrows<E extends Error>(
    fn: () => unknown,
    errorClass?: AnyClass<E>,
    messageIncludes?: string,
    message?: string,
  ): E {
    let error: unknown;
    try {
      fn();
    } catch (thrown) {
      error = thrown;
      return checkError(error, errorClass, messageIncludes, message);
    }
    throwFailure("Expected the function to throw", message);
  },
  async assertRejects<E extends Error>(
    fn: () => PromiseLike<unknown>,
    errorClass?: AnyClass<E>,
    messageIncludes?: string,
    message?: string,
  ): Promise<E> {
    let promise: PromiseLike<unknown>;
    try {
      promise = fn();
    } catch (error) {
      throwFailure(`Expected a rejected promise, but the function threw ${inspect(error)}`, message);
    }
    try {
      await promise;
    } catch (error) {
      return checkError(error, errorClass, messageIncludes, message);
    }
    throwFailure("Expected the promise to reject", message);
  },
  assertAlmostEquals(actual: number, expected: number, tolerance?: number, message?: string): void {
    const limit = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
    if (Object.is(actual, expected) || Math.abs(actual - expected) <= limit) return;
    throwFailure(
      `Expected ${actual} to be within ${limit} of ${expected}, it is ${Math.abs(actual - expected)} off`,
      message,
    );
  },
  assertStringIncludes(actual: string, expected: string, message?: string): void {
    if (!actual.includes(expected)) throwFailure(`Expected "${actual}" to include "${expected}"`, message);
  },
  assertMatch(actual: string, expected: RegExp, message?: string): void {
    if (!expected.test(actual)) throwFailure(`Expected "${actual}" to match ${expected}`, message);
  },
  assertInstanceOf<T>(actual: unknown, expectedClass: AnyClass<T>, message?: string): asserts actual is T {
    if (!(actual instanceof expectedClass)) {
      throwFailure(`Expected an instance of ${expectedClass.name}, got ${inspect(actual)}`, message);
    }
  },
  assertExists<T>(actual: T, message?: string): asserts actual is NonNullable<T> {
    if (actual === undefined || actual === null) {
      throwFailure(`Expected a value that is neither null nor undefined, got ${actual}`, message);
    }
  },
  assertGreater: compare((a, b) => less(b, a), ">"),
  assertGreaterOrEqual: compare((a, b) => lessOrEqual(b, a), ">="),
  assertLess: compare(less, "<"),
  assertLessOrEqual: compare(lessOrEqual, "<="),
  fail(message?: string): never {
    throw new AssertionError({ message: message === undefined ? "Failed" : `Failed: ${message}` });
  },
};
