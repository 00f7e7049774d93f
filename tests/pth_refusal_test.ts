/** `.pth` files of strangers: every refusal with its message, attacks, and damaged files, all in bounded time. */
import * as fc from "fast-check";
import { assert, assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "./assert.ts";
import { readPth } from "../src/io/mod.ts";
import { integer, pickleOf, pthOf, tensor, text, zipOf } from "./support/pickles.ts";

function fixtureFile(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`fixtures/${name}`, import.meta.url));
}

const GOOD = `}(${text("w")}${tensor(6, 0, [2, 3], [3, 1])}u`;
const good = (): Uint8Array<ArrayBuffer> => pthOf(pickleOf(GOOD));

/** A state whose one tensor is described so. */
const described = (...args: Parameters<typeof tensor>): Uint8Array =>
  pthOf(pickleOf(`}(${text("w")}${tensor(...args)}u`));

/** The file with some bytes replaced. */
function patched(file: Uint8Array, at: number, ...bytes: number[]): Uint8Array {
  const copy = file.slice();
  copy.set(bytes, at);
  return copy;
}

const END = good().length - 22;
const call = (module: string, name: string): Uint8Array =>
  pthOf(pickleOf(`}(${text("w")}c${module}\n${name}\n(${text("touch owned")}tRu`));
const many = (piece: string, count: number): string => piece.repeat(count);

/** What is wrong, the file, and what the message must say after "Cannot read pth: ". */
const REFUSALS: [string, Uint8Array | (() => Uint8Array), string][] = [
  [
    "an empty file",
    new Uint8Array(0),
    "the file must be a zip archive as torch.save writes it, got other bytes",
  ],
  ["text", new TextEncoder().encode("not a checkpoint at all, sorry"), "the file must be a zip archive"],
  ["safetensors", fixtureFile("model.safetensors"), "got other bytes; readSafetensors reads safetensors"],
  [
    "PyTorch's older format",
    fixtureFile("torch_legacy.pth"),
    "got its older format; load and save it in PyTorch",
  ],
  ["TorchScript", fixtureFile("torch_script.pth"), "got a TorchScript program; save model.state_dict()"],
  ["a bare beginning", Uint8Array.of(0x50, 0x4b, 3, 4), "the file must be a whole zip archive, got 4 bytes"],
  ["no directory", good().subarray(0, END), "must end with its directory, got none; is the file truncated?"],
  ["a directory out of the file", patched(good(), END + 16, 255, 255, 255, 127), "must lie within the file"],
  [
    "more records than listed",
    patched(good(), END + 10, 3, 0),
    "must lie within the file, got 3 records in 122 bytes",
  ],
  [
    "zip64 without its directory",
    patched(good(), END + 10, 255, 255),
    "must have a zip64 directory, got none",
  ],
  ["another archive", zipOf([["readme.txt", new Uint8Array(3)]]), "must hold one record .../data.pkl, got 0"],
  [
    "an encrypted record",
    pthOf(pickleOf(GOOD), 6, ["x", new Uint8Array(1), { flags: 1 }]),
    "not be encrypted",
  ],
  [
    "a compressed record (a zip bomb's)",
    zipOf([["a/data.pkl", new Uint8Array(100), { method: 8, claimed: 2 ** 32 - 2 }]]),
    'must be stored without compression, as torch.save stores them, got "a/data.pkl" by method 8',
  ],
  [
    "a record of two sizes",
    zipOf([["a/data.pkl", new Uint8Array(9), { claimed: 99 }]]),
    "must have one size",
  ],
  [
    "one name twice",
    pthOf(pickleOf(GOOD), 6, ["archive/data/0", new Uint8Array(1)]),
    'names of records must be unique, got "archive/data/0" twice',
  ],
  [
    "big-endian values",
    pthOf(pickleOf(GOOD), 6, ["archive/byteorder", new TextEncoder().encode("big")]),
    "values must be little-endian, got another byte order",
  ],
  ["os.system", call("os", "system"), 'may use tensors and containers only, got "os.system"'],
  ["posix.system", call("posix", "system"), 'got "posix.system"'],
  ["builtins.eval", call("builtins", "eval"), 'got "builtins.eval"; save the state alone'],
  ["__builtin__.exec", call("__builtin__", "exec"), 'got "__builtin__.exec"'],
  ["torch.load itself", call("torch", "load"), 'got "torch.load"'],
  ["a name of Object's", call("constructor", "__proto__"), 'got "constructor.__proto__"'],
  [
    "a name from the stack",
    pthOf(pickleOf(text("subprocess"), text("Popen"), "\x93")),
    'got "subprocess.Popen"',
  ],
  ["a call of a storage class", call("torch", "FloatStorage"), 'must not call "torch.FloatStorage"'],
  ["a call of a text", pthOf(pickleOf(`${text("eval")})R`)), "calls must be of known names"],
  ["opcode INST", pthOf(pickleOf("(ios\nsystem\n")), "got opcode 0x69 at byte 3"],
  ["opcode EXT1", pthOf(pickleOf("\x82\x01")), "got opcode 0x82"],
  ["opcode NEXT_BUFFER", pthOf(pickleOf("\x97")), "got opcode 0x97"],
  ["opcode PERSID", pthOf(pickleOf("Pid\n")), "got opcode 0x50"],
  ["protocol 0", pthOf(new TextEncoder().encode("(dp0\n.")), "must be of protocol 2 or later"],
  ["protocol 9", pthOf(Uint8Array.of(0x80, 9, 0x4e, 0x2e)), "protocol must be 2 to 5, got 9"],
  ["an empty pickle", pthOf(new Uint8Array(0)), "must be of protocol 2 or later"],
  ["a pickle without end", pthOf(pickleOf("}").subarray(0, 3)), "the pickle must be whole"],
  ["nothing", pthOf(pickleOf("")), "must end with one value"],
  ["two values", pthOf(pickleOf("NN")), "must end with one value"],
  ["an open mark", pthOf(pickleOf("(N")), "must end with one value"],
  ["bytes after the end", pthOf(pickleOf("N.")), "must end with one value"],
  ["a value too few", pthOf(pickleOf("0")), "must mark what it collects, got no mark"],
  ["a text past the end", pthOf(pickleOf("X\xff\xff\xff\xff")), "the pickle must be whole"],
  [
    "a text of 2^64 bytes",
    pthOf(pickleOf("\x8d\xff\xff\xff\xff\xff\xff\xff\xff")),
    "the pickle must be whole",
  ],
  ["a text that is no UTF-8", pthOf(pickleOf("X\x01\0\0\0\xff")), "texts must be UTF-8"],
  ["an endless name", pthOf(pickleOf("c" + "a".repeat(300))), "names must be lines of at most 255 bytes"],
  ["a giant integer", pthOf(pickleOf("\x8b\xff\xff\xff\x7f")), "at most 255 bytes, got 2147483647"],
  ["memory never written", pthOf(pickleOf("h\x07")), "must recall what it remembered, got number 7"],
  ["items for a number", pthOf(pickleOf("K\x01(NNu")), "must be added to a dictionary, got 1"],
  ["a key without value", pthOf(pickleOf("}(Nu")), "keys and values must be added to a dictionary"],
  ["a list's items for a text", pthOf(pickleOf(`${text("a")}Na`)), 'must be added to a list, got "a"'],
  ["a state for a list", pthOf(pickleOf("]}b")), "states must be given to objects"],
  ["a persistent id that is no tuple", pthOf(pickleOf(`${text("0")}Q`)), "a storage must be named by"],
  [
    "a storage's name that leaves its folder",
    described(6, 0, [2], [1], { key: "../data.pkl" }),
    "a storage must be named by",
  ],
  [
    "a storage of another type",
    described(6, 0, [2], [1], { storage: "ccollections\nOrderedDict\n" }),
    "must be named",
  ],
  ["a storage that is not there", described(6, 0, [2], [1], { key: "9" }), 'got no record "archive/data/9"'],
  ["a storage of another length", described(7, 0, [2], [1]), 'storage "0" must have 28 bytes of F32, got 24'],
  [
    "an offset past the end",
    described(6, 6, [1], [1]),
    "must lie within the 6 elements of its storage, got offset 6",
  ],
  ["an extent past the end", described(6, 0, [7], [1]), 'tensor "w" must lie within the 6 elements'],
  ["a stride past the end", described(6, 0, [2, 2], [5, 1]), "got offset 0, size [2,2] and stride [5,1]"],
  ["sizes without strides", described(6, 0, [2, 3], [3]), "must have a stride for each extent"],
  [
    "65 axes",
    described(6, 0, new Array(65).fill(1), new Array(65).fill(1)),
    "must be up to 64 integers >= 0",
  ],
  [
    "a shape that overflows",
    described(6, 0, new Array(40).fill(2 ** 30), new Array(40).fill(0)),
    "a tensor must fit into 2^53 elements",
  ],
  [
    "an overflow hidden by 0",
    described(6, 0, [2 ** 30, 2 ** 30, 0], [0, 0, 0]),
    "must fit into 2^53 elements",
  ],
  [
    "one element that stands for 2^30",
    described(6, 0, [2 ** 15, 2 ** 15], [0, 0]),
    'must not stand for much more than the file holds, got "w" of size [32768,32768]',
  ],
  [
    "many that stand for 2^24 each",
    () => pthOf(pickleOf(`](${many(tensor(6, 0, [4096, 4096], [0, 0]), 20)}e`)),
    "must not stand for much more than the file holds",
  ],
  [
    "a tensor to be negated",
    described(6, 0, [2], [1], { metadata: `}(${text("neg")}\x88u` }),
    "a tensor must hold its own values",
  ],
  ["no tensors", pthOf(pickleOf(`}(${text("epoch")}K\x01u`)), "the file must hold tensors, got none"],
  [
    "one name for two tensors",
    pthOf(
      pickleOf(
        `}(${text("a.b")}${tensor(6, 0, [1], [1])}${text("a")}}(${text("b")}${tensor(6, 0, [1], [1])}uu`,
      ),
    ),
    'names must be unique, got "a.b" twice',
  ],
  ["a list within itself", pthOf(pickleOf("]q\x01h\x01a")), "containers must nest at most 16 deep"],
  ["a dictionary within itself", pthOf(pickleOf(`}q\x01${text("a")}h\x01s`)), "nest at most 16 deep"],
  ["deep lists", () => pthOf(pickleOf(many("]", 400_000), many("a", 399_999))), "nest at most 16 deep"],
  ["deep tuples", () => pthOf(pickleOf(")", many("\x85", 400_000))), "nest at most 16 deep"],
  [
    "deep tuples as an argument",
    () => pthOf(pickleOf("ctorch\nSize\n)", many("\x85", 400_000), "R")),
    "nest at most 16 deep",
  ],
  [
    "a bomb of memory: each list holds the last one ten times",
    pthOf(pickleOf(
      "]q\x00",
      ...Array.from({ length: 12 }, (_, i) => {
        const [last, next] = [i, i + 1].map((index) => String.fromCharCode(index));
        return `](${many(`h${last}`, 10)}eq${next}`;
      }),
      many("\x86", 12),
    )),
    "a file must hold at most",
  ],
  [
    "a bomb of dictionaries",
    () => pthOf(pickleOf(many("}0", 2 ** 20 + 1), "N")),
    "must make at most 1048576 objects",
  ],
  [
    "a list of pairs that is used again and again",
    () =>
      pthOf(pickleOf(
        `ccollections\nOrderedDict\nq\x00(](${many("NN\x86", 1000)}etq\x01`,
        many("h\x00h\x01R0", 5000),
      )),
    "must make at most 1048576 objects",
  ],
  ["marks without end", () => pthOf(pickleOf(many("(", 2 ** 20 + 1))), "must make at most 1048576 objects"],
  ["steps without end", () => pthOf(pickleOf("N", many("20", 2 ** 22))), "must have at most 8388608 steps"],
  [
    "names that grow by nesting",
    pthOf(pickleOf(many(`}${text("k".repeat(300))}`, 5), tensor(6, 0, [1], [1]), many("s", 5))),
    "names must have at most 1024 characters",
  ],
];

for (const [what, file, message] of REFUSALS) {
  Deno.test(`pth: refuses ${what}`, () => {
    const bytes = typeof file === "function" ? file() : file;
    const start = performance.now();
    const error = assertThrows(() => readPth(bytes), SyntaxError, message);
    assertStringIncludes(error.message, "Cannot read pth: ");
    assert(error.message.length < 400, `the message quotes the file in short, got ${error.message.length}`);
    assert(performance.now() - start < 5000, "refused at once");
  });
}

Deno.test("pth: refuses records that overlap", () => {
  // Both entries of the directory point to the first record's place.
  const pickle = pickleOf(GOOD);
  const file = zipOf([["a/data.pkl", pickle], ["a/data.pkm", pickle]]);
  const second = 2 * (30 + 10 + pickle.length) + 46 + 10;
  const overlap = patched(file, second + 42, 0, 0, 0, 0);
  assertThrows(() => readPth(overlap), SyntaxError, "must have that name in its header, got another");
  const renamed = patched(overlap, second + 46, ...new TextEncoder().encode("a/data.pkl"));
  assertThrows(
    () => readPth(renamed),
    SyntaxError,
    'names of records must be unique, got "a/data.pkl" twice',
  );
  // The first record claims the second one's bytes, too.
  const longer = file.slice();
  const directory = 2 * (30 + 10 + pickle.length);
  for (const at of [directory + 20, directory + 24]) longer.set([pickle.length + 60], at);
  assertThrows(() => readPth(longer), SyntaxError, 'must not overlap, got "a/data.pkl" and "a/data.pkm"');
});

Deno.test("pth: refuses what is no Uint8Array", () => {
  for (const value of ["model.pth", null, new ArrayBuffer(8), [1]]) {
    const message = "Cannot read pth: bytes must be a Uint8Array, got ";
    assertThrows(() => readPth(value as unknown as Uint8Array), TypeError, message);
  }
});

Deno.test("pth: damaged values are found by their checksum, unless that is not asked for", () => {
  const file = fixtureFile("torch_checkpoint.pth");
  const { byteOffset } = readPth(file).tensors.plain.data;
  const damaged = patched(file, byteOffset + 2, 0x40);
  assertThrows(() => readPth(damaged), SyntaxError, "must have the checksum");
  assertEquals([...readPth(damaged, { checksums: false }).tensors.plain.data].slice(1), [1, 2, 3, 4, 5]);
});

Deno.test("pth: every truncation of a file is refused", () => {
  const file = fixtureFile("torch_checkpoint.pth");
  for (let length = 0; length < file.length; length++) {
    assertThrows(() => readPth(file.subarray(0, length)), SyntaxError, "Cannot read pth: ");
  }
});

/** Reads damaged bytes: either they give tensors that are whole, or the one error, at once. */
function attempt(bytes: Uint8Array, counts: { read: number; refused: number }): void {
  const start = performance.now();
  try {
    const { tensors } = readPth(bytes, { checksums: false });
    for (const { shape, data } of Object.values(tensors)) {
      assertEquals(data.length, shape.reduce((product, extent) => product * extent, 1));
    }
    counts.read++;
  } catch (error) {
    assertInstanceOf(error, SyntaxError);
    assertStringIncludes(error.message, "Cannot read pth: ");
    counts.refused++;
  }
  assert(performance.now() - start < 2000, "damaged files are dealt with at once");
}

// Without checksums, so that damage reaches the code behind them.
for (
  const [name, runs] of [["torch_checkpoint.pth", 4000], ["torch_protocol4.pth", 2000], [
    "model.pth",
    800,
  ]] as const
) {
  Deno.test(`pth: ${name}, damaged in ${runs} ways, gives tensors or the one error`, () => {
    const file = fixtureFile(name);
    const counts = { read: 0, refused: 0 };
    // Half of the damage goes to the pickle at the front, which is small beside the rest.
    const place = fc.oneof(
      fc.nat({ max: file.length - 1 }),
      fc.nat({ max: Math.min(6900, file.length) - 1 }),
    );
    const changes = fc.array(fc.tuple(place, fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
    const whole = { weight: 9, arbitrary: fc.constant(file.length) };
    const lengths = fc.oneof(whole, { weight: 1, arbitrary: fc.nat({ max: file.length }) });
    fc.assert(
      fc.property(changes, lengths, (flips, length) => {
        const bytes = file.slice(0, length);
        for (const [at, value] of flips) if (at < bytes.length) bytes[at] = value;
        attempt(bytes, counts);
      }),
      { seed: 5, numRuns: runs },
    );
    assert(counts.refused > runs / 10 && counts.read > runs / 20, JSON.stringify(counts));
  });
}

Deno.test("pth: pickles of random opcodes give a value or the one error", () => {
  const counts = { read: 0, refused: 0 };
  const pieces = fc.constantFrom(
    ...[
      "}",
      "]",
      ")",
      "(",
      "t",
      "u",
      "s",
      "e",
      "a",
      "R",
      "b",
      "Q",
      "0",
      "1",
      "2",
      "N",
      "\x85",
      "\x87",
      "\x8f",
      "\x90",
    ],
    ...["q\x00", "h\x00", "h\x01", "\x94", "\x81", "\x93", text("w"), text("storage"), integer(6), GOOD],
    ...["ccollections\nOrderedDict\n", "ctorch\nFloatStorage\n", "ctorch._utils\n_rebuild_tensor_v2\n"],
    ...["cargparse\nNamespace\n", "ctorch\nSize\n", tensor(6, 0, [2, 3], [3, 1])],
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
      attempt(pthOf(pickleOf(...parts)), counts);
      attempt(pthOf(pickleOf(`}(${text("w")}${tensor(6, 0, [1], [1])}${text("x")}`, ...parts, "u")), counts);
    }),
    { seed: 6, numRuns: 3000 },
  );
  assert(counts.refused > 1000 && counts.read > 50, JSON.stringify(counts));
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(fc.property(bytes, (pickle) => attempt(pthOf(Uint8Array.of(0x80, 2, ...pickle)), counts)), {
    seed: 7,
    numRuns: 2000,
  });
  fc.assert(fc.property(bytes, (file) => attempt(Uint8Array.of(0x50, 0x4b, 3, 4, ...file), counts)), {
    seed: 8,
    numRuns: 2000,
  });
});
