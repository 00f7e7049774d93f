/**
 * constructKernel on tfjs: factors per axis, `[rows, K, S]`, joined by batched matrix products over K, so that
 * nothing larger than the factors, the output and one plane of products per leading cell is ever made.
 */
import * as tf from "@tensorflow/tfjs";
import { EPSILON, INTERPOLATION } from "../../interpolation.ts";
import type { ConstructKernelAttributes } from "../../ops/constructKernel.ts";
import { absolute } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** weight `[..., K]`, P and SIG `[axes, ..., K]`; gradients by tf.grads, ties by the functions below. */
export const constructKernel: TfjsOp<ConstructKernelAttributes> = {
  images: [],
  forward([weight, P, SIG], { version, spreadOffset, size, weightShape, kernelShape }) {
    const K = weightShape.at(-1)!;
    const rows = weight!.size / K;
    const perAxis = (x: tf.Tensor): tf.Tensor[] => {
      const axes = tf.reshape(x, [size.length, rows * K]);
      return size.map((_, a) => tf.reshape(tf.slice(axes, [a, 0], [1, -1]), [rows, K, 1]));
    };
    const spreads = SIG && perAxis(SIG);
    const factors = perAxis(P!).map((p, a) => {
      const cells = centredCells(size[a]);
      if (version === "v0") return bilinear(p, cells);
      const d = tf.sub(cells, p);
      if (!spreads) return triangle(d, tf.scalar(1));
      const s = tf.add(absolute(spreads[a]), spreadOffset);
      return version === "max" ? triangle(d, s) : gaussian(d, s);
    });
    let share = tf.reshape(weight!, [rows, K, 1]);
    if (INTERPOLATION[version].normalised) {
      const sums = factors.map((factor) => tf.sum(factor, 2, true));
      share = tf.div(share, tf.add(sums.reduce((product, sum) => tf.mul(product, sum)), EPSILON));
    }
    return tf.reshape(contract(share, factors), [...kernelShape]);
  },
};

/** Cells of an axis, counted from its centre cell, `[1, 1, S]`. */
function centredCells(extent: number): tf.Tensor {
  const centre = Math.floor(extent / 2);
  return tf.tensor(Float32Array.from({ length: extent }, (_, cell) => cell - centre), [1, 1, extent]);
}

/**
 * Σ over K of share * the product of all axes' factors, `[rows, ...S]`; share `[rows, K, 1]`, factors `[rows, K, S]`.
 * (Slices, as the gradients of tf.unstack and tf.split fail for a single part.)
 */
function contract(share: tf.Tensor, [first, ...rest]: readonly tf.Tensor[]): tf.Tensor {
  if (rest.length === 0) return tf.matMul(share, first, true, false);
  if (rest.length === 1) return tf.matMul(tf.mul(share, first), rest[0], true, false);
  const cells = Array.from({ length: first.shape[2]! }, (_, i) => tf.slice(first, [0, 0, i], [-1, -1, 1]));
  return tf.stack(cells.map((cell) => contract(tf.mul(share, cell), rest)), 1);
}

/**
 * `v0`, as floor and remainder: with f = floor(p) and r = p - f, the cell f has the factor 1 - r and the next one r;
 * the derivatives -1 and +1 hold at ties, too. Factors are products with masks, so that NaN stays NaN.
 */
const bilinear = tf.customGrad((position, cellRow, save) => {
  const [p, cells] = [position as tf.Tensor, cellRow as tf.Tensor];
  const floor = tf.floor(p);
  const remainder = tf.sub(p, floor);
  const at = tf.cast(tf.equal(cells, floor), "float32");
  const next = tf.cast(tf.equal(cells, tf.add(floor, 1)), "float32");
  (save as tf.GradSaveFunc)([tf.sub(next, at), cells]);
  return {
    value: tf.add(tf.mul(at, tf.sub(1, remainder)), tf.mul(next, remainder)),
    gradFunc: (dy: tf.Tensor, [slope, cells]: tf.Tensor[]) => [
      tf.sum(tf.mul(dy, slope), 2, true),
      tf.zerosLike(cells),
    ],
  };
});

/** max(0, s - |d|): abs'(0) is {@linkcode absolute}'s, relu'(0) = 0 is tfjs's own. */
function triangle(d: tf.Tensor, s: tf.Tensor): tf.Tensor {
  return tf.relu(tf.sub(s, absolute(d)));
}

/** exp(-d² / (2 s²)). */
function gaussian(d: tf.Tensor, s: tf.Tensor): tf.Tensor {
  return tf.exp(tf.mul(tf.square(tf.div(d, s)), -0.5));
}
