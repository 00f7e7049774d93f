/**
 * The models' tables, printed and written from the same rows.
 * @module
 */
import {
  MODEL_FIGURES,
  MODEL_HOST,
  TARGET_DCLS_RATIO,
  TARGET_FIRST_RESULT,
  TARGET_POINTWISE,
  TARGET_SIZE_RATIO,
} from "./model_figures.ts";
import type { ModelResult, ModelRow } from "./models.ts";
import {
  adapterLines,
  digits,
  markdownOf,
  type Surroundings,
  surroundingsLines,
  type Table,
  textOf,
} from "./report.ts";
import type { SuiteResult } from "./rows.ts";

type Adapter = Pick<SuiteResult, "adapter" | "software" | "limits">;

/** Every timed model. */
export function modelTable({ rows }: ModelResult): Table {
  return {
    head: [
      "model",
      "task",
      "backend",
      "type",
      "batch",
      "images/s",
      "wall ms",
      "CPU ms",
      "first use ms",
      "error",
    ],
    texts: [0, 1, 2, 3],
    rows: rows.map((row) => [
      row.model,
      row.compiled ? `${row.task}, recorded` : row.task,
      row.backend,
      row.dtype,
      String(row.batch),
      digits(row.imagesPerSecond),
      digits(row.times.wall),
      digits(row.times.processor),
      digits(row.firstUse),
      row.error === null ? "" : row.error.toExponential(1),
    ]),
  };
}

const find = (
  { rows }: ModelResult,
  model: string,
  task: ModelRow["task"] = "inference",
  dtype: ModelRow["dtype"] = "float32",
): ModelRow | undefined =>
  rows.find((row) =>
    row.backend === "webgpu" && row.model === model && row.task === task && row.dtype === dtype &&
    !row.compiled
  );

/** Ratios within this run, which hold for any adapter, beside their targets. */
export function ratioTable(result: ModelResult, software: boolean | null): Table {
  const main = find(result, "ConvNeXt-T-dcls"), rows: string[][] = [];
  const add = (what: string, value: number | undefined, target: string, met: boolean | null): void => {
    if (value === undefined || Number.isNaN(value)) return;
    rows.push([what, digits(value), target, met === null ? "" : met ? "met" : "missed"]);
  };
  const speed = (row: ModelRow | undefined): number => row?.imagesPerSecond ?? NaN;
  for (const task of ["inference", "training step"] as const) {
    const ratio = speed(find(result, "ConvNeXt-T-dcls", task)) / speed(find(result, "ConvNeXt-T", task));
    add(
      `ConvNeXt-T-dcls over ConvNeXt-T, ${task}, images/s`,
      ratio,
      task === "inference" ? `at least ${TARGET_DCLS_RATIO}` : "",
      task === "inference" ? ratio >= TARGET_DCLS_RATIO : null,
    );
  }
  for (const size of ["23x23 / 26", "31x31 / 34"]) {
    const ratio = speed(main) / speed(find(result, `ConvNeXt-T-dcls ${size}`));
    add(
      `${size} against 17x17 / 34, time`,
      ratio,
      `at most ${TARGET_SIZE_RATIO}`,
      ratio <= TARGET_SIZE_RATIO,
    );
  }
  const half = speed(find(result, "ConvNeXt-T-dcls", "inference", "float16")) / speed(main);
  add("float16 over float32, images/s", half, "", null);
  const tfjs = result.rows.find(({ backend }) => backend.startsWith("tfjs"));
  if (tfjs && main) {
    add(`webgpu over ${tfjs.backend}, batch 1, images/s`, speed(main) / speed(tfjs), "", null);
  }
  for (const { task, seconds, peakBytes } of result.apart) {
    const target = task === "inference" ? TARGET_FIRST_RESULT[software === false ? "gpu" : "software"] : null;
    add(
      `a new process, driver caches off, to its first ${task} of one image, s`,
      seconds,
      target === null ? "" : `at most ${target}`,
      target === null ? null : seconds <= target,
    );
    add(`its peak memory, GiB`, peakBytes / 2 ** 30, "", null);
  }
  return { head: ["what", "measured", "target", "verdict"], texts: [0, 2, 3], rows };
}

/** PyTorch's figures and the targets, on the GPU they are for. */
export function modelTargetTable(result: ModelResult, software: boolean | null): Table {
  return {
    head: ["model", "task", "type", "batch", "PyTorch img/s", "target img/s", "measured img/s", "verdict"],
    texts: [0, 1, 2, 7],
    rows: MODEL_FIGURES.map(({ model, task, dtype, batch, pytorch, target, note }) => {
      const found = software === false ? find(result, model, task, dtype) : undefined;
      const row = found?.batch === batch ? found : undefined;
      const goal = target ?? pytorch;
      return [
        model,
        task,
        dtype,
        String(batch),
        pytorch === null ? "" : `${pytorch}${note ? ` (${note})` : ""}`,
        target === null ? "" : String(target),
        row
          ? digits(row.imagesPerSecond)
          : software === false
          ? "not measured"
          : "not measured: no GPU at hand",
        row && goal !== null ? row.imagesPerSecond >= goal ? "met" : "missed" : "",
      ];
    }),
  };
}

/** The products at the stages' shapes. */
export function pointwiseTable({ pointwise }: ModelResult, software: boolean | null): Table {
  return {
    head: ["product", "pixels", "batch", "ms", "TFLOP/s", "target"],
    texts: [0, 5],
    rows: pointwise.map(({ from, to, pixels, batch, times, teraflopsPerSecond }) => [
      `${from} to ${to}`,
      String(pixels),
      String(batch),
      digits(software ? times.wall : times.median),
      digits(teraflopsPerSecond),
      software === false
        ? `${TARGET_POINTWISE}: ${teraflopsPerSecond >= TARGET_POINTWISE ? "met" : "missed"}`
        : `${TARGET_POINTWISE} on the H100`,
    ]),
  };
}

/** Latency of one image. */
export function latencyTable({ latency }: ModelResult): Table {
  return {
    head: ["what", "p50 ms", "p99 ms", "calls"],
    texts: [0],
    rows: latency.map(({ what, p50, p99, calls }) => [what, digits(p50), digits(p99), String(calls)]),
  };
}

const PARTS: readonly (readonly [string, (result: ModelResult, software: boolean | null) => Table])[] = [
  ["Every model", modelTable],
  ["Ratios of this run", ratioTable],
  ["On a GPU, against PyTorch", modelTargetTable],
  ["Pointwise products at the stages' shapes", pointwiseTable],
  ["Latency", latencyTable],
];

/** The report as text. */
export function modelText(result: ModelResult, software: boolean | null): string[] {
  return [
    ...result.problems.map((problem) => `note         ${problem}`),
    ...PARTS.flatMap(([title, table]) => ["", title, ...textOf(table(result, software))]),
  ];
}

/** The models' section of `RESULTS.md`. */
export function markdownModels(result: ModelResult, surroundings: Surroundings, adapter: Adapter): string {
  return [
    "## Models",
    "",
    "```",
    ...surroundingsLines(surroundings),
    ...adapterLines(adapter),
    `images       ${result.image} x ${result.image}, random weights`,
    "```",
    ...result.problems.length > 0 ? ["", ...result.problems.map((problem) => `- ${problem}`)] : [],
    ...PARTS.flatMap(([title, make]) => {
      const table = make(result, adapter.software);
      return [
        "",
        `### ${title}`,
        "",
        ...table.rows.length > 0 ? markdownOf(table) : ["Nothing was measured."],
      ];
    }),
    "",
    "Wall time of a series over its calls, one wait in it; models took turns in one process. `error`: largest difference to " +
    "tfjs's logits for the first image, over the largest magnitude (recorded: to the forward that is not). Residual " +
    "scales are 1 there, so that every block counts. A training step is forward, backward and AdamW.",
    "",
    `PyTorch: ${MODEL_HOST}.`,
  ].join("\n");
}
