/** convolution in float64. One to three spatial axes are looked at as three, the missing ones of extent 1. */
import type { ConvolutionAttributes } from "../ops/convolution.ts";
import { type Shape, sizeOf } from "../spec.ts";
import { asked, elements, type ReferenceOp, shapeOf, threeAxes } from "./operand.ts";

/**
 * Calls `visit` for every run of output cells along the last axis that one kernel cell contributes to:
 * output cells y, y + 1, … read input cells x, x + step, …; taps on the padding are left out.
 */
function visitRuns(
  inputShape: Shape,
  kernelShape: Shape,
  outputShape: Shape,
  attributes: ConvolutionAttributes,
  visit: (y: number, x: number, kernel: number, count: number, step: number) => void,
): void {
  const [batch, inChannels] = inputShape;
  const [outChannels, perGroup] = kernelShape;
  const input = threeAxes(inputShape.slice(2), 1);
  const kernel = threeAxes(kernelShape.slice(2), 1);
  const output = threeAxes(outputShape.slice(2), 1);
  const stride = threeAxes(attributes.stride, 1);
  const padding = threeAxes(attributes.padding, 0);
  const dilation = threeAxes(attributes.dilation, 1);
  const outPerGroup = outChannels / attributes.groups;
  // Along each axis and for each tap t: input cell of output cell 0, and the output cells whose input cell exists.
  const taps = input.map((extent, a) =>
    Array.from({ length: kernel[a] }, (_, t) => {
      const origin = t * dilation[a] - padding[a];
      const low = Math.max(0, Math.ceil(-origin / stride[a]));
      const high = Math.min(output[a], Math.floor((extent - 1 - origin) / stride[a]) + 1);
      return { origin, low, high };
    })
  );
  for (let n = 0; n < batch; n++) {
    for (let o = 0; o < outChannels; o++) {
      for (let i = 0; i < perGroup; i++) {
        const plane = n * inChannels + Math.floor(o / outPerGroup) * perGroup + i;
        let cell = (o * perGroup + i) * sizeOf(kernel);
        for (const t0 of taps[0]) {
          for (const t1 of taps[1]) {
            for (const t2 of taps[2]) {
              for (let q0 = t0.low; q0 < t0.high; q0++) {
                for (let q1 = t1.low; q1 < t1.high; q1++) {
                  const x0 = q0 * stride[0] + t0.origin;
                  const x1 = q1 * stride[1] + t1.origin;
                  const x2 = t2.low * stride[2] + t2.origin;
                  const x = ((plane * input[0] + x0) * input[1] + x1) * input[2] + x2;
                  const y = (((n * outChannels + o) * output[0] + q0) * output[1] + q1) * output[2] + t2.low;
                  visit(y, x, cell, t2.high - t2.low, stride[2]);
                }
              }
              cell++;
            }
          }
        }
      }
    }
  }
}

/** x, kernel, bias → y. */
export const convolution: ReferenceOp<"convolution"> = {
  forward(inputs, attributes, outputShape) {
    const x = elements(inputs, 0);
    const kernel = elements(inputs, 1);
    const bias = inputs[2]?.handle.data;
    const y = new Float64Array(sizeOf(outputShape));
    const pixels = sizeOf(outputShape.slice(2));
    if (bias) { for (let i = 0; i < y.length; i++) y[i] = bias[Math.floor(i / pixels) % bias.length]; }
    visitRuns(
      shapeOf(inputs, 0),
      shapeOf(inputs, 1),
      outputShape,
      attributes,
      (y0, x0, cell, count, step) => {
        const weight = kernel[cell];
        for (let q = 0; q < count; q++) y[y0 + q] += weight * x[x0 + q * step];
      },
    );
    return { data: y };
  },

  /**
   * y is linear in x and in the kernel: y[q] = bias + sum over t of kernel[t] x[q stride + t dilation - padding].
   * So each product that the forward pass adds to y[q] hands G[q] kernel[t] to its x and G[q] x to its kernel[t];
   * the bias of a channel receives the sum of G over the batch and the pixels.
   */
  backward(gradient, inputs, attributes, needs) {
    const x = elements(inputs, 0);
    const kernel = elements(inputs, 1);
    const G = gradient.handle.data;
    const gradX = new Float64Array(x.length);
    const gradKernel = new Float64Array(kernel.length);
    visitRuns(
      shapeOf(inputs, 0),
      shapeOf(inputs, 1),
      gradient.shape,
      attributes,
      (y0, x0, cell, count, step) => {
        const weight = kernel[cell];
        let sum = 0;
        for (let q = 0; q < count; q++) {
          gradX[x0 + q * step] += weight * G[y0 + q];
          sum += x[x0 + q * step] * G[y0 + q];
        }
        gradKernel[cell] += sum;
      },
    );
    const gradBias = inputs[2] ? new Float64Array(shapeOf(inputs, 2)[0]) : null;
    if (gradBias) {
      const pixels = sizeOf(gradient.shape.slice(2));
      for (let i = 0; i < G.length; i++) gradBias[Math.floor(i / pixels) % gradBias.length] += G[i];
    }
    return asked(needs, [gradX, gradKernel, gradBias]);
  },
};
