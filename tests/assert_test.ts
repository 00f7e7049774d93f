/** The assertions themselves: each can fail, and says where. The stand-in is tested even where it is not used. */
import { AssertionError } from "node:assert";
import {
  assert,
  assertAlmostEquals,
  assertClose,
  assertEquals,
  assertExists,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import type { Assertions } from "./assert.ts";
import { standIn } from "./assert_stand_in.ts";

const check: Assertions = standIn;

/** The message of the failure that `fn` must end in. */
function failureOf(fn: () => void): string {
  try {
    fn();
  } catch (error) {
    if (error instanceof AssertionError) return error.message;
    throw error;
  }
  throw new Error("the assertion passed and should have failed");
}

Deno.test("stand-in: assertEquals compares by structure", () => {
  const pairs: [unknown, unknown, boolean][] = [
    [1, 1, true],
    [0, -0, true],
    [NaN, NaN, true],
    [1, "1", false],
    [null, undefined, false],
    [[1, [2]], [1, [2]], true],
    [[1, 2], [1, 2, 3], false],
    [new Float32Array([1, NaN]), new Float32Array([1, NaN]), true],
    [new Float32Array([1]), new Float64Array([1]), false],
    [new Float32Array([1]), new Float32Array([2]), false],
    [new BigInt64Array([1n]), new BigInt64Array([1n]), true],
    [new Map([["a", [1]]]), new Map([["a", [1]]]), true],
    [new Map([["a", [1]]]), new Map([["a", [2]]]), false],
    [new Set([{ a: 1 }]), new Set([{ a: 1 }]), true],
    [new Set([1]), new Set([2]), false],
    [{ a: { b: new Int32Array(2) } }, { a: { b: new Int32Array(2) } }, true],
    [{ a: undefined }, {}, false],
    [{ a: 1 }, { a: 1, b: 2 }, false],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }, true],
    [new Date(5), new Date(6), false],
    [new RangeError("a"), new RangeError("b"), false],
    [new ArrayBuffer(2), new ArrayBuffer(2), true],
  ];
  for (const [a, b, same] of pairs) {
    if (same) check.assertEquals(a, b);
    else assertThrows(() => check.assertEquals(a, b), AssertionError);
    if (same) assertThrows(() => check.assertNotEquals(a, b), AssertionError);
    else check.assertNotEquals(a, b);
  }
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;
  const other: Record<string, unknown> = {};
  other.self = other;
  check.assertEquals(cycle, other);
  assertStringIncludes(failureOf(() => check.assertEquals([1, 2], [1, 3], "the list")), "the list");
});

Deno.test("stand-in: assertThrows and assertRejects check class and message", async () => {
  const thrower = (): never => {
    throw new RangeError("too far left");
  };
  assertEquals(check.assertThrows(thrower, RangeError, "too far").message, "too far left");
  check.assertThrows(thrower);
  failureOf(() => void check.assertThrows(() => 1));
  failureOf(() => void check.assertThrows(thrower, TypeError));
  assertStringIncludes(failureOf(() => void check.assertThrows(thrower, RangeError, "right")), "right");
  const rejecter = (): Promise<never> => Promise.reject(new RangeError("too late"));
  assertEquals((await check.assertRejects(rejecter, RangeError, "late")).message, "too late");
  await assertRejects(() => check.assertRejects(rejecter, TypeError), AssertionError);
  await assertRejects(() => check.assertRejects(() => Promise.resolve(1)), AssertionError);
  await assertRejects(() => check.assertRejects(thrower), AssertionError);
});

Deno.test("stand-in: the small ones pass and fail", () => {
  check.assert(true);
  check.assertStringIncludes("abc", "bc");
  check.assertMatch("abc", /^a/);
  check.assertInstanceOf([], Array);
  check.assertExists(0);
  check.assertGreater(2, 1);
  check.assertGreaterOrEqual(2, 2);
  check.assertLess(1, 2);
  check.assertLessOrEqual(2, 2);
  check.assertAlmostEquals(1, 1.05, 0.1);
  failureOf(() => check.assert(0));
  failureOf(() => check.assertStringIncludes("abc", "x"));
  failureOf(() => check.assertMatch("abc", /^b/));
  failureOf(() => check.assertInstanceOf({}, Array));
  failureOf(() => check.assertExists(null));
  failureOf(() => check.assertGreater(2, 2));
  failureOf(() => check.assertGreaterOrEqual(NaN, 2));
  failureOf(() => check.assertLess(NaN, 2));
  failureOf(() => check.assertLessOrEqual(NaN, 2));
  failureOf(() => check.assertAlmostEquals(1, 1.2, 0.1));
  failureOf(() => check.fail("here"));
});

Deno.test("assertAlmostEquals: NaN never passes", () => {
  assertAlmostEquals(1, 1 + 1e-9);
  failureOf(() => assertAlmostEquals(NaN, NaN));
  failureOf(() => assertAlmostEquals(NaN, 1, Infinity));
  failureOf(() => assertAlmostEquals(1, NaN, Infinity));
});

Deno.test("assertClose: says name, coordinates, values, error and tolerance", () => {
  assertClose("equal", [1, 2], new Float32Array([1, 2]), 0);
  assertClose("relative to the largest", [0.01, 1000], [0, 1000], 1e-5);
  assertClose("absolute where all is 0", [1e-6, 0], [0, 0], 1e-5);
  const message = failureOf(() => assertClose("grad_P", [0, 0, 0, 0, 3, 0], [0, 0, 0, 0, 4, 0], 0.1, [2, 3]));
  assertEquals(
    message,
    "grad_P: worst at [1, 1]: got 3, expected 4; " +
      "error relative to the largest magnitude 4.00000: 2.500e-1 > tolerance 0.1",
  );
  assertStringIncludes(failureOf(() => assertClose("x", [1], [0], 0.1)), "absolute error 1.000e+0");
  assertStringIncludes(failureOf(() => assertClose("x", [0, NaN], [0, 1], Infinity)), "got NaN at [1]");
  assertStringIncludes(failureOf(() => assertClose("x", [Infinity], [1], Infinity)), "got Infinity at [0]");
  assertStringIncludes(failureOf(() => assertClose("x", [1], [NaN], Infinity)), "expected NaN at [0]");
  assertStringIncludes(failureOf(() => assertClose("x", [1], [1, 2], 1)), "1 values where 2 were expected");
  assertStringIncludes(failureOf(() => assertClose("x", [], [], 1)), "nothing to compare");
  assertStringIncludes(failureOf(() => assertClose("x", [1], [1], 1, [2])), "the shape [2] has 2 elements");
  failureOf(() => assertClose("x", [1], [1], NaN));
});

Deno.test("assertion signatures narrow", () => {
  const value: number | undefined = [1].at(0);
  assertExists(value);
  const sure: number = value;
  assert(sure === 1);
});
