/** cast on WebGPU, and the conversions that the backend needs. */
import { cast as castKernel } from "../../../kernels/cast.ts";
import type { DType } from "../../dtype.ts";
import type { CastAttributes } from "../../ops/cast.ts";
import { sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { type Elements, type GpuOp, output, overElements, storageOf } from "./op.ts";

/** The first `elements` of a buffer as another dtype, in a new buffer. */
export function converted(gpu: Gpu, x: Elements, elements: number, dtype: DType): GpuBuffer {
  const y = { handle: output(gpu, [elements], `cast to ${dtype}`, dtype), dtype };
  const from = storageOf(x), to = storageOf(y);
  const kernel = gpu.kernel(`cast ${from} ${to}`, () => castKernel(from, to));
  overElements(gpu, kernel, elements, [x, y]);
  return y.handle;
}

/** One dispatch either way. */
export const cast: GpuOp<CastAttributes> = {
  keepsFloat16: () => true,
  forward: (gpu, [x], { dtype }, shape) => converted(gpu, x!, sizeOf(shape), dtype),
  backward: (gpu, dy, [x]) => [converted(gpu, dy, sizeOf(dy.shape), x!.dtype ?? "float32")],
};
