/** correctCount on WebGPU. */
import { correctCount as rowsKernel } from "../../../kernels/correctCount.ts";
import type { CorrectCountAttributes } from "../../ops/correctCount.ts";
import { part } from "../buffers.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { bytesOf, type GpuOp, storageOf } from "./op.ts";
import { sumAll } from "./sum.ts";

/** Two dispatches: right or wrong, row by row, and the sum. No gradient. */
export const correctCount: GpuOp<CorrectCountAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [logits, labels]) {
    const [N, M] = logits!.shape, storage = storageOf(logits!), itemBytes = bytesOf(logits!) * M;
    const hits = gpu.buffers.take(4 * N, "correctCount hits");
    const kernel = gpu.kernel(`correctCount ${M} ${storage}`, () => rowsKernel(M, storage));
    for (const { first, count } of batchSlices(N, [itemBytes, 4], gpu.limits)) {
      const views = [[logits!.handle, itemBytes], [labels!.handle, 4], [hits, 4]] as const;
      gpu.dispatch(
        kernel,
        views.map(([buffer, itemBytes]) => part(buffer, first, count, itemBytes)),
        flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits),
        [count],
      );
    }
    const count = sumAll(gpu, hits, N);
    gpu.buffers.release(hits);
    return count;
  },
  backward: () => [null, null],
};
