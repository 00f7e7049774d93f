/**
 * Times the algorithms that can run a convolution, on buffers of its own: what `chooseConvolution` expects from figures
 * of two adapters is then known for this one.
 */
import type { ConvolutionTuner, Handle, TunableConvolution } from "../backend.ts";
import { type DType, ELEMENT_BYTES } from "../dtype.ts";
import type { ConvolutionAttributes } from "../ops/convolution.ts";
import type { OpName } from "../ops/mod.ts";
import { type Shape, sizeOf } from "../spec.ts";
import type { GpuBuffer } from "./buffers.ts";
import { convolutionCandidates, type ConvolutionPass, tuningKey } from "./chooseConvolution.ts";
import type { Gpu } from "./gpu.ts";
import { convolution, geometryOf } from "./ops/convolution.ts";
import { converted } from "./ops/cast.ts";
import { type GpuOperand, storageOf } from "./ops/op.ts";

/** Times of each algorithm, in turns; the least counts. */
const ROUNDS = 5;
/** What a sample should take: long enough for a clock, and for a GPU to wake up while the first ones run. */
const SAMPLE_MS = 10;
const MOST_RUNS = 200;
/** How long a GPU works before the first sample: an idle one has low clocks, which would cost the first algorithm its place. */
const WARM_MS = 300;
/** What takes this many times as long as the fastest at first is not timed again. */
const HOPELESS = 3;

/** A convolution as the model calls it. */
interface SeenConvolution extends TunableConvolution {
  readonly pass: ConvolutionPass;
  readonly x: Shape;
  readonly dtype: DType;
  readonly taps: Shape;
  readonly bias: Shape | null;
  readonly attributes: ConvolutionAttributes;
  readonly output: Shape;
}

/** The tuner of one device. */
export class Tuner implements ConvolutionTuner {
  readonly #gpu: Gpu;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** Kernels are made for limits, so a device with others may find something else. */
  get adapter(): string {
    const { info, device } = this.#gpu;
    const { vendor, architecture, device: model, description } = device.adapterInfo ?? {};
    const limits = Object.entries(info.limits).map(([name, limit]) => `${name} ${limit}`);
    const names = [info.adapter, vendor, architecture, model, description].filter(Boolean);
    return [...new Set(names), ...info.features, ...limits].join(", ");
  }

  /** While convolutions are collected: is told of every op that is queued. */
  see:
    | ((name: OpName, inputs: readonly (GpuOperand | null)[], attributes: unknown, output: Shape) => void)
    | null = null;

  #add(
    seen: Map<string, SeenConvolution>,
    inputs: readonly (GpuOperand | null)[],
    attributes: ConvolutionAttributes,
    output: Shape,
  ): void {
    const [x, taps, bias] = inputs;
    const geometry = geometryOf(x!.shape, taps!.shape, attributes), storage = storageOf(x!);
    const names = convolutionCandidates(this.#gpu, geometry, storage).map(({ algorithm }) => algorithm);
    if (sizeOf(output) === 0 || names.length < 2) return;
    for (const pass of ["forward", "backward"] as const) {
      const key = tuningKey(geometry, storage, pass);
      const shapes = { x: x!.shape, taps: taps!.shape, bias: bias ? bias.shape : null, output };
      seen.set(key, { key, pass, dtype: x!.dtype ?? "float32", attributes, ...shapes });
    }
  }

  collect(bytes: number, body: (input: Handle) => Handle): TunableConvolution[] {
    const seen = new Map<string, SeenConvolution>();
    this.see = (name, inputs, attributes, output) => {
      if (name === "convolution") this.#add(seen, inputs, attributes as ConvolutionAttributes, output);
    };
    try {
      this.#gpu.rehearse(bytes, (input) => body(input) as GpuBuffer);
    } finally {
      this.see = null;
    }
    return [...seen.values()];
  }

  use(key: string, algorithm: string): void {
    this.#gpu.tuned.set(key, algorithm);
  }

  /** Leaves the choice as it was. */
  async measure(seen: TunableConvolution): Promise<Record<string, number>> {
    const gpu = this.#gpu, { key, pass, x, dtype, taps, bias, attributes, output } = seen as SeenConvolution;
    const before = gpu.tuned.get(key);
    const operand = (shape: Shape, kept: DType): GpuOperand => ({
      shape,
      dtype: kept,
      handle: pattern(gpu, shape, kept),
    });
    const [dy, ...inputs] = [
      operand(output, dtype),
      operand(x, dtype),
      operand(taps, "float32"),
      bias && operand(bias, "float32"),
    ];
    const run = (algorithm: string): void => {
      gpu.tuned.set(key, algorithm);
      const made = pass === "forward"
        ? [convolution.forward(gpu, inputs, attributes, output)]
        : convolution.backward(gpu, dy!, inputs, attributes, [true, true, false]);
      for (const buffer of made) if (buffer) gpu.buffers.release(buffer);
    };
    try {
      const geometry = geometryOf(x, taps, attributes);
      const names = convolutionCandidates(gpu, geometry, storageOf({ dtype })).map(({ algorithm }) =>
        algorithm
      );
      return await timeInTurns(gpu, names, run);
    } finally {
      if (before === undefined) gpu.tuned.delete(key);
      else gpu.tuned.set(key, before);
      for (const made of [dy, ...inputs]) if (made) gpu.buffers.release(made.handle);
    }
  }
}

/** Numbers that are neither zero nor tiny: those would be faster on some devices. */
function pattern(gpu: Gpu, shape: Shape, dtype: DType): GpuBuffer {
  const elements = sizeOf(shape);
  const wide = gpu.upload(Float32Array.from({ length: elements }, (_, i) => 0.5 + i % 7 / 8), "pattern");
  if (ELEMENT_BYTES[dtype] === 4) return wide;
  const narrow = converted(gpu, { handle: wide }, elements, dtype);
  gpu.buffers.release(wide);
  return narrow;
}

async function timeInTurns(
  gpu: Gpu,
  names: readonly string[],
  run: (name: string) => void,
): Promise<Record<string, number>> {
  const times: Record<string, number> = {}, runs: Record<string, number> = {};
  // Without a clock on the device a sample holds a read, 10 ms in Deno: known, it can be taken off.
  const waits: number[] = [];
  for (let i = 0; i < 5; i++) waits.push(await timed(gpu, () => {}));
  const wait = Math.min(...waits);
  const repeat = async (name: string, count: number): Promise<number> => {
    const time = await timed(gpu, () => {
      for (let i = 0; i < count; i++) run(name);
    });
    return Math.max(1e-3, time - wait);
  };
  for (const name of names) await repeat(name, 1); // compiles
  if (!gpu.info.software) {
    const [name] = names, once = await repeat(name, 1);
    await repeat(name, Math.ceil(WARM_MS / Math.max(0.05, once)));
  }
  for (const name of names) {
    let once = await repeat(name, 1);
    // The first run may have met something else: only what takes long is believed at once.
    for (let i = 0; i < 3 && once < 10 * SAMPLE_MS; i++) once = Math.min(once, await repeat(name, 1));
    times[name] = once;
    runs[name] = Math.max(1, Math.min(MOST_RUNS, Math.ceil(SAMPLE_MS / Math.max(0.01, once))));
  }
  const close = HOPELESS * Math.max(1, Math.min(...Object.values(times))); // one run of less is no evidence
  const contenders = names.filter((name) => times[name] <= close);
  if (contenders.length > 1) { for (const name of contenders) times[name] = Infinity; }
  for (let round = 0; contenders.length > 1 && round < ROUNDS; round++) {
    for (const name of contenders) {
      times[name] = Math.min(times[name], await repeat(name, runs[name]) / runs[name]);
    }
  }
  return times;
}

/** Milliseconds of what `body` queues: by the device's clock where it has one, else until a read behind it is there. */
async function timed(gpu: Gpu, body: () => void): Promise<number> {
  const probe = gpu.upload(new Float32Array(1), "probe");
  try {
    await gpu.read([probe]); // nothing else runs
    if (gpu.info.features.includes("timestamp-query")) return await stamped(gpu, body);
    const started = performance.now();
    body();
    await gpu.read([probe]);
    return performance.now() - started;
  } finally {
    gpu.buffers.release(probe);
  }
}

async function stamped(gpu: Gpu, body: () => void): Promise<number> {
  const querySet = gpu.device.createQuerySet({ type: "timestamp", count: 2 });
  const usage = GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC;
  const buffer = gpu.device.createBuffer({ label: "timestamps", size: 16, usage });
  try {
    gpu.stamp({ querySet, endOfPassWriteIndex: 0 });
    body();
    gpu.stamp({ querySet, beginningOfPassWriteIndex: 1 });
    gpu.resolveStamps(querySet, 2, buffer);
    const [words] = await gpu.read([{ buffer, bytes: 16, id: -1 }]);
    const [start, end] = new BigUint64Array(words.buffer);
    return Number(end - start) / 1e6;
  } finally {
    querySet.destroy();
    buffer.destroy();
  }
}
