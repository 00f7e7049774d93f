/** The WebGPU backend: looks every op up by name and lets it choose its kernels. */
import type { Backend, BackendInfo, Handle, MemoryInfo, Operand } from "../backend.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "../ops/mod.ts";
import type { Shape } from "../spec.ts";
import type { GpuBuffer } from "./buffers.ts";
import { describe, findDevice } from "./device.ts";
import { Gpu } from "./gpu.ts";
import { type GpuOp, type GpuOps, type GpuUpdate, type GpuUpdates, ops, updates } from "./ops/mod.ts";

/** A backend on `device`, or on the best adapter; null where no adapter answers. */
export async function createWebgpuBackend(device?: GPUDevice): Promise<Backend | null> {
  const found = device ? { device, info: describe(device) } : await findDevice();
  return found && new WebgpuBackend(new Gpu(found.device, found.info));
}

type Operands = readonly (Operand<GpuBuffer> | null)[];

class WebgpuBackend implements Backend {
  readonly #gpu: Gpu;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  get info(): BackendInfo {
    return this.#gpu.info;
  }

  upload(data: Float32Array, shape: Shape): Handle {
    return this.#gpu.upload(data, `tensor ${shape.join("x")}`);
  }

  read(operands: readonly Operand[]): Promise<Float32Array[]> {
    return this.#gpu.read(operands.map((operand) => operand.handle as GpuBuffer));
  }

  release(handle: Handle): void {
    this.#gpu.buffers.release(handle as GpuBuffer);
  }

  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    outputShape: Shape,
  ): Handle {
    const op: GpuOp<OpTable[N]> = (ops as GpuOps)[name];
    return this.#gpu.buffers.undoing(() =>
      op.forward(this.#gpu, inputs as Operands, attributes, outputShape)
    );
  }

  backward<N extends OpName>(
    name: N,
    gradient: Operand,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    needs: readonly boolean[],
  ): (Handle | null)[] {
    const op: GpuOp<OpTable[N]> = (ops as GpuOps)[name];
    return this.#gpu.buffers.undoing(() =>
      op.backward(this.#gpu, gradient as Operand<GpuBuffer>, inputs as Operands, attributes, needs)
        .map((buffer, i) => {
          if (buffer && !needs[i]) this.#gpu.buffers.release(buffer); // a kernel's by-product
          return needs[i] ? buffer : null;
        })
    );
  }

  update<N extends UpdateName>(name: N, operands: readonly Operand[], attributes: UpdateTable[N]): void {
    const update: GpuUpdate<UpdateTable[N]> = (updates as GpuUpdates)[name];
    update(this.#gpu, operands as readonly Operand<GpuBuffer>[], attributes);
  }

  memory(): MemoryInfo {
    return this.#gpu.buffers.memory;
  }

  dispose(): void {
    this.#gpu.dispose();
  }
}
