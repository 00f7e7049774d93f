/**
 * What the bench prints and what it writes into `bench/RESULTS.md`, from the same tables.
 * @module
 */
import { tableLines } from "../src/tasks/terminal.ts";
import type { HostTimes } from "./host.ts";
import { PYTORCH_FIGURES, PYTORCH_HOSTS, type PytorchFigure } from "./pytorch.ts";
import { comparedTime, HALF_BACKEND, type Row, type SuiteResult } from "./rows.ts";

/** Where and when it ran. */
export interface Surroundings {
  readonly command: string;
  /** `2026-11-23` */
  readonly date: string;
  readonly deno: string;
  readonly cores: number;
  /** Load averages of the last minute, before (high: others were at work) and after (above the cores: likewise). */
  readonly loadBefore: number;
  readonly loadAfter: number;
}

/** Everything that `--json` writes. */
export interface BenchReport {
  readonly surroundings: Surroundings;
  readonly suite: SuiteResult;
  readonly host: readonly HostTimes[];
}

/** A table: its head, its rows, and the columns that are texts. */
export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly texts: readonly number[];
}

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return "-";
  const magnitude = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  return value.toFixed(Math.min(4, Math.max(0, 2 - magnitude)));
}

const rate = ({ bound, teraflopsPerSecond, gigabytesPerSecond }: Row): string =>
  bound === "memory" ? `${digits(gigabytesPerSecond)} GB/s` : `${digits(teraflopsPerSecond)} TFLOP/s`;

/** All rows. */
export function opTable({ rows }: SuiteResult): Table {
  return {
    head: [
      "case",
      "op",
      "version",
      "backend",
      "batch",
      "ms",
      "min",
      "wall ms",
      "CPU ms",
      "rate",
      "of limit",
      "PyTorch",
      "ratio",
      "first use ms",
      "error",
    ],
    texts: [0, 1, 2, 3],
    rows: rows.map((row) => [
      row.case,
      row.op,
      row.op.startsWith("conv") ? "any" : row.version,
      row.backend,
      String(row.batch),
      digits(row.times.median),
      digits(row.times.min),
      digits(row.times.wall),
      digits(row.times.processor),
      rate(row),
      row.ofLimit === null ? "" : `${(100 * row.ofLimit).toFixed(row.ofLimit < 0.1 ? 1 : 0)} %`,
      row.pytorch ? digits(row.pytorch.milliseconds) : "",
      row.pytorch ? `${digits(row.pytorch.ratio)}x` : "",
      digits(row.firstUse),
      row.error.toExponential(1),
    ]),
  };
}

/** float16 beside float32, timed in turns: on software adapters by processor time. */
export function halfTable({ rows, software }: SuiteResult): Table {
  const time = ({ times }: Row): number => software ? times.processor : times.median;
  return {
    head: [
      "case",
      "op",
      "version",
      "batch",
      `float32 ${software ? "CPU " : ""}ms`,
      `float16 ${software ? "CPU " : ""}ms`,
      "times as fast",
      "error",
    ],
    texts: [0, 1, 2],
    rows: rows.filter(({ backend }) => backend === HALF_BACKEND).flatMap((half) => {
      const full = rows.find((row) =>
        row.backend === "webgpu" && row.case === half.case && row.op === half.op &&
        row.version === half.version
      );
      return full
        ? [[
          half.case,
          half.op,
          half.op.startsWith("conv") ? "any" : half.version,
          String(half.batch),
          digits(time(full)),
          digits(time(half)),
          `${digits(time(full) / time(half))}x`,
          half.error.toExponential(1),
        ]]
        : [];
    }),
  };
}

/** JavaScript's part. */
export function hostTable(host: readonly HostTimes[]): Table {
  return {
    head: ["what", "p50 ms", "p99 ms", "mean ms", "min ms", "times", "target p50"],
    texts: [0],
    rows: host.map(({ name, p50, p99, mean, min, samples, target }) => [
      name,
      digits(p50),
      digits(p99),
      digits(mean),
      digits(min),
      String(samples),
      target === null ? "GPUs only" : `${target}: ${p50 <= target ? "met" : "missed"}`,
    ]),
  };
}

/** The time that a figure is to be compared with, and processor time; null where an op of it was not measured. */
function measured(
  { rows, software }: SuiteResult,
  figure: PytorchFigure,
): { readonly time: number; readonly processor: number } | null {
  const kind = PYTORCH_HOSTS[figure.host].kind;
  if (software === null || (kind === "cpu") !== software) return null;
  const times = figure.ops.map((op) =>
    rows.find((row) =>
      row.backend === "webgpu" && row.case === figure.case && row.op === op && row.batch === figure.batch &&
      (figure.version === null || figure.version === row.version)
    )?.times
  );
  return times.every((time) => time !== undefined)
    ? {
      time: times.reduce((sum, time) => sum + comparedTime(time, software), 0),
      processor: times.reduce((sum, { processor }) => sum + processor, 0),
    }
    : null;
}

/** PyTorch's figures and the targets beside what was measured on WebGPU, for GPUs or for CPUs. */
export function targetTable(suite: SuiteResult, kind: "gpu" | "cpu"): Table {
  const left = kind === "gpu" && suite.software !== false ? "not measured: no GPU at hand" : "not measured";
  return {
    head: [
      "case",
      "step",
      "version",
      "batch",
      "PyTorch ms",
      "target ms",
      "measured ms",
      "CPU ms",
      "ratio",
      "verdict",
    ],
    texts: [0, 1, 2, 9],
    rows: PYTORCH_FIGURES.filter(({ host }) => PYTORCH_HOSTS[host].kind === kind).map((figure) => {
      const { milliseconds, target } = figure, found = measured(suite, figure), time = found?.time ?? null;
      return [
        figure.case,
        figure.ops.join(", "),
        figure.version ?? "v0",
        String(figure.batch),
        milliseconds === null ? "" : digits(milliseconds),
        digits(target),
        time === null ? left : digits(time),
        found && kind === "cpu" ? digits(found.processor) : "",
        time === null || milliseconds === null ? "" : `${digits(milliseconds / time)}x`,
        time === null ? "" : time <= target ? "met" : `missed by ${((time / target - 1) * 100).toFixed(0)} %`,
      ];
    }),
  };
}

/** This module's convolution and whole layer against stock tfjs's convolution alone, of the same run. */
export function rivalTable({ rows, software }: SuiteResult): Table {
  const pairs = rows.filter(({ backend }) => backend.startsWith("stock")).flatMap((rival) =>
    rows.filter((row) =>
      row.case === rival.case && !row.backend.startsWith("stock") &&
      (row.op === "convolution" || row.op === "layer forward")
    ).map((row) => {
      const own = comparedTime(row.times, software ?? true) / row.batch;
      const other = rival.times.wall / rival.batch;
      return [
        row.case,
        row.op,
        row.op === "convolution" ? "any" : row.version,
        row.backend,
        digits(own),
        rival.backend,
        digits(other),
        `${digits(other / own)}x`,
      ];
    })
  );
  return {
    head: ["case", "op", "version", "backend", "ms an image", "rival", "its ms an image", "ratio"],
    texts: [0, 1, 2, 3, 5],
    rows: pairs,
  };
}

/** Where the time of each op goes. */
export function kernelTable({ rows }: SuiteResult): Table {
  return {
    head: ["case", "op", "version", "kernels of one call, ms each in a pass of its own"],
    texts: [0, 1, 2, 3],
    rows: rows.filter(({ kernels }) => kernels.length > 0).map((row) => [
      row.case,
      row.op,
      row.op.startsWith("conv") ? "any" : row.version,
      row.kernels.map(({ label, milliseconds }) => `${label} ${digits(milliseconds)}`).join(", "),
    ]),
  };
}

/** Creation times by label: how many pipelines, their median and the longest. */
export function pipelineTable({ pipelines }: SuiteResult): Table {
  const byLabel = Map.groupBy(pipelines, ({ label }) => label);
  return {
    head: ["pipeline", "made", "mean ms", "longest ms"],
    texts: [0],
    rows: [...byLabel].map(([label, all]) => {
      const times = all.map(({ milliseconds }) => milliseconds);
      const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
      return [label, String(times.length), digits(mean), digits(Math.max(...times))];
    }),
  };
}

/** The adapter in words. */
export function adapterLines(
  { adapter, software, limits }: Pick<SuiteResult, "adapter" | "software" | "limits">,
): string[] {
  if (adapter === null || limits === null) return ["adapter      none: WebGPU was not measured"];
  return [
    `adapter      ${adapter}`,
    ...software
      ? ["             a SOFTWARE adapter: it runs on the CPU, and its times say nothing about GPUs"]
      : [],
    `limits       copy ${digits(limits.copyGigabytesPerSecond)} GB/s (${
      limits.copyBytes / 2 ** 20
    } MiB read and ` +
    `written), float32 FMA ${digits(limits.teraflopsPerSecond)} TFLOP/s; by ${
      limits.timestamps ? "timestamps" : "wall time"
    }`,
  ];
}

/** As text. */
export function textOf({ head, rows, texts }: Table): string[] {
  return rows.length === 0 ? ["nothing"] : tableLines([head, ...rows], texts);
}

/** As Markdown. */
export function markdownOf({ head, rows, texts }: Table): string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    line(head),
    line(head.map((_, i) => texts.includes(i) ? "---" : "--:")),
    ...rows.map(line),
  ];
}

/** What is to be known before the tables are read. */
export function explanation(): string {
  return "`ms` is the median of samples timed on the device (timestamps, one pass a sample, 300 ms of FMA work before " +
    "on GPUs; tfjs: wall), `min` the shortest sample, `wall ms` a series' wall time by call, JavaScript and one wait " +
    "included, `CPU ms` the processor time of all threads. `rate` counts each tensor once (GB/s) or the dense, direct algorithm's operations (TFLOP/s); `of " +
    "limit` is the time that the measured copy bandwidth or FMA rate would need over `ms`. Ratios take `ms` on GPUs " +
    "and `wall ms` on CPUs. Contenders took turns in one run, and every result had been compared with float64 before " +
    "(`error`: largest, over the largest magnitude). `first use` is the first call, pipelines and a wait included.";
}

/** The surroundings in words. */
export function surroundingsLines(
  { command, date, deno, cores, loadBefore, loadAfter }: Surroundings,
): string[] {
  return [
    `command      ${command}`,
    `date         ${date}, Deno ${deno}, ${cores} cores`,
    `load         ${digits(loadBefore)} before, ${digits(loadAfter)} after (1-minute averages)` +
    (loadBefore > 0.5 * cores || loadAfter > 1.3 * cores
      ? ": others were at work, these times are not to be trusted"
      : ""),
  ];
}

/** Replaces the section of that name in a Markdown text, or appends it. */
export function withSection(text: string, name: string, body: string): string {
  const begin = `<!-- ${name}: generated, do not edit -->`, end = `<!-- end of ${name} -->`;
  const section = `${begin}\n\n${body.trim()}\n\n${end}`;
  const from = text.indexOf(begin), to = text.indexOf(end);
  return from >= 0 && to > from
    ? text.slice(0, from) + section + text.slice(to + end.length)
    : `${text.trimEnd()}\n\n${section}\n`;
}

/** The suite's section of `RESULTS.md`. */
export function markdownReport({ surroundings, suite, host }: BenchReport): string {
  const fence = (lines: readonly string[]): string[] => ["```", ...lines, "```"];
  const part = (title: string, table: Table, note = ""): string[] => [
    "",
    `### ${title}`,
    "",
    ...note ? [note, ""] : [],
    ...table.rows.length > 0 ? markdownOf(table) : ["Nothing was measured."],
  ];
  const hosts = Object.values(PYTORCH_HOSTS).map(({ device, pytorch, method }) =>
    `- ${device}: ${pytorch}; ${method}`
  );
  return [
    "## Ops and layers",
    "",
    ...fence([...surroundingsLines(surroundings), ...adapterLines(suite)]),
    ...suite.problems.length > 0 ? ["", ...suite.problems.map((problem) => `- ${problem}`)] : [],
    ...part("On CPUs, against PyTorch", targetTable(suite, "cpu")),
    ...(halfTable(suite).rows.length > 0 ? part("float16 beside float32", halfTable(suite)) : []),
    ...part("Against stock tfjs's convolution alone", rivalTable(suite)),
    ...part("On a GPU, against PyTorch", targetTable(suite, "gpu")),
    ...part(
      "JavaScript's part",
      hostTable(host),
      "The mean includes the submits, one in some steps; on a software adapter a submit alone takes several milliseconds.",
    ),
    ...part("Every op", opTable(suite), explanation()),
    ...part("Where the time goes", kernelTable(suite)),
    ...part("Pipelines", pipelineTable(suite), "Shader module and pipeline, as first made in this process."),
    "",
    "PyTorch's figures:",
    "",
    ...hosts,
  ].join("\n");
}
