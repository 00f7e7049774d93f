/** pointwiseResidual on tfjs: the ops it is made of; what is cheap is computed again in the backward, not kept. */
import * as tf from "@tensorflow/tfjs";
import type { PointwiseResidualAttributes } from "../../ops/pointwiseResidual.ts";
import type { TfjsOp } from "../op.ts";
import { pointwise } from "./pointwise.ts";
import { geluAndSlope, unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** An image times keep `[N]`, sample by sample. */
function kept(image: tf.Tensor, keep: tf.Tensor | null): tf.Tensor {
  return keep ? tf.mul(image, tf.reshape(keep, [keep.size, ...image.shape.slice(1).map(() => 1)])) : image;
}

/**
 * x `[N, ...spatial, C]`, weight `[M, C]`, bias and scale `[M]`, shortcut `[N, ...spatial, M]`, keep `[N]`.
 * With f the activation, g = keep dy, T[m, c] = Σ g[m] f(x)[c] and t = Σ g over all pixels:
 *   dweight = scale T, dbias = scale t, dscale[m] = Σ over c of weight[m, c] T[m, c] + bias[m] t[m]
 *   dx = f'(x) (scale weight)ᵀ g, dshortcut = dy
 * so that the output before its scale is neither kept nor computed again.
 */
export const pointwiseResidual: TfjsOp<PointwiseResidualAttributes> = {
  images: [0, 4],
  forward([x, weight, bias, scale, shortcut, keep], { activation }) {
    const activated = activation === "none" ? x! : unary.forward([x], GELU, x!.shape);
    const sums = pointwise.forward([activated, weight, bias], {}, shortcut!.shape);
    return tf.add(shortcut!, kept(scale ? tf.mul(sums, scale) : sums, keep));
  },
  backward(dy, [x, weight, bias, scale, , keep], { activation }, needs) {
    const g = kept(dy, keep), column = scale && tf.reshape(scale, [scale.size, 1]);
    const [activated, slope] = activation === "none" ? [x!, null] : geluAndSlope(x!);
    const [, T, t] = needs[1] || needs[2] || needs[3]
      ? pointwise.backward!(g, [activated, weight, bias], {}, [false, true, true])
      : [];
    let dx: tf.Tensor | null = null;
    if (needs[0]) {
      // scale goes into what is smaller
      const image = weight!.size > dy.size, plain = !column;
      const from = plain || !image ? g : tf.mul(g, scale!);
      const scaled = plain || image ? weight! : tf.mul(weight!, column);
      [dx] = pointwise.backward!(from, [activated, scaled, null], {}, [true, false, false]);
      dx = tf.reshape(dx!, x!.shape);
      if (slope) dx = tf.mul(dx, slope);
    }
    const along = needs[3] ? tf.sum(tf.mul(weight!, T!), 1) : null;
    return [
      dx,
      needs[1] ? (column ? tf.mul(T!, column) : T!) : null,
      needs[2] ? (scale ? tf.mul(t!, scale) : t!) : null,
      along && (bias ? tf.add(along, tf.mul(bias, t!)) : along),
      needs[4] ? dy : null,
      null,
    ];
  },
};
