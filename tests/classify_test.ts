/** `deno task classify`: the form of weights, what it names, how it judges a folder, and the whole command line. */
import { encode } from "fast-png";
import { init } from "../src/backend.ts";
import { decodePhoto } from "../src/data/photos/decode.ts";
import { writePth, writeSafetensors } from "../src/io/mod.ts";
import { ConvNeXt, type ConvNeXtOptions } from "../src/models/mod.ts";
import type { StateDict } from "../src/nn/mod.ts";
import { classify, classifyCommand, describeEvaluation } from "../src/tasks/classify.ts";
import { preprocess } from "../src/data/photos/preprocess.ts";
import { predict, topClasses } from "../src/tasks/classify/predict.ts";
import { PUBLISHED, whereWeightsAre } from "../src/tasks/classify/published.ts";
import { formOf, loadModel, readWeights } from "../src/tasks/classify/weights.ts";
import { parseCommand } from "../src/train/cli.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "./assert.ts";
import { testBackends } from "./backends.ts";

const SMALL: ConvNeXtOptions = {
  classes: 3,
  depths: [2, 1],
  dims: [4, 6],
  dilatedKernelSize: 7,
  kernelCount: 3,
  layerScale: 0.5,
  weightStd: 0.5,
  seed: 3,
};

async function stateOf(options: ConvNeXtOptions): Promise<StateDict> {
  const model = new ConvNeXt({ ...SMALL, ...options });
  const state = await model.stateDict({ layout: "torch" });
  model.dispose();
  return state;
}

testBackends("classify: the form of a model follows from its weights", async () => {
  const cases: [ConvNeXtOptions, number | undefined, string][] = [
    [{}, 7, "ConvNeXt of 2-1 blocks, 4-6 channels, DCLS v0, 3 elements in 7x7"],
    [
      { sharePositions: false },
      undefined,
      "ConvNeXt of 2-1 blocks, 4-6 channels, DCLS v0, 3 elements in 17x17",
    ],
    [
      { version: "gauss" },
      undefined,
      "ConvNeXt of 2-1 blocks, 4-6 channels, DCLS gauss, 3 elements in 23x23",
    ],
    [{ conv: "standard", kernelSize: 5 }, undefined, "ConvNeXt of 2-1 blocks, 4-6 channels, 5x5 kernels"],
    [{ stemSize: 2, inChannels: 3, layerScale: null }, 7, "ConvNeXt of 2-1 blocks, 4-6 channels, DCLS v0,"],
  ];
  for (const [options, kernelSize, expected] of cases) {
    const state = await stateOf(options);
    for (const bytes of [writePth(state), writePth(state, { key: "model" }), writeSafetensors(state)]) {
      const loaded = loadModel(bytes, "w", { model: "auto", kernelSize, layout: "torch" });
      assertStringIncludes(loaded.name, expected);
      assertEquals(await loaded.model.stateDict({ layout: "torch" }), state);
      loaded.model.dispose();
    }
    const { sharePositions } = formOf(state, "w", kernelSize);
    assertEquals(sharePositions ?? true, options.sharePositions ?? true);
  }
}, ["reference"]);

testBackends("classify: weights that fit no model are refused by the file's name", async () => {
  const state = await stateOf({ positionStd: 0 });
  const load = (bytes: Uint8Array, model = "auto", kernelSize?: number) => (): unknown =>
    loadModel(bytes, "w.pth", { model, kernelSize, layout: "torch" });
  const file = writePth(state);
  assertThrows(
    load(file.slice(0, 99)),
    Error,
    "Cannot load w.pth: it must be a whole .pth or safetensors file, got",
  );
  const other = { shape: [1], data: new Float32Array(1) };
  assertThrows(
    load(writePth({ other })),
    RangeError,
    "a ConvNeXt must have stages.0.0.norm.weight, got other names",
  );
  const { "head.weight": _, ...headless } = state;
  assertThrows(load(writePth(headless)), RangeError, "a ConvNeXt must have head.weight, got none");
  assertThrows(load(writePth({ ...state, other })), RangeError, "unexpected: other [1]");
  const P = state["stages.0.0.dwconv.P"];
  const far = {
    ...state,
    "stages.0.0.dwconv.P": { ...P, data: P.data.map((value, i) => i === 2 ? 9.5 : value) },
  };
  assertThrows(
    load(writePth(far)),
    RangeError,
    "within 8 cells for a kernel size of 17, got 9.50; say the right size",
  );
  load(writePth(far), "auto", 21)();
  assertThrows(load(file, "auto", 6), RangeError, "dilatedKernelSize must be a positive odd integer, got 6");
  // As DataParallel saves them.
  const wrapped = Object.fromEntries(
    Object.entries(state).map(([name, tensor]) => [`module.${name}`, tensor]),
  );
  assertEquals(Object.keys(readWeights(writePth(wrapped), "w.pth")), Object.keys(state));
}, ["reference"]);

Deno.test("classify: the likeliest classes, and no order among NaN", () => {
  const ranked = topClasses(Float32Array.of(1, 3, 2, 3), 3);
  assertEquals(ranked.map(({ index }) => index), [1, 3, 2]);
  const all = topClasses(Float32Array.of(1000, 0, 1000), 9);
  assertEquals(all.map(({ probability }) => probability), [0.5, 0.5, 0]);
  assertThrows(() => topClasses(Float32Array.of(1, NaN), 1), RangeError, "logits must be numbers, got NaN");
});

Deno.test("classify: where weights are published, for every model", () => {
  for (const [name, address] of Object.entries(PUBLISHED)) {
    const lines = whereWeightsAre(name);
    assert(lines.some((line) => line.includes(address)), name);
    assertStringIncludes(lines.at(-1)!, address.split("/").at(-1)!);
  }
  assertStringIncludes(whereWeightsAre("auto").at(-1)!, "convnext_dcls_tiny_1k_224_ema.pth");
  assertStringIncludes(whereWeightsAre("base").at(-1)!, "convnext_dcls_base_1k_224_ema.pth");
});

Deno.test("classify: the lines of an evaluation", () => {
  const found = {
    images: 200,
    top1: 150,
    top5: 190,
    unreadable: [],
    seconds: 12.34,
    imagesPerSecond: 16.2081,
  };
  assertEquals(describeEvaluation("val", found), [
    "top-1 accuracy 75.00 %, top-5 accuracy 95.00 % on 200 images (16.2 images/s, 12.3 s)",
  ]);
  const none = { ...found, images: 0, unreadable: [{ path: "a.jpg", reason: "b" }] };
  assertEquals(describeEvaluation("val", none), [
    "unreadable  1 of 1 images, named above",
    "no image of val could be read",
  ]);
});

/** Runs `deno task classify ...` in a process of its own. */
async function runTask(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  const config = new URL("../deno.json", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "--config", config, "classify", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { status: code, stdout: text(stdout), stderr: text(stderr) };
}

/** A picture of stripes; every seed gives another. */
function stripes(seed: number): Uint8Array {
  const [width, height] = [50 + seed, 40];
  const data = Uint8Array.from({ length: 3 * width * height }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3];
    return 128 + 127 * Math.sin((x * (seed + 1) + y * (c + 1) * seed) / 9);
  });
  return encode({ width, height, channels: 3, depth: 8, data });
}

Deno.test("classify: the whole command line, on images and on a labelled folder", async () => {
  const directory = await Deno.makeTempDir({ prefix: "dcls-classify-" });
  try {
    // What it must say, from the float64 reference in this process.
    await init({ backend: "reference" });
    const model = new ConvNeXt(SMALL);
    const pictures = [1, 2, 3, 4, 5, 6].map((seed) => ({ name: `${seed}.png`, bytes: stripes(seed) }));
    const photos = await Promise.all(pictures.map(({ name, bytes }) => decodePhoto(bytes, name)));
    const expected = (await predict(model, photos.map((photo) => preprocess(photo, 32)), 32)).map((logits) =>
      topClasses(logits, 3)
    );
    const weights = `${directory}/weights.pth`;
    await Deno.writeFile(weights, writePth(await model.stateDict({ layout: "torch" }), { key: "model" }));
    await Deno.writeTextFile(`${directory}/names.txt`, "cat, tom\ndog\nfish\n");
    const common = [
      "--weights",
      weights,
      "--size",
      "32",
      "--kernel-size",
      "7",
      "--names",
      `${directory}/names.txt`,
    ];

    const paths: string[] = [];
    for (const { name, bytes } of pictures) {
      paths.push(`${directory}/${name}`);
      await Deno.writeFile(`${directory}/${name}`, bytes);
    }
    await Deno.writeTextFile(`${directory}/note.jpg`, "no image");
    const json = await runTask(...paths, `${directory}/note.jpg`, ...common, "--json", "--batch", "4");
    assertEquals(json.status, 1, json.stderr);
    assertStringIncludes(json.stderr, `Cannot read ${directory}/note.jpg: an image must be JPEG or PNG`);
    const result = JSON.parse(json.stdout);
    assertEquals([result.classes, result.size, result.images.length, result.unreadable.length], [
      3,
      32,
      6,
      1,
    ]);
    for (const [i, { file, top }] of result.images.entries()) {
      assertEquals(file, paths[i]);
      for (const [rank, { index, name, probability }] of top.entries()) {
        assertEquals(index, expected[i][rank].index);
        assertEquals(name, ["cat, tom", "dog", "fish"][index]);
        assertAlmostEquals(probability, expected[i][rank].probability, 1e-3);
      }
    }
    const plain = await runTask(paths[0], ...common, "--top", "2", "--backend", "reference");
    assertEquals(plain.status, 0, plain.stderr);
    const best = expected[0][0];
    const line = `${(100 * best.probability).toFixed(2).padStart(6)} %  ${
      ["cat, tom", "dog", "fish"][best.index]
    }`;
    assertStringIncludes(plain.stdout, `${paths[0]}\n  ${line}\n`);
    assertEquals(plain.stdout.trim().split("\n").length, 5);

    // Five pictures under their own class, one under another, and one that is none.
    for (const [i, { name, bytes }] of pictures.entries()) {
      const label = i < 5 ? expected[i][0].index : expected[i][1].index;
      const folder = `${directory}/val/${["Tom", "dog", "fish"][label]}`;
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeFile(`${folder}/${name}`, bytes);
    }
    const [{ name: someFolder }] = Deno.readDirSync(`${directory}/val`);
    await Deno.writeFile(`${directory}/val/${someFolder}/broken.png`, stripes(7).slice(0, 200));
    const folder = await runTask(
      "--folder",
      `${directory}/val`,
      ...common,
      "--batch",
      "2",
      "--threads",
      "2",
      "--backend",
      "reference",
    );
    assertEquals(folder.status, 0, folder.stdout + folder.stderr);
    assertStringIncludes(folder.stdout, `folder    ${directory}/val: 7 images`);
    assertMatch(folder.stdout, /Cannot read .*broken\.png: a PNG file must be whole/);
    assertStringIncludes(folder.stdout, "unreadable  1 of 7 images, named above");
    assertMatch(
      folder.stdout,
      /top-1 accuracy 83\.33 %, top-5 accuracy 100\.00 % on 6 images \([\d.e+]+ images\/s, /,
    );

    const alone = await runTask("--folder", `${directory}/val`, ...common, "--threads", "0", "--json");
    assertEquals(alone.status, 0, alone.stderr);
    const judged = JSON.parse(alone.stdout);
    assertEquals([judged.images, judged.top1, judged.top5, judged.unreadable.length], [6, 5 / 6, 1, 1]);

    const strange = await runTask("--folder", directory, ...common, "--backend", "reference");
    assertEquals(strange.status, 1);
    assertStringIncludes(strange.stderr, "its folders must be named by index (0 to 2)");
    const mistakes: [args: string[], message: string][] = [
      [["--model", "huge"], "--model: Cannot find the model: its name must be one of convnext-tiny"],
      [["--weights", weights], "it takes images or --folder, got neither"],
      [["x.jpg", "--folder", "y", "--weights", weights], "it takes images or --folder, got both"],
      [["x.jpg", "--weights", `${directory}/no.pth`], "no.pth: there is no such file"],
      [["x.jpg", "--weights", `${directory}/note.jpg`], "it must be a whole .pth or safetensors file"],
      [[paths[0], ...common.slice(0, 4), "--kernel-size", "3"], "say the right size with --kernel-size"],
    ];
    for (const [args, message] of mistakes) {
      const parsed = parseCommand(classifyCommand, [...args, "--backend", "reference"]);
      await assertRejects(() => classify(parsed), Error, message);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("classify: images are what has no flag, and what follows --", () => {
  const { operands, values } = parseCommand(classifyCommand, [
    "a.jpg",
    "--top",
    "3",
    "b.png",
    "--",
    "-c.jpg",
  ]);
  assertEquals([operands, values.top], [["a.jpg", "b.png", "-c.jpg"], 3]);
  assertEquals(parseCommand(classifyCommand, []).operands, []);
  assertThrows(() => parseCommand(classifyCommand, [""]), RangeError, 'got the argument ""');
});

Deno.test("classify: without weights it says where they are; --help", async () => {
  const { status: none, stdout: nothing, stderr } = await runTask("cat.jpg");
  assertEquals([none, nothing], [2, ""]);
  assertStringIncludes(stderr, "https://zenodo.org/record/7112021/files/convnext_dcls_tiny_1k_224_ema.pth");
  const { status, stdout } = await runTask("--help");
  assertEquals(status, 0);
  assertStringIncludes(stdout, "Usage: deno task classify [options] [image ...]");
  assertStringIncludes(stdout, "JPEG or PNG files to name the content of.");
});
