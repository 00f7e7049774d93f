/** constructKernel in float64: every element visits every cell of its kernel. */
import { EPSILON, INTERPOLATION } from "../interpolation.ts";
import type { ConstructKernelAttributes } from "../ops/constructKernel.ts";
import { sizeOf } from "../spec.ts";
import { asked, elements, type Inputs, type ReferenceOp } from "./operand.ts";

/** An element's factors along each axis, `[axis][cell]`, and their derivatives. */
interface Factors {
  readonly value: Float64Array[];
  readonly byPosition: Float64Array[];
  readonly bySpread: Float64Array[];
}

/** Factors of the element whose weight is at `index`, all NaN along an axis where its position is NaN. */
function factorsOf(
  index: number,
  P: Float64Array,
  SIG: Float64Array | null,
  { version, spreadOffset, size, weightShape }: ConstructKernelAttributes,
): Factors {
  const { factor, positionDerivative, spreadDerivative, spread } = INTERPOLATION[version];
  const perAxis = sizeOf(weightShape);
  const table = (f: (d: number, s: number) => number): Float64Array[] =>
    size.map((extent, axis) => {
      const position = P[axis * perAxis + index];
      const s = spread && SIG ? Math.abs(SIG[axis * perAxis + index]) + spreadOffset : 1;
      const centre = Math.floor(extent / 2);
      return Float64Array.from({ length: extent }, (_, cell) => f(cell - centre - position, s));
    });
  return {
    value: table(factor),
    byPosition: table(positionDerivative),
    bySpread: spread ? table(spreadDerivative) : [],
  };
}

/** Products of one entry per axis, for every cell of the kernel, row-major. */
function products(axes: readonly Float64Array[]): Float64Array {
  let result = new Float64Array([1]);
  for (const axis of axes) {
    const next = new Float64Array(result.length * axis.length);
    for (let i = 0; i < result.length; i++) {
      for (let j = 0; j < axis.length; j++) next[i * axis.length + j] = result[i] * axis[j];
    }
    result = next;
  }
  return result;
}

function total(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** weight, P, SIG → kernel. NaN in P makes every cell of its row NaN. */
export const constructKernel: ReferenceOp<"constructKernel"> = {
  forward(inputs, attributes, outputShape) {
    const { weight, P, SIG, K, rows, cells, normalised } = read(inputs, attributes);
    const kernel = new Float64Array(sizeOf(outputShape));
    for (let row = 0; row < rows; row++) {
      for (let k = 0; k < K; k++) {
        const index = row * K + k;
        const share = products(factorsOf(index, P, SIG, attributes).value);
        const norm = normalised ? total(share) + EPSILON : 1;
        for (let cell = 0; cell < cells; cell++) {
          kernel[row * cells + cell] += weight[index] * share[cell] / norm;
        }
      }
    }
    return { data: kernel };
  },

  /**
   * Let e be the product of factors of an element at a cell, n = sum over cells of e + EPSILON (1 where not
   * normalised), G the gradient of the kernel, and ' a derivative by a position or spread along one axis:
   *   kernel = sum over elements of w e / n
   *   dL/dw  = sum over cells of G e / n
   *   dL/d.  = w / n * (sum of G e' - (sum of G e / n) * sum of e')      (without the second term: n = 1)
   * e' replaces the factor along that axis by its derivative. s = |SIG| + offset, hence ds/dSIG = sign(SIG).
   */
  backward(gradient, inputs, attributes, needs) {
    const { weight, P, SIG, K, rows, cells, normalised } = read(inputs, attributes);
    const gradWeight = new Float64Array(weight.length);
    const gradP = new Float64Array(P.length);
    const gradSIG = SIG && new Float64Array(SIG.length);
    for (let row = 0; row < rows; row++) {
      const G = gradient.handle.data.subarray(row * cells, (row + 1) * cells);
      for (let k = 0; k < K; k++) {
        const index = row * K + k;
        const { value, byPosition, bySpread } = factorsOf(index, P, SIG, attributes);
        const share = products(value);
        const norm = normalised ? total(share) + EPSILON : 1;
        const mean = dot(G, share) / norm;
        gradWeight[index] = mean;
        const throughAxis = (axis: number, derivative: Float64Array): number => {
          const change = products(value.with(axis, derivative));
          const pull = normalised ? mean * total(change) : 0;
          return weight[index] / norm * (dot(G, change) - pull);
        };
        byPosition.forEach((derivative, axis) => {
          gradP[axis * weight.length + index] = throughAxis(axis, derivative);
        });
        bySpread.forEach((derivative, axis) => {
          const at = axis * weight.length + index;
          if (SIG && gradSIG) gradSIG[at] = Math.sign(SIG[at]) * throughAxis(axis, derivative);
        });
      }
    }
    return asked(needs, [gradWeight, gradP, gradSIG]);
  },
};

function read(inputs: Inputs, { version, size, weightShape }: ConstructKernelAttributes): {
  weight: Float64Array;
  P: Float64Array;
  SIG: Float64Array | null;
  K: number;
  rows: number;
  cells: number;
  normalised: boolean;
} {
  return {
    weight: elements(inputs, 0),
    P: elements(inputs, 1),
    SIG: inputs[2]?.handle.data ?? null,
    K: weightShape[weightShape.length - 1],
    rows: sizeOf(weightShape.slice(0, -1)),
    cells: sizeOf(size),
    normalised: INTERPOLATION[version].normalised,
  };
}
