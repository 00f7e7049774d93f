/** binary on WebGPU. */
import {
  binary as forwardKernel,
  binaryBackward,
  binaryBackwardReads,
  type Single,
} from "../../../kernels/binary.ts";
import type { BinaryAttributes } from "../../ops/binary.ts";
import { sizeOf } from "../../spec.ts";
import { converted } from "./cast.ts";
import { type Elements, type GpuOp, type GpuOperand, output, overElements, storageOf } from "./op.ts";
import { sumAll } from "./sum.ts";

function singleOf(a: GpuOperand, b: GpuOperand): Single {
  const [sizeA, sizeB] = [sizeOf(a.shape), sizeOf(b.shape)];
  return sizeA === sizeB ? "none" : sizeB === 1 ? "b" : "a";
}

/** One dispatch over all elements. */
export const binary: GpuOp<BinaryAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [a, b], { kind }, shape) {
    const single = singleOf(a!, b!), storage = storageOf(a!), { dtype } = a!;
    const y = { handle: output(gpu, shape, "binary", dtype), dtype };
    const kernel = gpu.kernel(
      `binary ${kind} ${single} ${storage}`,
      () => forwardKernel(kind, single, storage),
    );
    const inputs = [{ ...a!, single: single === "a" }, { ...b!, single: single === "b" }];
    overElements(gpu, kernel, sizeOf(shape), [...inputs, y]);
    return y.handle;
  },
  backward(gpu, dy, [a, b], { kind }, needs) {
    const single = singleOf(a!, b!), storage = storageOf(a!), operands = { a: a!, b: b! };
    const elements = sizeOf(dy.shape);
    return (["a", "b"] as const).map((of, i) => {
      if (!needs[i]) return null;
      const dtype = single === of ? "float32" : dy.dtype; // what is summed is not rounded before
      const out: Elements = { handle: output(gpu, dy.shape, "binaryBackward", dtype), dtype };
      const kernel = gpu.kernel(
        `binaryBackward ${kind} ${single} ${of} ${storage}`,
        () => binaryBackward(kind, single, of, storage, storageOf(out)),
      );
      const reads = binaryBackwardReads(kind, of).map((name) => ({
        ...operands[name],
        single: single === name,
      }));
      overElements(gpu, kernel, elements, [dy, ...reads, out]);
      if (single !== of) return out.handle;
      const total = sumAll(gpu, out.handle, elements);
      gpu.buffers.release(out.handle);
      if (storage === "f32") return total;
      const rounded = converted(gpu, { handle: total }, 1, "float16");
      gpu.buffers.release(total);
      return rounded;
    });
  },
};
