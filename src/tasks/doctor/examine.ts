/**
 * What `deno task doctor` finds out: versions, machine, and for each backend what it is and whether it is right.
 * @module
 */
import config from "../../../deno.json" with { type: "json" };
import { init, shutdown } from "../../../mod.ts";
import { type SelfCheck, selfCheck } from "./self_check.ts";

/** The backends that are examined, in the order in which `init()` tries them. */
export const EXAMINED = ["webgpu", "tfjs"] as const;

/** One of them. */
export type Examined = typeof EXAMINED[number];

/** What is known about a backend here. */
export interface BackendReport {
  readonly name: Examined;
  /** Whether it starts. */
  readonly available: boolean;
  /** Why it does not start or fails; null where all is well. */
  readonly problem: string | null;
  /** What would help; null where nothing is needed. */
  readonly advice: string | null;
  /** The adapter or engine; null where it does not start. */
  readonly adapter: string | null;
  /** Whether the work runs on the CPU. */
  readonly software: boolean | null;
  /** Whether each feature that the module can use is granted. */
  readonly features: Readonly<Record<string, boolean>>;
  /** Limits that matter, in bytes or counts. */
  readonly limits: Readonly<Record<string, number>>;
  /** One layer against the float64 reference; null where it did not run. */
  readonly selfCheck: SelfCheck | null;
}

/** Everything that `--json` prints. */
export interface DoctorReport {
  readonly module: { readonly name: string; readonly version: string };
  readonly versions: { readonly deno: string; readonly v8: string; readonly typescript: string };
  readonly system: {
    readonly target: string;
    readonly release: string;
    readonly cores: number;
    /** Bytes. */
    readonly memory: { readonly total: number; readonly available: number; readonly process: number };
  };
  readonly backends: readonly BackendReport[];
  /** What `init()` takes here by itself; null where nothing starts, or not all backends were examined. */
  readonly auto: Examined | null;
  /** Whether a backend works and none that starts computes wrong numbers. */
  readonly ok: boolean;
}

const FEATURES: Readonly<Record<Examined, readonly string[]>> = {
  webgpu: ["timestamp-query", "shader-f16", "subgroups"],
  tfjs: ["simd"],
};

const SLOW_ENGINE =
  "this is tfjs's plain JavaScript, many times slower than its wasm engine, which did not start: allow " +
  "reading (--allow-read), and run once with a connection";

/** What to do about a backend that does not start. */
export function adviceFor(name: Examined, os: typeof Deno.build.os): string {
  if (name === "tfjs") {
    return "run once with a connection, so that @tensorflow/tfjs and its wasm binary get into the cache, and allow " +
      "reading (--allow-read)";
  }
  switch (os) {
    case "linux":
      return "install a Vulkan driver: the GPU maker's, or without a GPU the software adapter (Debian, Ubuntu: " +
        "apt install mesa-vulkan-drivers; Fedora: dnf install mesa-vulkan-drivers). Until then tfjs runs on the CPU";
    case "darwin":
      return "WebGPU needs Metal, which every Mac since 2012 has: run outside of virtual machines. Until then tfjs " +
        "runs on the CPU";
    case "windows":
      return "WebGPU needs Direct3D 12 or Vulkan: update the graphics driver. Until then tfjs runs on the CPU";
    default:
      return "install a Vulkan driver. Until then tfjs runs on the CPU";
  }
}

async function examineBackend(name: Examined): Promise<BackendReport> {
  const blank = { name, adapter: null, software: null, features: {}, limits: {}, selfCheck: null };
  const reason = (error: unknown): string => error instanceof Error ? error.message : String(error);
  try {
    const { adapter, software, features, limits } = await init({ backend: name });
    const found = {
      ...blank,
      available: true,
      adapter,
      software,
      features: Object.fromEntries(FEATURES[name].map((feature) => [feature, features.includes(feature)])),
      limits,
    };
    const wrong = (problem: string): Pick<BackendReport, "problem" | "advice"> => ({
      problem,
      advice: name === "webgpu"
        ? 'update the graphics driver; until then use init({ backend: "tfjs" })'
        : "delete the cached @tensorflow packages, and run once with a connection",
    });
    try {
      const check = await selfCheck(name);
      const { tensor, largestError, tolerance } = check;
      const fine = { problem: null, advice: adapter === "cpu" ? SLOW_ENGINE : null };
      const verdict = check.passed ? fine : wrong(
        `wrong numbers: the ${tensor} is off by ${largestError.toExponential(1)}, allowed ${tolerance}`,
      );
      return { ...found, ...verdict, selfCheck: check };
    } catch (error) {
      return { ...found, ...wrong(`the self-check fails: ${reason(error)}`) };
    }
  } catch (error) {
    return { ...blank, available: false, problem: reason(error), advice: adviceFor(name, Deno.build.os) };
  } finally {
    shutdown();
  }
}

/**
 * Examines the backends, one after the other. Needs `--allow-sys` for the system's release and memory, and
 * `--allow-read` for tfjs's binary.
 */
export async function examine(names: readonly Examined[] = EXAMINED): Promise<DoctorReport> {
  const backends: BackendReport[] = [];
  for (const name of names) backends.push(await examineBackend(name));
  const { total, available } = Deno.systemMemoryInfo();
  const right = (backend: BackendReport): boolean => backend.selfCheck?.passed === true;
  return {
    module: { name: config.name, version: config.version },
    versions: { ...Deno.version },
    system: {
      target: Deno.build.target,
      release: Deno.osRelease(),
      cores: navigator.hardwareConcurrency,
      memory: { total, available, process: Deno.memoryUsage().rss },
    },
    backends,
    auto: names.length < EXAMINED.length
      ? null
      : EXAMINED.find((name) => backends.some((backend) => backend.name === name && backend.available)) ??
        null,
    ok: backends.some(right) && backends.every((backend) => !backend.available || right(backend)),
  };
}
