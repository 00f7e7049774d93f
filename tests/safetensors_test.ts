/** safetensors: round trips of every dtype and layout, and the files that PyTorch wrote. */
import * as fc from "fast-check";
import { assert, assertEquals, assertExists, assertInstanceOf, assertNotEquals } from "./assert.ts";
import { readSafetensors, writeSafetensors } from "../src/io/mod.ts";
import type { SafetensorsDtype, SafetensorsInput } from "../src/io/mod.ts";

const fixture = (name: string): Uint8Array<ArrayBuffer> =>
  Deno.readFileSync(new URL(`./fixtures/${name}`, import.meta.url));

/** A file with that header, verbatim, and that many bytes of data. */
function fileOf(header: unknown, dataBytes = 0): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

/** Values of each dtype that survive it unchanged. */
const VALUES: Record<SafetensorsDtype, SafetensorsInput["data"]> = {
  F64: new Float64Array([0.1, -1e300, NaN, Infinity]),
  F32: new Float32Array([0.1, -1e30, NaN, -Infinity]),
  F16: new Float32Array([0.5, -65504, 2 ** -24, NaN]),
  BF16: new Float32Array([1.5, -(2 ** 127), Infinity, NaN]),
  I64: new BigInt64Array([1n, -(2n ** 63n), 2n ** 63n - 1n, 0n]),
  I32: new Int32Array([1, -(2 ** 31), 2 ** 31 - 1, 0]),
  I16: new Int16Array([1, -32768, 32767, 0]),
  I8: new Int8Array([1, -128, 127, 0]),
  U64: new BigUint64Array([1n, 2n ** 64n - 1n, 2n, 0n]),
  U32: new Uint32Array([1, 2 ** 32 - 1, 2, 0]),
  U16: new Uint16Array([1, 65535, 2, 0]),
  U8: new Uint8Array([1, 255, 2, 0]),
  BOOL: new Uint8Array([1, 0, 0, 1]),
};
const DTYPE_NAMES = Object.keys(VALUES) as SafetensorsDtype[];

Deno.test("safetensors: every dtype comes back, with class, shape and metadata", () => {
  const inputs = Object.fromEntries(
    DTYPE_NAMES.map((dtype) => [dtype.toLowerCase(), { shape: [2, 2], data: VALUES[dtype], dtype }]),
  );
  const { tensors, metadata } = readSafetensors(writeSafetensors(inputs, { note: "ü", "": "empty name" }));
  assertEquals(tensors, inputs);
  assertEquals(metadata, { note: "ü", "": "empty name" });
});

Deno.test("safetensors: without a dtype, the data's class decides", () => {
  for (const dtype of DTYPE_NAMES.filter((name) => !["F16", "BF16", "BOOL"].includes(name))) {
    const { tensors } = readSafetensors(writeSafetensors({ x: { shape: [4], data: VALUES[dtype] } }));
    assertEquals(tensors.x.dtype, dtype);
  }
});

Deno.test("safetensors: scalars, empty tensors, no tensors, subarrays", () => {
  const inputs = {
    scalar: { shape: [], data: new Float32Array([3]), dtype: "F32" as const },
    empty: { shape: [2, 0, 3], data: new Float32Array(0), dtype: "F32" as const },
    part: { shape: [2], data: new Float32Array([1, 2, 3, 4]).subarray(1, 3), dtype: "F32" as const },
  };
  assertEquals(readSafetensors(writeSafetensors(inputs)).tensors, inputs);
  assertEquals(readSafetensors(writeSafetensors({})), { tensors: {}, metadata: {} });
});

Deno.test("safetensors: the bytes of a file, laid out by hand", () => {
  const file = writeSafetensors({ b: { shape: [1], data: new Uint8Array([7]) } }, { k: "v" });
  const json = '{"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}';
  assertEquals(json.length, 78);
  assertEquals(Array.from(file.subarray(0, 8)), [80, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals(new TextDecoder().decode(file.subarray(8, 88)), json + "  ");
  assertEquals(Array.from(file.subarray(88)), [7]);
});

Deno.test("safetensors: equal contents give equal bytes, whatever the order", () => {
  const a = { shape: [1], data: new Uint8Array([1]) };
  const b = { shape: [1], data: new Float64Array([2]) };
  const c = { shape: [1], data: new Float64Array([3]) };
  assertEquals(writeSafetensors({ a, b, c }), writeSafetensors({ c, b, a }));
  assertEquals(Object.keys(readSafetensors(writeSafetensors({ a, c, b })).tensors), ["b", "c", "a"]);
});

Deno.test("safetensors: rounding to float16 and bfloat16 is to nearest, ties to even", () => {
  const stored = (dtype: "F16" | "BF16", values: number[]): number[] => {
    const input = { x: { shape: [values.length], data: new Float32Array(values), dtype } };
    return Array.from(readSafetensors(writeSafetensors(input)).tensors.x.data as Float32Array);
  };
  // float16 has 11 significant bits, bfloat16 8.
  assertEquals(stored("F16", [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65520, 1e-9]), [1, 1 + 2 ** -9, Infinity, 0]);
  assertEquals(
    stored("BF16", [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, 3.4e38, -1]),
    [1, 1 + 2 ** -6, 1 + 2 ** -7, Infinity, -1],
  );
  // A NaN whose payload is in the lower half only must not become an infinity, whatever its sign.
  const data = new Float32Array(new Uint32Array([0x7f800001, 0xffffffff]).buffer);
  const file = writeSafetensors({ x: { shape: [2], data, dtype: "BF16" } });
  assert((readSafetensors(file).tensors.x.data as Float32Array).every((x) => Number.isNaN(x)));
});

Deno.test("safetensors: any position in memory reads alike", () => {
  const file = writeSafetensors({
    x: { shape: [2], data: new Float64Array([1.5, 2]) },
    y: { shape: [3], data: new Float32Array([1, 2, 3]), dtype: "BF16" },
  });
  const expected = readSafetensors(file);
  for (let shift = 0; shift < 8; shift++) {
    const moved = new Uint8Array(file.length + shift).subarray(shift);
    moved.set(file);
    assertEquals(readSafetensors(moved), expected);
  }
  // A header that is not padded leaves the data unaligned.
  const header = { x: { dtype: "F64", shape: [1], data_offsets: [0, 8] } };
  const unaligned = fileOf(JSON.stringify(header).padEnd(57), 8);
  unaligned.set(new Uint8Array(new Float64Array([Math.PI]).buffer), 65);
  assertEquals(readSafetensors(unaligned).tensors.x.data, new Float64Array([Math.PI]));
  const shared = new Uint8Array(new SharedArrayBuffer(file.length));
  shared.set(file);
  assertEquals(readSafetensors(shared), expected);
});

Deno.test("safetensors: names of Object's own are names like others", () => {
  const names = [
    "__proto__",
    "constructor",
    "toString",
    "hasOwnProperty",
    "toJSON",
    "0",
    "",
    'ünï/\u{1F600}\n"',
  ];
  const inputs = Object.fromEntries(
    names.map((name, i) => [name, { shape: [1], data: new Float32Array([i]) }]),
  );
  const notes = Object.fromEntries(names.map((name) => [name, name]));
  const { tensors, metadata } = readSafetensors(writeSafetensors(inputs, notes));
  assertEquals(Object.keys(tensors).sort(), names.toSorted());
  names.forEach((name, i) => assertEquals(tensors[name].data, new Float32Array([i])));
  assertEquals(metadata, notes);
  assertEquals(Object.getPrototypeOf(tensors), null);
  assertEquals(Object.getPrototypeOf(metadata), null);
  assertEquals(readSafetensors(fileOf({})).tensors["toString"], undefined);
});

Deno.test("safetensors: round trips of random tensors", () => {
  const tensor = fc.constantFrom(...DTYPE_NAMES).chain((dtype) =>
    fc.tuple(fc.array(fc.nat({ max: 4 }), { maxLength: 4 }), fc.nat()).map(([shape, start]) => {
      const size = shape.reduce((product, extent) => product * extent, 1);
      const source = VALUES[dtype];
      const DataClass = source.constructor as new (length: number) => SafetensorsInput["data"];
      const data = new DataClass(size);
      for (let i = 0; i < size; i++) data[i] = source[(start + i) % source.length];
      return { shape, dtype, data };
    })
  );
  const name = fc.string({ unit: "grapheme" }).filter((text) => text !== "__metadata__");
  const text = fc.string({ unit: "grapheme" });
  fc.assert(
    fc.property(fc.dictionary(name, tensor), fc.dictionary(text, text), (tensors, metadata) => {
      const file = writeSafetensors(tensors, metadata);
      assertEquals(readSafetensors(file), { tensors, metadata });
      assertEquals(
        file.length % 8,
        Object.values(tensors).reduce(
          (sum, { data, dtype }) =>
            sum + data.length * ({ F16: 2, BF16: 2 }[dtype as string] ?? data.BYTES_PER_ELEMENT),
          0,
        ) % 8,
      );
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("safetensors: PyTorch's reference cases are read", () => {
  const bytes = fixture("layers.safetensors");
  const { tensors, metadata } = readSafetensors(bytes);
  assertEquals(Object.keys(tensors).length, 747);
  const cases: { name: string; input_shape: number[] }[] = JSON.parse(metadata.cases);
  assertEquals(cases.length, 63);
  for (const { name, input_shape } of cases) {
    for (const part of ["input", "weight", "P", "kernel", "output", "grad_output", "grad_input", "grad_P"]) {
      const tensor = tensors[`${name}/${part}`];
      assertExists(tensor, `${name}/${part}`);
      assertInstanceOf(tensor.data, Float32Array);
      assert(tensor.data.every((x) => Number.isFinite(x)), `${name}/${part}`);
    }
    assertEquals(tensors[`${name}/input`].shape, input_shape);
    assertNotEquals(
      new Set(tensors[`${name}/output`].data as Float32Array).size,
      1,
      "an output is not constant",
    );
  }
  assertEquals(readSafetensors(writeSafetensors(tensors, metadata)), { tensors, metadata });
});

Deno.test("safetensors: PyTorch's model is read, labels as int32", () => {
  const { tensors, metadata } = readSafetensors(fixture("model.safetensors"));
  assertEquals(JSON.parse(metadata.config).dims, [8, 12, 16, 24]);
  assertInstanceOf(tensors.labels.data, Int32Array);
  assertEquals(tensors.labels.shape, tensors.logits.shape.slice(0, 1));
  assertEquals(tensors.trajectory_loss.data.length, 6);
});
