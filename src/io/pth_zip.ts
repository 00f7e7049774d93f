/**
 * The records of a zip archive as `torch.save` writes it: stored without compression, so that each is a stretch
 * of the file and nothing is copied. Files come from strangers: every offset is checked, and records must not
 * overlap, so that no small file can stand for a large one.
 *
 * Written here rather than taken from a package: what is needed is the directory alone (packages inflate, copy
 * and trust sizes), and the library stands on no package.
 */
import { crc32 } from "./crc32.ts";
import { refuse, show } from "./pth_refusal.ts";

/** A record of the archive. */
export interface ZipRecord {
  /** Its stretch of the file: its content, unless it is compressed. */
  readonly bytes: Uint8Array;
  /** How it is stored: 0 for as it is. */
  readonly method: number;
  /** CRC-32 of the content, as the archive has it. */
  readonly crc32: number;
}

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50;
/** Bytes of the fixed parts. */
const LOCAL_BYTES = 30, CENTRAL_BYTES = 46, END_BYTES = 22, END64_BYTES = 56, LOCATOR64_BYTES = 20;

/** First bytes of what `torch.save` wrote before version 1.6: a pickled magic number. */
const LEGACY = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

const CONVERT =
  'load and save it in PyTorch: torch.save(torch.load("old.pth", map_location="cpu"), "new.pth")';

/** Refuses what is no zip archive, with a word on what it is. */
function checkKind(file: Uint8Array): void {
  if (LEGACY.every((byte, i) => file[i] === byte)) {
    refuse(`the file must be of PyTorch 1.6 or later, got its older format; ${CONVERT}`);
  }
  const text = (from: number, to: number): string => String.fromCharCode(...file.subarray(from, to));
  if (text(257, 262) === "ustar") refuse(`the file must be a zip archive, got a tar archive; ${CONVERT}`);
  if (text(0, 2) === "PK") return;
  const hint = file[8] === 0x7b ? "; readSafetensors reads safetensors" : "";
  refuse(`the file must be a zip archive as torch.save writes it, got other bytes${hint}`);
}

/** Where the directory of the archive is, and how many records it lists. */
function findDirectory(file: Uint8Array, view: DataView): { count: number; begin: number; end: number } {
  let at = file.length - END_BYTES;
  // The end record may be followed by a comment of up to 65,535 bytes.
  const lowest = Math.max(0, at - 0xffff);
  const isEnd = (i: number): boolean =>
    view.getUint32(i, true) === END && i + END_BYTES + view.getUint16(i + 20, true) === file.length;
  while (at >= lowest && !isEnd(at)) at--;
  if (at < lowest) refuse("the archive must end with its directory, got none; is the file truncated?");
  let count = view.getUint16(at + 10, true);
  let bytes = view.getUint32(at + 12, true);
  let begin = view.getUint32(at + 16, true);
  let limit = at;
  if (count === 0xffff || bytes === 0xffffffff || begin === 0xffffffff) {
    // Too large for the old fields: those of zip64 hold.
    const locator = at - LOCATOR64_BYTES;
    if (locator < 0 || view.getUint32(locator, true) !== LOCATOR64) {
      refuse("a large archive must have a zip64 directory, got none");
    }
    const end64 = Number(view.getBigUint64(locator + 8, true));
    if (!(end64 <= locator - END64_BYTES) || view.getUint32(end64, true) !== END64) {
      refuse("a large archive must have a zip64 directory, got one out of place");
    }
    count = Number(view.getBigUint64(end64 + 32, true));
    bytes = Number(view.getBigUint64(end64 + 40, true));
    begin = Number(view.getBigUint64(end64 + 48, true));
    limit = end64;
  }
  if (!(begin + bytes <= limit) || !(count * CENTRAL_BYTES <= bytes)) {
    refuse(
      `the archive's directory must lie within the file, got ${count} records in ${bytes} bytes from ${begin}`,
    );
  }
  return { count, begin, end: begin + bytes };
}

/** The sizes and the place that the zip64 field of a directory entry gives, in its fixed order. */
function* zip64Values(view: DataView, begin: number, end: number): Generator<number> {
  for (let at = begin; at + 4 <= end;) {
    const id = view.getUint16(at, true);
    const next = at + 4 + view.getUint16(at + 2, true);
    if (id === 1 && next <= end) {
      for (let i = at + 4; i + 8 <= next; i += 8) yield Number(view.getBigUint64(i, true));
      return;
    }
    at = next;
  }
}

/**
 * The records by name. Nothing is copied, and their content not looked at.
 * @throws {SyntaxError} "Cannot read pth: ..." for another kind of file, one that is truncated or encrypted, records
 * that overlap or reach out of the file, and names that come twice
 */
export function readRecords(file: Uint8Array): Map<string, ZipRecord> {
  checkKind(file);
  if (file.length < END_BYTES) refuse(`the file must be a whole zip archive, got ${file.length} bytes`);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const { count, begin, end } = findDirectory(file, view);
  const decoder = new TextDecoder("utf-8", { fatal: true });
  // Copied: decoders refuse shared memory.
  const nameAt = (from: number, length: number): string => {
    try {
      return decoder.decode(file.slice(from, from + length));
    } catch {
      refuse("names of records must be UTF-8, got other bytes");
    }
  };
  const records = new Map<string, ZipRecord>();
  const places: { name: string; from: number; to: number }[] = [];
  let at = begin;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > end || view.getUint32(at, true) !== CENTRAL) {
      refuse(`the archive's directory must list ${count} records, got ${i}`);
    }
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const sum = view.getUint32(at + 16, true);
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      view.getUint16(at + field, true)
    );
    const extra = at + CENTRAL_BYTES + nameBytes;
    const next = extra + extraBytes + commentBytes;
    if (next > end) refuse(`the archive's directory must list ${count} records, got ${i} and a part`);
    const large = zip64Values(view, extra, extra + extraBytes);
    const read = (field: number): number => {
      const value = view.getUint32(at + field, true);
      return value === 0xffffffff ? large.next().value ?? value : value;
    };
    const [size, stored, from] = [read(24), read(20), read(42)];
    const name = nameAt(at + CENTRAL_BYTES, nameBytes);
    const record = `record ${show(name)}`;
    if (flags & 1) refuse(`records must not be encrypted, got ${record}`);
    if (method === 0 && size !== stored) {
      refuse(`${record} must have one size, got ${size} and ${stored}; is the file damaged?`);
    }
    if (records.has(name)) refuse(`names of records must be unique, got ${show(name)} twice`);
    if (!(from + LOCAL_BYTES <= begin) || view.getUint32(from, true) !== LOCAL) {
      refuse(`${record} must have its header at byte ${from}, got none; is the file damaged?`);
    }
    const data = from + LOCAL_BYTES + view.getUint16(from + 26, true) + view.getUint16(from + 28, true);
    if (view.getUint16(from + 26, true) !== nameBytes || nameAt(from + LOCAL_BYTES, nameBytes) !== name) {
      refuse(`${record} must have that name in its header, got another`);
    }
    if (!(data + stored <= begin)) {
      refuse(`${record} must end before the directory at byte ${begin}, got ${stored} bytes from ${data}`);
    }
    records.set(name, { bytes: file.subarray(data, data + stored), method, crc32: sum });
    places.push({ name, from, to: data + stored });
    at = next;
  }
  places.sort((a, b) => a.from - b.from);
  for (let i = 1; i < places.length; i++) {
    if (places[i].from >= places[i - 1].to) continue;
    refuse(`records must not overlap, got ${show(places[i - 1].name)} and ${show(places[i].name)}`);
  }
  return records;
}

/**
 * The content of a record.
 * @param checksum whether to compare it with the archive's checksum
 * @throws {SyntaxError} "Cannot read pth: ..." if it is compressed (nothing is ever inflated) or its checksum differs
 */
export function openRecord(name: string, record: ZipRecord, checksum: boolean): Uint8Array {
  const { bytes, method, crc32: expected } = record;
  if (method !== 0) {
    refuse(
      `records must be stored without compression, as torch.save stores them, got ${show(name)} by method ` +
        `${method}; ${CONVERT}`,
    );
  }
  const sum = checksum ? crc32(bytes) : expected;
  if (sum === expected) return bytes;
  const hex = (value: number): string => value.toString(16).padStart(8, "0");
  refuse(
    `record ${show(name)} must have the checksum ${hex(expected)}, got ${
      hex(sum)
    }; the file is damaged, or was ` +
      "saved without checksums: then read it with { checksums: false }",
  );
}
