/**
 * Reading back: buffers that the host can map, and the wait for them.
 *
 * An awaited `mapAsync` costs at least 10 ms in Deno 2.9.6: it waits for the device at once, inside the call, and then
 * sleeps 10 ms before it looks whether it is done. The data can be had before that sleep, since `getMappedRange` right
 * after `mapAsync` answers; {@linkcode Staging.read} does so where `quick` is asked for, and under these guards:
 *
 * - under Deno only; browsers answer within a frame, and refuse the early range;
 * - only on a buffer that was mapped once before and awaited: on any other the same call ends the process;
 * - the elements are copied out before anything else runs;
 * - the buffer is unmapped and used again only when its promise has settled, so reads in quick succession go through
 *   several buffers;
 * - where the range is refused, the promise is awaited.
 */

/** Buffers kept for the next read, and the bytes of the largest. */
const KEPT = 8;
const KEPT_BYTES = 2 ** 26;
/** The same for quick reads: each occupies its buffer for 10 ms. */
const QUICK_KEPT = 64;
const QUICK_BYTES = 2 ** 22;

/** A buffer to read from, and whether it was mapped before. */
interface Mappable {
  readonly buffer: GPUBuffer;
  mapped: boolean;
}

/** The mappable buffers of one device. */
export class Staging {
  readonly #device: GPUDevice;
  readonly #free: Mappable[] = [];
  /** Whether results are read as soon as the device has them, see above. */
  quick = false;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** A buffer for at least `bytes`; `read` gives it back. */
  take(bytes: number): Mappable {
    const i = this.#free.findIndex(({ buffer }) => buffer.size >= bytes);
    if (i >= 0) return this.#free.splice(i, 1)[0];
    const size = Math.max(4096, 2 ** Math.ceil(Math.log2(bytes)));
    const buffer = this.#device.createBuffer({
      label: "staging",
      size: Math.min(size, Math.max(Math.ceil(bytes / 4) * 4, KEPT_BYTES)),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    return { buffer, mapped: false };
  }

  /**
   * Maps the buffer once the work submitted before is done, and gives it back.
   * @param copy takes the elements out of the mapped range
   */
  async read<T>(from: Mappable, bytes: number, copy: (range: ArrayBuffer) => T): Promise<T> {
    const { buffer } = from;
    const ready = buffer.mapAsync(GPUMapMode.READ, 0, bytes);
    if (this.quick && from.mapped && "Deno" in globalThis) {
      const early = earlyRange(buffer, bytes);
      if (early) {
        const result = copy(early);
        ready.then(() => this.#giveBack(from), () => buffer.destroy());
        return result;
      }
    }
    await ready;
    from.mapped = true;
    const result = copy(buffer.getMappedRange(0, bytes));
    this.#giveBack(from);
    return result;
  }

  #giveBack(from: Mappable): void {
    const { buffer } = from;
    try {
      buffer.unmap();
    } catch {
      return; // the device was ended meanwhile
    }
    const keep = this.quick && buffer.size <= QUICK_BYTES ? QUICK_KEPT : KEPT;
    if (this.#free.length < keep && buffer.size <= KEPT_BYTES) this.#free.push(from);
    else buffer.destroy();
  }
}

/** The mapped range of a buffer whose promise has not settled, or null where it is refused. */
function earlyRange(buffer: GPUBuffer, bytes: number): ArrayBuffer | null {
  try {
    const range = buffer.getMappedRange(0, bytes);
    return range.byteLength === bytes ? range : null;
  } catch {
    return null; // not there yet: an OperationError
  }
}
