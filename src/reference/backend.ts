/** The backend of the specification: every op by its float64 loops, nothing queued, nothing pooled. */
import type { Backend, BackendInfo, Handle, MemoryInfo, Operand, OpImplementations } from "../backend.ts";
import type { DType } from "../dtype.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "../ops/mod.ts";
import { type Shape, shapeText, sizeOf } from "../spec.ts";
import { binary } from "./binary.ts";
import { cast } from "./cast.ts";
import { constructKernel } from "./constructKernel.ts";
import { convolution } from "./convolution.ts";
import { correctCount } from "./correctCount.ts";
import { crossEntropy } from "./crossEntropy.ts";
import { globalAveragePool } from "./globalAveragePool.ts";
import { layerNorm } from "./layerNorm.ts";
import { layerNormPointwise } from "./layerNormPointwise.ts";
import type { ReferenceHandle } from "./operand.ts";
import { pad } from "./pad.ts";
import { pointwise } from "./pointwise.ts";
import { pointwiseResidual } from "./pointwiseResidual.ts";
import { repulsiveLoss } from "./repulsiveLoss.ts";
import { scaleResidual } from "./scaleResidual.ts";
import { sum } from "./sum.ts";
import { unary } from "./unary.ts";
import { referenceUpdates } from "./updates.ts";

/** Every op in float64, by name. */
export const referenceOps: OpImplementations<ReferenceHandle> = {
  binary,
  cast,
  constructKernel,
  convolution,
  correctCount,
  crossEntropy,
  globalAveragePool,
  layerNorm,
  layerNormPointwise,
  pad,
  pointwise,
  pointwiseResidual,
  repulsiveLoss,
  scaleResidual,
  sum,
  unary,
};

/** Rounds what is kept as float16, in place; arithmetic is float64 all the same. */
function rounded(handle: ReferenceHandle, dtype: DType | undefined): ReferenceHandle {
  if (dtype === "float16") handle.data.forEach((value, i) => handle.data[i] = Math.f16round(value));
  return handle;
}

/** Runs every op in float64 on the CPU, at once. `read` rounds to float32; float16 tensors are rounded as they are made. */
export class ReferenceBackend implements Backend {
  /** No device, no features, no limits. */
  readonly info: BackendInfo = {
    name: "reference",
    adapter: "float64 loops",
    software: true,
    features: [],
    dtypes: ["float32", "float16"],
    limits: {},
  };
  readonly #live = new Set<Handle>();

  /**
   * Copies `data` into a new tensor's storage.
   * @throws {RangeError} unless `data` has as many elements as `shape`
   */
  upload(data: Float32Array, shape: Shape, dtype?: DType): ReferenceHandle {
    if (data.length !== sizeOf(shape)) {
      throw new RangeError(
        `Cannot create a tensor: shape ${shapeText(shape)} holds ${
          sizeOf(shape)
        } elements, got ${data.length}`,
      );
    }
    return this.#keep(rounded({ data: Float64Array.from(data) }, dtype));
  }

  /** Copies of the operands' elements, rounded to float32. */
  read(operands: readonly Operand[]): Promise<Float32Array[]> {
    return Promise.resolve(
      (operands as readonly Operand<ReferenceHandle>[]).map(({ handle }) => Float32Array.from(handle.data)),
    );
  }

  /** Ends the count of this handle; once more does nothing. */
  release(handle: Handle): void {
    this.#live.delete(handle);
  }

  /** Runs the op; the handle is new, never one of the inputs'. */
  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    outputShape: Shape,
    outputDtype?: DType,
  ): ReferenceHandle {
    const own = inputs as readonly (Operand<ReferenceHandle> | null)[];
    return this.#keep(rounded(referenceOps[name].forward(own, attributes, outputShape), outputDtype));
  }

  /** The gradients that `needs` asks for; the handles are new. */
  backward<N extends OpName>(
    name: N,
    gradient: Operand,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    needs: readonly boolean[],
  ): (ReferenceHandle | null)[] {
    const own = inputs as readonly (Operand<ReferenceHandle> | null)[];
    const gradients = referenceOps[name].backward(
      gradient as Operand<ReferenceHandle>,
      own,
      attributes,
      needs,
    );
    return gradients.map((handle, i) => handle && this.#keep(rounded(handle, inputs[i]?.dtype)));
  }

  /** Runs the update in place. */
  update<N extends UpdateName>(name: N, operands: readonly Operand[], attributes: UpdateTable[N]): void {
    referenceUpdates[name](operands as readonly Operand<ReferenceHandle>[], attributes);
  }

  /** Counts the handles not yet released, 8 bytes an element; nothing waits for reuse. */
  memory(): MemoryInfo {
    let bytes = 0;
    for (const handle of this.#live) bytes += (handle as ReferenceHandle).data.byteLength;
    return { buffers: this.#live.size, bytes, pooledBuffers: 0, pooledBytes: 0 };
  }

  /** Forgets every tensor. */
  dispose(): void {
    this.#live.clear();
  }

  #keep(handle: ReferenceHandle): ReferenceHandle {
    this.#live.add(handle);
    return handle;
  }
}
