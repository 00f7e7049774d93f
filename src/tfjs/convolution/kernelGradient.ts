/** The gradient of a 2-d convolution by its kernel: tfjs's wasm engine has no kernel for it, so it is a convolution. */
import * as tf from "@tensorflow/tfjs";
import type { Shape } from "../../spec.ts";
import { leading } from "./forward.ts";
import {
  bands,
  crop,
  explicitPadding,
  isMixed,
  paddingBehind,
  type Pair,
  pair,
  prefersBands,
  spread,
  type Window,
} from "./plane.ts";

/**
 * dkernel[o, i, t] = Σ over n and q of x[n, q * stride + t * dilation - low, i] dy[n, q, o]: x, with channels as batch
 * and the batch as channels, convolved with dy as the kernel; stride and dilation change places.
 * x `[N, H, W, C]`, dy `[N, ...output, O]` → `[O, C/groups, rows, columns]`.
 */
export function kernelGradient(
  input: tf.Tensor4D,
  gradient: tf.Tensor4D,
  kernelShape: Shape,
  groups: number,
  asked: Window,
): tf.Tensor4D {
  const mixed = isMixed(asked);
  const dy = mixed ? spread(gradient, asked.stride) : gradient;
  const stride: Pair = mixed ? [1, 1] : asked.stride;
  const [outputs, inputs, rows, columns] = kernelShape;
  const { dilation, low } = asked;
  const high = pair((a) =>
    paddingBehind(input.shape[a + 1], dy.shape[a + 1], kernelShape[a + 2], dilation[a], stride[a], low[a])
  );
  const banded = prefersBands(columns, input.shape[2], dy.shape[2], outputs / groups);
  // Bands know of the columns' padding: only the rows are cropped for them.
  const seen = crop(input, {
    stride,
    dilation,
    low: banded ? [low[0], 0] : low,
    high: banded ? [high[0], 0] : high,
  });
  if (!seen) return tf.zeros([outputs, inputs, rows, columns]);
  const { x, window } = seen;
  const [batch, height, width] = x.shape;
  const [, outHeight, outWidth] = dy.shape;
  const each = outputs / groups;
  const padding = explicitPadding(window);
  if (!banded) {
    const planes = tf.reshape(x, [batch, height * width, groups, inputs]);
    const filters = tf.reshape(dy, [batch, outHeight * outWidth, groups, each]);
    const kernels = leading(filters, [2, 1, 0, 3], [outHeight, outWidth, batch, each]);
    const parts = leading(planes, [2, 3, 1, 0], [inputs, height, width, batch]).map((plane, g) =>
      tf.conv2d(plane, kernels[g], dilation, padding, "NHWC", stride)
    );
    const joined = tf.reshape(tf.stack(parts), [groups, inputs, rows * columns, each]);
    return tf.reshape(tf.transpose(joined, [0, 3, 1, 2]), [outputs, inputs, rows, columns]);
  }
  const lines = tf.reshape(x, [batch, height, width, groups, inputs]);
  const filters = tf.reshape(dy, [batch, outHeight, outWidth, groups, each]);
  const kernels = leading(filters, [3, 1, 0, 4, 2], [outHeight, 1, batch, each * outWidth]);
  const parts = leading(lines, [3, 4, 2, 1, 0], [inputs * width, height, 1, batch]).map((line, g) =>
    tf.conv2d(line, kernels[g], [dilation[0], 1], padding, "NHWC", [stride[0], 1])
  );
  const joined = tf.reshape(tf.stack(parts), [groups, inputs, width, rows, each, outWidth]);
  const products = tf.reshape(tf.transpose(joined, [0, 4, 1, 3, 2, 5]), [
    -1,
    width * outWidth,
  ]) as tf.Tensor2D;
  const sums = tf.transpose(bands(columns, width, outWidth, { ...asked, stride }));
  return tf.reshape(tf.matMul(products, sums), [outputs, inputs, rows, columns]);
}
