/** Data files that arrive through npm are compared with the fingerprint of the original before they are used. */
import { createHash } from "node:crypto";

/**
 * Refuses bytes that are not those expected. MD5 is what MNIST's files are known by; it is here against damage,
 * not against forgery.
 * @param file the file, for the message
 * @param md5 its digest, in hexadecimal digits
 * @param fix what to do about another digest
 * @throws {Error} "Cannot use <file>: ..." if the digest differs
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { checkMd5 } from "./integrity.ts";
 *
 * checkMd5("empty", new Uint8Array(0), "d41d8cd98f00b204e9800998ecf8427e", "get it again");
 * assert.throws(() => checkMd5("a", Uint8Array.of(1), "d41d8cd98f00b204e9800998ecf8427e", "get it again"));
 * ```
 */
export function checkMd5(file: string, bytes: Uint8Array, md5: string, fix: string): void {
  const digest = createHash("md5").update(bytes).digest("hex");
  if (digest !== md5) throw new Error(`Cannot use ${file}: its MD5 must be ${md5}, got ${digest}; ${fix}`);
}

/** What a failed read or import gave as its reason: the first line of its message. */
export function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
