/** 2-d convolution of any groups on tfjs, in channels-last planes; its gradient by the input is one, too. */
import * as tf from "@tensorflow/tfjs";
import { outputExtent } from "../../spec.ts";
import { unstack } from "../functions.ts";
import { depthwiseByTaps, tapsFit } from "./depthwise.ts";
import {
  bands,
  crop,
  dilate,
  explicitPadding,
  isMixed,
  type Pair,
  pair,
  prefersBands,
  spread,
  type Window,
} from "./plane.ts";

/** x `[N, H, W, C]`, kernel `[O, C/groups, rows, columns]` → `[N, ...output, O]`. */
export function convolve(
  input: tf.Tensor4D,
  weights: tf.Tensor4D,
  groups: number,
  asked: Window,
): tf.Tensor4D {
  const mixed = isMixed(asked);
  const kernel = mixed ? dilate(weights, asked.dilation) : weights;
  const window: Window = mixed ? { ...asked, dilation: [1, 1] } : asked;
  const output = pair((a) => {
    const padded = input.shape[a + 1] + window.low[a] + window.high[a];
    return outputExtent(padded, kernel.shape[a + 2], window.stride[a], 0, window.dilation[a]);
  });
  if (kernel.shape[1] === 1 && groups > 1 && tapsFit(input.shape, kernel.shape, output, window)) {
    return depthwiseByTaps(input, kernel, output, window);
  }
  const cropped = crop(input, window);
  if (!cropped) return tf.zeros([input.shape[0], ...output, kernel.shape[0]]);
  return groupByGroup(cropped.x, kernel, groups, output, cropped.window);
}

/**
 * dx[i] = Σ kernel[t] dy[q] over q * stride + t * dilation - low = i: a convolution of dy, zeros put between its cells,
 * with the kernel turned around and its channels swapped.
 */
export function inputGradient(
  dy: tf.Tensor4D,
  kernel: tf.Tensor4D,
  groups: number,
  { stride, dilation, low }: Window,
  extent: Pair,
): tf.Tensor4D {
  const [outputs, inputs, rows, columns] = kernel.shape;
  const grouped = tf.reshape(kernel, [groups, outputs / groups, inputs, rows * columns]);
  const turned = tf.transpose(tf.reverse(grouped, 3), [0, 2, 1, 3]);
  const spaced = spread(dy, stride);
  const reach = pair((a) => dilation[a] * (kernel.shape[a + 2] - 1));
  const before = pair((a) => reach[a] - low[a]);
  return convolve(spaced, tf.reshape(turned, [groups * inputs, outputs / groups, rows, columns]), groups, {
    stride: [1, 1],
    dilation,
    low: before,
    high: pair((a) => extent[a] + reach[a] - spaced.shape[a + 1] - before[a]),
  });
}

/** One dense convolution per group, over rows and columns or, with the columns as channels, over rows alone. */
function groupByGroup(
  x: tf.Tensor4D,
  kernel: tf.Tensor4D,
  groups: number,
  output: Pair,
  window: Window,
): tf.Tensor4D {
  const [batch, height, width] = x.shape;
  const [outputs, inputs, rows, columns] = kernel.shape;
  const each = outputs / groups;
  const { stride, dilation, low, high } = window;
  if (!prefersBands(columns, width, output[1], each)) {
    const filters = tf.transpose(tf.reshape(kernel, [groups, each, inputs, rows * columns]), [0, 3, 2, 1]);
    const kernels = unstack(filters, [rows, columns, inputs, each]);
    const padding = explicitPadding(window);
    const planes = tf.reshape(x, [batch, height * width, groups, inputs]);
    const parts = leading(planes, [2, 0, 1, 3], [batch, height, width, inputs]).map((plane, g) =>
      tf.conv2d(plane, kernels[g] as tf.Tensor4D, stride, padding, "NHWC", dilation)
    );
    if (groups === 1) return parts[0];
    const joined = tf.reshape(tf.stack(parts), [groups, batch * output[0] * output[1], each]);
    return tf.reshape(tf.transpose(joined, [1, 0, 2]), [batch, ...output, outputs]);
  }
  const taps = tf.transpose(tf.reshape(kernel, [groups, each, inputs, rows, columns]), [0, 3, 2, 1, 4]);
  const banded = tf.matMul(tf.reshape(taps, [-1, columns]), bands(columns, width, output[1], window));
  const filters = tf.transpose(tf.reshape(banded, [groups * rows * inputs, each, width, output[1]]), [
    0,
    2,
    1,
    3,
  ]);
  const kernels = unstack(tf.reshape(filters, [groups, -1]), [rows, 1, inputs * width, each * output[1]]);
  const padding = explicitPadding({ low: [low[0], 0], high: [high[0], 0] });
  const lines = tf.reshape(x, [batch * height, width, groups, inputs]);
  const parts = leading(lines, [2, 0, 3, 1], [batch, height, 1, inputs * width]).map((line, g) =>
    tf.conv2d(line, kernels[g] as tf.Tensor4D, [stride[0], 1], padding, "NHWC", [dilation[0], 1])
  );
  const joined = tf.reshape(tf.stack(parts), [groups, batch * output[0], each, output[1]]);
  tf.dispose(parts);
  return tf.reshape(tf.transpose(joined, [1, 3, 0, 2]), [batch, ...output, outputs]);
}

/** The tensors along the leading axis of x transposed, each in the shape given; the transposed one is freed. */
export function leading(
  x: tf.Tensor,
  order: number[],
  shape: [number, number, number, number],
): tf.Tensor4D[] {
  return tf.tidy(() => unstack(tf.transpose(x, order), shape) as tf.Tensor4D[]);
}
