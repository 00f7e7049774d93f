/** pointwise on WebGPU. */
import {
  pointwise as productKernel,
  pointwiseForm,
  type PointwiseGeometry,
} from "../../../kernels/pointwise.ts";
import { pointwiseBackwardWeight, pointwiseWeightForm } from "../../../kernels/pointwiseBackwardWeight.ts";
import type { DType } from "../../dtype.ts";
import type { PointwiseAttributes } from "../../ops/pointwise.ts";
import { type Shape, sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices } from "../limits.ts";
import { channelSum } from "./channelSum.ts";
import { dispatchGemm, gemmPlan, slicesOf, sumOfSlices } from "./gemm.ts";
import { bytesOf, type GpuOp, output, storageOf } from "./op.ts";

const geometryOf = (x: Shape, outChannels: number): PointwiseGeometry => ({
  inChannels: x[1],
  outChannels,
  pixels: sizeOf(x.slice(2)),
});

/**
 * y = A x (+ bias); A is weight, or its transpose.
 * @param others weight and, where there is one, bias
 * @param dtype of x and y
 */
export function product(
  gpu: Gpu,
  geometry: PointwiseGeometry,
  transposed: boolean,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
  dtype: DType = "float32",
): void {
  const { inChannels, outChannels: rows, pixels } = geometry;
  const plan = gemmPlan(gpu, rows, count * pixels);
  const storage = storageOf({ dtype }), bytes = bytesOf({ dtype });
  const form = pointwiseForm(geometry, { bias: others.length > 1, transposed, storage }, plan);
  const kernel = gpu.kernel(`pointwise ${JSON.stringify(form)}`, () => productKernel(form));
  const itemBytes = [bytes * inChannels * pixels, bytes * rows * pixels];
  for (const slice of batchSlices(count, itemBytes, gpu.limits)) {
    const columns = slice.count * pixels;
    const views = [
      part(x, slice.first, slice.count, itemBytes[0]),
      ...others,
      part(y, slice.first, slice.count, itemBytes[1]),
    ];
    dispatchGemm(gpu, kernel, plan, views, { rows, columns }, [rows, columns, inChannels, pixels]);
  }
}

/**
 * The gradient to the weight; with `totals` followed by the sums of dy, the bias's gradient.
 * @param dtype of dy and x
 */
export function weightGradient(
  gpu: Gpu,
  geometry: PointwiseGeometry,
  count: number,
  dy: GpuBuffer,
  x: GpuBuffer,
  totals = false,
  dtype: DType = "float32",
): GpuBuffer {
  const { inChannels: columns, outChannels: rows, pixels } = geometry;
  // slices of the summed axis fill a GPU as more blocks would
  const plan = gemmPlan(gpu, rows, columns, 1, slicesOf(count * pixels));
  const form = pointwiseWeightForm(geometry, plan, storageOf({ dtype }), totals), bytes = bytesOf({ dtype });
  return sumOfSlices(gpu, {
    kernel: gpu.kernel(
      `pointwiseBackwardWeight ${JSON.stringify(form)}`,
      () => pointwiseBackwardWeight(form),
    ),
    plan,
    batched: [
      { buffer: dy, itemBytes: bytes * rows * pixels },
      { buffer: x, itemBytes: bytes * columns * pixels },
    ],
    count,
    pixels,
    rows,
    columns,
    more: totals ? rows : 0,
    words: (items) => [rows, columns, items * pixels, pixels],
  });
}

/** Products whose columns are batch and pixels together. */
export const pointwise: GpuOp<PointwiseAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x, weight, bias], _, shape) {
    const y = output(gpu, shape, "pointwise", x!.dtype);
    const others = bias ? [weight!.handle, bias.handle] : [weight!.handle];
    product(gpu, geometryOf(x!.shape, shape[1]), false, shape[0], x!.handle, others, y, x!.dtype);
    return y;
  },
  backward(gpu, dy, [x, weight, bias], _, needs) {
    const count = x!.shape[0], geometry = geometryOf(x!.shape, dy.shape[1]), { dtype } = x!;
    const { inChannels, outChannels, pixels } = geometry;
    let dx: GpuBuffer | null = null;
    if (needs[0]) {
      dx = output(gpu, x!.shape, "pointwiseBackwardInput", dtype);
      product(gpu, geometryOf(dy.shape, inChannels), true, count, dy.handle, [weight!.handle], dx, dtype);
    }
    const dweight = needs[1]
      ? weightGradient(gpu, geometry, count, dy.handle, x!.handle, false, dtype)
      : null;
    const dbias = needs[2] && bias
      ? channelSum(gpu, dy.handle, null, count, outChannels, pixels, dtype)
      : null;
    return [dx, dweight, dbias];
  },
};
