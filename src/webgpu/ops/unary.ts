/** unary on WebGPU. */
import { unary as forwardKernel, unaryBackward, unaryBackwardReads } from "../../../kernels/unary.ts";
import type { UnaryAttributes } from "../../ops/unary.ts";
import { sizeOf } from "../../spec.ts";
import type { Word } from "../gpu.ts";
import { type GpuOp, output, overElements, storageOf } from "./op.ts";

const words = ({ scale, offset }: UnaryAttributes): Word[] => [{ f32: scale }, { f32: offset }];

/** One dispatch over all elements. */
export const unary: GpuOp<UnaryAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x], attributes, shape) {
    const { kind } = attributes, { dtype } = x!, storage = storageOf(x!);
    const y = { handle: output(gpu, shape, "unary", dtype), dtype };
    const kernel = gpu.kernel(`unary ${kind} ${storage}`, () => forwardKernel(kind, storage));
    overElements(gpu, kernel, sizeOf(shape), [x!, y], words(attributes));
    return y.handle;
  },
  backward(gpu, dy, [x], attributes) {
    const { kind } = attributes, { dtype } = x!, storage = storageOf(x!);
    const dx = { handle: output(gpu, x!.shape, "unaryBackward", dtype), dtype };
    const kernel = gpu.kernel(`unaryBackward ${kind} ${storage}`, () => unaryBackward(kind, storage));
    const reads = unaryBackwardReads(kind) ? [x!, dy] : [dy];
    overElements(gpu, kernel, sizeOf(x!.shape), [...reads, dx], words(attributes));
    return [dx.handle];
  },
};
