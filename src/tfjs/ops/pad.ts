/** pad on tfjs: strips of the input, reversed, repeated or moved, joined to its ends, one axis after the other. */
import * as tf from "@tensorflow/tfjs";
import type { PadAttributes } from "../../ops/pad.ts";
import type { TfjsOp } from "../op.ts";

/** The strips of x `[before, extent, after]` that go before and behind it. */
function strips(x: tf.Tensor3D, padding: number, mode: PadAttributes["mode"]): [tf.Tensor3D, tf.Tensor3D] {
  const extent = x.shape[1];
  const strip = (from: number, length: number): tf.Tensor3D => tf.slice(x, [0, from, 0], [-1, length, -1]);
  if (mode === "circular") return [strip(extent - padding, padding), strip(0, padding)];
  if (mode === "reflect") {
    return [tf.reverse(strip(1, padding), 1), tf.reverse(strip(extent - 1 - padding, padding), 1)];
  }
  return [tf.tile(strip(0, 1), [1, padding, 1]), tf.tile(strip(extent - 1, 1), [1, padding, 1])];
}

/** x `[N, ...spatial, C]`. (tf.mirrorPad's own gradient leaves out what was reflected.) */
export const pad: TfjsOp<PadAttributes> = {
  images: [0],
  forward([input], { padding, mode }) {
    let x = input!;
    padding.forEach((cells, a) => {
      if (cells === 0) return;
      const [before, extent, after] = [x.shape.slice(0, a + 1), x.shape[a + 1], x.shape.slice(a + 2)];
      const flat = tf.reshape(x, [product(before), extent, product(after)]) as tf.Tensor3D;
      const [left, right] = strips(flat, cells, mode);
      x = tf.reshape(tf.concat([left, flat, right], 1), [...before, extent + 2 * cells, ...after]);
    });
    return x;
  },
};

function product(extents: readonly number[]): number {
  return extents.reduce((all, extent) => all * extent, 1);
}
