/** Convolutions whose size equals their stride: patches become channels, and pointwise products do the rest. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { Kernel, Storage } from "../../../kernels/kernel.ts";
import { patches, type PatchGeometry, unpatches } from "../../../kernels/patches.ts";
import type { PointwiseGeometry } from "../../../kernels/pointwise.ts";
import type { DType } from "../../dtype.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { bytesOf, storageOf } from "./op.ts";
import { product, weightGradient } from "./pointwise.ts";

/** Whether the patches tile the input without overlap, gap or border. */
export function isPatchConvolution(
  { groups, size, stride, padding, dilation }: ConvolutionGeometry,
): boolean {
  return groups === 1 && sizeOf(size) > 1 &&
    size.every((s, a) => s === stride[a] && padding[a] === 0 && dilation[a] === 1);
}

const patchOf = ({ inChannels, input, output, size }: ConvolutionGeometry): PatchGeometry => ({
  channels: inChannels,
  input,
  output,
  size,
});

const productOf = ({ inChannels, outChannels, output, size }: ConvolutionGeometry): PointwiseGeometry => ({
  inChannels: inChannels * sizeOf(size),
  outChannels,
  pixels: sizeOf(output),
});

/** Runs one of the two rearrangements over all slices; `to` decides which way. */
function rearrange(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  generate: (geometry: PatchGeometry, storage: Storage) => Kernel,
  count: number,
  from: GpuBuffer,
  fromBytes: number,
  toBytes: number,
  dtype: DType,
): GpuBuffer {
  const { inChannels, input, output, size } = geometry;
  const storage = storageOf({ dtype });
  const key = `${generate.name} ${[inChannels, input, output, size].join("|")} ${storage}`;
  const kernel = gpu.kernel(key, () => generate(patchOf(geometry), storage));
  const to = gpu.buffers.take(count * toBytes, kernel.label);
  for (const slice of batchSlices(count, [fromBytes, toBytes], gpu.limits)) {
    const elements = slice.count * toBytes / bytesOf({ dtype });
    const views = [
      part(from, slice.first, slice.count, fromBytes),
      part(to, slice.first, slice.count, toBytes),
    ];
    gpu.dispatch(kernel, views, flatGroups(Math.ceil(elements / kernel.workgroupSize), gpu.limits), [
      elements,
    ]);
  }
  return to;
}

const inputBytes = ({ inChannels, input }: ConvolutionGeometry, dtype: DType): number =>
  bytesOf({ dtype }) * inChannels * sizeOf(input);
const patchBytes = ({ inChannels, output, size }: ConvolutionGeometry, dtype: DType): number =>
  bytesOf({ dtype }) * inChannels * sizeOf(size) * sizeOf(output);
/** x as patches. */
const patchesOf = (
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  dtype: DType,
): GpuBuffer =>
  rearrange(
    gpu,
    geometry,
    patches,
    count,
    x,
    inputBytes(geometry, dtype),
    patchBytes(geometry, dtype),
    dtype,
  );

/**
 * y = convolution of x.
 * @param others kernel and, where there is one, bias
 * @param dtype of x and y
 */
export function patchConvolution(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
  dtype: DType = "float32",
): void {
  const rows = patchesOf(gpu, geometry, count, x, dtype);
  product(gpu, productOf(geometry), false, count, rows, others, y, dtype);
  gpu.buffers.release(rows);
}

/** The gradient to the input, of dy's dtype. */
export function patchInputGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  dy: GpuBuffer,
  taps: GpuBuffer,
  dtype: DType = "float32",
): GpuBuffer {
  const { inChannels, outChannels, pixels } = productOf(geometry);
  const [from, to] = [patchBytes(geometry, dtype), inputBytes(geometry, dtype)];
  const rows = gpu.buffers.take(count * from, "gradient of patches");
  const transposed = { inChannels: outChannels, outChannels: inChannels, pixels };
  product(gpu, transposed, true, count, dy, [taps], rows, dtype);
  const dx = rearrange(gpu, geometry, unpatches, count, rows, from, to, dtype);
  gpu.buffers.release(rows);
  return dx;
}

/** The gradient to the kernel, in float32. */
export function patchKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  dy: GpuBuffer,
  dtype: DType = "float32",
): GpuBuffer {
  const rows = patchesOf(gpu, geometry, count, x, dtype);
  const dtaps = weightGradient(gpu, productOf(geometry), count, dy, rows, false, dtype);
  gpu.buffers.release(rows);
  return dtaps;
}
