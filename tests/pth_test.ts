/** `.pth` files: PyTorch's own are read, with every kind of tensor; what is written here is what PyTorch writes. */
import { readPth, readSafetensors, writePth, writeSafetensors } from "../src/io/mod.ts";
import type { PthInput, PthTensor } from "../src/io/mod.ts";
import { crc32 } from "../src/io/crc32.ts";
import { noGrad } from "../src/tape.ts";
import { tensor as makeTensor } from "../src/create.ts";
import { assert, assertClose, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";
import { fixture, fixtureModel, fixtures } from "./model_case.ts";
import { integer, pickleOf, pthOf, slowCrc32, tensor, text, zipOf } from "./support/pickles.ts";

function fixtureFile(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`fixtures/${name}`, import.meta.url));
}

/** What `torch_checkpoint.pth` holds, by the formulas that its script has. */
const EXPECTED: Record<string, [dtype: string, shape: number[], values: (number | bigint)[]]> = {
  plain: ["F32", [2, 3], [0, 1, 2, 3, 4, 5]],
  transposed: ["F32", [6, 4], Array.from({ length: 24 }, (_, i) => Math.floor(i / 4) + 6 * (i % 4))],
  window: ["F32", [2, 3], [8, 9, 10, 14, 15, 16]],
  "every.second": ["F32", [4, 3], Array.from({ length: 12 }, (_, i) => 2 * i)],
  channels_last: ["F32", [1, 3, 2, 2], Array.from({ length: 12 }, (_, i) => i)],
  expanded: ["F32", [2, 3], [7, 7, 7, 7, 7, 7]],
  "tied.a": ["F32", [3], [0, 1, 2]],
  "tied.b": ["F32", [3], [0, 1, 2]],
  "tied.tail": ["F32", [2], [1, 2]],
  parameter: ["F32", [2], [0.5, 1.5]],
  half: ["F16", [3], [0.0999755859375, -2, 65504]],
  bfloat: ["BF16", [3], [1.5, -3, 1.0002555517425873e30]],
  double: ["F64", [], [0.1]],
  long: ["I64", [2], [-1n, 2n ** 40n]],
  int: ["I32", [1], [-7]],
  short: ["I16", [1], [-300]],
  char: ["I8", [1], [-3]],
  byte: ["U8", [1], [255]],
  bool: ["BOOL", [2], [1, 0]],
  empty: ["F32", [2, 0, 3], []],
};

function plain(tensors: Record<string, PthTensor>): typeof EXPECTED {
  return Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => [name, [dtype, shape, [...data]]]),
  );
}

Deno.test("pth: PyTorch's tensors of every dtype, with strides, offsets and shared storages", () => {
  const { tensors, metadata, key, keys } = readPth(fixtureFile("torch_checkpoint.pth"));
  assertEquals(plain(tensors), EXPECTED);
  assertEquals(Object.keys(tensors), Object.keys(EXPECTED), "the file's order");
  assertEquals([key, keys], ["model", ["model", "model_ema", "optimizer"]]);
  assertEquals({ ...metadata }, { epoch: "299", name: "tiny", done: "true" });
  assertEquals(Object.getPrototypeOf(tensors), null);
  // Tied tensors look into one stretch of memory, as in PyTorch.
  assertEquals(tensors["tied.a"].data.byteOffset, tensors["tied.b"].data.byteOffset);
  assertEquals(tensors["tied.tail"].data.byteOffset - tensors["tied.a"].data.byteOffset, 4);
});

Deno.test("pth: a pickle of protocol 4", () => {
  assertEquals(plain(readPth(fixtureFile("torch_protocol4.pth")).tensors), EXPECTED);
});

Deno.test("pth: the state is chosen by its key", () => {
  const file = fixtureFile("torch_checkpoint.pth");
  assertEquals([...readPth(file, { key: "model_ema" }).tensors.plain.data], [0, 2, 4, 6, 8, 10]);
  const optimizer = readPth(file, { key: "optimizer" }).tensors;
  assertEquals(Object.keys(optimizer), ["state.0.step", "state.0.exp_avg", "state.0.exp_avg_sq"]);
  const all = readPth(file, { key: "" }).tensors;
  assert("model.plain" in all && "model_ema.plain" in all && "optimizer.state.0.step" in all);
  assertThrows(
    () => readPth(file, { key: "ema" }),
    SyntaxError,
    'the file must hold tensors under the key "ema", got "model", "model_ema", "optimizer"',
  );
  const one = tensor(6, 0, [2, 3], [3, 1]);
  const choices: [pickle: string, key: string, names: string[]][] = [
    [one, "", [""]],
    [`}(${text("w")}${one}u`, "", ["w"]],
    [`}(${text("state_dict")}}(${text("w")}${one}u${text("model_ema")}}(${text("v")}${one}uu`, "state_dict", [
      "w",
    ]],
    [`}(${text("other")}}(${text("w")}${one}uu`, "", ["other.w"]],
    [`](${one}${one}e`, "", ["0", "1"]],
  ];
  for (const [pickle, key, names] of choices) {
    const got = readPth(pthOf(pickleOf(pickle)));
    assertEquals([got.key, Object.keys(got.tensors)], [key, names]);
  }
});

Deno.test("pth: values are views of the file, not copies", () => {
  const file = fixtureFile("model.pth");
  for (const { data } of Object.values(readPth(file).tensors)) assert(data.buffer === file.buffer);
});

Deno.test("pth: a file within a larger buffer, and one in shared memory", () => {
  const file = fixtureFile("torch_checkpoint.pth");
  for (const shift of [0, 1, 4, 64]) {
    const within = new Uint8Array(file.length + 100);
    within.set(file, shift);
    assertEquals(plain(readPth(within.subarray(shift, shift + file.length)).tensors), EXPECTED);
  }
  const shared = new Uint8Array(new SharedArrayBuffer(file.length));
  shared.set(file);
  assertEquals(plain(readPth(shared).tensors), EXPECTED);
});

Deno.test("pth: an archive with zip64 fields", () => {
  const pickle = pickleOf(`}(${text("w")}${tensor(6, 0, [2, 3], [3, 1])}u`);
  const values = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
  const file = zipOf([["a/data.pkl", pickle], ["a/data/0", values]], true);
  assertEquals([...readPth(file).tensors.w.data], [0, 1, 2, 3, 4, 5]);
});

Deno.test("pth: types that PyTorch names apart from the storage", () => {
  const id = `(${text("storage")}ctorch.storage\nUntypedStorage\n${text("0")}${text("cpu")}${integer(24)}tQ`;
  const pickle =
    `}(${text("w")}ctorch._utils\n_rebuild_tensor_v3\n(${id}${integer(2)}(${integer(3)}t(${integer(1)}t` +
    `\x89}ctorch\nuint16\nNtRu`;
  const { dtype, data } = readPth(pthOf(pickleOf(pickle))).tensors.w;
  const halves = new Uint16Array(Float32Array.of(0, 1, 2).buffer);
  assertEquals([dtype, [...data]], ["U16", [...halves.subarray(2, 5)]]);
});

Deno.test("crc32: known values, and every length against the sum bit by bit", () => {
  const bytes = (value: string): Uint8Array => new TextEncoder().encode(value);
  assertEquals(crc32(bytes("123456789")), 0xcbf43926); // the check value of the CRC catalogue
  assertEquals(crc32(bytes("")), 0);
  const data = Uint8Array.from({ length: 70 }, (_, i) => (i * 151 + 7) & 255);
  for (let length = 0; length <= data.length; length++) {
    assertEquals(crc32(data.subarray(length % 5, length)), slowCrc32(data.subarray(length % 5, length)));
  }
});

const INPUTS: Record<string, PthInput> = {
  "layer.weight": { shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, Infinity) },
  scalar: { shape: [], data: Float64Array.of(Math.PI) },
  half: { shape: [2], data: Float32Array.of(0.5, -65504), dtype: "F16" },
  bfloat: { shape: [1], data: Float32Array.of(1.5), dtype: "BF16" },
  long: { shape: [2], data: BigInt64Array.of(-5n, 2n ** 60n) },
  int: { shape: [1, 1, 1, 1, 1], data: Int32Array.of(-70000) },
  short: { shape: [1], data: Int16Array.of(-300) },
  char: { shape: [1], data: Int8Array.of(-3) },
  byte: { shape: [3], data: Uint8Array.of(1, 2, 255) },
  flag: { shape: [2], data: Uint8Array.of(1, 0), dtype: "BOOL" },
  empty: { shape: [2, 0, 3], data: new Float32Array(0) },
  "ünï.__proto__": { shape: [1], data: Float32Array.of(-0) },
  large: { shape: [300, 300], data: Float32Array.from({ length: 90_000 }, (_, i) => i) },
};

Deno.test("writePth: what is written is read, with and without a key", () => {
  for (const options of [{}, { key: "model", metadata: { note: "ünïcode", empty: "" } }]) {
    const { tensors, key, metadata } = readPth(writePth(INPUTS, options));
    assertEquals([key, { ...metadata }], [options.key ?? "", options.metadata ?? {}]);
    assertEquals(Object.keys(tensors), Object.keys(INPUTS));
    for (const [name, { shape, data }] of Object.entries(INPUTS)) {
      assertEquals([tensors[name].shape, [...tensors[name].data]], [[...shape], [...data]], name);
    }
    // And on to the other format.
    assertEquals(readSafetensors(writeSafetensors(tensors)).tensors.half.dtype, "F16");
  }
  assertEquals(writePth(INPUTS), writePth(INPUTS));
  assertThrows(() => readPth(writePth({})), SyntaxError, "the file must hold tensors, got none");
});

Deno.test("writePth: records are aligned to 64 bytes, arrays that are shared are stored once", () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const alone = writePth({ a: { shape: [4], data }, b: { shape: [4], data: data.slice() } });
  const file = writePth({ a: { shape: [4], data }, b: { shape: [2, 2], data } });
  assert(file.length < alone.length);
  const { a, b } = readPth(file).tensors;
  assert(a.data.byteOffset === b.data.byteOffset && a.data.buffer === file.buffer);
  for (const { data } of Object.values(readPth(writePth(INPUTS)).tensors)) {
    assertEquals(data.byteOffset % 64, 0);
  }
});

Deno.test("writePth: refusals", () => {
  const data = new Float32Array(2);
  const write = (input: unknown, options = {}) => (): unknown => writePth({ x: input as PthInput }, options);
  const cases: [() => unknown, typeof TypeError | typeof RangeError, string][] = [
    [write({ shape: [2], data: [1, 2] }), TypeError, 'tensor "x" must have a typed array as data, got Array'],
    [
      write({ shape: [3], data }),
      RangeError,
      'tensor "x" must have as many values as its shape [3] has, 3, got 2',
    ],
    [
      write({ shape: [2], data, dtype: "F64" }),
      TypeError,
      "must have a Float64Array as data, got Float32Array",
    ],
    [write({ shape: [1], data: new Uint32Array(1) }), RangeError, "must be of a dtype of F64, F32,"],
    [write({ shape: [2], data }, { metadata: { a: "b" } }), RangeError, "metadata must stand beside a key"],
    [
      write({ shape: [2], data }, { key: "m", metadata: { a: 3 } }),
      TypeError,
      'metadata "a" must be a string',
    ],
  ];
  for (const [run, ErrorClass, message] of cases) {
    assertThrows(run, ErrorClass, message);
    assertThrows(run, ErrorClass, "Cannot write pth: ");
  }
});

Deno.test("pth: the reference model's state is that of its safetensors file", () => {
  const { tensors, key } = readPth(fixtureFile("model.pth"));
  const expected = fixtures("state");
  assertEquals(key, "model");
  assertEquals(Object.keys(tensors).toSorted(), Object.keys(expected).toSorted());
  for (const [name, { shape, dtype, data }] of Object.entries(tensors)) {
    assertEquals([dtype, shape, data], ["F32", expected[name].shape, expected[name].data], name);
  }
});

testBackends("the reference model from a .pth file: its logits, and the state that goes back", async () => {
  const model = fixtureModel();
  for (const parameter of model.parameters()) parameter.assign(new Float32Array(parameter.size));
  const { tensors } = readPth(fixtureFile("model.pth"));
  model.loadStateDict(tensors, { layout: "torch" });
  const { shape, data } = fixture("input");
  const logits = noGrad(() => model.forward(makeTensor(data, shape)));
  assertClose("logits", await logits.data(), fixture("logits").data, 1e-3);
  // Written in PyTorch's axis order, the positions are the same bits again.
  const state = await model.stateDict({ layout: "torch" });
  for (const written of [readPth(writePth(state)), readSafetensors(writeSafetensors(state))]) {
    for (const [name, { shape, data }] of Object.entries(tensors)) {
      assertEquals([written.tensors[name].shape, written.tensors[name].data], [shape, data], name);
    }
  }
  model.dispose();
});
