/** Images as ImageNet models take them: decoding and resampling as Pillow's, cropping and scaling as PyTorch's. */
import * as fc from "fast-check";
import { encode } from "fast-png";
import { decodePhoto } from "../src/data/photos/decode.ts";
import { readJpegHeader } from "../src/data/photos/jpeg_header.ts";
import { orient, type Photo } from "../src/data/photos/photo.ts";
import {
  evaluationGeometry,
  IMAGENET_MEAN,
  IMAGENET_STD,
  preprocess,
} from "../src/data/photos/preprocess.ts";
import { cubic, resizeBicubic } from "../src/data/photos/resize.ts";
import { imagenetNames, parseClassNames } from "../src/data/photos/class_names.ts";
import { labelsOf } from "../src/tasks/classify/folder.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";

function fixtureFile(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`fixtures/${name}`, import.meta.url));
}

/** The image of the PNG files below, 8 x 6 pixels. */
function pattern(): Photo {
  const data = Uint8Array.from({ length: 6 * 8 * 3 }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 24), Math.floor(i / 3) % 8, i % 3];
    return [x * 31 + y * 17, x * x * 13 + y * 7, (x + y) % 2 * 255][c] % 256;
  });
  return { width: 8, height: 6, data };
}

function hex(text: string): Uint8Array {
  return Uint8Array.fromHex(text);
}

for (const name of ["photo", "photo_grey"]) {
  Deno.test(`decode: ${name}.jpg has Pillow's pixels`, async () => {
    const jpeg = await decodePhoto(fixtureFile(`${name}.jpg`), name, { orient: false });
    const expected = await decodePhoto(fixtureFile(`${name}.png`), name);
    assertEquals([jpeg.width, jpeg.height], [60, 44]);
    assertEquals(jpeg.data, expected.data);
  });
}

Deno.test("decode: EXIF's orientation is heeded unless that is not asked for", async () => {
  const file = fixtureFile("photo.jpg");
  assertEquals(readJpegHeader(file), { width: 60, height: 44, components: 3, orientation: 6 });
  const { width, height, data } = await decodePhoto(file, "photo.jpg");
  assertEquals([width, height], [44, 60]);
  const stored = await decodePhoto(file, "photo.jpg", { orient: false });
  // A quarter turn to the right: the left column, from the bottom up, becomes the first row.
  for (const x of [0, 17, 43]) {
    assertEquals(data.slice(3 * x, 3 * x + 3), stored.data.slice(3 * 60 * (43 - x), 3 * 60 * (43 - x) + 3));
  }
});

Deno.test("orient: all eight, by where two corners go", () => {
  const photo = { width: 3, height: 2, data: Uint8Array.from({ length: 18 }, (_, i) => Math.floor(i / 3)) };
  const rows = [1, 2, 3, 4, 5, 6, 7, 8].map((orientation) => {
    const { width, height, data } = orient(photo, orientation);
    return [width, height, ...data.filter((_, i) => i % 3 === 0)];
  });
  assertEquals(rows, [
    [3, 2, 0, 1, 2, 3, 4, 5],
    [3, 2, 2, 1, 0, 5, 4, 3],
    [3, 2, 5, 4, 3, 2, 1, 0],
    [3, 2, 3, 4, 5, 0, 1, 2],
    [2, 3, 0, 3, 1, 4, 2, 5],
    [2, 3, 3, 0, 4, 1, 5, 2],
    [2, 3, 5, 2, 4, 1, 3, 0],
    [2, 3, 2, 5, 1, 4, 0, 3],
  ]);
});

/** PNG files as Pillow writes them, and the pixels it makes of them. */
const PNGS: [what: string, base64: string, pixels: () => Uint8Array][] = [
  [
    "colour",
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAIAAABxZ0isAAAAMklEQVR4nGNkYGCQ5/0vr84o7/hfPppRvvS/fD+j/Mr/TILs/wXZGTFJJqyi" +
    "guzU1AEAnxcfITZu3NkAAAAASUVORK5CYII=",
    () => pattern().data,
  ],
  [
    "alpha, which is left out",
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAYAAAD+Bd/7AAAAPklEQVR4nGNkYGBgkOf9Lyevzign7/hfTj6aUU6+9L+cfD+jnPzK/3JMguz/" +
    "GQTZGRlw0Uz4JAXZ/zPQwQQAW0cf85bO9iYAAAAASUVORK5CYII=",
    () => pattern().data,
  ],
  [
    "grey with alpha",
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAQAAABUDBdwAAAAQ0lEQVR4nGNk+K/HwMzgy6DIcJXBgeEzA5MawxsGZMwEY75lUGN4w6DOwKTO8IZB" +
    "HSqrzjCfgQmZ+4ZBHdWMWwxvGADlRhmJRcjrNwAAAABJRU5ErkJggg==",
    () =>
      hex("002e317e9f74b4a7261a576ac560da9312404390b286c6ba392c6a7cd872ed59255356a2c499d9804b3f7c8eea85b36c"),
  ],
  [
    "a palette of four colours",
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGAgMAAACDazdoAAAADFBMVEWm3naWhoCQRpUxGXQJG3SxAAAAGklEQVR4nGP4p8TwU5DhnSLDT2GGp4oM" +
    "OwUBO9wGFoRr2UAAAAAASUVORK5CYII=",
    () =>
      hex(
        "311974311974311974904695a6de76904695a6de76904695311974311974904695968680a6de76968680a6de7696868031197490469531" +
          "1974904695a6de76904695a6de76968680311974311974904695968680a6de76968680a6de76311974311974904695968680968680a6de" +
          "76904695a6de76968680904695311974904695968680a6de76968680a6de76968680",
      ),
  ],
  [
    "16 bits",
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGEAAAAACL/lxkAAAAFUlEQVR4nGNk8JVnQIZMggyokBoCAOHrA9q6MQDKAAAAAElFTkSuQmCC",
    () => pattern().data.filter((_, i) => i % 3 === 0),
  ],
];

for (const [what, base64, pixels] of PNGS) {
  Deno.test(`decode: PNG, ${what}`, async () => {
    const { width, height, data } = await decodePhoto(Uint8Array.fromBase64(base64), "x.png");
    assertEquals([width, height], [8, 6]);
    const expected = pixels();
    const grey = expected.length === 48;
    assertEquals(
      data,
      grey ? Uint8Array.from({ length: 144 }, (_, i) => expected[Math.floor(i / 3)]) : expected,
    );
  });
}

Deno.test("decode: PNG, one bit a pixel", async () => {
  const base64 =
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGAQAAAADWfuJWAAAAFElEQVR4nGPgZmJgEmHgYhJhYgAAAa8ARrLZ78oAAAAASUVORK5CYII=";
  const { data } = await decodePhoto(Uint8Array.fromBase64(base64), "x.png");
  assertEquals([...data.slice(0, 24)].filter((_, i) => i % 3 === 0), [0, 0, 0, 0, 255, 0, 255, 255]);
});

Deno.test("decode: refusals, and the decoder works on after them", async () => {
  const photo = fixtureFile("photo.jpg");
  const huge = photo.slice();
  const frame = huge.findIndex((byte, i) => byte === 0xff && huge[i + 1] === 0xc0);
  huge.set([0xff, 0xff, 0xff, 0xff], frame + 5);
  const png = fixtureFile("photo.png");
  const damaged = png.slice();
  damaged[100] ^= 1;
  const text = (value: string): Uint8Array => new TextEncoder().encode(value);
  const cases: [Uint8Array, string][] = [
    [new Uint8Array(0), "an image must be JPEG or PNG, got an empty file"],
    [text("GIF89a..."), "got GIF"],
    [text("RIFF....WEBP"), "got WebP"],
    [text("hello"), "got another kind of file"],
    [fixtureFile("photo_cmyk.jpg"), "must be grey or in colour, got 4 components (CMYK, for print)"],
    [photo.slice(0, 700), "must be whole, got one that ends early; is it truncated?"],
    [photo.slice(0, 100), "must say its extents before its pixels, got none; is it damaged?"],
    [huge, "must have 1 to 100000000 pixels, got 65535 x 65535"],
    [png.slice(0, 20), "a PNG file must be whole, got 20 bytes"],
    [png.slice(0, 300), "a PNG file must be whole, got"],
    [damaged, "a PNG file must be whole, got"],
  ];
  for (const [bytes, message] of cases) {
    const error = await assertRejects(() => decodePhoto(bytes, "x.jpg"), SyntaxError, message);
    assertStringIncludes(error.message, "Cannot read x.jpg: ");
    assertEquals((await decodePhoto(photo, "photo.jpg")).height, 60);
  }
});

Deno.test("decode: damaged files give pixels or the one error", async () => {
  const change = fc.tuple(fc.nat({ max: 1299 }), fc.nat({ max: 255 }));
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("photo.jpg", "photo.png"),
      fc.array(change, { minLength: 1, maxLength: 3 }),
      async (
        name,
        changes,
      ) => {
        const bytes = fixtureFile(name);
        // The extents stay: what they may be is tested above, and large ones take long.
        for (const [at, value] of changes) if (at > 200) bytes[at] = value;
        try {
          const { width, height, data } = await decodePhoto(bytes, name);
          assertEquals(data.length, 3 * width * height);
        } catch (error) {
          assertInstanceOf(error, SyntaxError);
        }
      },
    ),
    { seed: 1, numRuns: 200 },
  );
});

/** `pattern()` resized by Pillow 9.4, `resize((width, height), BICUBIC)`. */
const RESIZED: [width: number, height: number, pixels: string][] = [
  [3, 2, "2f1b7e808b7fcba0815e2e81b39e7f97b37e"],
  [
    5,
    4,
    "0f047a3f327e72a380a48681d5a485270e7e573c7f8aad80bc9080e5ae81421981724780a5b880e29b7f75b97e5a23858a5181c2c280c8a57e" +
    "39c37a",
  ],
  [
    8,
    3,
    "09046d28119247386d66799285d46da44992c3d86def81922b12804a1f80694680888780a7e280c65780ede680848f804c1f926b2c6d8a5392" +
    "a9946dc8ef92e7646d8ff392189c6d",
  ],
  [
    11,
    9,
    "0000000f05ab2817cb3e36005564e96caf8082ba169946ffafae34c8ba54da78ff06028717087d301a7c4639875d677a74b2808abd85a14978" +
    "b7b183d0bd82e27b781207ec240d5f3d1f47533eea6a6c3081b78097c2cfae4e15c4b6b8dec2a0f280131d0c132f12a04824b85e43157571cf" +
    "8cbc80a2c730b953eacebb47eec75fff85ec2911803b17805429806a488081768098c180aecc80c55880e5c080bfcc807f8a803415ec461b5f" +
    "5f2d47754cea8c7a30a3c580b9d0cfd05c15fbc4b891d0a0008e133f1a135120a06a32b8805115977fcfaeca80c4d530db61eaffc947a9d55f" +
    "0993ec4c1f785e25827737838d5678a48485bbcf80d4da7aeb6687a1ce7c55da7d2298875422ff6628547f3a349559ffac8716c3d280dedde9" +
    "f5690040d1cb03ddab329b00",
  ],
];

Deno.test("resize: Pillow's values, to the bit, smaller and larger", () => {
  for (const [width, height, pixels] of RESIZED) {
    assertEquals(resizeBicubic(pattern(), width, height).data, hex(pixels), `${width} x ${height}`);
  }
  assertEquals(resizeBicubic(pattern(), 8, 6).data, pattern().data);
});

Deno.test("resize: the kernel's own values, and a sum of weights worked out by hand", () => {
  // Keys' kernel with a = -1/2: 1 at 0, 0 at whole distances, and at 1/2 and 3/2 what interpolates a line exactly.
  assertEquals([cubic(0), cubic(1), cubic(-1), cubic(2), cubic(5)], [1, 0, 0, 0, 0]);
  assertEquals([cubic(0.5), cubic(-1.5)], [0.5625, -0.0625]);
  // Four samples to two: sample 0 takes 0 to 3 (centre 1, twice as wide), weights cubic((k + 0.5 - 1) / 2).
  const weights = [0, 1, 2].map((k) => cubic((k - 0.5) / 2));
  const values = [10, 200, 90, 250];
  const sum = weights.reduce((total, weight) => total + weight, 0) + cubic(2.5 / 2);
  const expected = (weights.reduce((total, weight, k) => total + weight * values[k], 0) + cubic(1.25) * 250) /
    sum;
  const row = {
    width: 4,
    height: 1,
    data: Uint8Array.from(values.flatMap((value) => [value, value, value])),
  };
  assertEquals(resizeBicubic(row, 2, 1).data[0], Math.round(expected));
});

Deno.test("resize: a window is that part of the whole", () => {
  const whole = resizeBicubic(pattern(), 11, 9);
  const { data } = resizeBicubic(pattern(), 11, 9, { left: 3, top: 2, width: 5, height: 4 });
  const expected = Array.from({ length: 60 }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 15) + 2, Math.floor(i / 3) % 5 + 3, i % 3];
    return whole.data[3 * (y * 11 + x) + c];
  });
  assertEquals([...data], expected);
  assertThrows(
    () => resizeBicubic(pattern(), 4, 4, { left: 2, top: 0, width: 3, height: 4 }),
    RangeError,
    "the window must lie within the result, got 3 x 4 from 2, 0 in 4 x 4",
  );
});

Deno.test("preprocess: resized and cropped as torchvision does, halves to the even pixel", () => {
  const cases: [
    width: number,
    height: number,
    size: number,
    whole: [number, number],
    corner: [number, number],
  ][] = [
    [500, 375, 224, [341, 256], [58, 16]], // (341 - 224) / 2 = 58.5, to 58
    [375, 500, 224, [256, 341], [16, 58]],
    [343, 256, 224, [343, 256], [60, 16]], // 59.5, to 60
    [256, 256, 224, [256, 256], [16, 16]],
    [20, 10, 224, [512, 256], [144, 16]],
    [64, 48, 32, [48, 36], [8, 2]], // 32 / 0.875 = 36.57, to 36
    [500, 375, 384, [384, 384], [0, 0]], // squeezed, not cropped
  ];
  for (const [width, height, size, whole, corner] of cases) {
    const got = evaluationGeometry(width, height, size);
    assertEquals([got.width, got.height, got.window.left, got.window.top], [...whole, ...corner]);
    assertEquals([got.window.width, got.window.height], [size, size]);
  }
});

Deno.test("preprocess: planes of normalised values", () => {
  const data = Uint8Array.from({ length: 3 * 40 * 30 }, (_, i) => [10, 128, 255][i % 3]);
  const values = preprocess({ width: 40, height: 30, data }, 16);
  assertEquals(values.length, 3 * 16 * 16);
  for (let c = 0; c < 3; c++) {
    const expected = ([10, 128, 255][c] / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c];
    for (const i of [0, 100, 255]) assertAlmostEquals(values[256 * c + i], expected, 1e-6);
  }
});

Deno.test("class names: ImageNet's thousand, and what a file may hold", async () => {
  const { names } = await imagenetNames();
  assertEquals(names.length, 1000);
  assert(names.every((name) => typeof name === "string" && name.length > 1));
  assertEquals([names[0], names[1], names[999]], [
    "tench, Tinca tinca",
    "goldfish, Carassius auratus",
    "toilet tissue, toilet paper, bathroom tissue",
  ]);
  const parse = (text: string): unknown => parseClassNames(text, "names");
  assertEquals(parse("cat\r\ndog, hound\r\n"), { names: ["cat", "dog, hound"], ids: [null, null] });
  assertEquals(parse("n00000001 a cat\nn00000002\tdog"), {
    names: ["a cat", "dog"],
    ids: ["n00000001", "n00000002"],
  });
  assertEquals(parse('["cat", "dog"]'), { names: ["cat", "dog"], ids: [null, null] });
  assertEquals(parse('{"1": ["n00000002", "dog"], "0": ["n00000001", "cat"]}'), {
    names: ["cat", "dog"],
    ids: ["n00000001", "n00000002"],
  });
  for (
    const [text, message] of [
      ["cat\n\ndog", 'class 1 must have a name, got ""'],
      ['{"0": "cat", "2": "dog"}', "class 1 must have a name, got null"],
      ['["cat", 3]', "class 1 must have a name, got 3"],
      ["[", "it must be JSON or lines of names, got"],
    ]
  ) {
    assertThrows(() => parse(text), SyntaxError, `Cannot read names: ${message}`);
  }
});

Deno.test("folders: named by index, id, name or order", () => {
  const known = parseClassNames(
    "n00000001 cat, tom\nn00000002 great white shark\nn00000003 crane\nn00000004 crane",
    "x",
  );
  const labels = (...names: string[]): [string, number][] => [...labelsOf("val", names, 4, known)];
  assertEquals(labels("3", "0", "1"), [["0", 0], ["1", 1], ["3", 3]]);
  assertEquals(labels("n00000004", "n00000002"), [["n00000002", 1], ["n00000004", 3]]);
  assertEquals(labels("Great_White-shark", "tom"), [["Great_White-shark", 1], ["tom", 0]]);
  assertEquals(labels("d", "b", "a", "c"), [["a", 0], ["b", 1], ["c", 2], ["d", 3]]);
  assertThrows(() => labels("crane", "cat"), RangeError, "must stand for one class, got crane for 2 and 3");
  assertThrows(() => labels("4", "cat"), RangeError, "(0 to 3), WordNet id or class name, or be 4");
  assertThrows(
    () => labelsOf("val", ["n01440764"], 4, null),
    RangeError,
    "got 1, n01440764 among them; WordNet ids are known from --names LOC_synset_mapping.txt",
  );
});

Deno.test("decode: what is encoded here is decoded here", async () => {
  const photo = pattern();
  const png = encode({ width: 8, height: 6, channels: 3, depth: 8, data: photo.data });
  assertEquals(await decodePhoto(png, "x.png"), photo);
});
