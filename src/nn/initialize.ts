/** Initial values, as PyTorch's layers have them. Every parameter draws from a stream of its own. */
import { createRandom, fillNormal, fillUniform } from "../random.ts";
import { type Shape, sizeOf } from "../spec.ts";

/** A seed made of another one and a number: parameters and layers that must not repeat each other's values. */
export function deriveSeed(seed: number, stream: number): number {
  return createRandom(seed, stream).integer(2 ** 32);
}

/** The number of inputs that reach one output: all extents of a weight but the first. */
export function fanIn(weightShape: Shape): number {
  return sizeOf(weightShape.slice(1));
}

/**
 * Kaiming-uniform with a = √5, PyTorch's default for weights: gain √(2 / (1 + a²)) = √(1/3), so the bound
 * gain · √(3 / fanIn) is 1 / √fanIn. It is that of the bias, too.
 */
export function kaimingUniform(shape: Shape, fan: number, seed: number): Float32Array {
  const bound = fan > 0 ? 1 / Math.sqrt(fan) : 0;
  return fillUniform(new Float32Array(sizeOf(shape)), seed, -bound, bound);
}

/** Normal numbers of mean 0. (ConvNeXt cuts its own of std 0.02 at ±2, a hundred deviations away.) */
export function normal(shape: Shape, std: number, seed: number): Float32Array {
  const values = new Float32Array(sizeOf(shape));
  return std === 0 ? values : fillNormal(values, seed, 0, std); // a model that is only counted asks for zeros
}

/** What a dense layer starts with: Kaiming-uniform weight and bias, or with `weightStd` normal weights and a bias of 0. */
export function initialValues(
  weightShape: Shape,
  fan: number,
  seed: number,
  weightStd?: number,
): { weight: Float32Array; bias: Float32Array } {
  const biasShape = weightShape.slice(0, 1);
  return weightStd === undefined
    ? {
      weight: kaimingUniform(weightShape, fan, deriveSeed(seed, 0)),
      bias: kaimingUniform(biasShape, fan, deriveSeed(seed, 1)),
    }
    : { weight: normal(weightShape, weightStd, seed), bias: new Float32Array(weightShape[0]) };
}

/** `[axes, ...]`, each axis clamped to its bounds. */
export function clampAxes(data: Float32Array, low: readonly number[], high: readonly number[]): Float32Array {
  const perAxis = data.length / low.length;
  return data.map((value, i) => {
    const axis = Math.floor(i / perAxis);
    return Math.min(Math.max(value, low[axis]), high[axis]);
  });
}
