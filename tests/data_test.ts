/** The data: MNIST and the births as they arrive, directories of IDX files, shuffling, and what is refused. */
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "./assert.ts";
import { shuffledIndices } from "../src/data/batches.ts";
import { loadBirths, parseBirths } from "../src/data/births.ts";
import { readIdxImages, readIdxLabels } from "../src/data/idx.ts";
import { checkMd5 } from "../src/data/integrity.ts";
import { loadMnist } from "../src/data/mnist.ts";
import type { LabelledImages } from "../src/data/mnist.ts";

/** An IDX file. */
function idx(magic: number, extents: number[], values: number[]): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(4 + 4 * extents.length + values.length);
  const view = new DataView(file.buffer);
  [magic, ...extents].forEach((word, i) => view.setUint32(4 * i, word));
  file.set(values, 4 + 4 * extents.length);
  return file;
}

const images = (extents: number[], values: number[]): Uint8Array<ArrayBuffer> => idx(0x0803, extents, values);
const labels = (values: number[]): Uint8Array<ArrayBuffer> => idx(0x0801, [values.length], values);

async function gzip(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** A tiny data set of two training images and one test image. */
const TINY: Record<string, Uint8Array<ArrayBuffer>> = {
  "train-images-idx3-ubyte": images([2, 1, 3], [1, 2, 3, 4, 5, 255]),
  "train-labels-idx1-ubyte": labels([9, 0]),
  "t10k-images-idx3-ubyte": images([1, 1, 3], [7, 8, 9]),
  "t10k-labels-idx1-ubyte": labels([4]),
};

/** Runs `body` with a directory of these files, the tiny data set's where none is given; null leaves one out. */
async function withFiles(
  files: Record<string, Uint8Array | null>,
  body: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "dcls-data-" });
  try {
    for (const [name, bytes] of Object.entries({ ...TINY, ...files })) {
      if (bytes !== null) await Deno.writeFile(`${directory}/${name}`, bytes);
    }
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function countLabels({ labels }: LabelledImages): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const label of labels) counts[label]++;
  return counts;
}

Deno.test("loadMnist: MNIST itself, 60,000 and 10,000 digits of 28 x 28", async () => {
  const { name, train, test, rows, columns } = await loadMnist();
  assertEquals([name, rows, columns], ["MNIST", 28, 28]);
  assertEquals([train.count, test.count], [60_000, 10_000]);
  assertEquals([train.images.length, test.images.length], [60_000 * 784, 10_000 * 784]);
  assertEquals([train.labels.length, test.labels.length], [60_000, 10_000]);
  // Known of MNIST: the first labels, how often each digit occurs, and the mean grey value of 33.3.
  assertEquals(Array.from(train.labels.subarray(0, 5)), [5, 0, 4, 1, 9]);
  assertEquals(Array.from(test.labels.subarray(0, 5)), [7, 2, 1, 0, 4]);
  assertEquals(countLabels(train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
  assertEquals(countLabels(test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  let sum = 0;
  for (const value of train.images) sum += value;
  assertEquals((sum / train.images.length).toFixed(2), "33.32");
});

Deno.test("loadMnist: a directory, plain and gzipped files, named after it", () =>
  withFiles({
    "t10k-images-idx3-ubyte": null,
    "t10k-labels-idx1-ubyte": null,
  }, async (directory) => {
    for (const name of ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]) {
      await Deno.writeFile(`${directory}/${name}.gz`, await gzip(TINY[name]));
    }
    const dataset = await loadMnist({ directory: `${directory}/` });
    assertEquals(dataset, {
      name: directory.split("/").at(-1)!,
      train: { images: Uint8Array.of(1, 2, 3, 4, 5, 255), labels: Uint8Array.of(9, 0), count: 2 },
      test: { images: Uint8Array.of(7, 8, 9), labels: Uint8Array.of(4), count: 1 },
      rows: 1,
      columns: 3,
    });
  }));

Deno.test("loadMnist: refuses what a directory may hold instead", async () => {
  const gzipped = await gzip(TINY["train-images-idx3-ubyte"]);
  const cases: [Record<string, Uint8Array | null>, typeof Error, string][] = [
    [
      { "t10k-labels-idx1-ubyte": null },
      Error,
      "must hold t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz, got neither",
    ],
    [
      {
        "train-images-idx3-ubyte": null,
        "train-images-idx3-ubyte.gz": gzipped.subarray(0, gzipped.length - 9),
      },
      SyntaxError,
      "train-images-idx3-ubyte.gz: it must be a whole gzip file, got ",
    ],
    [
      { "train-images-idx3-ubyte": null, "train-images-idx3-ubyte.gz": TINY["train-images-idx3-ubyte"] },
      SyntaxError,
      "it must be a whole gzip file, got ",
    ],
    [
      { "train-images-idx3-ubyte": gzipped },
      SyntaxError,
      "train-images-idx3-ubyte: an IDX file of images must start with the magic number 2051, got ",
    ],
    [
      { "train-labels-idx1-ubyte": labels([1, 2, 3]) },
      SyntaxError,
      "train-labels-idx1-ubyte: it must have one label for each of the 2 images, got 3",
    ],
    [
      { "t10k-images-idx3-ubyte": images([1, 3, 1], [1, 2, 3]) },
      SyntaxError,
      "training and test images must be of one size, got 1 x 3 and 3 x 1",
    ],
    [
      { "t10k-labels-idx1-ubyte": labels([10]) },
      SyntaxError,
      "t10k-labels-idx1-ubyte: labels must be from 0 to 9, got 10 at index 0",
    ],
  ];
  for (const [files, errorClass, message] of cases) {
    await withFiles(files, async (directory) => {
      const error = await assertRejects(() => loadMnist({ directory }), errorClass, message);
      assert(error.message.startsWith("Cannot "), error.message);
    });
  }
  const missing = "tests/no-such-directory";
  await assertRejects(
    () => loadMnist({ directory: missing }),
    Error,
    `Cannot load images: ${missing} must hold train-images-idx3-ubyte`,
  );
  const file = "tests/data_test.ts";
  await assertRejects(
    () => loadMnist({ directory: file }),
    Error,
    `Cannot read ${file}/train-images-idx3-ubyte: `,
  );
});

Deno.test("IDX: refusals", () => {
  const cases: [() => unknown, string][] = [
    [
      () => readIdxImages(new Uint8Array(15), "f"),
      "Cannot read f: an IDX file of images must have at least 16 bytes, got 15",
    ],
    [
      () => readIdxLabels(new Uint8Array(0), "f", 10),
      "Cannot read f: an IDX file of labels must have at least 8 bytes, got 0",
    ],
    [
      () => readIdxImages(idx(0x0801, [1, 1, 1], [0]), "f"),
      "must start with the magic number 2051, got 2049",
    ],
    [() => readIdxLabels(idx(0x0803, [1], [0]), "f", 10), "must start with the magic number 2049, got 2051"],
    [
      () => readIdxImages(images([1, 2, 2], [0, 0, 0]), "f"),
      "extents of 1 x 2 x 2 must make 20 bytes, got 19",
    ],
    [() => readIdxImages(images([1, 1, 1], [0, 0]), "f"), "extents of 1 x 1 x 1 must make 17 bytes, got 18"],
    [() => readIdxImages(images([2 ** 31, 2 ** 31, 2 ** 31], [0]), "f"), "bytes, got 17"],
    [() => readIdxImages(images([0, 28, 28], []), "f"), "it must hold images, got extents 0 x 28 x 28"],
    [() => readIdxLabels(labels([]), "f", 10), "it must hold labels, got extents 0"],
    [() => readIdxLabels(labels([3, 9, 10]), "f", 10), "labels must be from 0 to 9, got 10 at index 2"],
  ];
  for (const [fn, message] of cases) assertThrows(fn, SyntaxError, message);
});

Deno.test("checkMd5: the message says which file, which digest, and what to do", () => {
  const md5 = "d41d8cd98f00b204e9800998ecf8427e";
  checkMd5("f", new Uint8Array(0), md5, "delete it");
  assertThrows(
    () => checkMd5("f", Uint8Array.of(0), md5, "delete it"),
    Error,
    `Cannot use f: its MD5 must be ${md5}, got 93b885adfe0da089cdf634904fd59f71; delete it`,
  );
});

Deno.test("loadBirths: 7,305 days from 1969 to 1988, fewest on Sundays", async () => {
  const { start, counts } = await loadBirths();
  assertEquals(start, "1969-01-01");
  assertEquals(counts.length, 7305);
  assertEquals([counts[0], counts[1], counts[7304]], [8486, 9002, 9133]);
  // 1 January 1969 was a Wednesday: days 4, 11, ... are Sundays.
  const means = Array.from({ length: 7 }, (_, weekday) => {
    const values = counts.filter((_, day) => day % 7 === weekday);
    return values.reduce((sum, value) => sum + value) / values.length;
  });
  assertEquals(means.indexOf(Math.min(...means)), 4);
});

Deno.test("parseBirths: refusals", () => {
  const heading = "year,month,date_of_month,day_of_week,births";
  const cases: [string, string][] = [
    ["", `the first line must be "${heading}", got ""`],
    ["a,b\n1,2", `the first line must be "${heading}", got "a,b"`],
    [heading, "it must hold at least one day, got none"],
    [`${heading}\n1969,1,1,3`, 'line 2 must hold five whole numbers, got "1969,1,1,3"'],
    [`${heading}\n1969,1,1,3,-4`, 'line 2 must hold five whole numbers, got "1969,1,1,3,-4"'],
    [`${heading}\n1969,1,1,3,`, "line 2 must hold five whole numbers"],
    [`${heading}\n1969,1,1,3,NaN`, "line 2 must hold five whole numbers"],
    [`${heading}\n1969,1,1,4,5`, 'line 2 must be of the day 1969,1,1,3, got "1969,1,1,4,5"'],
    [`${heading}\n1969,2,30,7,5`, "line 2 must be of the day 1969,3,2,7"],
    [`${heading}\n1969,1,1,3,5\n1969,1,3,5,5`, "line 3 must be of the day 1969,1,2,4"],
    [`${heading}\n1969,1,1,3,0`, "line 2 must count births"],
  ];
  for (const [text, message] of cases) {
    assertThrows(() => parseBirths(text, "f.csv"), SyntaxError, message);
    assertThrows(() => parseBirths(text, "f.csv"), SyntaxError, "Cannot read f.csv: ");
  }
});

Deno.test("shuffledIndices: a permutation that seed and epoch alone decide", () => {
  const order = shuffledIndices(1000, 42, 3);
  assertEquals(Array.from(order).sort((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i));
  assertEquals(shuffledIndices(1000, 42, 3), order);
  assertNotEquals(shuffledIndices(1000, 42, 4), order);
  assertNotEquals(shuffledIndices(1000, 43, 3), order);
  assertEquals(shuffledIndices(0, 42, 0), new Uint32Array(0));
  assertEquals(shuffledIndices(1, 42, 0), new Uint32Array(1));
  assertEquals(Array.from(shuffledIndices(8, 42, 0)), [5, 6, 0, 3, 1, 2, 7, 4]);
});

Deno.test("shuffledIndices: every order of four is as likely as any other", () => {
  const counts = new Map<string, number>();
  for (let epoch = 0; epoch < 24_000; epoch++) {
    const key = shuffledIndices(4, 1, epoch).join();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  assertEquals(counts.size, 24);
  // Chi-square with 23 degrees of freedom: 58.6 is exceeded once in 16,000. The seed is fixed, so never by chance.
  const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  assert(chiSquare < 58.6, `chi-square ${chiSquare}`);
});

Deno.test("shuffledIndices: refusals", () => {
  for (const count of [-1, 1.5, NaN, 2 ** 32]) {
    assertThrows(
      () => shuffledIndices(count, 1, 1),
      RangeError,
      `count must be an integer from 0 to 2^32 - 1, got`,
    );
  }
  for (const epoch of [-1, 1.5, NaN, 2 ** 31]) {
    assertThrows(
      () => shuffledIndices(1, 1, epoch),
      RangeError,
      `epoch must be an integer from 0 to 2^31 - 1, got`,
    );
  }
  assertThrows(() => shuffledIndices(1, 0.5, 1), RangeError, "the seed must be an integer");
});
