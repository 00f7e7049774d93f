/** Zip archives and pickles made byte by byte, for files that PyTorch would not write. */

/** What may differ from a plain stored record. */
export interface RecordOptions {
  /** Compression method. Default 0, stored. */
  readonly method?: number;
  /** General flags. Default 0; bit 0 says encrypted. */
  readonly flags?: number;
  /** Uncompressed size that the directory claims. Default: the real one. */
  readonly claimed?: number;
}

/** A record: its name and content. */
export type RecordInput = readonly [name: string, bytes: Uint8Array, options?: RecordOptions];

/** CRC-32 bit by bit: another way than the module's. */
export function slowCrc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

function little(size: number, value: number): number[] {
  return Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256);
}

function join(pieces: readonly (readonly number[] | Uint8Array)[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** A zip archive of those records; `zip64` puts places and sizes into the fields of large archives. */
export function zipOf(records: readonly RecordInput[], zip64 = false): Uint8Array<ArrayBuffer> {
  const file: (number[] | Uint8Array)[] = [];
  const directory: number[] = [];
  let begin = 0;
  for (const [name, bytes, { method = 0, flags = 0, claimed = bytes.length } = {}] of records) {
    const label = [...new TextEncoder().encode(name)];
    const sizes = [...little(4, slowCrc32(bytes)), ...little(4, bytes.length), ...little(4, claimed)];
    const common = [20, 0, ...little(2, flags), ...little(2, method), 0, 0, 0x21, 0];
    const header = [0x50, 0x4b, 3, 4, ...common, ...sizes, ...little(2, label.length), 0, 0, ...label];
    file.push(header, bytes);
    const large = zip64 ? [1, 0, 24, 0, ...[claimed, bytes.length, begin].flatMap((v) => little(8, v))] : [];
    const full = [255, 255, 255, 255];
    directory.push(0x50, 0x4b, 1, 2, 20, 0, ...common);
    directory.push(...(zip64 ? [...sizes.slice(0, 4), ...full, ...full] : sizes));
    directory.push(...little(2, label.length), ...little(2, large.length), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    directory.push(...(zip64 ? full : little(4, begin)), ...label, ...large);
    begin += header.length + bytes.length;
  }
  file.push(directory);
  if (zip64) {
    const counts = [records.length, records.length, directory.length, begin].flatMap((v) => little(8, v));
    file.push([0x50, 0x4b, 6, 6, ...little(8, 44), 45, 0, 45, 0, ...little(8, 0), ...counts]);
    file.push([0x50, 0x4b, 6, 7, 0, 0, 0, 0, ...little(8, begin + directory.length), 1, 0, 0, 0]);
  }
  const counts = zip64 ? [255, 255, 255, 255] : [...little(2, records.length), ...little(2, records.length)];
  const places = zip64 ? new Array(8).fill(255) : [...little(4, directory.length), ...little(4, begin)];
  file.push([0x50, 0x4b, 5, 6, 0, 0, 0, 0, ...counts, ...places, 0, 0]);
  return join(file);
}

/** Opcodes as text, each character a byte; protocol and STOP are added. */
export function pickleOf(...parts: string[]): Uint8Array<ArrayBuffer> {
  const body = parts.join("");
  const bytes = new Uint8Array(body.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = body.charCodeAt(i);
  return join([[0x80, 2], bytes, [0x2e]]);
}

/** The opcode of a text. */
export function text(value: string): string {
  return `X${String.fromCharCode(...little(4, value.length))}${value}`;
}

/** The opcode of an integer from 0 to 2^31 - 1. */
export function integer(value: number): string {
  return `J${String.fromCharCode(...little(4, value))}`;
}

/** The opcodes of a tuple of integers. */
export function integers(...values: number[]): string {
  return `(${values.map(integer).join("")}t`;
}

/** The opcodes of a tensor of float32 in storage `key`. */
export function tensor(
  count: number,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  { key = "0", storage = "ctorch\nFloatStorage\n", metadata = "" } = {},
): string {
  const id = `(${text("storage")}${storage}${text(key)}${text("cpu")}${integer(count)}tQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${id}${integer(offset)}${integers(...shape)}${
    integers(...strides)
  }` +
    `\x89ccollections\nOrderedDict\n)R${metadata}tR`;
}

/** A file with that pickle, and storage 0 of `count` float32 values 0, 1, 2, ... */
export function pthOf(pickle: Uint8Array, count = 6, ...more: RecordInput[]): Uint8Array<ArrayBuffer> {
  const values = new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);
  return zipOf([["archive/data.pkl", pickle], ["archive/data/0", values], ...more]);
}
