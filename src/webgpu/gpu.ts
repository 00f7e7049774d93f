/**
 * Device, buffer, kernel, pipeline, dispatch: all that the ops know of WebGPU.
 *
 * Dispatches are recorded into one open compute pass and submitted every `FLUSH` of them, before uploads that would
 * overtake them, and before reads. Nothing waits for the device but `read`.
 */
import type { Kernel } from "../../kernels/kernel.ts";
import type { BackendInfo } from "../backend.ts";
import { Buffers, type BufferView, type GpuBuffer, whole } from "./buffers.ts";
import { checkWorkgroup } from "./limits.ts";

/** Dispatches per submit: enough to make a submit cheap, few enough to keep the device busy. */
const FLUSH = 64;
/** Bind groups kept per pipeline: parameters that change with every step make new ones. */
const BIND_GROUPS = 512;
/** Parameter structs kept before they are dropped and written anew. */
const UNIFORMS = 4096;

interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroups: Map<string, GPUBindGroup>;
}

/** A 32-bit word of a parameter struct: integers go as u32 or i32, `{ f32 }` as a float. */
export type Word = number | { readonly f32: number };

/** One WebGPU device and the work queued on it. */
export class Gpu {
  readonly device: GPUDevice;
  readonly info: BackendInfo;
  readonly buffers: Buffers;
  readonly #kernels = new Map<string, Kernel>();
  readonly #pipelines = new Map<Kernel, Pipeline>();
  readonly #uniforms = new Map<string, GPUBuffer>();
  readonly #constants = new Map<string, GpuBuffer>();
  readonly #staging: GPUBuffer[] = [];
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #queued = 0;
  /** Ids of buffers that recorded, unsubmitted work uses. */
  readonly #inFlight = new Set<number>();
  #error: Error | null = null;

  constructor(device: GPUDevice, info: BackendInfo) {
    this.device = device;
    this.info = info;
    this.buffers = new Buffers(device, () => this.#forgetBindGroups());
    device.addEventListener("uncapturederror", (event) => {
      this.#error ??= new Error(`WebGPU: ${(event as GPUUncapturedErrorEvent).error.message}`);
    });
    device.lost.then((lost) => {
      if (lost.reason !== "destroyed") this.#error ??= new Error(`WebGPU device lost: ${lost.message}`);
    });
  }

  get limits(): GPUSupportedLimits {
    return this.device.limits;
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
      this.#constants.set(key, made = { buffer, bytes: data.byteLength, id: -1 - this.#constants.size });
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
    const { pipeline, bindGroups } = this.#pipeline(kernel);
    const bound = views.map((view) => "of" in view ? view : whole(view));
    const uniform = words.length > 0
      ? words.map((word) => typeof word === "number" ? word : `${word.f32}f`).join()
      : "";
    const key = bound.map((view) => `${view.of.id}+${view.offset}:${view.bytes}`).join() + "|" + uniform;
    let group = bindGroups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = bound.map(({ of, offset, bytes }, binding) => ({
        binding,
        resource: { buffer: of.buffer, offset, size: Math.ceil(bytes / 4) * 4 },
      }));
      if (words.length > 0) {
        entries.push({ binding: bound.length, resource: { buffer: this.#uniform(uniform, words) } });
      }
      group = this.device.createBindGroup({
        label: kernel.label,
        layout: pipeline.getBindGroupLayout(0),
        entries,
      });
      if (bindGroups.size >= BIND_GROUPS) bindGroups.clear();
      bindGroups.set(key, group);
    }
    this.#encoder ??= this.device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(pipeline);
    this.#pass.setBindGroup(0, group);
    this.#pass.dispatchWorkgroups(...groups);
    for (const view of bound) this.#inFlight.add(view.of.id);
    if (++this.#queued >= FLUSH) this.flush();
  }

  /** Copies a buffer into another of the same size. */
  copy(from: GpuBuffer, to: GpuBuffer): void {
    if (from.bytes === 0) return;
    this.#endPass().copyBufferToBuffer(from.buffer, 0, to.buffer, 0, Math.ceil(from.bytes / 4) * 4);
    this.#inFlight.add(from.id).add(to.id);
    this.#queued++;
  }

  /** A buffer with these elements. */
  upload(data: Float32Array, label: string): GpuBuffer {
    if (this.buffers.crowded) this.flush();
    // A write would overtake recorded work: take a buffer that none of it uses, or submit it first.
    const buffer = this.buffers.take(data.byteLength, label, this.#inFlight);
    if (data.byteLength === 0) return buffer;
    if (this.#inFlight.has(buffer.id)) this.flush();
    this.device.queue.writeBuffer(buffer.buffer, 0, data as Float32Array<ArrayBuffer>);
    return buffer;
  }

  /** Submits what was recorded, and empties a crowded pool. */
  flush(): void {
    if (this.#encoder) {
      this.#pass?.end();
      this.#pass = null;
      this.device.queue.submit([this.#encoder.finish()]);
      this.#encoder = null;
      this.#queued = 0;
      this.#inFlight.clear();
    }
    if (this.buffers.crowded) this.buffers.trim();
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
    const staging = this.#takeStaging(Math.max(4, bytes));
    const encoder = this.#endPass();
    buffers.forEach((buffer, i) => {
      if (buffer.bytes > 0) encoder.copyBufferToBuffer(buffer.buffer, 0, staging, offsets[i], buffer.bytes);
    });
    this.flush();
    if (this.#error) throw this.#takeError();
    await staging.mapAsync(GPUMapMode.READ, 0, Math.max(4, bytes));
    if (this.#error) throw this.#takeError();
    const mapped = staging.getMappedRange(0, Math.max(4, bytes));
    const data = buffers.map((buffer, i) => new Float32Array(mapped, offsets[i], buffer.bytes / 4).slice());
    staging.unmap();
    if (this.#staging.length < 8 && staging.size <= 2 ** 26) this.#staging.push(staging);
    else staging.destroy();
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

  #takeStaging(bytes: number): GPUBuffer {
    const i = this.#staging.findIndex((buffer) => buffer.size >= bytes);
    if (i >= 0) return this.#staging.splice(i, 1)[0];
    const size = Math.max(4096, 2 ** Math.ceil(Math.log2(bytes)));
    return this.device.createBuffer({
      label: "staging",
      size: Math.min(size, Math.max(Math.ceil(bytes / 4) * 4, 2 ** 26)),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
  }

  #pipeline(kernel: Kernel): Pipeline {
    let made = this.#pipelines.get(kernel);
    if (!made) {
      checkWorkgroup(kernel, this.limits);
      const { label } = kernel;
      const code = /\bf16\b/.test(kernel.code) ? `enable f16;\n${kernel.code}` : kernel.code;
      const module = this.device.createShaderModule({ label, code });
      const pipeline = this.device.createComputePipeline({ label, layout: "auto", compute: { module } });
      this.#pipelines.set(kernel, made = { pipeline, bindGroups: new Map() });
    }
    return made;
  }

  #uniform(key: string, words: readonly Word[]): GPUBuffer {
    let buffer = this.#uniforms.get(key);
    if (buffer) return buffer;
    if (this.#uniforms.size >= UNIFORMS) {
      this.flush();
      this.#forgetBindGroups();
      for (const old of this.#uniforms.values()) old.destroy();
      this.#uniforms.clear();
    }
    const view = new DataView(new ArrayBuffer(Math.ceil(words.length / 4) * 16));
    words.forEach((word, i) => {
      if (typeof word === "number") view.setInt32(4 * i, word, true);
      else view.setFloat32(4 * i, word.f32, true);
    });
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    buffer = this.device.createBuffer({ label: "parameters", size: view.byteLength, usage });
    this.device.queue.writeBuffer(buffer, 0, view);
    this.#uniforms.set(key, buffer);
    return buffer;
  }

  #forgetBindGroups(): void {
    for (const { bindGroups } of this.#pipelines.values()) bindGroups.clear();
  }
}
