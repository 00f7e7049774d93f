/**
 * The header of a safetensors file: 8 bytes of length (little-endian), then that many bytes of JSON that give
 * each tensor's element type, shape and place in the data section that follows. Everything is checked before
 * anything is used, since files come from strangers.
 *
 * Format: https://huggingface.co/docs/safetensors/index#format
 */
import { DTYPES, isDtype } from "./safetensors_dtypes.ts";
import type { SafetensorsDtype } from "./safetensors_dtypes.ts";

/** Longest header that is read, in bytes: the limit of the format's own implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Deepest nesting of the header's JSON. The format needs 3; more may come in fields that are ignored here. */
const MAX_DEPTH = 8;

/** A tensor's entry in the header, checked. Offsets count bytes from the start of the data section. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

/** A checked header. */
export interface Header {
  /** In the order of the data section, which they cover without overlap or hole. */
  readonly entries: readonly HeaderEntry[];
  /** Without a prototype. */
  readonly metadata: Record<string, string>;
  /** Where the data section starts in the file. */
  readonly dataStart: number;
}

/** Throws the one class of error that reading a bad file gives. */
function refuse(rule: string): never {
  throw new SyntaxError(`Cannot read safetensors: ${rule}`);
}

/** A value from the file as it may stand in a message: short, whatever the file holds. */
function show(value: unknown): string {
  const text = JSON.stringify(typeof value === "string" ? value.slice(0, 100) : value);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Whether brackets nest deeper than any header needs (a tensor's shape is at level 3). Checked before parsing,
 * which takes seconds and gigabytes for a header of brackets alone.
 * @param text anything
 */
function nestsTooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (inString) {
      if (character === "\\") i++;
      else if (character === '"') inString = false;
    } else if (character === '"') inString = true;
    else if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

/**
 * A name that one object of the JSON text holds twice, which `JSON.parse` would hide; null if there is none.
 * @param text valid JSON
 */
function findDuplicateName(text: string): string | null {
  // The names seen in each object around the current place; null for an array.
  const open: (Set<string> | null)[] = [];
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(null);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const start = i;
      let escaped = false;
      for (i++; text[i] !== '"'; i++) {
        if (text[i] !== "\\") continue;
        escaped = true;
        i++;
      }
      const names = open.at(-1);
      let next = i + 1;
      while (" \t\n\r".includes(text.charAt(next)) && next < text.length) next++;
      if (names === undefined || names === null || text[next] !== ":") continue;
      // Unescaped, since "a" and "\u0061" are one name.
      const name: string = escaped ? JSON.parse(text.slice(start, i + 1)) : text.slice(start + 1, i);
      if (names.has(name)) return name;
      names.add(name);
    }
  }
  return null;
}

function parseJson(bytes: Uint8Array): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    refuse("the header must be UTF-8, got other bytes");
  }
  if (nestsTooDeep(text)) refuse(`the header must be JSON of at most ${MAX_DEPTH} levels, got ${show(text)}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    refuse(`the header must be JSON, got ${show(text)} (${(error as Error).message})`);
  }
  if (!isObject(value)) refuse(`the header must be a JSON object, got ${show(value)}`);
  const duplicate = findDuplicateName(text);
  if (duplicate !== null) refuse(`names in the header must be unique, got ${show(duplicate)} twice`);
  return value;
}

function checkMetadata(value: unknown): Record<string, string> {
  const metadata: Record<string, string> = Object.create(null);
  if (value === undefined) return metadata;
  if (!isObject(value)) refuse(`__metadata__ must be an object of strings, got ${show(value)}`);
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      refuse(`__metadata__ must hold strings, got ${show(text)} for ${show(name)}`);
    }
    metadata[name] = text;
  }
  return metadata;
}

/** Whether this is a count of elements or bytes that arithmetic here cannot distort. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function checkEntry(name: string, value: unknown, dataBytes: number): HeaderEntry {
  const tensor = `tensor ${show(name)}`;
  if (!isObject(value)) refuse(`${tensor} must be described by an object, got ${show(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    refuse(`${tensor} must have a dtype of ${Object.keys(DTYPES).join(", ")}, got ${show(dtype ?? null)}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    refuse(`${tensor} must have a shape of integers >= 0, got ${show(shape ?? null)}`);
  }
  const bytes = shape.reduce((product, extent) => product * extent, DTYPES[dtype].size);
  // Without zeros, since a shape such as [2^52, 2^52, 0] has no elements, but overflows in other readers.
  const withoutZeros = shape.reduce((product, extent) => product * (extent || 1), DTYPES[dtype].size);
  if (!Number.isSafeInteger(withoutZeros)) {
    refuse(`${tensor} must fit into 2^53 bytes, got shape ${show(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    refuse(`${tensor} must have data_offsets of two integers >= 0, got ${show(offsets ?? null)}`);
  }
  const [begin, end] = offsets;
  if (begin > end) refuse(`${tensor} must begin before it ends, got data_offsets ${show(offsets)}`);
  if (end > dataBytes) {
    refuse(
      `${tensor} must end within the ${dataBytes} bytes of data, got data_offsets ${show(offsets)}; ` +
        `is the file truncated?`,
    );
  }
  if (end - begin !== bytes) {
    refuse(
      `${tensor} of dtype ${dtype} and shape ${show(shape)} must have ${bytes} bytes, ` +
        `got ${end - begin} by data_offsets ${show(offsets)}`,
    );
  }
  return { name, dtype, shape: shape.map((extent) => extent + 0), begin, end };
}

/** Refuses entries, sorted by place, that overlap or leave bytes of the data section to nobody. */
function checkCoverage(entries: readonly HeaderEntry[], dataBytes: number): void {
  let covered = 0;
  let previous = "";
  for (const { name, begin, end } of entries) {
    if (begin < covered) {
      refuse(
        `tensors must not overlap, got ${
          show(name)
        } from byte ${begin} and ${previous} up to byte ${covered}`,
      );
    }
    if (begin > covered) {
      refuse(`data must not have holes, got bytes ${covered} to ${begin} before ${show(name)} unused`);
    }
    covered = end;
    previous = show(name);
  }
  if (covered < dataBytes) {
    refuse(`data must not go on after the last tensor, got ${dataBytes - covered} bytes more`);
  }
}

/**
 * Reads and checks the header of a whole file.
 * @throws {SyntaxError} "Cannot read safetensors: ..." for whatever is wrong with the file
 */
export function readHeader(file: Uint8Array): Header {
  if (file.length < 8) refuse(`a file must start with 8 bytes of header length, got ${file.length} bytes`);
  const length = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    refuse(`the header must be at most ${MAX_HEADER_BYTES} bytes long, got a length of ${length}`);
  }
  const dataStart = 8 + Number(length);
  if (dataStart > file.length) {
    refuse(
      `the header must end within the file, got a header of ${length} bytes in a file of ${file.length}; ` +
        `is the file truncated?`,
    );
  }
  // Copied: decoders refuse shared memory.
  const json = parseJson(new Uint8Array(file.subarray(8, dataStart)));
  const metadata = checkMetadata(Object.hasOwn(json, "__metadata__") ? json.__metadata__ : undefined);
  const dataBytes = file.length - dataStart;
  const entries = Object.entries(json)
    .filter(([name]) => name !== "__metadata__")
    .map(([name, value]) => checkEntry(name, value, dataBytes))
    .sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, dataBytes);
  return { entries, metadata, dataStart };
}
