/**
 * The one interface behind which WebGPU, tfjs and the float64 reference stand, and the choice among them.
 *
 * A backend owns its storage; what it hands out is opaque here. `forward`, `backward` and `update` only queue
 * work: nothing but `read` waits for a device.
 */
import type { DType } from "./dtype.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "./ops/mod.ts";
import type { Shape } from "./spec.ts";

/** The backends: `reference` is the float64 specification, for tests. */
export type BackendName = "webgpu" | "tfjs" | "reference";

/** What is known about a running backend. */
export interface BackendInfo {
  /** Which of them it is. */
  readonly name: BackendName;
  /** The adapter (WebGPU) or the engine (tfjs: "wasm" or "cpu"). */
  readonly adapter: string;
  /** Whether the work runs on a CPU: tfjs's CPU engines and software adapters. */
  readonly software: boolean;
  /** What it can do beyond the rest: WebGPU features, for example `shader-f16`. */
  readonly features: readonly string[];
  /** How tensors can be kept here: float16 where the device has `shader-f16`, and on the reference, which rounds. */
  readonly dtypes: readonly DType[];
  /** Limits that matter, in bytes or invocations; empty where there are none. */
  readonly limits: Readonly<Record<string, number>>;
}

/** Storage in use. `buffers` and `bytes` count what tensors hold; `pooled…` what waits for reuse. */
export interface MemoryInfo {
  /** Storages that tensors hold; reshapes share one. */
  readonly buffers: number;
  /** Bytes of them. */
  readonly bytes: number;
  /** Storages that wait for reuse. */
  readonly pooledBuffers: number;
  /** Bytes of those. */
  readonly pooledBytes: number;
}

/** Storage of one tensor; each backend has its own kind. */
export type Handle = object;

/** A tensor as a backend sees it. */
export interface Operand<H = Handle> {
  readonly handle: H;
  readonly shape: Shape;
  /** How the elements are kept. Default: float32. */
  readonly dtype?: DType;
}

/** How a backend runs one op; `H` is its handle. */
export interface OpImplementation<Attributes, H> {
  forward(inputs: readonly (Operand<H> | null)[], attributes: Attributes, outputShape: Shape): H;
  /** Gradients of the inputs marked in `needs` (null for the others), given the gradient of the output. */
  backward(
    gradient: Operand<H>,
    inputs: readonly (Operand<H> | null)[],
    attributes: Attributes,
    needs: readonly boolean[],
  ): (H | null)[];
}

/** One implementation per op. */
export type OpImplementations<H> = { readonly [N in OpName]: OpImplementation<OpTable[N], H> };
/** One implementation per update. */
export type UpdateImplementations<H> = {
  readonly [N in UpdateName]: (operands: readonly Operand<H>[], attributes: UpdateTable[N]) => void;
};

/** Ops that were queued once, to be queued again as one: see `compile`. */
export interface Recording {
  /** Bytes of the storage that nothing else uses. */
  readonly bytes: number;
  /** Dispatches of one run. */
  readonly dispatches: number;
  /** Queues all of them; the output is new. */
  run(input: Handle | Float32Array): Handle;
  /** Gives the storage back. */
  dispose(): void;
}

/** A convolution that more than one algorithm can run. */
export interface TunableConvolution {
  /** Names its pass and its geometry; findings are kept under it. */
  readonly key: string;
}

/** Finds the fastest algorithm of convolutions by timing: see `autotune`. */
export interface ConvolutionTuner {
  /** Names the adapter, its driver and its limits: findings hold for no other. */
  readonly adapter: string;
  /** The convolutions that `body` would queue; it is given an input of so many bytes, and nothing runs. */
  collect(bytes: number, body: (input: Handle) => Handle): TunableConvolution[];
  /** Milliseconds of one run by algorithm. */
  measure(convolution: TunableConvolution): Promise<Record<string, number>>;
  /** Takes this algorithm from now on, where it can run the convolution of that key. */
  use(key: string, algorithm: string): void;
}

/** What a backend provides. */
export interface Backend {
  readonly info: BackendInfo;
  /** Whether it keeps no elements, but follows shapes: it then takes tensors of every backend. */
  readonly followsShapes?: boolean;
  /** Whether results are read without waiting longer than the device needs: `init`'s option, where it means something. */
  quickReads?: boolean;
  /** Keeps the elements as `dtype` (default float32), which has to be one of `info.dtypes`. */
  upload(data: Float32Array, shape: Shape, dtype?: DType): Handle;
  /** Reads any number of tensors in one wait, as float32. */
  read(operands: readonly Operand[]): Promise<Float32Array[]>;
  release(handle: Handle): void;
  /** The output is kept as `outputDtype` (default float32), which follows from the inputs' (`outputDtypeOf`). */
  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    outputShape: Shape,
    outputDtype?: DType,
  ): Handle;
  /** Every gradient is kept as its input is. */
  backward<N extends OpName>(
    name: N,
    gradient: Operand,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    needs: readonly boolean[],
  ): (Handle | null)[];
  update<N extends UpdateName>(name: N, operands: readonly Operand[], attributes: UpdateTable[N]): void;
  /**
   * Keeps what `body` queues, instead of running it. Absent where an op costs nothing but its arithmetic.
   * @param bytes of the input that `body` is given; it returns the output
   */
  record?(bytes: number, body: (input: Handle) => Handle): Recording;
  /** Where there is a choice of algorithms. */
  readonly tuner?: ConvolutionTuner;
  memory(): MemoryInfo;
  /** Ends the backend; its tensors can no longer be used. */
  dispose(): void;
}

/** Options of {@linkcode init}. */
export interface InitOptions {
  /**
   * `"auto"` (default): WebGPU where an adapter answers, software adapters included, else tfjs.
   * `"reference"`: float64 loops, the slow specification.
   */
  backend?: "auto" | BackendName;
  /** A WebGPU device to run on, a browser's for example. Implies `backend: "webgpu"`. */
  device?: GPUDevice;
  /**
   * Whether `data()` and `item()` take a result as soon as the device has it. Default false: an awaited read of Deno's
   * WebGPU takes at least 10 ms. With true, on the second and later reads, what Deno sleeps through is left to run out
   * behind the caller's back: a test with Deno's `sanitizeOps` would report it, and a process ends 10 ms later. Means
   * nothing on other backends and in browsers. May be changed by another `init`.
   */
  quickReads?: boolean;
}

let current: Backend | null = null;
const ended = new WeakSet<Backend>();

/** Whether {@linkcode shutdown} ended this backend. */
export function hasEnded(backend: Backend): boolean {
  return ended.has(backend);
}

/**
 * The backend that new tensors are created on.
 * @throws {Error} before {@linkcode init}
 */
export function currentBackend(doing: string): Backend {
  if (!current) throw new Error(`Cannot ${doing}: no backend is running, call \`await init()\` first`);
  return current;
}

/** The running backend where it follows shapes alone, else null. */
export function shapeFollower(): Backend | null {
  return current?.followsShapes ? current : null;
}

/** Runs `body` on `backend`, then goes back to the one that ran before. */
export function runOn<T>(backend: Backend, body: () => T): T {
  const before = current;
  current = backend;
  try {
    return body();
  } finally {
    current = before;
  }
}

/**
 * Picks and starts a backend. Tensors made afterwards live on it; those of an earlier backend stay readable.
 * Called again with nothing new to ask for, it keeps the running backend.
 *
 * @throws {RangeError} for an unknown backend name
 * @throws {Error} for `backend: "webgpu"` without an adapter
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 *
 * const info = await init();
 * assert(info.name === "webgpu" || info.name === "tfjs");
 * ```
 */
export async function init(options: InitOptions = {}): Promise<BackendInfo> {
  const { backend = options.device ? "webgpu" : "auto", device } = options;
  if (!["auto", "webgpu", "tfjs", "reference"].includes(backend)) {
    throw new RangeError(
      `Cannot init: backend must be "auto", "webgpu", "tfjs" or "reference", got ${JSON.stringify(backend)}`,
    );
  }
  if (device && backend !== "webgpu" && backend !== "auto") {
    throw new RangeError(`Cannot init: a device needs backend "webgpu", got ${JSON.stringify(backend)}`);
  }
  if (
    !device && current &&
    (backend === "auto" ? current.info.name !== "reference" : current.info.name === backend)
  ) {
    if (options.quickReads !== undefined) current.quickReads = options.quickReads;
    return current.info;
  }
  current = await start(backend, device);
  current.quickReads = options.quickReads ?? false;
  return current.info;
}

/**
 * Throws where the backend cannot keep elements so.
 * @throws {RangeError} with what would help
 */
export function requireDtype(backend: Backend, dtype: DType, doing: string): void {
  const { name, dtypes } = backend.info;
  if (dtypes.includes(dtype)) return;
  const remedy = name === "tfjs"
    ? 'use "float32", or init({ backend: "webgpu" }) where an adapter answers'
    : 'use "float32", or a device that was requested with the feature "shader-f16"';
  throw new RangeError(
    `Cannot ${doing}: dtype must be ${dtypes.join(" or ")} on this backend, got ${dtype} on ${name}` +
      `${name === "webgpu" ? " without shader-f16" : ""}; ${remedy}`,
  );
}

/** What the tensors of the running backend occupy. */
export function memory(): MemoryInfo {
  return currentBackend("read memory").memory();
}

/** Ends the running backend and gives its device back; its tensors can no longer be used. */
export function shutdown(): void {
  if (!current) return;
  ended.add(current);
  current.dispose();
  current = null;
}

async function start(backend: "auto" | BackendName, device?: GPUDevice): Promise<Backend> {
  if (backend === "reference") return new (await import("./reference/backend.ts")).ReferenceBackend();
  if (backend !== "tfjs") {
    const { createWebgpuBackend } = await import("./webgpu/backend.ts");
    const made = await createWebgpuBackend(device);
    if (made) return made;
    if (backend === "webgpu") {
      throw new Error(
        'Cannot init backend "webgpu": no WebGPU adapter answers. Install a Vulkan driver (without a GPU: ' +
          'Debian\'s mesa-vulkan-drivers), or use init({ backend: "tfjs" }), which runs on the CPU',
      );
    }
  }
  return (await import("./tfjs/backend.ts")).createTfjsBackend();
}
