/** convolution on WebGPU: which kernels run it, and over which slices of the batch. */
import { convBackwardInput, mirroredGeometry } from "../../../kernels/convBackwardInput.ts";
import { convBackwardKernel, tapRows } from "../../../kernels/convBackwardKernel.ts";
import {
  convolution as forwardKernel,
  type ConvolutionGeometry,
  type TapOrder,
  tileOf,
} from "../../../kernels/convolution.ts";
import type { ConvolutionAttributes } from "../../ops/convolution.ts";
import { outputExtent, type Shape, sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { chooseConvolution } from "../chooseConvolution.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { channelSum } from "./channelSum.ts";
import { reduceChunks } from "./chunks.ts";
import { type GpuOp, output } from "./op.ts";
import { patchConvolution, patchInputGradient, patchKernelGradient } from "./patches.ts";
import { planeBackward, planeForward } from "./planeConvolution.ts";

/** Lists get three spatial axes: missing ones are leading axes of one cell. */
function geometryOf(x: Shape, kernel: Shape, attributes: ConvolutionAttributes): ConvolutionGeometry {
  const fill = (list: Shape, value: number): number[] => [...new Array(3 - list.length).fill(value), ...list];
  const input = fill(x.slice(2), 1), size = fill(kernel.slice(2), 1);
  const stride = fill(attributes.stride, 1), padding = fill(attributes.padding, 0);
  const dilation = fill(attributes.dilation, 1);
  return {
    inChannels: x[1],
    outChannels: kernel[0],
    groups: attributes.groups,
    input,
    size,
    stride,
    padding,
    dilation,
    output: input.map((extent, a) => outputExtent(extent, size[a], stride[a], padding[a], dilation[a])),
  };
}

const keyOf = (
  { inChannels, outChannels, groups, input, size, stride, padding, dilation }: ConvolutionGeometry,
): string => [inChannels, outChannels, groups, input, size, stride, padding, dilation].join("|");

/** The direct kernel over all slices: forward, and the gradient to the input at stride 1. */
function direct(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  taps: TapOrder,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
): void {
  const { inChannels, outChannels, input, output: out } = geometry;
  const bias = others.length > 1;
  const kernel = gpu.kernel(
    `convolution ${taps} ${bias} ${keyOf(geometry)} ${out}`,
    () => forwardKernel(geometry, bias, taps),
  );
  const { strip, block } = tileOf(geometry);
  const itemBytes = [4 * inChannels * sizeOf(input), 4 * outChannels * sizeOf(out)];
  for (const slice of batchSlices(count, itemBytes, gpu.limits)) {
    const items = slice.count * out[0] * out[1] * Math.ceil(out[2] / strip);
    const [across, deep] = flatGroups(Math.ceil(items / kernel.workgroupSize), gpu.limits);
    const views = [
      part(x, slice.first, slice.count, itemBytes[0]),
      ...others,
      part(y, slice.first, slice.count, itemBytes[1]),
    ];
    gpu.dispatch(kernel, views, [across, outChannels / block, deep], [items]);
  }
}

function inputGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  dy: GpuBuffer,
  taps: GpuBuffer,
): GpuBuffer {
  const { inChannels, outChannels, input, output: out, stride } = geometry;
  const itemBytes = [4 * outChannels * sizeOf(out), 4 * inChannels * sizeOf(input)];
  const dx = gpu.buffers.take(count * itemBytes[1], "convBackwardInput");
  if (stride.every((s) => s === 1)) {
    direct(gpu, mirroredGeometry(geometry), "mirrored", count, dy, [taps], dx);
    return dx;
  }
  const kernel = gpu.kernel(`convBackwardInput ${keyOf(geometry)}`, () => convBackwardInput(geometry));
  for (const slice of batchSlices(count, itemBytes, gpu.limits)) {
    const items = slice.count * inChannels * sizeOf(input);
    const views = [
      part(dy, slice.first, slice.count, itemBytes[0]),
      taps,
      part(dx, slice.first, slice.count, itemBytes[1]),
    ];
    gpu.dispatch(kernel, views, flatGroups(Math.ceil(items / kernel.workgroupSize), gpu.limits), [items]);
  }
  return dx;
}

function kernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  dy: GpuBuffer,
): GpuBuffer {
  const { inChannels, outChannels, groups, input, output: out, size } = geometry;
  return reduceChunks(gpu, {
    kernel: gpu.kernel(`convBackwardKernel ${keyOf(geometry)}`, () => convBackwardKernel(geometry)),
    batched: [
      { buffer: x, itemBytes: 4 * inChannels * sizeOf(input) },
      { buffer: dy, itemBytes: 4 * outChannels * sizeOf(out) },
    ],
    count,
    invocations: tapRows(geometry),
    elements: outChannels * (inChannels / groups) * sizeOf(size),
  });
}

/** Runs each convolution by the algorithm that `chooseConvolution` picks. */
export const convolution: GpuOp<ConvolutionAttributes> = {
  forward(gpu, [x, taps, bias], attributes, shape) {
    const y = output(gpu, shape, "convolution");
    const geometry = geometryOf(x!.shape, taps!.shape, attributes);
    const others = bias ? [taps!.handle, bias.handle] : [taps!.handle];
    const choice = chooseConvolution(gpu, geometry), count = shape[0];
    switch (choice.algorithm) {
      case "patches":
        patchConvolution(gpu, geometry, count, x!.handle, others, y);
        break;
      case "planes":
        planeForward(gpu, choice.plan, geometry, count, x!.handle, taps!.handle, bias?.handle ?? null, y);
        break;
      case "direct":
        direct(gpu, geometry, "forward", count, x!.handle, others, y);
    }
    return y;
  },
  backward(gpu, dy, [x, taps, bias], attributes, needs) {
    const geometry = geometryOf(x!.shape, taps!.shape, attributes);
    const count = x!.shape[0], choice = chooseConvolution(gpu, geometry);
    const dbias = needs[2] && bias
      ? channelSum(gpu, dy.handle, null, count, geometry.outChannels, sizeOf(geometry.output))
      : null;
    if (choice.algorithm === "planes") {
      const wants = { input: needs[0], kernel: needs[1] };
      const both = planeBackward(
        gpu,
        choice.plan,
        geometry,
        count,
        x!.handle,
        taps!.handle,
        dy.handle,
        wants,
      );
      return [both.dx, both.dtaps, dbias];
    }
    const patch = choice.algorithm === "patches";
    const toInput = patch ? patchInputGradient : inputGradient;
    const toKernel = patch ? patchKernelGradient : kernelGradient;
    return [
      needs[0] ? toInput(gpu, geometry, count, dy.handle, taps!.handle) : null,
      needs[1] ? toKernel(gpu, geometry, count, x!.handle, dy.handle) : null,
      dbias,
    ];
  },
};
