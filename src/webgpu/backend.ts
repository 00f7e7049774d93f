/** The WebGPU backend: looks every op up by name and lets it choose its kernels. */
import type { Backend, BackendInfo, Handle, MemoryInfo, Operand, Recording } from "../backend.ts";
import type { DType } from "../dtype.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "../ops/mod.ts";
import { type Shape, sizeOf } from "../spec.ts";
import { Tuner } from "./autotune.ts";
import type { GpuBuffer } from "./buffers.ts";
import { describe, findDevice } from "./device.ts";
import { Gpu } from "./gpu.ts";
import { converted } from "./ops/cast.ts";
import { type GpuOp, type GpuOps, type GpuUpdate, type GpuUpdates, ops, updates } from "./ops/mod.ts";

/** A backend on `device`, or on the best adapter; null where no adapter answers. */
export async function createWebgpuBackend(device?: GPUDevice): Promise<Backend | null> {
  const found = device ? { device, info: describe(device) } : await findDevice();
  return found && backendOn(new Gpu(found.device, found.info));
}

/** The backend whose work is queued on `gpu`. */
export function backendOn(gpu: Gpu): Backend {
  return new WebgpuBackend(gpu);
}

type Operands = readonly (Operand<GpuBuffer> | null)[];

function isFloat16(operand: Operand | null): boolean {
  return operand?.dtype === "float16";
}

class WebgpuBackend implements Backend {
  readonly #gpu: Gpu;
  readonly tuner: Tuner;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.tuner = new Tuner(gpu);
  }

  get info(): BackendInfo {
    return this.#gpu.info;
  }

  upload(data: Float32Array, shape: Shape, dtype: DType = "float32"): Handle {
    const wide = this.#gpu.upload(data, `tensor ${shape.join("x")}`);
    return dtype === "float32" ? wide : this.#replaced(wide, sizeOf(shape), dtype);
  }

  async read(operands: readonly Operand[]): Promise<Float32Array[]> {
    const made: GpuBuffer[] = [];
    const wide = operands.map((operand) => {
      const { handle, shape, dtype } = operand as Operand<GpuBuffer>;
      if (dtype !== "float16") return handle;
      const copy = converted(this.#gpu, { handle, dtype }, sizeOf(shape), "float32");
      made.push(copy);
      return copy;
    });
    try {
      return await this.#gpu.read(wide);
    } finally {
      for (const buffer of made) this.#gpu.buffers.release(buffer);
    }
  }

  /** The elements of a float32 buffer as another dtype; the buffer goes back. */
  #replaced(wide: GpuBuffer, elements: number, dtype: DType): GpuBuffer {
    const made = converted(this.#gpu, { handle: wide }, elements, dtype);
    this.#gpu.buffers.release(wide);
    return made;
  }

  /** Runs `body` with copies in float32 of what is float16: for kernels that do not know it. */
  #inFloat32<T>(inputs: Operands, body: (wide: Operands) => T): T {
    const copies: GpuBuffer[] = [];
    const wide = inputs.map((input) => {
      if (input?.dtype !== "float16") return input;
      const handle = converted(this.#gpu, input, sizeOf(input.shape), "float32");
      copies.push(handle);
      return { handle, shape: input.shape };
    });
    const result = body(wide);
    for (const copy of copies) this.#gpu.buffers.release(copy);
    return result;
  }

  release(handle: Handle): void {
    this.#gpu.buffers.release(handle as GpuBuffer);
  }

  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    outputShape: Shape,
    outputDtype: DType = "float32",
  ): Handle {
    const op: GpuOp<OpTable[N]> = (ops as GpuOps)[name];
    const run = (own: Operands): GpuBuffer => op.forward(this.#gpu, own, attributes, outputShape);
    const own = inputs as Operands;
    this.tuner.see?.(name, own, attributes, outputShape);
    return this.#gpu.buffers.undoing(() => {
      if (!own.some(isFloat16) || op.keepsFloat16?.(this.#gpu, own, attributes, "forward")) return run(own);
      const wide = this.#inFloat32(own, run);
      return outputDtype === "float32" ? wide : this.#replaced(wide, sizeOf(outputShape), outputDtype);
    });
  }

  backward<N extends OpName>(
    name: N,
    gradient: Operand,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    needs: readonly boolean[],
  ): (Handle | null)[] {
    const op: GpuOp<OpTable[N]> = (ops as GpuOps)[name];
    const run = ([dy, ...own]: Operands): (GpuBuffer | null)[] =>
      op.backward(this.#gpu, dy!, own, attributes, needs).map((buffer, i) => {
        if (buffer && !needs[i]) this.#gpu.buffers.release(buffer); // a kernel's by-product
        return needs[i] ? buffer : null;
      });
    const own = inputs as Operands, all = [gradient as Operand<GpuBuffer>, ...own];
    return this.#gpu.buffers.undoing(() => {
      if (!all.some(isFloat16) || op.keepsFloat16?.(this.#gpu, own, attributes, "backward")) return run(all);
      return this.#inFloat32(all, run).map((wide, i) =>
        wide && isFloat16(own[i]) ? this.#replaced(wide, sizeOf(own[i]!.shape), "float16") : wide
      );
    });
  }

  update<N extends UpdateName>(name: N, operands: readonly Operand[], attributes: UpdateTable[N]): void {
    const update: GpuUpdate<UpdateTable[N]> = (updates as GpuUpdates)[name];
    update(this.#gpu, operands as readonly Operand<GpuBuffer>[], attributes);
  }

  set quickReads(quick: boolean) {
    this.#gpu.quickReads = quick;
  }

  record(bytes: number, body: (input: Handle) => Handle): Recording {
    return this.#gpu.record(bytes, (input) => body(input) as GpuBuffer);
  }

  memory(): MemoryInfo {
    return this.#gpu.buffers.memory;
  }

  dispose(): void {
    this.#gpu.dispose();
  }
}
