/** layerNorm on WebGPU. */
import {
  layerNorm as forwardKernel,
  layerNormBackward,
  layerNormBackwardInput,
  layerNormBackwardParameters,
} from "../../../kernels/layerNorm.ts";
import type { LayerNormAttributes } from "../../ops/layerNorm.ts";
import type { Storage } from "../../../kernels/kernel.ts";
import { type BufferView, type GpuBuffer, part, whole } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { addSlices, sampleChunks, sumPlanes } from "./channelSum.ts";
import { bytesOf, type GpuOp, output, storageOf } from "./op.ts";
import { planes } from "./planes.ts";

/** Most channels whose sums a backward invocation keeps in registers: five values each; a CPU spills to its cache. */
const CHANNELS = { gpu: 32, software: 64 };

/** The partial sums of dweight and dbias of one slice. */
interface Partials {
  readonly weight: GpuBuffer;
  readonly bias: GpuBuffer;
  readonly chunks: number;
}

/** x, dy and dx of a slice, and how the slice is cut into chunks of samples. */
interface Part {
  readonly views: readonly BufferView[];
  readonly weight: GpuBuffer;
  readonly samples: number;
  readonly C: number;
  readonly P: number;
  readonly run: number;
  readonly chunks: number;
  readonly epsilon: number;
  readonly storage: Storage;
}

function partials(gpu: Gpu, { C, P, chunks }: Part): Partials {
  const bytes = 4 * C * P * chunks;
  return {
    weight: gpu.buffers.take(bytes, "layerNorm dweight"),
    bias: gpu.buffers.take(bytes, "layerNorm dbias"),
    chunks,
  };
}

/** One dispatch, the channels in registers. */
function fused(gpu: Gpu, slice: Part): Partials {
  const { views: [x, dy, dx], weight, samples, C, P, run, chunks, epsilon, storage } = slice;
  const sums = partials(gpu, slice);
  const kernel = gpu.kernel(
    `layerNormBackward ${C} ${P} ${storage}`,
    () => layerNormBackward(C, P, storage),
  );
  gpu.dispatch(
    kernel,
    [x, dy, whole(weight), dx, sums.weight, sums.bias],
    flatGroups(Math.ceil(P * chunks / kernel.workgroupSize), gpu.limits),
    [samples, run, chunks, { f32: epsilon }],
  );
  return sums;
}

/** Two dispatches, for many channels. */
function separate(gpu: Gpu, slice: Part): Partials {
  const { views: [x, dy, dx], weight, samples, C, P, run, chunks, epsilon, storage } = slice;
  const statistics = gpu.buffers.take(8 * samples * P, "layerNorm statistics");
  const kernel = gpu.kernel(
    `layerNormBackwardInput ${C} ${P} ${storage}`,
    () => layerNormBackwardInput(C, P, storage),
  );
  gpu.dispatch(
    kernel,
    [x, dy, whole(weight), dx, statistics],
    flatGroups(Math.ceil(samples * P / kernel.workgroupSize), gpu.limits),
    [samples * P, { f32: epsilon }],
  );
  const sums = partials(gpu, slice);
  const adder = gpu.kernel(
    `layerNormBackwardParameters ${P} ${storage}`,
    () => layerNormBackwardParameters(P, storage),
  );
  const [gx, gy] = flatGroups(Math.ceil(C * P / adder.workgroupSize), gpu.limits);
  gpu.dispatch(adder, [x, dy, whole(statistics), sums.weight, sums.bias], [gx, gy, chunks], [
    C * P,
    samples,
    run,
  ]);
  gpu.buffers.release(statistics);
  return sums;
}

/** Forward in one dispatch; backward in one or two, and one for each of the small sums that they leave. */
export const layerNorm: GpuOp<LayerNormAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x, weight, bias], { epsilon }, shape) {
    const { batch, channels: C, pixels: P } = planes(shape);
    const y = output(gpu, shape, "layerNorm", x!.dtype);
    if (batch * C * P === 0) return y;
    const storage = storageOf(x!), itemBytes = bytesOf(x!) * C * P;
    const kernel = gpu.kernel(`layerNorm ${C} ${P} ${storage}`, () => forwardKernel(C, P, storage));
    for (const { first, count } of batchSlices(batch, [itemBytes], gpu.limits)) {
      const [xView, yView] = [x!.handle, y].map((buffer) => part(buffer, first, count, itemBytes));
      gpu.dispatch(
        kernel,
        [xView, whole(weight!.handle), whole(bias!.handle), yView],
        flatGroups(Math.ceil(count * P / kernel.workgroupSize), gpu.limits),
        [count * P, { f32: epsilon }],
      );
    }
    return y;
  },
  backward(gpu, gradient, [x, weight], { epsilon }, needs) {
    const { batch, channels: C, pixels: P } = planes(x!.shape);
    const storage = storageOf(x!), itemBytes = bytesOf(x!) * C * P;
    const slices = batch * C * P === 0 ? [] : batchSlices(batch, [itemBytes], gpu.limits);
    const dx = output(gpu, x!.shape, "layerNorm dx", x!.dtype);
    const sums = [0, 1].map(() => gpu.buffers.take(4 * C * slices.length, "layerNorm sums"));
    const backward = C <= (CHANNELS[gpu.info.software ? "software" : "gpu"]) ? fused : separate;
    slices.forEach(({ first, count }, i) => {
      const views = [x!.handle, gradient.handle, dx].map((buffer) => part(buffer, first, count, itemBytes));
      const lanes = backward === fused ? P : C * P;
      const cut = sampleChunks(gpu, count, lanes);
      const slice = { views, weight: weight!.handle, samples: count, C, P, epsilon, storage, ...cut };
      const made = backward(gpu, slice);
      [made.weight, made.bias].forEach((partial, k) => {
        sumPlanes(gpu, [whole(partial)], sums[k], i * C, made.chunks, C, P);
        gpu.buffers.release(partial);
      });
    });
    const gradients = [dx, ...sums.map((sum) => addSlices(gpu, sum, slices.length, C))];
    return gradients.map((buffer, i) => {
      if (needs[i]) return buffer;
      gpu.buffers.release(buffer);
      return null;
    });
  },
};
