/**
 * Runs the cases: verifies each op on each backend, times them in turns, and puts the times beside limits and PyTorch.
 * @module
 */
import { init } from "../mod.ts";
import { type Backend, type BackendInfo, currentBackend } from "../src/backend.ts";
import type { DType } from "../src/dtype.ts";
import { type Version, VERSIONS } from "../src/spec.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { measureAdapter, type MeasuredAdapter } from "./adapter.ts";
import { type BenchCase, type BenchOpName, caseOn, costOf } from "./cases.ts";
import { type Contender, type Effort, interleave, profile, type Times } from "./measure.ts";
import { PYTORCH_HOSTS } from "./pytorch.ts";
import { createRival, hasRival, type Rival, useEngine } from "./rivals.ts";
import { type CaseData, drawData, Subject } from "./subject.ts";
import {
  comparedTime,
  describeOp,
  figureOf,
  HALF_BACKEND,
  opsOf,
  type Row,
  type SuiteResult,
} from "./rows.ts";
import { DeviceTimer } from "./timed_device.ts";
import { HALF_TOLERANCE, outputError, TOLERANCE, verify } from "./verify.ts";

/** WebGPU and all that is measured around it. */
export interface OpenWebgpu {
  readonly device: GPUDevice;
  readonly info: BackendInfo;
  readonly timer: DeviceTimer;
  readonly adapter: MeasuredAdapter;
}

/** What to run. */
export interface SuiteOptions {
  readonly cases: readonly BenchCase[];
  readonly backends: readonly ("webgpu" | "tfjs")[];
  /** float16: WebGPU's convolutions and layers in float16, too, in turns with float32. */
  readonly dtype: DType;
  /** Keeps the rows whose description contains it. */
  readonly filter: string;
  /** Whether to leave most versions and cases out. */
  readonly quick: boolean;
  readonly effort: Effort;
  /** Told what goes on. */
  readonly note: (line: string) => void;
}

const reason = (error: unknown): string => error instanceof Error ? error.message : String(error);

/** Opens WebGPU, makes it the running backend and measures its adapter; null where no adapter answers. */
export async function openWebgpu(): Promise<OpenWebgpu | null> {
  const found = await findDevice();
  if (!found) return null;
  const { device, info } = found;
  const timer = new DeviceTimer(device);
  const adapter = await measureAdapter(device, timer, info.software);
  await init({ device });
  return { device, info, timer, adapter };
}

/** The ops among them that the options ask for; of tfjs, `--quick` times the first version alone. */
function wantedOps(
  benched: BenchCase,
  version: Version,
  { filter, quick }: SuiteOptions,
  backend: "webgpu" | "tfjs",
): BenchOpName[] {
  if (quick && backend === "tfjs" && version !== benched.versions[0]) return [];
  return opsOf(benched, version, quick).filter((op) => describeOp(benched, version, op).includes(filter));
}

/** An op of a subject or a rival, verified. */
interface Entry {
  readonly benched: BenchCase;
  readonly backend: string;
  readonly dtype: DType;
  readonly software: boolean;
  /** Whether its limits are the adapter's. */
  readonly onAdapter: boolean;
  readonly batch: number;
  readonly contender: Contender;
  readonly firstUse: number;
  readonly error: number;
}

class Suite {
  readonly #options: SuiteOptions;
  readonly #webgpu: OpenWebgpu | null;
  readonly #tfjs: ReadonlyMap<string, Subject>;
  readonly rows: Row[] = [];
  readonly problems: string[];
  readonly #failedRivals = new Set<string>();

  constructor(
    options: SuiteOptions,
    webgpu: OpenWebgpu | null,
    tfjs: ReadonlyMap<string, Subject>,
    problems: string[],
  ) {
    this.#options = options;
    this.#webgpu = webgpu;
    this.#tfjs = tfjs;
    this.problems = problems;
  }

  async runCase(benched: BenchCase): Promise<void> {
    const options = this.#options, backend = this.#webgpu ? "webgpu" : "tfjs";
    const wanted = benched.versions.map((version) => ({
      version,
      ops: wantedOps(benched, version, options, backend),
    })).filter(({ ops }) => ops.length > 0);
    if (wanted.length === 0) return;
    this.#options.note(benched.name);
    const software = this.#webgpu?.info.software ?? true;
    const { gpu, cpu } = benched.batch, here = caseOn(benched, software);
    const dtypes = (["float32", ...(options.dtype === "float16" ? ["float16"] : [])] as DType[])
      .filter((dtype) => this.#webgpu?.info.dtypes.includes(dtype));
    const data = dtypes.map((dtype) => drawData(here, software ? cpu : gpu, dtype));
    for (const { version, ops } of wanted) {
      const subjects: Subject[] = [];
      for (const [i, dtype] of dtypes.entries()) {
        subjects.push(await Subject.create(currentBackend("bench"), here, version, data[i], dtype));
      }
      const other = this.#tfjs.get(`${benched.name} ${version}`);
      if (other) subjects.push(other);
      for (const op of ops) {
        const construction = op.startsWith("construct"); // of parameters, which are float32
        const some = subjects.filter(({ dtype }) => dtype === "float32" || !construction);
        await this.#runOp(benched, version, op, some);
      }
      for (const subject of subjects) if (subject !== other) subject.dispose();
    }
  }

  async #runOp(
    benched: BenchCase,
    version: Version,
    op: BenchOpName,
    subjects: readonly Subject[],
  ): Promise<void> {
    const entries: Entry[] = [], rivals: Rival[] = [];
    const keep = (entry: Entry): void => {
      const allowed = entry.dtype === "float16" ? HALF_TOLERANCE : TOLERANCE;
      if (entry.error <= allowed) entries.push(entry);
      else {
        this.problems.push(
          `wrong numbers: ${describeOp(benched, version, op)} on ${entry.backend} is off by ` +
            `${entry.error.toExponential(1)}, allowed ${allowed}; it was not timed`,
        );
      }
    };
    for (const subject of subjects) {
      try {
        keep(await this.#entryOf(subject, op));
      } catch (error) {
        this.problems.push(`${describeOp(benched, version, op)} on ${subject.info.name}: ${reason(error)}`);
      }
    }
    if (op === "convolution" && hasRival(benched)) {
      const small = drawData(benched, benched.batch.cpu);
      for (const engine of ["wasm", "webgpu"] as const) {
        if (!this.#options.backends.includes(engine === "wasm" ? "tfjs" : "webgpu")) continue;
        // tfjs's WebGPU gets the same batch as ours.
        const data = engine === "webgpu" ? subjects[0]?.data ?? small : small;
        try {
          const { entry, rival } = await this.#rivalOf(engine, benched, data);
          rivals.push(rival);
          keep(entry);
        } catch (error) {
          if (!this.#failedRivals.has(engine)) {
            this.problems.push(`stock tfjs on ${engine} is left out: ${reason(error)}`);
          }
          this.#failedRivals.add(engine);
        }
      }
    }
    this.#webgpu?.adapter.warmUp();
    const times = await interleave(entries.map(({ contender }) => contender), this.#options.effort);
    for (const [i, entry] of entries.entries()) {
      this.rows.push({
        ...this.#rowOf(version, op, entry, times[i]),
        kernels: (await profile(entry.contender)).map(({ label, milliseconds }) => ({ label, milliseconds })),
      });
    }
    for (const rival of rivals) rival.dispose();
  }

  async #entryOf(subject: Subject, op: BenchOpName): Promise<Entry> {
    const { info, data } = subject;
    const onAdapter = info.name === "webgpu", wait = (): Promise<void> => subject.wait();
    if (!onAdapter) await useEngine(info.adapter);
    await wait();
    const started = performance.now();
    const result = subject.run(op);
    await wait();
    const firstUse = performance.now() - started;
    const made = await result.read();
    result.free();
    const timer = onAdapter && this.#webgpu?.timer.granted ? this.#webgpu.timer : null;
    return {
      benched: subject.benched,
      backend: !onAdapter ? `tfjs, ${info.adapter}` : subject.dtype === "float16" ? HALF_BACKEND : "webgpu",
      dtype: subject.dtype,
      software: info.software,
      onAdapter,
      batch: data.batch,
      firstUse,
      error: await verify(subject, op, made),
      contender: {
        run: () => subject.run(op).free(),
        wait: onAdapter ? wait : null,
        timer,
        before: onAdapter ? undefined : () => useEngine(info.adapter),
      },
    };
  }

  async #rivalOf(
    engine: "wasm" | "webgpu",
    benched: BenchCase,
    data: CaseData,
  ): Promise<{ entry: Entry; rival: Rival }> {
    const rival = await createRival(engine, benched, data);
    const started = performance.now();
    const output = await rival.output();
    const firstUse = performance.now() - started;
    const software = engine === "wasm" || this.#webgpu?.info.software !== false;
    const { batch } = data;
    return {
      rival,
      entry: {
        benched,
        backend: rival.name,
        dtype: "float32",
        software,
        onAdapter: engine === "webgpu",
        batch,
        firstUse,
        error: outputError(benched, data, output),
        contender: rival,
      },
    };
  }

  #rowOf(
    version: Version,
    op: BenchOpName,
    { benched, backend, dtype, software, onAdapter, batch, firstUse, error }: Entry,
    times: Times,
  ): Omit<Row, "kernels"> {
    const cost = costOf(benched, op, batch, dtype), { median } = times;
    const limits = this.#webgpu?.adapter.limits;
    const least = limits &&
      (cost.bound === "memory"
        ? cost.bytes / limits.copyGigabytesPerSecond / 1e6
        : cost.flops / limits.teraflopsPerSecond / 1e9);
    const figure = backend.startsWith("stock") || dtype === "float16"
      ? undefined
      : figureOf(benched, op, version, batch, software);
    return {
      case: benched.name,
      op,
      version,
      backend,
      batch,
      times,
      teraflopsPerSecond: cost.flops / median / 1e9,
      gigabytesPerSecond: cost.bytes / median / 1e6,
      ofLimit: least !== undefined && (onAdapter || this.#webgpu?.info.software) ? least / median : null,
      bound: cost.bound,
      pytorch: figure
        ? {
          milliseconds: figure.milliseconds!,
          device: PYTORCH_HOSTS[figure.host].device,
          ratio: figure.milliseconds! / comparedTime(times, software),
        }
        : null,
      firstUse,
      error,
    };
  }
}

/** Opens tfjs and makes the subjects that it runs: `init` has one running backend, and WebGPU's comes after. */
async function openTfjs(options: SuiteOptions, problems: string[]): Promise<Map<string, Subject>> {
  const subjects = new Map<string, Subject>();
  let backend: Backend;
  try {
    await init({ backend: "tfjs" });
    backend = currentBackend("bench");
  } catch (error) {
    problems.push(`tfjs is left out: ${reason(error)}`);
    return subjects;
  }
  for (const benched of options.cases) {
    const here = caseOn(benched, true), data = drawData(here, benched.batch.cpu);
    for (const version of VERSIONS.filter((version) => benched.versions.includes(version))) {
      if (wantedOps(benched, version, options, "tfjs").length === 0) continue;
      subjects.set(`${benched.name} ${version}`, await Subject.create(backend, here, version, data));
    }
  }
  return subjects;
}

/** Runs the suite. */
export async function runSuite(
  options: SuiteOptions,
): Promise<{ result: SuiteResult; webgpu: OpenWebgpu | null }> {
  const problems: string[] = [];
  const tfjs = options.backends.includes("tfjs")
    ? await openTfjs(options, problems)
    : new Map<string, Subject>();
  const webgpu = options.backends.includes("webgpu") ? await openWebgpu() : null;
  if (options.backends.includes("webgpu") && !webgpu) {
    problems.push("webgpu is left out: no WebGPU adapter answers");
  }
  if (options.dtype === "float16" && !webgpu?.info.dtypes.includes("float16")) {
    problems.push("float16 is left out: no WebGPU adapter has shader-f16");
  }
  const suite = new Suite(options, webgpu, tfjs, problems);
  for (const benched of options.cases) await suite.runCase(benched);
  return {
    webgpu,
    result: {
      limits: webgpu?.adapter.limits ?? null,
      adapter: webgpu?.info.adapter ?? null,
      software: webgpu?.info.software ?? null,
      rows: suite.rows,
      pipelines: webgpu?.timer.pipelines ?? [],
      problems: suite.problems,
    },
  };
}
