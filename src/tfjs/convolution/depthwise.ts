/**
 * Depthwise convolution as a few calls of tfjs's own. On wasm that one is fast for kernels of exactly 4, 9 or 25 taps
 * and six times slower for all others (XNNPACK's unrolled kernels), so larger kernels are dealt out to several
 * dilated ones of 25: tap t goes to kernel t mod count, and each moves over the input as a whole.
 */
import * as tf from "@tensorflow/tfjs";
import type { Shape } from "../../spec.ts";
import { unstack } from "../functions.ts";
import { crop, explicitPadding, paddingBehind, type Pair, pair, type Window } from "./plane.ts";

/** The fast kernels. */
const TILES: readonly Pair[] = [[2, 2], [1, 4], [4, 1], [3, 3], [1, 9], [9, 1], [5, 5], [1, 25], [25, 1]];

/** How many tiles cover the kernel along each axis, and what they cost together: taps, and 4 per call. */
function cover(kernel: Pair, tile: Pair): { counts: Pair; cost: number } {
  const counts = pair((a) => Math.ceil(kernel[a] / tile[a]));
  return { counts, cost: counts[0] * counts[1] * (tile[0] * tile[1] + 4) };
}

function bestTile(kernel: Pair): Pair {
  return TILES.reduce((best, tile) => cover(kernel, tile).cost < cover(kernel, best).cost ? tile : best);
}

/**
 * Whether the tiles are to be preferred to banded rows. Nanoseconds per output and channel, measured on one core of
 * an EPYC: 0.25 a tap here; 0.08 a multiplication there, and 3 for the transposes.
 */
export function tapsFit(input: Shape, kernel: Shape, output: Pair, { stride }: Window): boolean {
  const extent: Pair = [kernel[2], kernel[3]];
  const { counts, cost } = cover(extent, bestTile(extent));
  if (counts[0] * counts[1] > 1 && Math.max(...stride) > 1) return false;
  const padded = 8 * Math.ceil(output[1] / 8) / output[1];
  return 0.25 * cost < 0.08 * extent[0] * input[2] * padded + 3;
}

/** x `[N, H, W, C]`, kernel `[C * multiplier, 1, rows, columns]`. */
export function depthwiseByTaps(
  input: tf.Tensor4D,
  kernel: tf.Tensor4D,
  output: Pair,
  { stride, dilation, low }: Window,
): tf.Tensor4D {
  const channels = input.shape[3];
  const [outputs, , rows, columns] = kernel.shape;
  const tile = bestTile([rows, columns]);
  const { counts } = cover([rows, columns], tile);
  const steps = pair((a) => counts[a] * dilation[a]);
  const last = tf.transpose(tf.reshape(kernel, [outputs, rows, columns]), [1, 2, 0]) as tf.Tensor3D;
  const full = tf.pad(last, [[0, tile[0] * counts[0] - rows], [0, tile[1] * counts[1] - columns], [0, 0]]);
  const dealt = tf.transpose(tf.reshape(full, [tile[0], counts[0], tile[1], counts[1], outputs]), [
    1,
    3,
    0,
    2,
    4,
  ]);
  const tiles = unstack(tf.reshape(dealt, [counts[0] * counts[1], -1]), [
    ...tile,
    channels,
    outputs / channels,
  ]);
  const parts = tiles.flatMap((filter, t) => {
    const start: Pair = [Math.floor(t / counts[1]), t % counts[1]];
    const before = pair((a) => low[a] - start[a] * dilation[a]);
    const behind = pair((a) =>
      paddingBehind(input.shape[a + 1], tile[a], output[a], stride[a], steps[a], before[a])
    );
    const seen = crop(input, { stride, dilation: steps, low: before, high: behind });
    if (!seen) return [];
    return tf.depthwiseConv2d(
      seen.x,
      filter as tf.Tensor4D,
      stride,
      // Typed without explicit padding, which it takes as conv2d does.
      explicitPadding(seen.window) as unknown as "valid",
      "NHWC",
      steps,
    );
  });
  if (parts.length === 0) return tf.zeros([input.shape[0], ...output, outputs]);
  return parts.reduce((sum, part) => tf.add(sum, part));
}
