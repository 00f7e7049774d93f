/** pointwise on WebGPU. */
import {
  pointwise as productKernel,
  type PointwiseGeometry,
  pointwiseGroups,
} from "../../../kernels/pointwise.ts";
import { pointwiseBackwardWeight, weightTiles } from "../../../kernels/pointwiseBackwardWeight.ts";
import type { PointwiseAttributes } from "../../ops/pointwise.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { channelSum } from "./channelSum.ts";
import { reduceChunks } from "./chunks.ts";
import { type GpuOp, output } from "./op.ts";

const geometryOf = (x: Shape, outChannels: number): PointwiseGeometry => ({
  inChannels: x[1],
  outChannels,
  pixels: sizeOf(x.slice(2)),
});

/** y = A x (+ bias); A is weight, or its transpose. `others`: weight and, where there is one, bias. */
export function product(
  gpu: Gpu,
  geometry: PointwiseGeometry,
  transposed: boolean,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
): void {
  const { inChannels, outChannels, pixels } = geometry;
  const bias = others.length > 1, broadcast = gpu.sharesLoads;
  const kernel = gpu.kernel(
    `pointwise ${inChannels} ${outChannels} ${pixels} ${bias} ${transposed}`,
    () => productKernel(geometry, { bias, transposed, broadcast }),
  );
  const itemBytes = [4 * inChannels * pixels, 4 * outChannels * pixels];
  for (const slice of batchSlices(count, itemBytes, gpu.limits)) {
    const columns = slice.count * pixels;
    const [groups, blocks] = pointwiseGroups(geometry, columns, broadcast);
    const [across, deep] = flatGroups(groups, gpu.limits);
    const views = [
      part(x, slice.first, slice.count, itemBytes[0]),
      ...others,
      part(y, slice.first, slice.count, itemBytes[1]),
    ];
    gpu.dispatch(kernel, views, [across, blocks, deep], [columns]);
  }
}

/** The gradient to the weight. */
export function weightGradient(
  gpu: Gpu,
  geometry: PointwiseGeometry,
  count: number,
  dy: GpuBuffer,
  x: GpuBuffer,
): GpuBuffer {
  const { inChannels, outChannels, pixels } = geometry;
  const key = `pointwiseBackwardWeight ${inChannels} ${outChannels} ${pixels}`;
  return reduceChunks(gpu, {
    kernel: gpu.kernel(key, () => pointwiseBackwardWeight(geometry, gpu.sharesLoads)),
    batched: [
      { buffer: dy, itemBytes: 4 * outChannels * pixels },
      { buffer: x, itemBytes: 4 * inChannels * pixels },
    ],
    count,
    invocations: weightTiles(geometry, gpu.sharesLoads),
    elements: inChannels * outChannels,
  });
}

/** Register-blocked products. */
export const pointwise: GpuOp<PointwiseAttributes> = {
  forward(gpu, [x, weight, bias], _, shape) {
    const y = output(gpu, shape, "pointwise");
    const others = bias ? [weight!.handle, bias.handle] : [weight!.handle];
    product(gpu, geometryOf(x!.shape, shape[1]), false, shape[0], x!.handle, others, y);
    return y;
  },
  backward(gpu, dy, [x, weight, bias], _, needs) {
    const count = x!.shape[0], geometry = geometryOf(x!.shape, dy.shape[1]);
    const { inChannels, outChannels, pixels } = geometry;
    let dx: GpuBuffer | null = null;
    if (needs[0]) {
      dx = output(gpu, x!.shape, "pointwiseBackwardInput");
      product(gpu, geometryOf(dy.shape, inChannels), true, count, dy.handle, [weight!.handle], dx);
    }
    const dweight = needs[1] ? weightGradient(gpu, geometry, count, dy.handle, x!.handle) : null;
    const dbias = needs[2] && bias ? channelSum(gpu, dy.handle, null, count, outChannels, pixels) : null;
    return [dx, dweight, dbias];
  },
};
