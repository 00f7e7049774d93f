/** Scopes: what is made inside `tidy` and not returned is given back at its end. */

/** Anything that can be given back. */
export interface Releasable {
  /** Gives it back. */
  dispose(): void;
}

const scopes: Set<Releasable>[] = [];

/** Registers with the innermost scope, where there is one. */
export function addToScope(item: Releasable): void {
  scopes.at(-1)?.add(item);
}

/** Takes an item out of every scope, because it was given back or is to outlive them. */
export function removeFromScopes(item: Releasable): void {
  for (const scope of scopes) scope.delete(item);
}

/**
 * Keeps a tensor alive beyond the `tidy` around it.
 * @returns the same tensor
 */
export function keep<T extends Releasable>(item: T): T {
  removeFromScopes(item);
  return item;
}

/**
 * Runs `body` and disposes every tensor made in it, except those it returns (alone, in an array or in an object),
 * parameters, gradients, and what {@linkcode keep} was called on.
 *
 * @throws {TypeError} when `body` returns a promise: ops are synchronous, await outside
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, memory, ones, tidy } from "@dcls/dcls";
 *
 * await init();
 * const before = memory().buffers;
 * const total = tidy(() => ones([3, 4]).mul(2).sum());
 * assert.equal(await total.item(), 24);
 * total.dispose();
 * assert.equal(memory().buffers, before);
 * ```
 */
export function tidy<T>(body: () => T): T {
  const scope = new Set<Releasable>();
  scopes.push(scope);
  let result: T | undefined;
  try {
    result = body();
    if (result instanceof Promise) {
      throw new TypeError(
        "Cannot tidy an asynchronous function: build ops inside tidy, await their data outside",
      );
    }
    return result;
  } finally {
    scopes.splice(scopes.lastIndexOf(scope), 1);
    const kept = new Set(returned(result).filter((item) => scope.delete(item)));
    for (const item of scope) item.dispose();
    for (const item of kept) addToScope(item);
  }
}

function isReleasable(value: unknown): value is Releasable {
  return typeof value === "object" && value !== null && "dispose" in value &&
    typeof value.dispose === "function";
}

function returned(value: unknown): Releasable[] {
  if (isReleasable(value)) return [value];
  if (Array.isArray(value)) return value.flatMap(returned);
  if (value && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.values(value).flatMap(returned);
  }
  return [];
}
