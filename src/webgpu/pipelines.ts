/**
 * Pipelines and what is bound to them: each is made once and found again by numbers, not by strings. A step that ran
 * before finds everything it needs without making an object of the device.
 */
import type { Kernel } from "../../kernels/kernel.ts";
import type { BufferView } from "./buffers.ts";
import { checkWorkgroup } from "./limits.ts";

/** Bind groups kept per pipeline: tensors that never come back make new ones. */
const BIND_GROUPS = 1024;
/** Parameter structs kept before they are dropped and written anew. */
const UNIFORMS = 4096;

/** A 32-bit word of a parameter struct: integers go as u32 or i32, `{ f32 }` as a float. */
export type Word = number | { readonly f32: number };

/** A bind group and the numbers that it was made of. */
interface Bound {
  readonly key: Float64Array;
  readonly group: GPUBindGroup;
  /** The next one of the same hash. */
  readonly next: Bound | null;
}

/** A compute pipeline and its bind groups by the hash of what they bind. */
export interface Pipeline {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  /** Positions of the bindings that the kernel writes. */
  readonly writes: readonly number[];
  readonly bound: Map<number, Bound>;
}

/** A storage binding that a kernel may write. */
const WRITTEN = /@binding\((\d+)\)\s*var<storage, read_write>/g;

/** Where keys are put together: ids, offsets and sizes of the views, then the words. */
const scratch = new Float64Array(512);
const asFloat = new Float32Array(1);
const asBits = new Uint32Array(asFloat.buffer);

/** Fills `scratch`; returns how many numbers it holds. */
function fillKey(views: readonly BufferView[], words: readonly Word[]): number {
  let length = 0;
  for (const { of, offset, bytes } of views) {
    scratch[length++] = of.id;
    scratch[length++] = offset;
    scratch[length++] = bytes;
  }
  for (const word of words) {
    if (typeof word === "number") scratch[length++] = word;
    else {
      asFloat[0] = word.f32; // by its bits, apart from all integers: -0 is not 0
      scratch[length++] = asBits[0] + 2 ** 32;
    }
  }
  return length;
}

/** FNV-1a over the low 32 bits of each number. */
function hashOf(length: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (scratch[i] | 0), 0x01000193);
  return hash;
}

function matches(key: Float64Array, length: number): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (key[i] !== scratch[i]) return false;
  return true;
}

/** All pipelines of one device. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #made = new Map<Kernel, Pipeline>();
  readonly #uniforms = new Map<string, GPUBuffer>();
  /** Submits recorded work, before buffers that it may use are destroyed. */
  readonly #flush: () => void;

  constructor(device: GPUDevice, flush: () => void) {
    this.#device = device;
    this.#flush = flush;
  }

  /**
   * The kernel's pipeline, compiled on first use.
   * @throws {RangeError} when the kernel needs more than the adapter has
   */
  of(kernel: Kernel): Pipeline {
    let made = this.#made.get(kernel);
    if (!made) {
      checkWorkgroup(kernel, this.#device.limits);
      const { label } = kernel;
      const code = /\b(?:f16|vec[234]h)\b/.test(kernel.code) ? `enable f16;\n${kernel.code}` : kernel.code;
      const module = this.#device.createShaderModule({ label, code });
      const pipeline = this.#device.createComputePipeline({ label, layout: "auto", compute: { module } });
      const writes = [...kernel.code.matchAll(WRITTEN)].map(([, binding]) => Number(binding));
      this.#made.set(kernel, made = { label, pipeline, writes, bound: new Map() });
    }
    return made;
  }

  /** What a dispatch binds: `views` in the order of the kernel's bindings, then its parameter struct. */
  bind(pipeline: Pipeline, views: readonly BufferView[], words: readonly Word[]): GPUBindGroup {
    const length = fillKey(views, words), hash = hashOf(length);
    const first = pipeline.bound.get(hash) ?? null;
    for (let bound = first; bound; bound = bound.next) {
      if (matches(bound.key, length)) return bound.group;
    }
    const key = scratch.slice(0, length);
    const uniform = words.length > 0 ? { buffer: this.#uniform(words) } : null;
    const group = this.make(pipeline, views, uniform);
    if (pipeline.bound.size >= BIND_GROUPS) pipeline.bound.clear();
    pipeline.bound.set(hash, { key, group, next: pipeline.bound.get(hash) ?? null });
    return group;
  }

  /** A bind group that nobody else gets; `uniform` is the parameter struct, where the kernel has one. */
  make(pipeline: Pipeline, views: readonly BufferView[], uniform: GPUBufferBinding | null): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = views.map(({ of, offset, bytes }, binding) => ({
      binding,
      resource: { buffer: of.buffer, offset, size: Math.ceil(bytes / 4) * 4 },
    }));
    if (uniform) entries.push({ binding: views.length, resource: uniform });
    return this.#device.createBindGroup({
      label: pipeline.label,
      layout: pipeline.pipeline.getBindGroupLayout(0),
      entries,
    });
  }

  /** Forgets what is bound, because a buffer is about to be destroyed. */
  forgetBindGroups(): void {
    for (const { bound } of this.#made.values()) bound.clear();
  }

  /** A buffer of these words, made once. */
  #uniform(words: readonly Word[]): GPUBuffer {
    const key = words.map((word) => typeof word === "number" ? word : `${word.f32}f`).join();
    let buffer = this.#uniforms.get(key);
    if (buffer) return buffer;
    if (this.#uniforms.size >= UNIFORMS) {
      this.#flush();
      this.forgetBindGroups();
      for (const old of this.#uniforms.values()) old.destroy();
      this.#uniforms.clear();
    }
    const data = packWords(words);
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    buffer = this.#device.createBuffer({ label: "parameters", size: data.byteLength, usage });
    this.#device.queue.writeBuffer(buffer, 0, data);
    this.#uniforms.set(key, buffer);
    return buffer;
  }
}

/** Words as a struct of the uniform address space holds them, in whole rows of 16 bytes. */
export function packWords(words: readonly Word[]): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(Math.ceil(words.length / 4) * 16));
  words.forEach((word, i) => {
    if (typeof word === "number") view.setInt32(4 * i, word, true);
    else view.setFloat32(4 * i, word.f32, true);
  });
  return view;
}
