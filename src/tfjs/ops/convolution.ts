/**
 * convolution on tfjs. One axis is a plane of one row; three are a sum over the kernel's depth of convolutions over
 * planes, with the depth of the input in the batch (tfjs's conv3d has a wrong gradient on wasm and no groups).
 */
import * as tf from "@tensorflow/tfjs";
import type { ConvolutionAttributes } from "../../ops/convolution.ts";
import { convolve, inputGradient } from "../convolution/forward.ts";
import { kernelGradient } from "../convolution/kernelGradient.ts";
import { paddingBehind, type Pair, pair, type Window } from "../convolution/plane.ts";
import { columnSum, selectLeading, unstack } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** x `[N, ...spatial, C]`, kernel `[O, C/groups, ...S]`, bias `[O]`. Backward by hand: see `src/tfjs/convolution`. */
export const convolution: TfjsOp<ConvolutionAttributes> = {
  images: [0],
  forward([input, weights, bias], attributes, outputShape) {
    const { x, kernel, window, depth, groups, batch } = planes(
      input!,
      weights!,
      attributes,
      outputShape.slice(2),
    );
    const parts = kernel.map((plane, z) => () => convolve(x(depth.inputOf(z)), plane, groups, window));
    const y = joinDepth(sumOf(parts), batch, outputShape.slice(2), outputShape[1]);
    return bias ? tf.add(y, bias) : y;
  },
  backward(gradient, [input, weights], attributes, needs) {
    const output = gradient.shape.slice(1, -1);
    const { x, kernel, window, depth, groups, batch, extent } = planes(input!, weights!, attributes, output);
    const dy = depthSelector(gradient);
    const towardsInput = (): tf.Tensor => {
      const parts = kernel.map((plane, z) => () =>
        inputGradient(dy(depth.outputOf(z)), plane, groups, window, extent)
      );
      return joinDepth(sumOf(parts), batch, input!.shape.slice(1, -1), input!.shape.at(-1)!);
    };
    const towardsKernel = (): tf.Tensor => {
      const parts = kernel.map((plane, z) =>
        tf.tidy(() => kernelGradient(x(depth.inputOf(z)), dy(depth.outputs), plane.shape, groups, window))
      );
      const [outputs, inputs, rows, columns] = kernel[0].shape;
      const stacked = tf.reshape(tf.stack(parts), [parts.length, outputs * inputs, rows * columns]);
      return tf.reshape(tf.transpose(stacked, [1, 0, 2]), weights!.shape);
    };
    return [
      needs[0] ? towardsInput() : null,
      needs[1] ? towardsKernel() : null,
      needs[2] ? columnSum(gradient) : null,
    ];
  },
};

/** Which slices of the depth meet: a list has one entry per slice on the other side, -1 where there is none. */
interface Depth {
  /** For kernel slice z: the input slice under each output slice. */
  inputOf(z: number): number[];
  /** For kernel slice z: the output slice over each input slice. */
  outputOf(z: number): number[];
  readonly outputs: number[];
}

interface Planes {
  /** Chosen slices of the input, `[slices * N, H, W, C]`. */
  x(slices: readonly number[]): tf.Tensor4D;
  /** `[O, C/groups, rows, columns]` per slice of the depth. */
  readonly kernel: readonly tf.Tensor4D[];
  readonly window: Window;
  readonly depth: Depth;
  readonly groups: number;
  readonly batch: number;
  /** Rows and columns of the input. */
  readonly extent: Pair;
}

function planes(
  input: tf.Tensor,
  weights: tf.Tensor,
  { stride, padding, dilation, groups }: ConvolutionAttributes,
  outputSpatial: readonly number[],
): Planes {
  const full = (list: readonly number[], filler: number): number[] => [filler, filler, ...list].slice(-3);
  const [D, H, W] = full(input.shape.slice(1, -1), 1);
  const [outD, ...out] = full(outputSpatial, 1);
  const [kD, kH, kW] = full(weights.shape.slice(2), 1);
  const [[sD, ...s], [pD, ...p], [dD, ...d]] = [full(stride, 1), full(padding, 0), full(dilation, 1)];
  const within = (index: number, extent: number): number =>
    Number.isInteger(index) && index >= 0 && index < extent ? index : -1;
  const [outputs, inputs] = weights.shape;
  const byDepth = tf.transpose(tf.reshape(weights, [outputs * inputs, kD, kH * kW]), [1, 0, 2]);
  const [low, steps, gaps] = [p, s, d].map((list) => pair((a) => list[a]));
  return {
    x: depthSelector(input),
    kernel: unstack(byDepth, [outputs, inputs, kH, kW]) as tf.Tensor4D[],
    window: {
      stride: steps,
      dilation: gaps,
      low,
      high: pair((a) => paddingBehind([H, W][a], [kH, kW][a], out[a], s[a], d[a], p[a])),
    },
    depth: {
      inputOf: (z) => Array.from({ length: outD }, (_, q) => within(q * sD + z * dD - pD, D)),
      outputOf: (z) => Array.from({ length: D }, (_, i) => within((i + pD - z * dD) / sD, outD)),
      outputs: Array.from({ length: outD }, (_, q) => q),
    },
    groups,
    batch: input.shape[0],
    extent: [H, W],
  };
}

/** A function that gives chosen slices of the depth of `[N, ...spatial, C]` as planes, batch by batch. */
function depthSelector(x: tf.Tensor): (slices: readonly number[]) => tf.Tensor4D {
  const [batch, spatial, channels] = [x.shape[0], x.shape.slice(1, -1), x.shape.at(-1)!];
  const [rows, columns] = [1, ...spatial].slice(-2);
  if (spatial.length < 3) return () => tf.reshape(x, [batch, rows, columns, channels]);
  const plane = rows * columns * channels;
  const depthFirst = tf.transpose(tf.reshape(x, [batch, spatial[0], plane]), [1, 0, 2]);
  return (slices) => {
    const [chosen] = selectLeading(depthFirst, [slices]);
    return tf.reshape(chosen, [slices.length * batch, rows, columns, channels]);
  };
}

/** `[depth * N, H, W, C]` → `[N, ...spatial, C]`. */
function joinDepth(x: tf.Tensor, batch: number, spatial: readonly number[], channels: number): tf.Tensor {
  if (spatial.length < 3) return tf.reshape(x, [batch, ...spatial, channels]);
  const depthFirst = tf.reshape(x, [spatial[0], batch, x.size / (spatial[0] * batch)]);
  return tf.reshape(tf.transpose(depthFirst, [1, 0, 2]), [batch, ...spatial, channels]);
}

/** Adds up what the functions return, one at a time. */
function sumOf(parts: readonly (() => tf.Tensor)[]): tf.Tensor {
  let sum: tf.Tensor | null = null;
  for (const part of parts) {
    const next: tf.Tensor = tf.tidy(() => sum ? tf.add(sum, part()) : part());
    sum?.dispose();
    sum = next;
  }
  return sum!;
}
