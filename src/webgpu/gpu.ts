/**
 * Device, buffer, kernel, pipeline, dispatch: all that the ops know of WebGPU.
 *
 * Dispatches are recorded into one open compute pass and submitted every `FLUSH` of them or `FLUSH_BYTES` bound, before
 * uploads that would overtake them, and before reads. Nothing waits for the device but `read`.
 */
import type { Kernel } from "../../kernels/kernel.ts";
import type { BackendInfo } from "../backend.ts";
import { Buffers, type BufferView, type GpuBuffer, type PlannedBuffer, whole } from "./buffers.ts";
import { packWords, Pipelines, type Word } from "./pipelines.ts";
import { Recorder, type Recording } from "./recording.ts";
import { Staging } from "./staging.ts";

export type { Word } from "./pipelines.ts";

/**
 * Dispatches per submit. On a GPU enough to make a submit cheap, few enough to keep it busy. llvmpipe makes a submit wait
 * for the one before: with more dispatches in each, JavaScript queues whole steps without meeting one. A layer's step,
 * mean ms of JavaScript with 16 / 64 / 512, on a busy machine: 1.3 / 0.8 / 0.35; processor time of training is the same.
 */
const FLUSH = { gpu: 64, software: 512 };
/** Bytes bound per submit on a GPU: what takes it about as long as a submit takes the CPU (25 to 120 µs). */
const FLUSH_BYTES = 2 ** 28;
/** Uploads per submit: each takes a buffer that the submit does not use as yet. */
const UPLOADS = 16;
/** Bytes of a struct that lives for one submit. */
const PASSING_BYTES = 512;

/** One WebGPU device and the work queued on it. */
export class Gpu {
  readonly device: GPUDevice;
  readonly info: BackendInfo;
  readonly buffers: Buffers;
  readonly pipelines: Pipelines;
  /** Algorithms that were found to be the fastest here, by `tuningKey`: see `Tuner`. */
  readonly tuned = new Map<string, string>();
  readonly #staging: Staging;
  readonly #kernels = new Map<string, Kernel>();
  readonly #constants = new Map<string, GpuBuffer>();
  /** Structs that live for one submit; the first `#passingUsed` are in the open one. */
  readonly #passing: GpuBuffer[] = [];
  #passingUsed = 0;
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #queued = 0;
  #queuedBytes = 0;
  #uploads = 0;
  /** Ids of buffers that recorded, unsubmitted work uses. */
  readonly #inFlight = new Set<number>();
  #recorder: Recorder | null = null;
  /** How many recordings computed something from a buffer, by its id. */
  readonly #watched = new Map<number, number>();
  #watchedWrites = 0;
  /** Ids of what is never pooled. */
  #nextId = -1;
  #error: Error | null = null;

  constructor(device: GPUDevice, info: BackendInfo) {
    this.device = device;
    this.info = info;
    this.pipelines = new Pipelines(device, () => this.flush());
    this.buffers = new Buffers(device, () => this.pipelines.forgetBindGroups());
    this.#staging = new Staging(device);
    device.addEventListener("uncapturederror", (event) => {
      this.#error ??= new Error(`WebGPU: ${(event as GPUUncapturedErrorEvent).error.message}`);
    });
    device.lost.then((lost) => {
      this.#staging.quick = false;
      if (lost.reason !== "destroyed") this.#error ??= new Error(`WebGPU device lost: ${lost.message}`);
    });
  }

  get limits(): GPUSupportedLimits {
    return this.device.limits;
  }

  /** Whether reads take results before their promise settles, where that is possible: see `Staging`. */
  set quickReads(quick: boolean) {
    this.#staging.quick = quick;
  }

  /**
   * Whether kernels should load together, in subgroups of 8, and broadcast: on a CPU every lane's load costs, whatever its neighbours load.
   * Only under Deno, whose WGSL knows subgroups without the `enable` that others require and Deno refuses.
   */
  get sharesLoads(): boolean {
    const adapter = this.device.adapterInfo;
    return "Deno" in globalThis && this.info.software && this.info.features.includes("subgroups") &&
      adapter?.subgroupMinSize === 8 && adapter?.subgroupMaxSize === 8;
  }

  /** The kernel of this key, generated once. The key must say everything the code depends on. */
  kernel(key: string, generate: () => Kernel): Kernel {
    let kernel = this.#kernels.get(key);
    if (!kernel) this.#kernels.set(key, kernel = generate());
    return kernel;
  }

  /** A table that kernels read, made once and kept as long as the device; tensors' memory does not count it. */
  constant(key: string, make: () => Float32Array): GpuBuffer {
    let made = this.#constants.get(key);
    if (!made) {
      const data = make() as Float32Array<ArrayBuffer>;
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
      const buffer = this.device.createBuffer({ label: key, size: data.byteLength, usage });
      this.device.queue.writeBuffer(buffer, 0, data);
      this.#constants.set(key, made = { buffer, bytes: data.byteLength, id: this.#nextId-- });
    }
    return made;
  }

  /** Records one dispatch. `views` in the order of the kernel's bindings; `words` fill its parameter struct. */
  dispatch(
    kernel: Kernel,
    views: readonly (BufferView | GpuBuffer)[],
    groups: readonly [number, number, number],
    words: readonly Word[] = [],
  ): void {
    if (groups[0] * groups[1] * groups[2] === 0) return;
    const pipeline = this.pipelines.of(kernel);
    const bound = views.map((view) => "of" in view ? view : whole(view));
    if (this.#recorder) {
      this.#recorder.dispatch(pipeline, bound, groups, words);
      return;
    }
    const group = this.pipelines.bind(pipeline, bound, words);
    for (const { of, bytes } of bound) {
      this.#inFlight.add(of.id);
      this.#queuedBytes += bytes;
    }
    if (this.#watched.size > 0) { for (const i of pipeline.writes) this.#noteWrite(bound[i].of); }
    this.encode(pipeline.pipeline, group, groups);
  }

  /** Records one dispatch of which everything is made; the caller marks its buffers. */
  encode(pipeline: GPUComputePipeline, group: GPUBindGroup, groups: readonly [number, number, number]): void {
    this.#encoder ??= this.device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    const { software } = this.info;
    const full = !software && this.#queuedBytes >= FLUSH_BYTES;
    if (++this.#queued >= (software ? FLUSH.software : FLUSH.gpu) || full) this.flush();
  }

  /** Buffers that the open submit uses, where that was not said dispatch by dispatch. */
  markInFlight(ids: readonly number[]): void {
    for (const id of ids) this.#inFlight.add(id);
  }

  /** A parameter struct of words that are new with every step, to be bound after the other views; good for one dispatch. */
  passing(words: readonly Word[]): GpuBuffer {
    this.refuseRecording("update parameters");
    const data = packWords(words);
    if (data.byteLength > PASSING_BYTES) {
      throw new RangeError(
        `Cannot pass parameters: at most ${PASSING_BYTES} bytes are possible, got ${data.byteLength}`,
      );
    }
    if (this.#passingUsed === FLUSH.software) this.flush();
    let next = this.#passing[this.#passingUsed];
    if (!next) {
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      const buffer = this.device.createBuffer({ label: "passing parameters", size: PASSING_BYTES, usage });
      this.#passing.push(next = { buffer, bytes: PASSING_BYTES, id: this.#nextId-- });
    }
    this.#passingUsed++;
    this.device.queue.writeBuffer(next.buffer, 0, data);
    return next;
  }

  /** Throws while a recording is made, as this would run now and not with it. */
  refuseRecording(doing: string): void {
    if (this.#recorder) {
      throw new Error(`Cannot ${doing} in a forward that is being compiled: call its parts from outside`);
    }
  }

  /** Copies a buffer into another of the same size. */
  copy(from: GpuBuffer, to: GpuBuffer): void {
    if (from.bytes === 0) return;
    if (this.#recorder) {
      this.#recorder.copy(from, to);
      return;
    }
    this.#endPass().copyBufferToBuffer(from.buffer, 0, to.buffer, 0, Math.ceil(from.bytes / 4) * 4);
    this.#inFlight.add(from.id).add(to.id);
    this.#queued++;
    this.#noteWrite(to);
  }

  /** A buffer with these elements. */
  upload(data: Float32Array, label: string): GpuBuffer {
    if (this.buffers.crowded || ++this.#uploads > UPLOADS) this.flush();
    // A write would overtake recorded work: take a buffer that none of it uses, or submit it first.
    const buffer = this.buffers.take(data.byteLength, label, this.#inFlight, true);
    this.write(data, buffer);
    return buffer;
  }

  /** Replaces a buffer's elements. */
  write(data: Float32Array, buffer: GpuBuffer): void {
    if (data.byteLength === 0) return; // Deno 2.9.6 would panic
    if (this.#inFlight.has(buffer.id)) this.flush();
    this.device.queue.writeBuffer(buffer.buffer, 0, data as Float32Array<ArrayBuffer>);
    this.#noteWrite(buffer);
  }

  /** Counts writes to these buffers from now on, in `watchedWrites`, until `unwatch`. */
  watch(ids: readonly number[]): void {
    for (const id of ids) this.#watched.set(id, (this.#watched.get(id) ?? 0) + 1);
  }

  unwatch(ids: readonly number[]): void {
    for (const id of ids) {
      const left = this.#watched.get(id)! - 1;
      if (left > 0) this.#watched.set(id, left);
      else this.#watched.delete(id);
    }
  }

  /** Writes so far to buffers that were watched then. */
  get watchedWrites(): number {
    return this.#watchedWrites;
  }

  #noteWrite({ id }: GpuBuffer): void {
    if (this.#watched.has(id)) this.#watchedWrites++;
  }

  /** Submits what was recorded, and empties a crowded pool. */
  flush(): void {
    if (this.#encoder) {
      this.#pass?.end();
      this.#pass = null;
      this.device.queue.submit([this.#encoder.finish()]);
      this.#encoder = null;
      this.#queued = 0;
      this.#queuedBytes = 0;
      this.#inFlight.clear();
    }
    this.#uploads = 0;
    this.#passingUsed = 0;
    if (this.buffers.crowded) this.buffers.trim();
  }

  /**
   * Keeps what `body` queues, instead of running it.
   * @param bytes of the input that `body` is given
   * @param body returns the output
   */
  record(bytes: number, body: (input: GpuBuffer) => GpuBuffer): Recording {
    const { recorder, input, output } = this.#rehearse(bytes, body);
    return recorder.finish(input, output);
  }

  /** Lets ops check, choose and compile as they do in `record`, and keeps nothing. */
  rehearse(bytes: number, body: (input: GpuBuffer) => GpuBuffer): void {
    this.#rehearse(bytes, body).recorder.abandon();
  }

  #rehearse(
    bytes: number,
    body: (input: GpuBuffer) => GpuBuffer,
  ): { recorder: Recorder; input: PlannedBuffer; output: GpuBuffer } {
    const recorder = new Recorder(this);
    const input = recorder.plan(bytes, "input");
    let output: GpuBuffer;
    this.#recorder = recorder;
    this.buffers.planner = (bytes, label) => recorder.plan(bytes, label);
    try {
      output = body(input);
    } catch (error) {
      recorder.abandon();
      throw error;
    } finally {
      this.#recorder = null;
      this.buffers.planner = null;
    }
    return { recorder, input, output };
  }

  /** Lets the device write down when it is done with what was queued so far. */
  stamp(timestampWrites: GPUComputePassTimestampWrites): void {
    this.#endPass().beginComputePass({ timestampWrites }).end();
  }

  /** Copies the times that were written down into a buffer of the caller's. */
  resolveStamps(querySet: GPUQuerySet, count: number, into: GPUBuffer): void {
    this.#endPass().resolveQuerySet(querySet, 0, count, into, 0);
  }

  /**
   * The contents of buffers, in one wait.
   * @throws {Error} for everything that went wrong on the device since the last read
   */
  async read(buffers: readonly GpuBuffer[]): Promise<Float32Array[]> {
    const offsets: number[] = [];
    let bytes = 0;
    for (const buffer of buffers) {
      offsets.push(bytes);
      bytes += Math.ceil(buffer.bytes / 4) * 4;
    }
    bytes = Math.max(4, bytes);
    const staging = this.#staging.take(bytes);
    const encoder = this.#endPass();
    buffers.forEach((buffer, i) => {
      if (buffer.bytes > 0) {
        encoder.copyBufferToBuffer(buffer.buffer, 0, staging.buffer, offsets[i], buffer.bytes);
      }
    });
    this.flush();
    if (this.#error) throw this.#takeError();
    const data = await this.#staging.read(
      staging,
      bytes,
      (range) => buffers.map((buffer, i) => new Float32Array(range, offsets[i], buffer.bytes / 4).slice()),
    );
    if (this.#error) throw this.#takeError();
    return data;
  }

  dispose(): void {
    this.flush();
    this.device.destroy();
  }

  #takeError(): Error {
    const error = this.#error!;
    this.#error = null;
    return error;
  }

  #endPass(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = null;
    return this.#encoder ??= this.device.createCommandEncoder();
  }
}
