/** convolution on WebGPU: the algorithm that runs it. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import type { ConvolutionAttributes } from "../../ops/convolution.ts";
import { outputExtent, type Shape, sizeOf } from "../../spec.ts";
import type { GpuBuffer } from "../buffers.ts";
import { chooseConvolution } from "../chooseConvolution.ts";
import { channelSum } from "./channelSum.ts";
import { directConvolution, directInputGradient, directKernelGradient } from "./directConvolution.ts";
import { implicitForward, implicitInputGradient, implicitKernelGradient } from "./implicitGemm.ts";
import { type GpuOp, output, storageOf } from "./op.ts";
import { patchConvolution, patchInputGradient, patchKernelGradient } from "./patches.ts";
import { planeBackward, planeForward } from "./planeConvolution.ts";

/** Lists get three spatial axes: missing ones are leading axes of one cell. */
export function geometryOf(x: Shape, kernel: Shape, attributes: ConvolutionAttributes): ConvolutionGeometry {
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

/** Runs each convolution by the algorithm that `chooseConvolution` picks. */
export const convolution: GpuOp<ConvolutionAttributes> = {
  keepsFloat16: () => true,
  forward(gpu, [x, taps, bias], attributes, shape) {
    const y = output(gpu, shape, "convolution", x!.dtype);
    const geometry = geometryOf(x!.shape, taps!.shape, attributes);
    const others = bias ? [taps!.handle, bias.handle] : [taps!.handle];
    const choice = chooseConvolution(gpu, geometry, storageOf(x!), "forward"), count = shape[0];
    switch (choice.algorithm) {
      case "patches":
        patchConvolution(gpu, geometry, count, x!.handle, others, y, x!.dtype);
        break;
      case "planes":
        planeForward(gpu, choice.plan, geometry, count, x!.handle, taps!.handle, bias?.handle ?? null, y);
        break;
      case "gemm":
        implicitForward(gpu, geometry, count, x!.handle, others, y, x!.dtype);
        break;
      case "direct":
        directConvolution(gpu, geometry, count, x!, others, { handle: y, dtype: x!.dtype });
    }
    return y;
  },
  backward(gpu, dy, [x, taps, bias], attributes, needs) {
    const geometry = geometryOf(x!.shape, taps!.shape, attributes);
    const count = x!.shape[0], choice = chooseConvolution(gpu, geometry, storageOf(x!), "backward");
    const dbias = needs[2] && bias
      ? channelSum(gpu, dy.handle, null, count, geometry.outChannels, sizeOf(geometry.output), dy.dtype)
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
    if (choice.algorithm === "patches") {
      return [
        needs[0] ? patchInputGradient(gpu, geometry, count, dy.handle, taps!.handle, dy.dtype) : null,
        needs[1] ? patchKernelGradient(gpu, geometry, count, x!.handle, dy.handle, dy.dtype) : null,
        dbias,
      ];
    }
    const gemm = choice.algorithm === "gemm";
    const toInput = (): GpuBuffer =>
      gemm && choice.toInput
        ? implicitInputGradient(gpu, geometry, count, dy.handle, taps!.handle, dy.dtype)
        : directInputGradient(gpu, geometry, count, dy, taps!.handle);
    const toKernel = (): GpuBuffer =>
      gemm
        ? implicitKernelGradient(gpu, geometry, count, x!.handle, dy.handle, dy.dtype)
        : directKernelGradient(gpu, geometry, count, x!, dy);
    return [needs[0] ? toInput() : null, needs[1] ? toKernel() : null, dbias];
  },
};
