/** correctCount on WebGPU. */
import { correctCount as rowsKernel } from "../../../kernels/correctCount.ts";
import type { CorrectCountAttributes } from "../../ops/correctCount.ts";
import { part } from "../buffers.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import type { GpuOp } from "./op.ts";
import { sumAll } from "./sum.ts";

/** Two dispatches: right or wrong, row by row, and the sum. No gradient. */
export const correctCount: GpuOp<CorrectCountAttributes> = {
  forward(gpu, [logits, labels]) {
    const [N, M] = logits!.shape;
    const hits = gpu.buffers.take(4 * N, "correctCount hits");
    const kernel = gpu.kernel(`correctCount ${M}`, () => rowsKernel(M));
    for (const { first, count } of batchSlices(N, [4 * M, 4], gpu.limits)) {
      const views = [[logits!.handle, 4 * M], [labels!.handle, 4], [hits, 4]] as const;
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
