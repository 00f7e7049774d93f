/** Files that are either the old one or the new one, never half of one. */

/**
 * Writes a file so that whatever happens (a full disk, a killed process, a power cut), `path` holds either the
 * previous file, whole, or the new one, whole. The bytes go to a temporary file beside it, are flushed to the
 * disk, and the temporary file takes the name. It is removed if any of this fails; only a killed process can
 * leave one behind, named `<path>.<random>.tmp`.
 * @param path where to write; its directory must exist
 * @param bytes the whole content; a string is written as UTF-8
 * @throws {Error} "Cannot write <path>: ..." with the system's error as `cause`
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { writeFileAtomic } from "@dcls/dcls/io";
 *
 * const directory = await Deno.makeTempDir();
 * await writeFileAtomic(`${directory}/config.json`, "{}");
 * assert.equal(await Deno.readTextFile(`${directory}/config.json`), "{}");
 * await Deno.remove(directory, { recursive: true });
 * ```
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  // Loaded here, so that a browser can load this module, too.
  const { open, rename, rm } = await import("node:fs/promises");
  const { dirname } = await import("node:path");
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    // "wx": never write into a file that is there already.
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      // Without this, the rename could reach the disk before the content does.
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`Cannot write ${path}: ${reason}; what was there before is unchanged`, { cause });
  }
  await syncDirectory(dirname(path));
}

/** Flushes a directory, so that a rename in it survives a power cut. Some systems cannot: then it is their best. */
async function syncDirectory(path: string): Promise<void> {
  const { open } = await import("node:fs/promises");
  try {
    const directory = await open(path, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch {
    // Windows cannot open a directory; the file itself is flushed and in place.
  }
}
