/** safetensors: every refusal with its message, and damaged files. */
import * as fc from "fast-check";
import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "./assert.ts";
import { readSafetensors, writeSafetensors } from "../src/io/mod.ts";
import type { SafetensorsInput } from "../src/io/mod.ts";

/** A file with that header, verbatim, and that many bytes of data. */
function fileOf(header: unknown, dataBytes = 0): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** One tensor's header. */
const entry = (dtype: unknown, shape: unknown, offsets: unknown): Record<string, unknown> => ({
  x: { dtype, shape, data_offsets: offsets },
});
const u8 = (begin: number, end: number): unknown => ({
  dtype: "U8",
  shape: [end - begin],
  data_offsets: [begin, end],
});

/** What is wrong, the file, and what the message must say after "Cannot read safetensors: ". */
const REFUSALS: [string, Uint8Array, string][] = [
  ["an empty file", new Uint8Array(0), "a file must start with 8 bytes of header length, got 0 bytes"],
  ["7 bytes", new Uint8Array(7), "a file must start with 8 bytes of header length, got 7 bytes"],
  [
    "a header longer than the file",
    Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123, 125),
    "the header must end within the file, got a header of 9 bytes in a file of 10; is the file truncated?",
  ],
  [
    "a giant header",
    Uint8Array.of(1, 225, 245, 5, 0, 0, 0, 0, 123, 125),
    "the header must be at most 100000000 bytes long, got a length of 100000001",
  ],
  [
    "a header length of 2^64 - 1",
    new Uint8Array(16).fill(255),
    "the header must be at most 100000000 bytes long, got a length of 18446744073709551615",
  ],
  ["an empty header", fileOf(""), 'the header must be JSON, got ""'],
  ["not JSON", fileOf("{'x': 1}"), "the header must be JSON, got \"{'x': 1}\""],
  ["trailing text", fileOf("{} {}"), 'the header must be JSON, got "{} {}"'],
  [
    "not UTF-8",
    Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 0, 123, 255, 125),
    "the header must be UTF-8, got other bytes",
  ],
  ["a byte order mark", fileOf("\ufeff{}"), "the header must be JSON"],
  ["deep nesting", fileOf("[".repeat(1_000_000)), "the header must be JSON of at most 8 levels"],
  ["an array", fileOf([1]), "the header must be a JSON object, got [1]"],
  ["null", fileOf(null), "the header must be a JSON object, got null"],
  [
    "a duplicate name",
    fileOf(`{"x":${JSON.stringify(u8(0, 1))},"y":1,"x" : ${JSON.stringify(u8(1, 2))}}`, 2),
    'names in the header must be unique, got "x" twice',
  ],
  [
    "a duplicate name in disguise",
    fileOf(`{"x":${JSON.stringify(u8(0, 1))},"\\u0078":${JSON.stringify(u8(0, 1))}}`, 1),
    'names in the header must be unique, got "x" twice',
  ],
  [
    "a duplicate name after quotes and brackets in a name",
    fileOf(`{"a\\"{":1,"__metadata__":{"k":"[\\\\","k":"w"}}`),
    'names in the header must be unique, got "k" twice',
  ],
  ["a duplicate field", fileOf(`{"x":{"dtype":"U8","dtype":"I8"}}`), 'must be unique, got "dtype" twice'],
  [
    "two __metadata__",
    fileOf(`{"__metadata__":{},"__metadata__":{}}`),
    'must be unique, got "__metadata__" twice',
  ],
  [
    "metadata not an object",
    fileOf({ __metadata__: "a" }),
    '__metadata__ must be an object of strings, got "a"',
  ],
  ["metadata null", fileOf({ __metadata__: null }), "__metadata__ must be an object of strings, got null"],
  [
    "metadata of numbers",
    fileOf({ __metadata__: { step: 3 } }),
    '__metadata__ must hold strings, got 3 for "step"',
  ],
  ["an entry that is no object", fileOf({ x: 3 }), 'tensor "x" must be described by an object, got 3'],
  [
    "an unknown dtype",
    fileOf(entry("F8", [1], [0, 1]), 1),
    'tensor "x" must have a dtype of F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, got "F8"',
  ],
  ["a dtype of Object's", fileOf(entry("toString", [1], [0, 1]), 1), 'got "toString"'],
  ["a dtype __proto__", fileOf(entry("__proto__", [1], [0, 1]), 1), 'got "__proto__"'],
  ["no dtype", fileOf(entry(undefined, [1], [0, 1]), 1), 'tensor "x" must have a dtype of F64'],
  ["no shape", fileOf(entry("U8", undefined, [0, 1]), 1), "a shape of integers >= 0, got null"],
  ["a negative extent", fileOf(entry("U8", [-1], [0, 1]), 1), "a shape of integers >= 0, got [-1]"],
  ["a fractional extent", fileOf(entry("U8", [1.5], [0, 1]), 1), "a shape of integers >= 0, got [1.5]"],
  ["an extent of text", fileOf(entry("U8", ["1"], [0, 1]), 1), 'a shape of integers >= 0, got ["1"]'],
  ["an extent past 2^53", fileOf(entry("U8", [2 ** 53], [0, 1]), 1), "a shape of integers >= 0"],
  ["a shape that overflows", fileOf(entry("U8", [2 ** 40, 2 ** 40], [0, 1]), 1), "must fit into 2^53 bytes"],
  ["an overflow hidden by 0", fileOf(entry("U8", [2 ** 40, 2 ** 40, 0], [0, 0])), "must fit into 2^53 bytes"],
  ["no offsets", fileOf(entry("U8", [1], undefined), 1), "data_offsets of two integers >= 0, got null"],
  ["one offset", fileOf(entry("U8", [1], [0]), 1), "data_offsets of two integers >= 0, got [0]"],
  [
    "a negative offset",
    fileOf(entry("U8", [1], [-1, 0]), 1),
    "data_offsets of two integers >= 0, got [-1,0]",
  ],
  [
    "offsets backwards",
    fileOf(entry("U8", [1], [1, 0]), 1),
    "must begin before it ends, got data_offsets [1,0]",
  ],
  [
    "an offset past the end",
    fileOf(entry("F32", [2], [0, 8]), 7),
    'tensor "x" must end within the 7 bytes of data, got data_offsets [0,8]; is the file truncated?',
  ],
  [
    "offsets that disagree with the shape",
    fileOf(entry("F32", [3], [0, 8]), 8),
    'tensor "x" of dtype F32 and shape [3] must have 12 bytes, got 8 by data_offsets [0,8]',
  ],
  [
    "an overlap",
    fileOf({ a: u8(0, 4), b: u8(3, 6) }, 6),
    'must not overlap, got "b" from byte 3 and "a" up to byte 4',
  ],
  ["the same bytes twice", fileOf({ a: u8(0, 4), b: u8(0, 4) }, 4), "tensors must not overlap"],
  ["an empty tensor inside another", fileOf({ a: u8(0, 4), b: u8(2, 2) }, 4), "tensors must not overlap"],
  [
    "a hole",
    fileOf({ a: u8(0, 4), b: u8(5, 6) }, 6),
    'data must not have holes, got bytes 4 to 5 before "b" unused',
  ],
  ["a hole at the start", fileOf({ a: u8(1, 4) }, 4), 'got bytes 0 to 1 before "a" unused'],
  [
    "data after the end",
    fileOf({ a: u8(0, 4) }, 6),
    "data must not go on after the last tensor, got 2 bytes more",
  ],
];

for (const [what, file, message] of REFUSALS) {
  Deno.test(`safetensors: refuses ${what}`, () => {
    const error = assertThrows(() => readSafetensors(file), SyntaxError, message);
    assertStringIncludes(error.message, "Cannot read safetensors: ");
    assert(error.message.length < 400, "the message quotes the file in short");
  });
}

Deno.test("safetensors: refuses what is no Uint8Array", () => {
  const message = "Cannot read safetensors: bytes must be a Uint8Array, got ";
  for (const value of ["path.safetensors", null, new ArrayBuffer(8), [1]]) {
    assertThrows(() => readSafetensors(value as unknown as Uint8Array), TypeError, message);
  }
});

Deno.test("safetensors: every truncation of a file is refused", () => {
  const file = writeSafetensors({
    a: { shape: [3], data: new Float32Array(3) },
    b: { shape: [2], data: new Uint8Array(2) },
  }, { k: "v" });
  for (let length = 0; length < file.length; length++) {
    assertThrows(() => readSafetensors(file.subarray(0, length)), SyntaxError, "Cannot read safetensors: ");
  }
});

Deno.test("safetensors: damaged files give tensors or the one error, at once", () => {
  const file = writeSafetensors({
    "layer.weight": { shape: [2, 3], data: new Float32Array(6) },
    "layer.P": { shape: [1, 2], data: new Float32Array(2), dtype: "BF16" },
    flag: { shape: [], data: new Uint8Array(1), dtype: "BOOL" },
  }, { note: 'a "quoted" {note}' });
  const start = performance.now();
  let refused = 0;
  let read = 0;
  const attempt = (bytes: Uint8Array): void => {
    try {
      for (const { shape, data } of Object.values(readSafetensors(bytes).tensors)) {
        assertEquals(data.length, shape.reduce((product, extent) => product * extent, 1));
      }
      read++;
    } catch (error) {
      assertInstanceOf(error, SyntaxError);
      assertStringIncludes(error.message, "Cannot read safetensors: ");
      refused++;
    }
  };
  const change = fc.tuple(fc.nat({ max: file.length - 1 }), fc.nat({ max: 255 }));
  const changes = fc.array(change, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(changes, fc.option(fc.nat({ max: file.length }), { freq: 1 }), (flips, length) => {
      const bytes = file.slice(0, length ?? file.length);
      for (const [place, value] of flips) if (place < bytes.length) bytes[place] = value;
      attempt(bytes);
    }),
    { seed: 2, numRuns: 5000 },
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => attempt(bytes)), {
    seed: 3,
    numRuns: 1000,
  });
  fc.assert(fc.property(fc.json(), (json) => attempt(fileOf(json, 4))), { seed: 4, numRuns: 1000 });
  // Most damage shows; some, as in the values themselves, cannot.
  assert(refused > 1000 && read > 100, `${refused} refused, ${read} read`);
  assert(performance.now() - start < 30_000, "damaged files are dealt with in milliseconds each");
});

Deno.test("writeSafetensors: refusals", () => {
  const data = new Float32Array(2);
  const write = (name: string, input: unknown): () => unknown => () =>
    writeSafetensors({ [name]: input as SafetensorsInput });
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] = [
    [
      write("__metadata__", { shape: [2], data }),
      RangeError,
      "__metadata__ must not be the name of a tensor",
    ],
    [write("\ud800", { shape: [2], data }), RangeError, "must have a well-formed Unicode name"],
    [write("x", undefined), TypeError, 'tensor "x" must have a typed array as data, got undefined'],
    [write("x", { shape: [2], data: [1, 2] }), TypeError, "must have a typed array as data, got Array"],
    [write("x", { shape: [2], data: new DataView(new ArrayBuffer(2)) }), TypeError, "as data, got DataView"],
    [write("x", { shape: [2], data, dtype: "F8" }), RangeError, "must have a known dtype, got F8"],
    [
      write("x", { shape: [2], data, dtype: "F64" }),
      TypeError,
      'tensor "x" of dtype F64 must have a Float64Array as data, got Float32Array',
    ],
    [write("x", { shape: [1.5], data }), RangeError, "must have a shape of integers >= 0, got [1.5]"],
    [write("x", { shape: [-1, -2], data }), RangeError, "must have a shape of integers >= 0, got [-1,-2]"],
    [write("x", { shape: 2, data }), RangeError, "must have a shape of integers >= 0, got [2]"],
    [
      write("x", { shape: [3], data }),
      RangeError,
      'tensor "x" must have as many values as its shape [3] has, 3, got 2',
    ],
    [
      () => writeSafetensors({}, { step: 3 as unknown as string }),
      TypeError,
      'metadata "step" must be a string, got number',
    ],
    [() => writeSafetensors({}, { k: "\ud800" }), RangeError, 'metadata "k" must be well-formed Unicode'],
  ];
  for (const [fn, errorClass, message] of cases) {
    assertThrows(fn, errorClass, message);
    assertThrows(fn, errorClass, "Cannot write safetensors: ");
  }
});
