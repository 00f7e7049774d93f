/**
 * What the tasks print, beside their progress.
 * @module
 */

/** Writes a line to the standard output, at once. Needs no permission. */
export function say(line = ""): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
}

/**
 * Rows below one another in columns as wide as their widest cell, two spaces apart.
 * @param alignLeft columns whose cells start, rather than end, at a common edge
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(tableLines([["seed", "lag"], ["3", "14.00"]]), ["seed    lag", "   3  14.00"]);
 * ```
 */
export function tableLines(
  rows: readonly (readonly string[])[],
  alignLeft: readonly number[] = [],
): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row.map((cell, column) =>
      alignLeft.includes(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
    ).join("  ").trimEnd()
  );
}

/** `147 MiB`, `1.4 GiB`. */
export function formatBytes(bytes: number): string {
  const mebibytes = bytes / 2 ** 20;
  if (mebibytes >= 1000) return `${(mebibytes / 1024).toFixed(1)} GiB`;
  return `${mebibytes >= 10 ? Math.round(mebibytes) : +mebibytes.toFixed(1)} MiB`;
}

/** `0.43 s`, `12.3 s`, `2:05`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
