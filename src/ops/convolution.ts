/**
 * convolution: cross-correlation with zero padding, 1 to 3 spatial axes.
 * y[n, o, q] = bias[o] + sum over i, t of kernel[o, i, t] * x[n, group(o) * C/groups + i, q * stride + t * dilation - padding].
 */
import { outputExtent, type Shape, shapeText } from "../spec.ts";
import { type Op, requireAxes, requireShape } from "./op.ts";

/** Attributes of {@linkcode convolution}; lists have one entry per spatial axis. */
export interface ConvolutionAttributes {
  readonly stride: Shape;
  readonly padding: Shape;
  readonly dilation: Shape;
  readonly groups: number;
}

/** Inputs: x `[N, C, ...spatial]`, kernel `[O, C/groups, ...S]`, bias `[O]` or null. */
export const convolution: Op<"convolution", ConvolutionAttributes> = {
  name: "convolution",
  outputShape([input, kernelShape, bias], { stride, padding, dilation, groups }) {
    const x = requireAxes("convolution", "the input", input, 3, 5);
    const kernel = requireAxes("convolution", "the kernel", kernelShape, x.length);
    if (x[1] % groups !== 0 || kernel[0] % groups !== 0 || kernel[1] !== x[1] / groups) {
      throw new RangeError(
        `Cannot run convolution: the kernel must be [out, channels / groups, ...size], got kernel ` +
          `${shapeText(kernel)}, input ${shapeText(x)}, groups ${groups}`,
      );
    }
    if (bias) requireShape("convolution", "bias", bias, [kernel[0]]);
    const spatial = x.slice(2).map((extent, a) => {
      const out = outputExtent(extent, kernel[a + 2], stride[a], padding[a], dilation[a]);
      if (out < 1) {
        throw new RangeError(
          `Cannot run convolution: the kernel must fit into the padded input, got kernel size ` +
            `${dilation[a] * (kernel[a + 2] - 1) + 1} and padded input ${extent + 2 * padding[a]} ` +
            `along spatial axis ${a}`,
        );
      }
      return out;
    });
    return [x[0], kernel[0], ...spatial];
  },
};
