/** binary on WebGPU. */
import {
  binary as forwardKernel,
  binaryBackward,
  binaryBackwardReads,
  type Single,
} from "../../../kernels/binary.ts";
import type { BinaryAttributes } from "../../ops/binary.ts";
import { sizeOf } from "../../spec.ts";
import { type BufferView, part, whole } from "../buffers.ts";
import { flatGroups, type Slice } from "../limits.ts";
import { flatSlices, type GpuOp, type GpuOperand, output } from "./op.ts";
import { sumAll } from "./sum.ts";

function singleOf(a: GpuOperand, b: GpuOperand): Single {
  const [sizeA, sizeB] = [sizeOf(a.shape), sizeOf(b.shape)];
  return sizeA === sizeB ? "none" : sizeB === 1 ? "b" : "a";
}

const view = (x: GpuOperand, isSingle: boolean, { first, count }: Slice): BufferView =>
  isSingle ? whole(x.handle) : part(x.handle, first, count, 4);

/** One dispatch over all elements. */
export const binary: GpuOp<BinaryAttributes> = {
  forward(gpu, [a, b], { kind }, shape) {
    const single = singleOf(a!, b!);
    const y = output(gpu, shape, "binary");
    const kernel = gpu.kernel(`binary ${kind} ${single}`, () => forwardKernel(kind, single));
    for (const slice of flatSlices(gpu, sizeOf(shape))) {
      const groups = flatGroups(Math.ceil(slice.count / kernel.workgroupSize), gpu.limits);
      const views = [view(a!, single === "a", slice), view(b!, single === "b", slice)];
      gpu.dispatch(kernel, [...views, part(y, slice.first, slice.count, 4)], groups, [slice.count]);
    }
    return y;
  },
  backward(gpu, dy, [a, b], { kind }, needs) {
    const single = singleOf(a!, b!), operands = { a: a!, b: b! };
    return (["a", "b"] as const).map((of, i) => {
      if (!needs[i]) return null;
      const out = output(gpu, dy.shape, "binaryBackward");
      const kernel = gpu.kernel(
        `binaryBackward ${kind} ${single} ${of}`,
        () => binaryBackward(kind, single, of),
      );
      for (const slice of flatSlices(gpu, sizeOf(dy.shape))) {
        const groups = flatGroups(Math.ceil(slice.count / kernel.workgroupSize), gpu.limits);
        const reads = binaryBackwardReads(kind, of).map((name) =>
          view(operands[name], single === name, slice)
        );
        const views = [view(dy, false, slice), ...reads, part(out, slice.first, slice.count, 4)];
        gpu.dispatch(kernel, views, groups, [slice.count]);
      }
      if (single !== of) return out;
      const total = sumAll(gpu, out, sizeOf(dy.shape));
      gpu.buffers.release(out);
      return total;
    });
  },
};
