/** Findings of autotune as a file keeps them. */

/** What was found about one pass of a convolution. */
export interface Entry {
  readonly algorithm: string;
  /** Of one run, by algorithm. */
  readonly milliseconds: Readonly<Record<string, number>>;
}

/** Entries by adapter, then by convolution. */
export type Table = Record<string, Record<string, Entry>>;

const FORMAT = "dcls-autotune", VERSION = 1;

/** A file's content. */
export function writeTable(table: Table): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, adapters: table }, null, 2) + "\n";
}

/** What a file holds; nothing, and a warning, where it cannot be read or is not whole. */
export async function readTable(file: string, warn: (message: string) => void): Promise<Table> {
  let problem: string;
  try {
    const { adapters, problem: found } = parseTable(await Deno.readTextFile(file));
    if (adapters) return adapters;
    problem = found;
  } catch (error) {
    if (error instanceof Error && error.name === "NotFound") return {};
    problem = error instanceof Error ? error.message : String(error);
  }
  warn(`Cannot use the findings of autotune in ${file}: ${problem}. They are measured again`);
  return {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEntry(value: unknown): value is Entry {
  if (!isRecord(value) || !isRecord(value.milliseconds) || typeof value.algorithm !== "string") return false;
  const times = Object.entries(value.milliseconds);
  return times.some(([name]) => name === value.algorithm) &&
    times.every(([, time]) => typeof time === "number" && time >= 0);
}

/** The table of a content, or why there is none: it is believed whole or not at all. */
export function parseTable(
  text: string,
): { adapters: Table; problem: "" } | { adapters: null; problem: string } {
  const refuse = (problem: string): { adapters: null; problem: string } => ({ adapters: null, problem });
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return refuse(`it is not JSON, ${(error as Error).message}`);
  }
  if (!isRecord(content) || content.format !== FORMAT) return refuse(`its format must be ${FORMAT}`);
  if (content.version !== VERSION) {
    return refuse(`its version must be ${VERSION}, got ${JSON.stringify(content.version)}`);
  }
  const { adapters } = content;
  if (!isRecord(adapters)) return refuse("it lacks its adapters");
  for (const findings of Object.values(adapters)) {
    const bad = isRecord(findings)
      ? Object.entries(findings).find(([, entry]) => !isEntry(entry))
      : ["an adapter"];
    if (bad) return refuse(`${bad[0]} holds no finding`);
  }
  return { adapters: adapters as Table, problem: "" };
}
