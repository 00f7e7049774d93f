/**
 * convBackwardInput: dx[n, group I + i, p] = sum over o in the group, t of kernel[o, i, t] dy[n, o, (p + padding - t dilation) / stride],
 * over the taps for which the division leaves no remainder.
 *
 * It has no kernel of its own. With taps mirrored, t' = size - 1 - t, and padding' = dilation (size - 1) - padding, dx's cell p
 * meets dy's cell q where q stride = p + t' dilation - padding': a convolution over dy at stride 1, whose input cells
 * lie `stride` apart. The kernels of `convolution` know such a `spread`.
 */
import type { ConvolutionGeometry } from "./convolution.ts";

/** The convolution over dy that gives dx, with in and out exchanged; its padding may be negative. */
export function mirroredGeometry(geometry: ConvolutionGeometry): ConvolutionGeometry {
  const { inChannels, outChannels, groups, input, output, size, stride, padding, dilation } = geometry;
  return {
    inChannels: outChannels,
    outChannels: inChannels,
    groups,
    input: output,
    output: input,
    size,
    stride: stride.map(() => 1),
    padding: padding.map((p, a) => dilation[a] * (size[a] - 1) - p),
    dilation,
    spread: stride,
  };
}
