/**
 * The version table. Along one axis, an element at position p (in cells from the centre cell c) contributes
 * factor(d, s) to the cell i, with d = i - c - p and s the spread. An element's share of a cell is the product
 * over the axes; where `normalised`, it is divided by (its sum over the kernel + EPSILON).
 *
 * Derivatives are with respect to the position p (so d' = -1) and to the spread s. At ties they follow PyTorch's:
 * `v0` is one-sided (floor and remainder), `v1` and `max` have abs'(0) = relu'(0) = 0.
 *
 * Source: Khalfaoui-Hassani et al., ICLR 2023, section 2 (v0); the authors' package for v1, max, gauss.
 */
import type { Version } from "./spec.ts";

/** Added to the sums that normalised versions divide by. */
export const EPSILON = 1e-7;

/** One row of the version table. */
export interface Interpolation {
  /** Whether the version reads SIG. */
  readonly spread: boolean;
  readonly normalised: boolean;
  factor(d: number, s: number): number;
  positionDerivative(d: number, s: number): number;
  spreadDerivative(d: number, s: number): number;
}

const triangle = {
  factor: (d: number, s: number): number => Math.max(0, s - Math.abs(d)),
  positionDerivative: (d: number, s: number): number => Math.abs(d) < s ? Math.sign(d) : 0,
  spreadDerivative: (d: number, s: number): number => Math.abs(d) < s ? 1 : 0,
};

/** The versions; `v0` and `v1` are called with s = 1. */
export const INTERPOLATION: Readonly<Record<Version, Interpolation>> = {
  v0: {
    spread: false,
    normalised: false,
    factor: triangle.factor,
    positionDerivative: (d) => d > -1 && d <= 0 ? -1 : d > 0 && d <= 1 ? 1 : 0,
    spreadDerivative: () => 0,
  },
  v1: { spread: false, normalised: true, ...triangle },
  max: { spread: true, normalised: true, ...triangle },
  gauss: {
    spread: true,
    normalised: true,
    factor: (d, s) => Math.exp(-d * d / (2 * s * s)),
    positionDerivative: (d, s) => Math.exp(-d * d / (2 * s * s)) * d / (s * s),
    spreadDerivative: (d, s) => Math.exp(-d * d / (2 * s * s)) * d * d / (s * s * s),
  },
};
