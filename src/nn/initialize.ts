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
  return fillNormal(new Float32Array(sizeOf(shape)), seed, 0, std);
}

/** `[axes, ...]`, each axis clamped to its bounds. */
export function clampAxes(data: Float32Array, low: readonly number[], high: readonly number[]): Float32Array {
  const perAxis = data.length / low.length;
  return data.map((value, i) => {
    const axis = Math.floor(i / perAxis);
    return Math.min(Math.max(value, low[axis]), high[axis]);
  });
}
