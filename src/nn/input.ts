/** What convolutional layers check of their input before an op sees it, so that errors name the layer. */
import { type PaddingMode, type Shape, shapeText } from "../spec.ts";
import { Tensor } from "../tensor.ts";
import { convolution } from "./functional.ts";

const AXIS_NAMES = [["L"], ["H", "W"], ["D", "H", "W"]];

/** What a layer tells about its convolution; lists have one entry per spatial axis. */
export interface ConvolutionLayer {
  /** Class name. */
  readonly name: string;
  /** Channels of the input. */
  readonly inChannels: number;
  /** Extents of the kernel, without dilation. */
  readonly kernelSize: Shape;
  /** Step of the convolution. */
  readonly stride: Shape;
  /** Cells added on both sides. */
  readonly padding: Shape;
  /** Distance of neighbouring kernel cells. */
  readonly dilation: Shape;
  /** Groups of channels; `inChannels` for a depthwise layer. */
  readonly groups: number;
  /** How the input is extended beyond its borders. */
  readonly paddingMode: PaddingMode;
}

/** Throws unless the input fits the layer; whether it has a batch axis. */
function checkInput(layer: ConvolutionLayer, x: Tensor): boolean {
  const { name, inChannels, kernelSize, padding, dilation, paddingMode } = layer;
  const axes = AXIS_NAMES[kernelSize.length - 1];
  if (!(x instanceof Tensor)) {
    throw new TypeError(`Cannot run ${name}: input must be a Tensor, got ${x === null ? "null" : typeof x}`);
  }
  const batched = x.shape.length === axes.length + 2;
  if ((!batched && x.shape.length !== axes.length + 1) || x.shape[batched ? 1 : 0] !== inChannels) {
    const spatial = axes.join(", ");
    throw new RangeError(
      `Cannot run ${name}: input must be [N, ${inChannels}, ${spatial}] or [${inChannels}, ${spatial}], got ${
        shapeText(x.shape)
      }`,
    );
  }
  x.shape.slice(batched ? 2 : 1).forEach((extent, a) => {
    const most = paddingMode === "reflect" ? extent - 1 : paddingMode === "circular" ? extent : Infinity;
    if (padding[a] > most) {
      throw new RangeError(
        `Cannot run ${name}: ${paddingMode} padding must be at most ${most} where the input has ${extent} cells, ` +
          `got padding ${padding[a]} along ${axes[a]}`,
      );
    }
    const reach = dilation[a] * (kernelSize[a] - 1) + 1;
    if (reach > extent + 2 * padding[a]) {
      throw new RangeError(
        `Cannot run ${name}: the kernel must fit into the padded input, got a kernel of ${reach} cells and ` +
          `${extent} + 2 * ${padding[a]} cells of input along ${axes[a]}`,
      );
    }
  });
  return batched;
}

/**
 * Runs a layer's convolution on `[N, C, ...spatial]` or `[C, ...spatial]`.
 * @param kernel makes the kernel, once the input is known to fit
 * @throws {RangeError | TypeError} naming the layer, its rule and the input
 */
export function convolve(
  layer: ConvolutionLayer,
  x: Tensor,
  kernel: () => Tensor,
  bias: Tensor | null,
): Tensor {
  if (checkInput(layer, x)) return convolution(x, kernel(), bias, layer);
  const y = convolution(x.reshape([1, ...x.shape]), kernel(), bias, layer);
  return y.reshape(y.shape.slice(1));
}
