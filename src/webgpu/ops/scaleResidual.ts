/** scaleResidual on WebGPU. */
import {
  scaleResidual as forwardKernel,
  scaleResidualBackward,
  scaleResidualBlock,
} from "../../../kernels/scaleResidual.ts";
import type { ScaleResidualAttributes } from "../../ops/scaleResidual.ts";
import { type GpuBuffer, part, whole } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { addSlices, sampleChunks, sumPlanes } from "./channelSum.ts";
import { type GpuOp, type GpuOperand, output } from "./op.ts";
import { planes } from "./planes.ts";

/** dx and dscale in one pass over x and dy. */
function scaledGradients(gpu: Gpu, dy: GpuOperand, x: GpuOperand, scale: GpuOperand): [GpuBuffer, GpuBuffer] {
  const { batch, channels: C, pixels: P } = planes(x.shape);
  const slices = batch * C * P === 0 ? [] : batchSlices(batch, [4 * C * P], gpu.limits);
  const dx = output(gpu, x.shape, "scaleResidual dx");
  const sums = gpu.buffers.take(4 * C * slices.length, "scaleResidual dscale");
  slices.forEach(({ first, count }, i) => {
    const kernel = gpu.kernel(`scaleResidualBackward ${C} ${P}`, () => scaleResidualBackward(C, P));
    const [xView, dyView, dxView] = [x.handle, dy.handle, dx].map((buffer) =>
      part(buffer, first, count, 4 * C * P)
    );
    const { run, chunks } = sampleChunks(gpu, count, C * P);
    const partial = gpu.buffers.take(4 * C * P * chunks, "scaleResidual dscale");
    const [gx, gy] = flatGroups(Math.ceil(P * chunks / kernel.workgroupSize), gpu.limits);
    gpu.dispatch(
      kernel,
      [xView, dyView, whole(scale.handle), dxView, partial],
      [gx, gy, C / scaleResidualBlock(C)],
      [count, run, chunks],
    );
    sumPlanes(gpu, [whole(partial)], sums, i * C, chunks, C, P);
    gpu.buffers.release(partial);
  });
  return [dx, addSlices(gpu, sums, slices.length, C)];
}

/** Forward in one dispatch; the gradient of the shortcut is a copy. */
export const scaleResidual: GpuOp<ScaleResidualAttributes> = {
  forward(gpu, [shortcut, x, scale], _attributes, shape) {
    const { batch, channels: C, pixels: P } = planes(shape);
    const y = output(gpu, shape, "scaleResidual");
    if (batch * C * P === 0) return y;
    const kernel = gpu.kernel(`scaleResidual ${C} ${P}`, () => forwardKernel(C, P));
    for (const { first, count } of batchSlices(batch, [4 * C * P], gpu.limits)) {
      const [shortcutView, xView, yView] = [shortcut!.handle, x!.handle, y].map((buffer) =>
        part(buffer, first, count, 4 * C * P)
      );
      const groups = flatGroups(Math.ceil(count * C * P / kernel.workgroupSize), gpu.limits);
      gpu.dispatch(kernel, [shortcutView, xView, whole(scale!.handle), yView], groups, [count * C * P]);
    }
    return y;
  },
  backward(gpu, dy, [, x, scale], _attributes, needs) {
    const dshortcut = needs[0] ? output(gpu, dy.shape, "scaleResidual dshortcut") : null;
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
