/** scaleResidual on WebGPU. */
import {
  scaleResidual as forwardKernel,
  scaleResidualBackward,
  scaleResidualBlock,
} from "../../../kernels/scaleResidual.ts";
import type { ScaleResidualAttributes } from "../../ops/scaleResidual.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part, whole } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { addSlices, sampleChunks, sumPlanes } from "./channelSum.ts";
import { bytesOf, type GpuOp, type GpuOperand, output, overElements, storageOf } from "./op.ts";
import { planes } from "./planes.ts";

/** dx and dscale in one pass over x and dy. */
function scaledGradients(gpu: Gpu, dy: GpuOperand, x: GpuOperand, scale: GpuOperand): [GpuBuffer, GpuBuffer] {
  const { batch, channels: C, pixels: P } = planes(x.shape);
  const storage = storageOf(x), itemBytes = bytesOf(x) * C * P;
  const slices = batch * C * P === 0 ? [] : batchSlices(batch, [itemBytes], gpu.limits);
  const dx = output(gpu, x.shape, "scaleResidual dx", x.dtype);
  const sums = gpu.buffers.take(4 * C * slices.length, "scaleResidual dscale");
  slices.forEach(({ first, count }, i) => {
    const key = `scaleResidualBackward ${C} ${P} ${storage}`;
    const kernel = gpu.kernel(key, () => scaleResidualBackward(C, P, storage));
    const [xView, dyView, dxView] = [x.handle, dy.handle, dx].map((buffer) =>
      part(buffer, first, count, itemBytes)
    );
    const { run, chunks } = sampleChunks(gpu, count, C * P);
    const partial = gpu.buffers.take(4 * C * P * chunks, "scaleResidual dscale");
    const [gx, gy] = flatGroups(Math.ceil(P * chunks / kernel.workgroupSize), gpu.limits);
    const views = [xView, dyView, whole(scale.handle), dxView, partial];
    const blocks = C / scaleResidualBlock(C), most = gpu.limits.maxComputeWorkgroupsPerDimension;
    for (let block = 0; block < blocks; block += most) {
      gpu.dispatch(kernel, views, [gx, gy, Math.min(most, blocks - block)], [count, run, chunks, block]);
    }
    sumPlanes(gpu, [whole(partial)], sums, i * C, chunks, C, P);
    gpu.buffers.release(partial);
  });
  return [dx, addSlices(gpu, sums, slices.length, C)];
}

/** Forward in one dispatch; the gradient of the shortcut is a copy. */
export const scaleResidual: GpuOp<ScaleResidualAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [shortcut, x, scale], _attributes, shape) {
    const { channels: C, pixels: P } = planes(shape), { dtype } = x!, storage = storageOf(x!);
    const y = { handle: output(gpu, shape, "scaleResidual", dtype), dtype };
    if (sizeOf(shape) === 0) return y.handle;
    const kernel = gpu.kernel(`scaleResidual ${C} ${P} ${storage}`, () => forwardKernel(C, P, storage));
    // A slice has to begin at a sample, where channels are counted from.
    overElements(gpu, kernel, sizeOf(shape), [shortcut!, x!, { ...scale!, single: true }, y], [], C * P);
    return y.handle;
  },
  backward(gpu, dy, [, x, scale], _attributes, needs) {
    const dshortcut = needs[0] ? output(gpu, dy.shape, "scaleResidual dshortcut", dy.dtype) : null;
    if (dshortcut) gpu.copy(dy.handle, dshortcut);
    if (!needs[1] && !needs[2]) return [dshortcut, null, null];
    const scaled = scaledGradients(gpu, dy, x!, scale!).map((buffer, i) => {
      if (needs[i + 1]) return buffer;
      gpu.buffers.release(buffer);
      return null;
    });
    return [dshortcut, ...scaled];
  },
};
