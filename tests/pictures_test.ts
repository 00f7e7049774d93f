/** The pictures of training: well-formed, complete, and refused where the numbers are bad. */
import {
  type ComparisonRow,
  type CurveEvaluation,
  type CurveRow,
  drawComparison,
  drawCurves,
  drawKernels,
  drawLags,
  drawPositionHistogram,
  drawPositionMap,
  type KernelImage,
  type LagRun,
  type LayerPositions,
} from "../src/train/pictures.ts";
import { comparisonPicture } from "../src/train/pictures/comparison.ts";
import { curvesPicture } from "../src/train/pictures/curves.ts";
import { histogramPicture } from "../src/train/pictures/histogram.ts";
import { kernelsPicture } from "../src/train/pictures/kernels.ts";
import { lagsPicture } from "../src/train/pictures/lags.ts";
import { mapPicture } from "../src/train/pictures/map.ts";
import { type Picture, renderSvg } from "../src/train/pictures/render.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "./assert.ts";
import { normal, random, readSvg, render } from "./svg.ts";

/** Five epochs on MNIST with batches of 128, warm-up and cosine schedule. */
const noise = random(1);
const rows: CurveRow[] = Array.from({ length: 2345 }, (_, i) => ({
  step: i + 1,
  epoch: Math.floor(i / 469) + 1,
  loss: (2.25 * Math.exp(-i / 90) + 0.05) * (0.5 + noise()),
  learningRate: i < 100 ? 4e-5 * (i + 1) : 2e-3 * (1 + Math.cos(Math.PI * (i - 100) / 2245)),
}));
const evaluations: CurveEvaluation[] = [0.962, 0.977, 0.982, 0.9845, 0.986].map((accuracy, i) => ({
  epoch: i + 1,
  step: (i + 1) * 469,
  accuracy,
  loss: 0.12 / (i + 1) + 0.03,
}));

Deno.test("curves: titles, series, values", async () => {
  const { texts, shapes } = await render(curvesPicture(rows, evaluations, "MNIST, dcls <seed 0> & co"));
  for (
    const text of [
      "MNIST, dcls <seed 0> & co",
      "Loss",
      "cross entropy (log scale)",
      "training, every step",
      "training, smoothed",
      "test",
      "Accuracy on the test images",
      "right answers (%)",
      "98.60",
      "Learning rate",
      "step",
    ]
  ) assert(texts.includes(text), `no text "${text}"`);
  // Raw, smoothed and test loss, accuracy, learning rate; dots and values at the evaluations.
  assertEquals(shapes, { line: 5, symbol: 10, text: 5 });
});

Deno.test("curves: long runs are thinned and keep their spikes", async () => {
  const long = Array.from({ length: 50_000 }, (_, i) => ({
    step: i + 1,
    epoch: 1,
    loss: i === 31_234 ? 7 : 1 + 0.1 * Math.sin(i),
    learningRate: 1e-3,
  }));
  const svg = await renderSvg(curvesPicture(long, [], "long"));
  assert(svg.length < 200_000, `${svg.length} characters`);
  const range = (picture: Picture): number[] => {
    const values = JSON.stringify(picture).matchAll(/"value":([\d.e-]+),"series":"training, every step"/g);
    return [...values].map((match) => Number(match[1]));
  };
  assertEquals(Math.max(...range(curvesPicture(long, [], "long"))), 7);
});

Deno.test("curves: nothing, one step, constant values, evaluations alone", async () => {
  assertEquals((await render(curvesPicture([], [], "new run"))).texts.sort(), ["new run", "no steps yet"]);

  const one = await render(curvesPicture(rows.slice(0, 1), [], "one step"));
  assert(!one.texts.includes("Accuracy on the test images"));
  assertEquals(one.shapes.symbol, 3); // raw, smoothed and learning rate: a line of one point would not be seen

  const constant = await render(curvesPicture(
    rows.slice(0, 50).map((row) => ({ ...row, loss: 0, learningRate: 0 })),
    evaluations.map((row) => ({ ...row, accuracy: 1, loss: 0 })),
    "constant",
  ));
  assert(constant.texts.includes("cross entropy")); // no logarithm of 0
  assertEquals(constant.texts.filter((text) => text === "100.00").length, 5);
  assert(!constant.texts.some((text) => /^10[1-9]/.test(text)), "more than 100 % on the axis");

  const tested = await render(curvesPicture([], evaluations, "test only"));
  assert(!tested.texts.includes("training, smoothed") && !tested.texts.includes("Learning rate"));
});

Deno.test("curves: refuse values that are not finite", async () => {
  const bad = rows.slice(0, 5).map((row, i) => i === 3 ? { ...row, loss: NaN } : row);
  await assertRejects(
    () => drawCurves(bad, [], "x"),
    RangeError,
    "Cannot draw the training curves: the loss of the rows must be finite, got NaN at index 3",
  );
  await assertRejects(
    () => drawCurves([], [{ epoch: 1, step: 9, accuracy: Infinity, loss: 1 }], "x"),
    RangeError,
    "the accuracy of the evaluations must be finite, got Infinity at index 0",
  );
});

const clamp = (value: number, limit: number): number => Math.max(-limit, Math.min(limit, value));

/** Positions of three stages that spread more the deeper they are, from N(0, 0.5). */
function stagePositions(): LayerPositions[] {
  const next = normal(2);
  const list = (spread: number) => Float32Array.from({ length: 1000 }, () => clamp(next() * spread, 8));
  return [1, 2, 3].flatMap((stage) =>
    [0, 1].map((axis) => ({ layer: `stage ${stage}`, axis, values: list(1.5 * stage), initial: list(0.5) }))
  );
}

Deno.test("position histogram: one panel per stage and axis, learned and initial", async () => {
  const { texts, shapes } = await render(histogramPicture(stagePositions(), [17, 17]));
  for (const stage of [1, 2, 3]) {
    assert(
      texts.includes(`stage ${stage}, axis 0, rows`) && texts.includes(`stage ${stage}, axis 1, columns`),
    );
  }
  assertEquals(texts.filter((text) => text === "position (kernel cells from the centre)").length, 6);
  assert(texts.includes("kernel of 17 x 17 cells") && texts.includes("learned") && texts.includes("initial"));
  assertEquals(shapes.line, 6);
  assert(shapes.rect > 6 * 20, `${shapes.rect} bars`);
});

Deno.test("position histogram: shares add up to 100 %, the kernel's ends included", () => {
  for (const size of [3, 4, 17, 18, 50]) {
    const [first, last] = [-Math.floor(size / 2), size - 1 - Math.floor(size / 2)];
    const values = [first, last, 0, 0.1, last - 0.5];
    const text = JSON.stringify(histogramPicture([{ layer: "a", axis: 0, values }], [size]));
    const sum = [...text.matchAll(/"share":([\d.]+)/g)].reduce((total, match) => total + Number(match[1]), 0);
    assert(Math.abs(sum - 100) < 1e-9, `${sum} % for size ${size}`);
  }
  // Bins are a quarter of a cell wide and have their multiples in the middle.
  const bins = JSON.stringify(histogramPicture([{ layer: "a", axis: 0, values: [-0.9, 1.1, 1.2] }], [7]));
  const starts = [...bins.matchAll(/"start":([\d.-]+),"end":([\d.-]+)/g)].map((match) =>
    match.slice(1).map(Number)
  );
  assertEquals(starts, [[-1.125, -0.875], [0.875, 1.125], [1.125, 1.375]]);
});

Deno.test("position histogram: nothing, one value, constant values, values beyond the kernel", async () => {
  assert((await render(histogramPicture([], [17]))).texts.includes("no positions"));
  const empty = [{ layer: "a", axis: 0, values: [] }];
  assert((await render(histogramPicture(empty, [17]))).texts.includes("no positions"));
  const one = await render(histogramPicture([{ layer: "a", axis: 0, values: [0.3] }], [7]));
  assertEquals([one.shapes.rect, one.texts.includes("initial")], [1, false]);
  const constant = { layer: "a", axis: 0, values: new Float32Array(500), initial: new Float32Array(500) };
  assertEquals((await render(histogramPicture([constant], [1]))).shapes.rect, 1);
  const beyond = await render(histogramPicture([{ layer: "a", axis: 0, values: [-9.5, 12] }], [7]));
  assertEquals(beyond.shapes.rect, 2);
  const flat = await render(histogramPicture([{ layer: "a", axis: 2, values: [1] }], [3, 5, 7]));
  assert(flat.texts.includes("a, axis 2, columns"));
});

Deno.test("position histogram: refusals", async () => {
  const draw = (entry: Partial<LayerPositions>, size = [7, 7]) => () =>
    drawPositionHistogram([{ layer: "stage 1", axis: 0, values: [0], ...entry }], size);
  await assertRejects(
    draw({ axis: 1, values: [0, NaN] }),
    RangeError,
    "Cannot draw the position histogram: the positions of stage 1 on axis 1 must be finite, got NaN at index 1",
  );
  await assertRejects(draw({ initial: [-Infinity] }), RangeError, "the initial positions of stage 1");
  await assertRejects(draw({ axis: 2 }), RangeError, "axis must be from 0 to 1, got 2 for stage 1");
  await assertRejects(
    draw({}, [7, 0]),
    RangeError,
    "the kernel's size must be positive integers, got [7, 0]",
  );
});

Deno.test("position map: one map per stage, elements counted in their nearest cell", async () => {
  const next = normal(3);
  const list = (spread: number) => Float32Array.from({ length: 800 }, () => clamp(next() * spread, 8));
  const maps = [1, 2, 3, 4].map((stage) => ({
    layer: `stage ${stage}`,
    rows: list(stage),
    columns: list(stage),
  }));
  const { texts, shapes } = await render(mapPicture(maps, [17, 17]));
  for (const { layer } of maps) assert(texts.includes(layer));
  assertEquals(texts.filter((text) => text === "axis 0, rows").length, 4);
  assert(texts.includes("elements in the cell (%)"));
  assert(shapes.rect > 100 && shapes.rect <= 4 * 289, `${shapes.rect} cells`);

  // Row -1 of an even kernel [4, 3] is its second row; both elements near it share a cell.
  const picture = mapPicture([{ layer: "a", rows: [-1.2, -0.9, 1], columns: [0.4, 0, -1] }], [4, 3]);
  const cells = JSON.stringify(picture).match(/"top":[^}]*/g)!;
  assertEquals(cells.length, 2);
  assertStringIncludes(cells[0], '"top":-1.5,"left":-0.5');
  assertStringIncludes(cells[0], '"share":66.6');
  assertStringIncludes(cells[1], '"top":0.5,"left":-1.5');
});

Deno.test("position map: nothing, one element, refusals", async () => {
  assert((await render(mapPicture([], [17, 17]))).texts.includes("no positions"));
  assert(
    (await render(mapPicture([{ layer: "a", rows: [], columns: [] }], [3, 3]))).texts.includes(
      "no positions",
    ),
  );
  assertEquals((await render(mapPicture([{ layer: "a", rows: [9], columns: [0] }], [3, 3]))).shapes.rect, 1);
  await assertRejects(() => drawPositionMap([], [17]), RangeError, "must have 2 axes, got size [17]");
  await assertRejects(
    () => drawPositionMap([{ layer: "a", rows: [0, 1], columns: [0] }], [3, 3]),
    RangeError,
    "Cannot draw the position map: a must have as many rows as columns, got 2 and 1",
  );
  await assertRejects(
    () => drawPositionMap([{ layer: "a", rows: [0], columns: [NaN] }], [3, 3]),
    RangeError,
    "the columns of a must be finite, got NaN at index 0",
  );
});

/** A 17 x 17 kernel of 34 elements by bilinear interpolation, as `v0` constructs it. */
function kernel(name: string, seed: number): KernelImage {
  const next = normal(seed);
  const values = new Float32Array(289);
  const points = Array.from({ length: 34 }, () => ({
    row: clamp(next() * 3, 8),
    column: clamp(next() * 3, 8),
    weight: next() * 0.1,
  }));
  const triangle = (distance: number): number => Math.max(0, 1 - Math.abs(distance));
  for (let i = 0; i < 289; i++) {
    for (const { row, column, weight } of points) {
      values[i] += weight * triangle(Math.floor(i / 17) - 8 - row) * triangle(i % 17 - 8 - column);
    }
  }
  return { name, shape: [17, 17], values, points };
}

Deno.test("kernels: a cell per value that is not 0, a dot per element, a frame and a name per kernel", async () => {
  const kernels = Array.from({ length: 10 }, (_, i) => kernel(`stage 1, channel ${i}`, i + 1));
  const { texts, shapes } = await render(kernelsPicture(kernels, "Learned kernels"));
  const cells = kernels.reduce(
    (sum, { values }) => sum + Array.from(values).filter((v) => v !== 0).length,
    0,
  );
  assertEquals(shapes, { rect: cells + 2 * kernels.length, symbol: 340, text: 10 });
  const largest = Math.max(...Array.from(kernels[0].values, Math.abs));
  assert(texts.includes(`stage 1, channel 0  ±${Number(largest.toPrecision(2))}`), texts.join("|"));
  assert(texts.includes("Learned kernels") && texts.includes("value / largest magnitude of its kernel"));
});

Deno.test("kernels: none, a single cell, zeros, different sizes, a flat kernel", async () => {
  assert((await render(kernelsPicture([], "none"))).texts.includes("no kernels"));
  const mixed = await render(kernelsPicture([
    { name: "zero", shape: [5, 5], values: new Float32Array(25) },
    { name: "cell", shape: [1, 1], values: [-3] },
    { name: "flat", shape: [1, 32], values: Float32Array.from({ length: 32 }, (_, i) => i + 1) },
  ], "mixed"));
  assertEquals(mixed.shapes, { rect: 33 + 6, text: 3 });
  for (const name of ["zero  ±0", "cell  ±3", "flat  ±32"]) assert(mixed.texts.includes(name));
});

Deno.test("kernels: refusals", async () => {
  const draw = (entry: Partial<KernelImage>) => () =>
    drawKernels([{ name: "stage 1", shape: [1, 2], values: [0, 1], ...entry }], "x");
  await assertRejects(
    draw({ values: [0, NaN] }),
    RangeError,
    "Cannot draw kernel stage 1: its values must be finite, got NaN at index 1",
  );
  await assertRejects(draw({ values: [0] }), RangeError, "it must have 1 x 2 = 2 values, got 1");
  await assertRejects(draw({ shape: [0, 2] }), RangeError, "two positive integers, got [0, 2]");
  await assertRejects(
    draw({ points: [{ row: 0, column: NaN, weight: 1 }] }),
    RangeError,
    "the column of its points must be finite",
  );
});

/** Four seeds of the births demo: three find whole weeks, one the local optimum. */
const runs: LagRun[] = [[7.03, 20.98, 0.196], [6.98, 21.04, 0.2], [20.97, 21.02, 0.52], [7.01, 14.02, 0.19]]
  .map((
    [first, second, learnedError],
    seed,
  ) => ({
    seed,
    path: Array.from({ length: 81 }, (_, i) => ({
      step: 5 * i,
      lags: Float32Array.of(
        first + (15.2 - first) * Math.exp(-i / 12),
        second + (24.5 - second) * Math.exp(-i / 12),
      ),
    })),
    learnedError,
    frozenError: 1.146,
  }));

Deno.test("lags: a line per lag and seed, rules at whole weeks, errors beside", async () => {
  const { texts, shapes } = await render(lagsPicture(runs));
  for (
    const text of ["Learned lags", "7", "14", "21", "28", "lag 1", "lag 2", "seed", "mean squared error"]
  ) {
    assert(texts.includes(text), `no text "${text}"`);
  }
  assertEquals(texts.filter((text) => text === "1.15").length, 4);
  assertEquals(shapes, { rule: 4, line: 8, symbol: 8, rect: 8, text: 8 });
});

Deno.test("lags: nothing, one step, no path, long lags, refusals", async () => {
  assert((await render(lagsPicture([]))).texts.includes("no runs"));
  const one = await render(lagsPicture([{ ...runs[0], path: runs[0].path.slice(0, 1) }]));
  assertEquals(one.shapes.symbol, 2);
  const still = { ...runs[0], path: [], learnedError: 0, frozenError: 0 };
  assertEquals((await render(lagsPicture([still]))).shapes.rect, 2);
  const long = await render(lagsPicture([{ ...runs[0], path: [{ step: 0, lags: [40] }] }]));
  assert(long.texts.includes("42"));
  await assertRejects(
    () => drawLags([{ ...runs[1], path: [{ step: 40, lags: [7, NaN] }] }]),
    RangeError,
    "Cannot draw the learned lags: the lags of seed 1 at step 40 must be finite, got NaN at index 1",
  );
  await assertRejects(
    () => drawLags([{ ...runs[0], frozenError: NaN }]),
    RangeError,
    "errors (learned, frozen)",
  );
});

const compared: ComparisonRow[] = [
  { conv: "dcls", parameters: 61_210, accuracy: 0.9887, imagesPerSecond: 1480.4 },
  { conv: "standard", parameters: 61_402, accuracy: 0.9861, imagesPerSecond: 1720.2 },
  { conv: "dilated", parameters: 61_402, accuracy: 0.9849, imagesPerSecond: 1702.9 },
];

Deno.test("comparison: three bars in each of three panels, with their values", async () => {
  const { texts, shapes } = await render(comparisonPicture(compared));
  for (
    const text of [
      "Test error",
      "Training speed",
      "Parameters",
      "dcls",
      "standard",
      "dilated",
      "1.13 %",
      "1.51 %",
      "1,480",
      "61,210",
    ]
  ) assert(texts.includes(text), `no text "${text}"`);
  assertEquals(shapes, { rect: 9, text: 9 });
});

Deno.test("comparison: nothing, zeros, refusals", async () => {
  assert((await render(comparisonPicture([]))).texts.includes("no runs"));
  const zeros = [{ conv: "dcls", parameters: 0, accuracy: 1, imagesPerSecond: 0 }];
  assertEquals((await render(comparisonPicture(zeros))).shapes.rect, 3);
  await assertRejects(
    () => drawComparison([compared[0], { ...compared[1], imagesPerSecond: NaN }]),
    RangeError,
    "Cannot draw the comparison: the imagesPerSecond of the rows must be finite, got NaN at index 1",
  );
});

Deno.test("pictures: the same data gives the same file, also where several are drawn at once", async () => {
  const draw = (): Promise<string> => drawLags(runs);
  const first = await draw();
  assertEquals(await draw(), first);
  const both = await Promise.all([draw(), drawKernels([kernel("a", 1)], "x"), draw()]);
  for (const svg of both) readSvg(svg);
});
