/** Buffers: made, counted, pooled. A buffer that nobody holds waits in the pool for the next one of its size. */
import type { MemoryInfo } from "../backend.ts";

/** Storage of one tensor, or scratch. */
export interface GpuBuffer {
  readonly buffer: GPUBuffer;
  /** Bytes in use; the buffer may be a little larger. */
  readonly bytes: number;
  readonly id: number;
}

/** A buffer of a recording in the making: a size, and memory only when all of it is known. */
export class PlannedBuffer implements GpuBuffer {
  readonly bytes: number;
  readonly label: string;
  readonly id: number;

  constructor(bytes: number, label: string, id: number) {
    this.bytes = bytes;
    this.label = label;
    this.id = id;
  }

  /** @throws {Error} whoever asks uses a tensor outside of the forward that was compiled */
  get buffer(): GPUBuffer {
    throw new Error(
      `Cannot use a tensor made while a forward was compiled: it holds no elements (${this.label}); only what the ` +
        "compiled forward returns does",
    );
  }
}

/** Part of a buffer, as a kernel sees it. */
export interface BufferView {
  readonly of: GpuBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** Bytes kept for reuse before the oldest buffers are destroyed. */
const POOL_BYTES = 2 ** 30;

/** Up to this many bytes, a buffer is rather made anew than waited for. */
const CHEAP_BYTES = 2 ** 24;

/** All buffers of one device. */
export class Buffers {
  readonly #device: GPUDevice;
  /**
   * What waits, by capacity, in falling order of id: the lowest is taken first. So a step that holds what the step before
   * held gets the same buffers for the same tensors, and finds its bind groups again. (Last in, first out, each step
   * shuffles them: 114 dispatches of a small ConvNeXt's training step made 22 bind groups even after 1,000 steps.)
   */
  readonly #free = new Map<number, GpuBuffer[]>();
  #next = 0;
  #buffers = 0;
  #bytes = 0;
  #pooledBuffers = 0;
  #pooledBytes = 0;
  /** What the running {@linkcode undoing} took and did not give back. */
  #taken: Set<GpuBuffer> | null = null;
  /** Buffers that recordings use: given back to the pool by the last of them. */
  readonly #pins = new Map<number, { count: number; released: GpuBuffer | null }>();
  /** Makes buffers without memory while a recording is made. */
  planner: ((bytes: number, label: string) => PlannedBuffer) | null = null;
  /** Told about every buffer that is destroyed, so that nothing bound to it is kept. */
  readonly #onDestroy: (buffer: GpuBuffer) => void;

  constructor(device: GPUDevice, onDestroy: (buffer: GpuBuffer) => void) {
    this.#device = device;
    this.#onDestroy = onDestroy;
  }

  /**
   * A buffer of at least `bytes`, with whatever was in it before.
   * @param busy ids of buffers to leave alone, unless they are large
   * @param real whether it needs its memory now, in a recording too
   */
  take(bytes: number, label: string, busy?: ReadonlySet<number>, real = false): GpuBuffer {
    const capacity = Math.max(256, Math.ceil(bytes / 256) * 256);
    if (capacity > this.#device.limits.maxBufferSize) {
      throw new RangeError(
        `Cannot make a buffer for ${label}: at most ${this.#device.limits.maxBufferSize} bytes are possible on ` +
          `this adapter, got ${bytes}`,
      );
    }
    if (this.planner && !real) return this.planner(bytes, label);
    this.#buffers++;
    this.#bytes += capacity;
    const taken = this.#reuse(capacity, bytes, busy) ?? this.#make(capacity, bytes, label);
    this.#taken?.add(taken);
    return taken;
  }

  #reuse(capacity: number, bytes: number, busy?: ReadonlySet<number>): GpuBuffer | null {
    const list = this.#free.get(capacity) ?? [];
    const idle = busy && capacity <= CHEAP_BYTES
      ? list.findLastIndex((buffer) => !busy.has(buffer.id))
      : list.length - 1;
    if (idle < 0) return null;
    const [pooled] = list.splice(idle, 1);
    this.#pooledBuffers--;
    this.#pooledBytes -= capacity;
    return pooled.bytes === bytes ? pooled : { buffer: pooled.buffer, bytes, id: pooled.id };
  }

  #make(capacity: number, bytes: number, label: string): GpuBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return { buffer: this.#device.createBuffer({ label, size: capacity, usage }), bytes, id: this.#next++ };
  }

  /** Runs an op; where it throws halfway, what it took is given back. */
  undoing<T>(body: () => T): T {
    const taken = this.#taken = new Set<GpuBuffer>();
    try {
      return body();
    } catch (error) {
      for (const buffer of taken) this.release(buffer);
      throw error;
    } finally {
      this.#taken = null;
    }
  }

  /** Gives a buffer back. Work already queued still finds its contents: later work comes after it. */
  release(buffer: GpuBuffer): void {
    if (buffer instanceof PlannedBuffer) return; // its recording knows when it is last used
    const pin = this.#pins.get(buffer.id);
    if (pin) {
      pin.released = buffer;
      return;
    }
    const capacity = buffer.buffer.size;
    this.#taken?.delete(buffer);
    this.#buffers--;
    this.#bytes -= capacity;
    this.#pooledBuffers++;
    this.#pooledBytes += capacity;
    const list = this.#free.get(capacity);
    if (!list) {
      this.#free.set(capacity, [buffer]);
      return;
    }
    let low = 0, high = list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle].id > buffer.id) low = middle + 1;
      else high = middle;
    }
    list.splice(low, 0, buffer);
  }

  /** Keeps a buffer's contents out of the pool until `unpin`, whoever gives it back before. */
  pin(buffer: GpuBuffer): void {
    const pin = this.#pins.get(buffer.id);
    if (pin) pin.count++;
    else this.#pins.set(buffer.id, { count: 1, released: null });
  }

  /** Undoes one `pin`. */
  unpin({ id }: GpuBuffer): void {
    const pin = this.#pins.get(id);
    if (!pin || --pin.count > 0) return;
    this.#pins.delete(id);
    if (pin.released) this.release(pin.released);
  }

  /** Whether more waits in the pool than is worth keeping. */
  get crowded(): boolean {
    return this.#pooledBytes > POOL_BYTES;
  }

  /** Destroys what waits in the pool. Queued work must have been submitted. */
  trim(): void {
    for (const list of this.#free.values()) {
      for (const buffer of list) {
        this.#onDestroy(buffer);
        buffer.buffer.destroy();
      }
    }
    this.#free.clear();
    this.#pooledBuffers = 0;
    this.#pooledBytes = 0;
  }

  get memory(): MemoryInfo {
    return {
      buffers: this.#buffers,
      bytes: this.#bytes,
      pooledBuffers: this.#pooledBuffers,
      pooledBytes: this.#pooledBytes,
    };
  }
}

/** All of a buffer. */
export function whole(of: GpuBuffer): BufferView {
  return { of, offset: 0, bytes: Math.max(4, of.bytes) };
}

/** `count` items from item `first` on. */
export function part(of: GpuBuffer, first: number, count: number, itemBytes: number): BufferView {
  return { of, offset: first * itemBytes, bytes: Math.max(4, count * itemBytes) };
}
