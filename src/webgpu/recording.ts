/**
 * A recording: dispatches that were queued once, kept with their pipelines, bind groups and buffers, and queued again
 * without running any op. While it is made nothing runs: ops are given planned buffers, which have a size and no
 * memory. When all dispatches are known so are the first and last use of each, and those that are never alive together
 * get one buffer.
 *
 * Steps that no element of the input reaches (constructed kernels, their spectra, weights with a norm folded in) go
 * first, and run again only after a write to one of the buffers that they read. What they leave for the others stays.
 */
import { type BufferView, type GpuBuffer, PlannedBuffer } from "./buffers.ts";
import type { Gpu } from "./gpu.ts";
import { packWords, type Pipeline, type Word } from "./pipelines.ts";

type Groups = readonly [number, number, number];

/** A dispatch or a copy as it was asked for. */
type PlannedStep =
  | {
    readonly pipeline: Pipeline;
    readonly views: readonly BufferView[];
    readonly groups: Groups;
    readonly words: readonly Word[];
  }
  | { readonly from: GpuBuffer; readonly to: GpuBuffer };

/** The same, on real buffers. */
type Step =
  | { readonly pipeline: GPUComputePipeline; readonly group: GPUBindGroup; readonly groups: Groups }
  | { readonly from: GpuBuffer; readonly to: GpuBuffer };

/** First and last step that uses a planned buffer. */
interface Lifetime {
  first: number;
  last: number;
}

/** What a step reads or writes. */
function touched(step: PlannedStep): GpuBuffer[] {
  return "from" in step ? [step.from, step.to] : step.views.map(({ of }) => of);
}

function written(step: PlannedStep): GpuBuffer[] {
  return "from" in step ? [step.to] : step.pipeline.writes.map((i) => step.views[i].of);
}

/** The steps that no element of `input` reaches and that write nothing which the others write, in their order; then the others. */
function splitSteps(
  steps: readonly PlannedStep[],
  input: PlannedBuffer,
): { fixed: PlannedStep[]; moving: PlannedStep[] } {
  const reached = new Set<GpuBuffer>([input]);
  const isReached = (step: PlannedStep): boolean =>
    touched(step).some((buffer) => reached.has(buffer)) ||
    written(step).some((buffer) => !(buffer instanceof PlannedBuffer));
  for (let before = 0; before < reached.size;) {
    before = reached.size;
    for (const step of steps) {
      if (isReached(step)) {
        for (const buffer of written(step)) reached.add(buffer);
      }
    }
  }
  const moving = steps.filter(isReached), fixed = steps.filter((step) => !moving.includes(step));
  return { fixed, moving };
}

/** Collects what is queued between `gpu.record`'s start and end. */
export class Recorder {
  readonly #gpu: Gpu;
  readonly #steps: PlannedStep[] = [];
  /** Buffers with memory that the steps use: parameters, for the most part. */
  readonly #outside = new Map<number, GpuBuffer>();
  #planned = 0;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** A buffer of that size, without memory as yet. */
  plan(bytes: number, label: string): PlannedBuffer {
    return new PlannedBuffer(bytes, label, this.#planned++);
  }

  dispatch(pipeline: Pipeline, views: readonly BufferView[], groups: Groups, words: readonly Word[]): void {
    this.#add({ pipeline, views: [...views], groups, words: [...words] });
  }

  copy(from: GpuBuffer, to: GpuBuffer): void {
    this.#add({ from, to });
  }

  #add(step: PlannedStep): void {
    for (const buffer of touched(step)) this.#pin(buffer);
    this.#steps.push(step);
  }

  /** At once, as a tensor made on the way is disposed before the recording is finished. Constants stay anyhow. */
  #pin(buffer: GpuBuffer): void {
    if (buffer instanceof PlannedBuffer || buffer.id < 0 || this.#outside.has(buffer.id)) return;
    this.#outside.set(buffer.id, buffer);
    this.#gpu.buffers.pin(buffer);
  }

  /** Makes the buffers and bind groups. The input is written before the first step, the output read after the last. */
  finish(input: PlannedBuffer, output: GpuBuffer): Recording {
    const gpu = this.#gpu;
    this.#pin(output);
    const { fixed, moving } = splitSteps(this.#steps, input), ordered = [...fixed, ...moving];
    const slots = assignSlots(lifetimesOf(ordered, fixed.length, input, output));
    const real = new Map<PlannedBuffer, GpuBuffer>();
    const held = slots.map(({ bytes, members }) => {
      const slot = gpu.buffers.take(bytes, "activations of a recording");
      for (const { buffer } of members) real.set(buffer, { ...slot, bytes: buffer.bytes });
      return slot;
    });
    const resolve = (buffer: GpuBuffer): GpuBuffer =>
      buffer instanceof PlannedBuffer ? real.get(buffer)! : buffer;
    const uniforms = uniformsOf(gpu, ordered);
    const steps = ordered.map((step, i): Step => {
      if ("from" in step) return { from: resolve(step.from), to: resolve(step.to) };
      const views = step.views.map((view) => ({ ...view, of: resolve(view.of) }));
      const group = gpu.pipelines.make(step.pipeline, views, uniforms.bindings[i]);
      return { pipeline: step.pipeline.pipeline, group, groups: step.groups };
    });
    const sources = fixed.flatMap(touched).filter(({ id }) => this.#outside.has(id));
    return new Recording(gpu, steps.slice(0, fixed.length), steps.slice(fixed.length), {
      input: resolve(input),
      output: resolve(output),
      held,
      outside: [...this.#outside.values()],
      sources: [...new Set(sources.map(({ id }) => id))],
      uniforms: uniforms.buffer,
    });
  }

  /** Lets go of what it holds, where there will be no recording. */
  abandon(): void {
    for (const buffer of this.#outside.values()) this.#gpu.buffers.unpin(buffer);
  }
}

/**
 * When each planned buffer is in use: the input from before the first step, the output until after the last, and what one
 * of the first `fixed` steps leaves to the others for good.
 */
function lifetimesOf(
  steps: readonly PlannedStep[],
  fixed: number,
  input: PlannedBuffer,
  output: GpuBuffer,
): Map<PlannedBuffer, Lifetime> {
  const lifetimes = new Map<PlannedBuffer, Lifetime>([[input, { first: -1, last: 0 }]]);
  const use = (buffer: GpuBuffer, step: number): void => {
    if (!(buffer instanceof PlannedBuffer)) return;
    const lifetime = lifetimes.get(buffer);
    if (!lifetime) lifetimes.set(buffer, { first: step, last: step });
    else lifetime.last = Math.max(lifetime.last, step);
  };
  steps.forEach((step, i) => touched(step).forEach((buffer) => use(buffer, i)));
  use(output, steps.length);
  for (const lifetime of lifetimes.values()) {
    if (lifetime.first >= 0 && lifetime.first < fixed && lifetime.last >= fixed) lifetime.last = Infinity;
  }
  return lifetimes;
}

/** Buffers that one real buffer serves in turn. */
interface Slot {
  bytes: number;
  readonly members: { readonly buffer: PlannedBuffer; readonly lifetime: Lifetime }[];
}

/**
 * Which planned buffers share a real one. Greedy by size (Pisarchyk & Lee, "Efficient memory management for deep
 * neural net inference", 2020): the largest first, each into the first slot where it meets nobody.
 */
export function assignSlots(lifetimes: ReadonlyMap<PlannedBuffer, Lifetime>): Slot[] {
  const slots: Slot[] = [];
  const bySize = [...lifetimes].sort(([a], [b]) => b.bytes - a.bytes);
  for (const [buffer, lifetime] of bySize) {
    const free = slots.find(({ members }) =>
      members.every((other) => lifetime.first > other.lifetime.last || lifetime.last < other.lifetime.first)
    );
    if (free) free.members.push({ buffer, lifetime });
    else slots.push({ bytes: buffer.bytes, members: [{ buffer, lifetime }] });
  }
  return slots;
}

/** One buffer with the parameter structs of all steps, and the part of each. */
function uniformsOf(
  gpu: Gpu,
  steps: readonly PlannedStep[],
): { buffer: GPUBuffer | null; bindings: (GPUBufferBinding | null)[] } {
  const align = gpu.limits.minUniformBufferOffsetAlignment;
  let bytes = 0;
  const packed = steps.map((step) => {
    if ("from" in step || step.words.length === 0) return null;
    const data = packWords(step.words), offset = bytes;
    bytes += Math.ceil(data.byteLength / align) * align;
    return { data, offset };
  });
  if (bytes === 0) return { buffer: null, bindings: packed.map(() => null) };
  const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
  const buffer = gpu.device.createBuffer({ label: "parameters of a recording", size: bytes, usage });
  const all = new Uint8Array(bytes);
  for (const one of packed) if (one) all.set(new Uint8Array(one.data.buffer), one.offset);
  gpu.device.queue.writeBuffer(buffer, 0, all);
  const bindings = packed.map((one) => one && { buffer, offset: one.offset, size: one.data.byteLength });
  return { buffer, bindings };
}

/** What a recording holds. */
interface Holdings {
  readonly input: GpuBuffer;
  readonly output: GpuBuffer;
  readonly held: readonly GpuBuffer[];
  readonly outside: readonly GpuBuffer[];
  /** Ids of those that the steps before the input read. */
  readonly sources: readonly number[];
  readonly uniforms: GPUBuffer | null;
}

/** Steps ready to be queued again. */
export class Recording {
  readonly #gpu: Gpu;
  /** What the input does not reach, and `watchedWrites` when it last ran. */
  readonly #fixed: readonly Step[];
  #ranAt = -1;
  readonly #steps: readonly Step[];
  readonly #holdings: Holdings;
  readonly #ids: readonly number[];
  /** Bytes of the buffers that nothing but the recording uses. */
  readonly bytes: number;

  constructor(gpu: Gpu, fixed: readonly Step[], steps: readonly Step[], holdings: Holdings) {
    this.#gpu = gpu;
    this.#fixed = fixed;
    this.#steps = steps;
    this.#holdings = holdings;
    this.#ids = [...holdings.held, ...holdings.outside].map(({ id }) => id);
    gpu.watch(holdings.sources);
    this.bytes = holdings.held.reduce((sum, { buffer }) => sum + buffer.size, 0);
  }

  /** Dispatches of one run while the parameters stay as they are. */
  get dispatches(): number {
    return this.#steps.filter((step) => "group" in step).length;
  }

  /** Queues everything again; the output is a new buffer, so that the next run leaves it alone. */
  run(input: GpuBuffer | Float32Array): GpuBuffer {
    const gpu = this.#gpu, { input: slot, output } = this.#holdings;
    gpu.refuseRecording("run a compiled forward");
    const result = gpu.buffers.take(output.bytes, "output of a recording");
    if (input instanceof Float32Array) gpu.write(input, slot);
    else gpu.copy(input, slot);
    if (this.#ranAt !== gpu.watchedWrites) {
      this.#queue(this.#fixed);
      this.#ranAt = gpu.watchedWrites;
    }
    this.#queue(this.#steps);
    gpu.copy(output, result);
    gpu.markInFlight(this.#ids);
    return result;
  }

  #queue(steps: readonly Step[]): void {
    for (const step of steps) {
      if ("group" in step) this.#gpu.encode(step.pipeline, step.group, step.groups);
      else this.#gpu.copy(step.from, step.to);
    }
  }

  dispose(): void {
    const { held, outside, sources, uniforms } = this.#holdings;
    this.#gpu.unwatch(sources);
    this.#gpu.flush(); // queued runs use the parameter structs
    for (const buffer of held) this.#gpu.buffers.release(buffer);
    for (const buffer of outside) this.#gpu.buffers.unpin(buffer);
    uniforms?.destroy();
  }
}
