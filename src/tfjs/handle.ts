/**
 * Storage of one tensor on tfjs, and the memory layout it is in.
 *
 * Shapes of this module are channels first, `[N, C, ...spatial]`; the kernels of tfjs want channels last. A chain
 * of image ops would transpose before and after every op, so a handle remembers which of the two it holds and is
 * converted when an op asks for the other one.
 */
import * as tf from "@tensorflow/tfjs";
import { sameShape, type Shape } from "../spec.ts";

/** `first`: the module's own order. `last`: `[N, ...spatial, C]`. The same thing for fewer than three axes. */
export type Layout = "first" | "last";

/** A tfjs tensor that updates and conversions may replace. */
export interface TfjsHandle {
  tensor: tf.Tensor;
  /** The order that `tensor` is in. */
  layout: Layout;
  /** The shape that `tensor` was last seen under, channels first whatever the layout. */
  shape: Shape;
}

/** The extents of a tensor of this shape in that layout. */
export function physicalShape(shape: Shape, layout: Layout): number[] {
  return layout === "first" || shape.length < 3 ? [...shape] : [shape[0], ...shape.slice(2), shape[1]];
}

/** The handle's tensor as `shape` in `layout`; the handle keeps a conversion in place of what it held. */
export function viewed(handle: TfjsHandle, shape: Shape, layout: Layout): tf.Tensor {
  const sameView = sameShape(handle.shape, shape);
  if (handle.layout === "last" && (layout === "first" || !sameView)) {
    replaceTensor(handle, toFirst(handle.tensor), "first");
  }
  if (!sameView) { // only channels first do the values under two shapes agree
    replaceTensor(handle, tf.reshape(handle.tensor, [...shape]), "first");
    handle.shape = shape;
  }
  if (handle.layout === "first" && layout === "last" && shape.length >= 3) {
    replaceTensor(handle, toLast(handle.tensor), "last");
  }
  return handle.tensor;
}

/** Puts a tensor into the handle, out of reach of tf.tidy, and disposes of the one before. */
export function replaceTensor(handle: TfjsHandle, tensor: tf.Tensor, layout: Layout): void {
  handle.tensor.dispose();
  handle.tensor = tf.keep(tensor);
  handle.layout = layout;
}

function toLast(tensor: tf.Tensor): tf.Tensor {
  if (tensor.size === 0) return tf.reshape(tensor, physicalShape(tensor.shape, "last"));
  const [batch, channels, ...spatial] = tensor.shape;
  const flat = tf.reshape(tensor, [batch, channels, extent(spatial)]);
  return tf.reshape(tf.transpose(flat, [0, 2, 1]), [batch, ...spatial, channels]);
}

function toFirst(tensor: tf.Tensor): tf.Tensor {
  const [batch, channels, spatial] = [tensor.shape[0], tensor.shape.at(-1)!, tensor.shape.slice(1, -1)];
  if (tensor.size === 0) return tf.reshape(tensor, [batch, channels, ...spatial]);
  const flat = tf.reshape(tensor, [batch, extent(spatial), channels]);
  return tf.reshape(tf.transpose(flat, [0, 2, 1]), [batch, channels, ...spatial]);
}

function extent(shape: Shape): number {
  return shape.reduce((product, axis) => product * axis, 1);
}
