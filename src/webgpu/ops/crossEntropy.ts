/** crossEntropy on WebGPU. */
import {
  crossEntropy as forwardKernel,
  crossEntropyBackward,
  crossEntropyRows,
} from "../../../kernels/crossEntropy.ts";
import type { CrossEntropyAttributes } from "../../ops/crossEntropy.ts";
import { part, whole } from "../buffers.ts";
import type { Word } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { bytesOf, type GpuOp, output, storageOf } from "./op.ts";
import { sumAll } from "./sum.ts";

/** A quiet NaN. */
const NAN_BITS = 0x7fc00000;

const words = (rows: number, labelSmoothing: number, batch: number): Word[] => [
  rows,
  { f32: labelSmoothing },
  { f32: 1 / batch },
  NAN_BITS,
];

/** Forward in two dispatches, the losses of the rows and their sum; backward in one. */
export const crossEntropy: GpuOp<CrossEntropyAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [logits, labels], { labelSmoothing }) {
    const [N, M] = logits!.shape, storage = storageOf(logits!), itemBytes = bytesOf(logits!) * M;
    const losses = gpu.buffers.take(4 * N, "crossEntropy losses");
    const kernel = gpu.kernel(`crossEntropy ${M} ${storage}`, () => forwardKernel(M, storage));
    for (const { first, count } of batchSlices(N, [itemBytes, 4], gpu.limits)) {
      const rows = [part(logits!.handle, first, count, itemBytes), part(labels!.handle, first, count, 4)];
      const groups = flatGroups(Math.ceil(count / crossEntropyRows(M)), gpu.limits);
      const views = [...rows, part(losses, first, count, 4)];
      gpu.dispatch(kernel, views, groups, words(count, labelSmoothing, N));
    }
    const loss = sumAll(gpu, losses, N);
    gpu.buffers.release(losses);
    return loss;
  },
  backward(gpu, dy, [logits, labels], { labelSmoothing }) {
    const [N, M] = logits!.shape, storage = storageOf(logits!), itemBytes = bytesOf(logits!) * M;
    const dlogits = output(gpu, logits!.shape, "crossEntropy dlogits", logits!.dtype);
    const kernel = gpu.kernel(`crossEntropyBackward ${M} ${storage}`, () => crossEntropyBackward(M, storage));
    for (const { first, count } of batchSlices(N, [itemBytes, 4], gpu.limits)) {
      const rows = [part(logits!.handle, first, count, itemBytes), part(labels!.handle, first, count, 4)];
      const groups = flatGroups(Math.ceil(count / crossEntropyRows(M)), gpu.limits);
      const views = [...rows, whole(dy.handle), part(dlogits, first, count, itemBytes)];
      gpu.dispatch(kernel, views, groups, words(count, labelSmoothing, N));
    }
    return [dlogits, null];
  },
};
