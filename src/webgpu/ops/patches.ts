/** Convolutions whose size equals their stride: patches become channels, and pointwise products do the rest. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import { patches, type PatchGeometry, unpatches } from "../../../kernels/patches.ts";
import type { PointwiseGeometry } from "../../../kernels/pointwise.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
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
  generate: (geometry: PatchGeometry) => Kernel,
  count: number,
  from: GpuBuffer,
  fromBytes: number,
  toBytes: number,
): GpuBuffer {
  const { inChannels, input, output, size } = geometry;
  const key = `${generate.name} ${[inChannels, input, output, size].join("|")}`;
  const kernel = gpu.kernel(key, () => generate(patchOf(geometry)));
  const to = gpu.buffers.take(count * toBytes, kernel.label);
  for (const slice of batchSlices(count, [fromBytes, toBytes], gpu.limits)) {
    const elements = slice.count * toBytes / 4;
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

const inputBytes = ({ inChannels, input }: ConvolutionGeometry): number => 4 * inChannels * sizeOf(input);
const patchBytes = ({ inChannels, output, size }: ConvolutionGeometry): number =>
  4 * inChannels * sizeOf(size) * sizeOf(output);

/** y = convolution of x; `others`: kernel and, where there is one, bias. */
export function patchConvolution(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
): void {
  const rows = rearrange(gpu, geometry, patches, count, x, inputBytes(geometry), patchBytes(geometry));
  product(gpu, productOf(geometry), false, count, rows, others, y);
  gpu.buffers.release(rows);
}

/** The gradient to the input. */
export function patchInputGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  dy: GpuBuffer,
  taps: GpuBuffer,
): GpuBuffer {
  const { inChannels, outChannels, pixels } = productOf(geometry);
  const rows = gpu.buffers.take(count * patchBytes(geometry), "gradient of patches");
  const transposed = { inChannels: outChannels, outChannels: inChannels, pixels };
  product(gpu, transposed, true, count, dy, [taps], rows);
  const dx = rearrange(gpu, geometry, unpatches, count, rows, patchBytes(geometry), inputBytes(geometry));
  gpu.buffers.release(rows);
  return dx;
}

/** The gradient to the kernel. */
export function patchKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  dy: GpuBuffer,
): GpuBuffer {
  const rows = rearrange(gpu, geometry, patches, count, x, inputBytes(geometry), patchBytes(geometry));
  const dtaps = weightGradient(gpu, productOf(geometry), count, dy, rows);
  gpu.buffers.release(rows);
  return dtaps;
}
