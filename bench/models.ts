/**
 * ConvNeXt models: throughput of inference and of training steps, verified first, interleaved in one process.
 * @module
 */
import { compile, init, noGrad, randn, tensor } from "../mod.ts";
import { type ConvNeXt, convnextDclsGaussTiny, convnextDclsTiny, convnextTiny } from "../src/models/mod.ts";
import { pointwise } from "../src/nn/mod.ts";
import { type Contender, type Effort, interleave, percentile, type Times } from "./measure.ts";
import { type ModelTask, POINTWISE_SHAPES } from "./model_figures.ts";
import { ModelSubject } from "./model_subject.ts";
import { useEngine } from "./rivals.ts";
import { type OpenWebgpu, openWebgpu } from "./suite.ts";

/** Largest difference of logits between backends, over the largest magnitude. */
export const LOGITS_TOLERANCE = 1e-3;
/** The same for float16 activations. */
export const HALF_TOLERANCE = 2e-2;

/** A scale of the residuals that lets every block be seen in the logits: at the published start, 1e-6, none could. */
const COMMON = { layerScale: 1, seed: 1 } as const;

/** The models that are timed, by the name in the tables. */
const MODELS: Readonly<Record<string, () => ConvNeXt>> = {
  "ConvNeXt-T": () => convnextTiny(COMMON),
  "ConvNeXt-T-dcls": () => convnextDclsTiny(COMMON),
  "ConvNeXt-T-dcls 23x23 / 26": () => convnextDclsTiny({ ...COMMON, dilatedKernelSize: 23, kernelCount: 26 }),
  "ConvNeXt-T-dcls 31x31 / 34": () => convnextDclsTiny({ ...COMMON, dilatedKernelSize: 31, kernelCount: 34 }),
  "ConvNeXt-T-dcls-gauss 23x23 / 26": () => convnextDclsGaussTiny(COMMON),
};
const MAIN = "ConvNeXt-T-dcls";

/** One measured throughput. */
export interface ModelRow {
  readonly model: string;
  readonly task: ModelTask;
  readonly backend: string;
  readonly dtype: "float32" | "float16";
  /** Whether the forward was recorded (`compile`). */
  readonly compiled: boolean;
  readonly batch: number;
  readonly times: Times;
  readonly imagesPerSecond: number;
  /** First call, pipelines and a wait included, in milliseconds. */
  readonly firstUse: number;
  /** Difference to the other backend's logits; null where there was none to compare with. */
  readonly error: number | null;
}

/** A product at a stage's shape. */
export interface PointwiseRow {
  readonly from: number;
  readonly to: number;
  readonly pixels: number;
  readonly batch: number;
  readonly times: Times;
  readonly teraflopsPerSecond: number;
}

/** Latency of a call with one image, logits read. */
export interface LatencyRow {
  readonly what: string;
  readonly p50: number;
  readonly p99: number;
  readonly calls: number;
}

/** A process of its own. */
export interface ProcessRow {
  readonly task: ModelTask;
  /** From its start to its end, right after the first result. */
  readonly seconds: number;
  /** The most memory that it held. */
  readonly peakBytes: number;
}

/** All that was measured. */
export interface ModelResult {
  readonly image: number;
  readonly rows: readonly ModelRow[];
  readonly pointwise: readonly PointwiseRow[];
  readonly latency: readonly LatencyRow[];
  /** One image in a new process, driver caches off; null where no process could be started. */
  readonly apart: readonly ProcessRow[];
  readonly problems: readonly string[];
}

/** What to run. */
export interface ModelOptions {
  readonly backends: readonly ("webgpu" | "tfjs")[];
  /** Height and width. */
  readonly image: number;
  readonly quick: boolean;
  readonly effort: Effort;
  readonly note: (line: string) => void;
}

const reason = (error: unknown): string => error instanceof Error ? error.message : String(error);

function difference(a: Float32Array, b: Float32Array, count: number): number {
  let most = 0, magnitude = 0;
  for (let i = 0; i < count; i++) {
    const d = Math.abs(a[i] - b[i]);
    most = d <= most ? most : d; // NaN stays
    magnitude = Math.max(magnitude, Math.abs(b[i]));
  }
  return most / magnitude;
}

/** A subject at a task, ready to be timed. */
interface Entry {
  readonly model: string;
  readonly task: ModelTask;
  readonly backend: string;
  readonly dtype: "float32" | "float16";
  readonly compiled: boolean;
  readonly batch: number;
  readonly contender: Contender;
  readonly firstUse: number;
  readonly error: number | null;
}

async function time(entries: readonly Entry[], effort: Effort): Promise<ModelRow[]> {
  const times = await interleave(entries.map(({ contender }) => contender), effort);
  return entries.map(({ contender: _, ...entry }, i) => ({
    ...entry,
    times: times[i],
    imagesPerSecond: 1000 * entry.batch / times[i].wall,
  }));
}

/** Logits of every model for one image by tfjs, and the main model there to be timed; null where tfjs does not start. */
async function openTfjs(
  { image, note }: ModelOptions,
  names: readonly string[],
  problems: string[],
): Promise<{ logits: Map<string, Float32Array>; main: Entry } | null> {
  try {
    const { adapter } = await init({ backend: "tfjs" });
    const logits = new Map<string, Float32Array>();
    let main: Entry | null = null;
    for (const model of names) {
      note(`${model} on tfjs, ${adapter}`);
      const subject = new ModelSubject(MODELS[model], 1, image);
      const started = performance.now();
      logits.set(model, await subject.logits());
      const firstUse = performance.now() - started;
      if (model !== MAIN) {
        subject.dispose();
        continue;
      }
      main = {
        model,
        task: "inference",
        backend: `tfjs, ${adapter}`,
        dtype: "float32",
        compiled: false,
        batch: 1,
        firstUse,
        error: null,
        contender: {
          run: () => subject.run("inference"),
          wait: null,
          timer: null,
          before: () => useEngine(adapter),
        },
      };
    }
    return { logits, main: main! };
  } catch (error) {
    problems.push(`tfjs is left out, and the logits are compared with nothing: ${reason(error)}`);
    return null;
  }
}

/** A model on WebGPU, its logits compared. */
async function entryOf(
  model: string,
  batch: number,
  image: number,
  expected: Float32Array | undefined,
  half = false,
): Promise<{ entry: Entry; subject: ModelSubject }> {
  const subject = new ModelSubject(MODELS[model], batch, image, half);
  const started = performance.now();
  const logits = await subject.logits();
  const firstUse = performance.now() - started;
  const error = expected ? difference(logits, expected, expected.length) : null;
  return {
    subject,
    entry: {
      model,
      task: "inference",
      backend: "webgpu",
      dtype: half ? "float16" : "float32",
      compiled: false,
      batch,
      firstUse,
      error,
      contender: { run: () => subject.run("inference"), wait: () => subject.wait(), timer: null },
    },
  };
}

async function trainingRows(
  names: readonly string[],
  batch: number,
  { image, effort, note }: ModelOptions,
): Promise<ModelRow[]> {
  const subjects: ModelSubject[] = [], entries: Entry[] = [];
  for (const model of names) {
    note(`${model}, training step`);
    const subject = new ModelSubject(MODELS[model], batch, image);
    subjects.push(subject);
    const started = performance.now();
    subject.run("training step");
    await subject.wait();
    entries.push({
      model,
      task: "training step",
      backend: "webgpu",
      dtype: "float32",
      compiled: false,
      batch,
      firstUse: performance.now() - started,
      error: null,
      contender: { run: () => subject.run("training step"), wait: () => subject.wait(), timer: null },
    });
  }
  const rows = await time(entries, effort);
  for (const subject of subjects) subject.dispose();
  return rows;
}

async function pointwiseRows(
  { timer, info }: OpenWebgpu,
  batch: number,
  { effort, quick, note }: ModelOptions,
): Promise<PointwiseRow[]> {
  note("pointwise products");
  const one = tensor([1], [1]), wait = async (): Promise<void> => void await one.data();
  const rows: PointwiseRow[] = [];
  for (const [from, to, pixels] of quick ? POINTWISE_SHAPES.slice(0, 2) : POINTWISE_SHAPES) {
    const tensors = [
      randn([batch, from, 1, pixels], { seed: 1 }),
      randn([to, from], { seed: 2 }),
      randn([to], { seed: 3 }),
    ];
    const run = (): void => noGrad(() => pointwise(tensors[0], tensors[1], tensors[2])).dispose();
    const granted = timer.granted ? timer : null;
    const [times] = await interleave([{ run, wait, timer: granted }], effort);
    const milliseconds = info.software ? times.wall : times.median;
    rows.push({
      from,
      to,
      pixels,
      batch,
      times,
      teraflopsPerSecond: 2e-9 * batch * from * to * pixels / milliseconds,
    });
    for (const each of tensors) each.dispose();
  }
  one.dispose();
  return rows;
}

async function latencyOf(what: string, calls: number, call: () => Promise<unknown>): Promise<LatencyRow> {
  const times: number[] = [];
  for (let i = -2; i < calls; i++) {
    const started = performance.now();
    await call();
    if (i >= 0) times.push(performance.now() - started);
  }
  return { what, p50: percentile(times, 0.5), p99: percentile(times, 0.99), calls };
}

/** A model's task in a process of its own, whose start, compilation and memory are its own, the drivers' caches off. */
async function apart(
  task: ModelTask,
  image: number,
  problems: string[],
): Promise<{ seconds: number; peakBytes: number } | null> {
  const script = new URL("model_process.ts", import.meta.url).pathname;
  const started = performance.now();
  try {
    const { success, stdout, stderr } = await new Deno.Command("deno", {
      args: ["run", "--no-prompt", "--allow-read", script, String(image), task],
      env: { MESA_SHADER_CACHE_DISABLE: "true", __GL_SHADER_DISK_CACHE: "0" },
    }).output();
    const seconds = (performance.now() - started) / 1000;
    if (!success) throw new Error(new TextDecoder().decode(stderr).trim().split("\n").at(-1));
    return { seconds, peakBytes: Number(new TextDecoder().decode(stdout)) };
  } catch (error) {
    problems.push(`the ${task} of a new process is left out: ${reason(error)}`);
    return null;
  }
}

/** Runs everything. */
export async function runModels(
  options: ModelOptions,
): Promise<{ result: ModelResult; webgpu: OpenWebgpu | null }> {
  const { backends, image, quick, effort, note } = options;
  const problems: string[] = [];
  const names = quick ? ["ConvNeXt-T", MAIN] : Object.keys(MODELS);
  // First, while this process is small: Linux counts the memory of the process that starts another in the other's peak.
  const processes: ProcessRow[] = [];
  for (const task of backends.includes("webgpu") ? ["inference", "training step"] as const : []) {
    note(`${task} in a new process`);
    const figures = await apart(task, image, problems);
    if (figures) processes.push({ task, ...figures });
  }
  const tfjs = backends.includes("tfjs") ? await openTfjs(options, names, problems) : null;
  const webgpu = backends.includes("webgpu") ? await openWebgpu() : null;
  const entries: Entry[] = [], subjects: ModelSubject[] = [];
  const keep = (entry: Entry, tolerance: number): void => {
    if (entry.error !== null && !(entry.error <= tolerance)) {
      problems.push(
        `wrong numbers: ${entry.model} ${entry.dtype}${entry.compiled ? " recorded" : ""} is off by ` +
          `${entry.error.toExponential(1)}, allowed ${tolerance}; it was not timed`,
      );
    } else entries.push(entry);
  };
  const rows: ModelRow[] = [], latency: LatencyRow[] = [];
  let products: PointwiseRow[] = [];
  if (webgpu) {
    const { software, features } = webgpu.info;
    const batch = software ? 1 : 128;
    for (const model of names) {
      note(`${model} on webgpu`);
      const { entry, subject } = await entryOf(model, batch, image, tfjs?.logits.get(model));
      keep(entry, LOGITS_TOLERANCE);
      subjects.push(subject);
    }
    const main = subjects[names.indexOf(MAIN)];
    const compiled = compile(main.model, main.input.shape);
    const recorded = compiled.forward(main.input);
    const expected = await main.logits();
    keep({
      ...entries.find(({ model }) => model === MAIN)!,
      compiled: true,
      error: difference(await recorded.data(), expected, expected.length),
      contender: {
        run: () => compiled.forward(main.input).dispose(),
        wait: () => main.wait(),
        timer: null,
      },
    }, LOGITS_TOLERANCE);
    recorded.dispose();
    if (features.includes("shader-f16")) {
      note(`${MAIN} in float16`);
      const { entry, subject } = await entryOf(MAIN, batch, image, tfjs?.logits.get(MAIN), true);
      keep(entry, HALF_TOLERANCE);
      subjects.push(subject);
    }
    if (tfjs) entries.push(tfjs.main);
    note("inference, in turns");
    webgpu.adapter.warmUp();
    rows.push(...await time(entries, effort));
    compiled.dispose();
    for (const subject of subjects) subject.dispose();
    rows.push(...await trainingRows(["ConvNeXt-T", MAIN], software ? 1 : 64, options));
    note("latency of one image");
    const single = new ModelSubject(MODELS[MAIN], 1, image);
    const small = compile(single.model, single.input.shape);
    const calls = quick ? 5 : 20;
    latency.push(
      await latencyOf(`${MAIN}, one image, logits read`, calls, () => single.logits()),
      await latencyOf(`${MAIN}, one image, recorded, logits read`, calls, async () => {
        const output = small.forward(single.input);
        await output.data();
        output.dispose();
      }),
    );
    small.dispose();
    single.dispose();
    products = await pointwiseRows(webgpu, batch, options);
  } else if (tfjs) rows.push(...await time([tfjs.main], effort));
  return {
    webgpu,
    result: {
      image,
      rows,
      pointwise: products,
      latency,
      apart: processes,
      problems,
    },
  };
}
