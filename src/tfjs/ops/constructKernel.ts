/**
 * constructKernel on tfjs: loops over typed arrays, in float64, that visit only the cells which an element reaches.
 *
 * With e the product of an element's factors, n its sum over the kernel + EPSILON (1 where not normalised), G the
 * gradient of the kernel, and ' a derivative by a position or spread along one axis:
 *   kernel = Σ over elements of w e / n
 *   dw = Σ G e / n,   dP and dSIG = w / n (Σ G e' - dw Σ e')      (without the second term: n = 1)
 * Sums of e and e' are products of sums along the axes; those with G go axis by axis, the innermost first.
 *
 * No composition of tfjs's ops, as both CPU engines hand out values without a wait, and an element of `v0` fills 4 of
 * a plane's 289 cells, which matrix products cannot make use of. Factor tables `[rows, K, S]` joined by batched
 * products, differentiated by tf.grads, took for 768 kernels of 17x17 from 34 elements (forward and backward, ms, wasm
 * on one core of an EPYC): 150 and 167 in `v0`, 2.2 and 2.8 here; `v1` 9.0 and 33, 2.4 and 3.6; `max` 9.5 and 33, 2.8
 * and 4.9; `gauss` 16 and 39, 7.5 and 11. Only for many small kernels were they faster, forward alone: 1.9 against 2.7
 * for 6,144 of 9 cells from 9 elements in `v1`, with a backward of 9.2 against 4.3.
 */
import * as tf from "@tensorflow/tfjs";
import { EPSILON, INTERPOLATION } from "../../interpolation.ts";
import type { ConstructKernelAttributes } from "../../ops/constructKernel.ts";
import { sizeOf } from "../../spec.ts";
import { AxisFactors } from "../factors.ts";
import type { Inputs, TfjsOp } from "../op.ts";

/** weight `[..., K]`, P and SIG `[axes, ..., K]`. What is not finite spoils its row, as in the reference. */
export const constructKernel: TfjsOp<ConstructKernelAttributes> = {
  images: [],
  forward(inputs, attributes) {
    const elements = new Elements(inputs, attributes);
    const { rows, K, cells, weight } = elements;
    const [planes, lines, columns] = elements.axes;
    const kernel = new Float32Array(rows * cells);
    const sum = new Float64Array(cells);
    for (let row = 0; row < rows; row++) {
      elements.open(row);
      sum.fill(0);
      for (let index = row * K; index < (row + 1) * K; index++) {
        const share = weight[index] / elements.place(index);
        const { from, to, value } = columns;
        for (let z = planes.from; z < planes.to; z++) {
          for (let y = lines.from; y < lines.to; y++) {
            const factor = share * planes.value[z] * lines.value[y];
            const line = (z * lines.extent + y) * columns.extent;
            for (let x = from; x < to; x++) sum[line + x] += factor * value[x];
          }
        }
      }
      kernel.set(sum, row * cells);
    }
    return tf.tensor(kernel, [...attributes.kernelShape]);
  },

  backward(gradient, inputs, attributes, needs) {
    const elements = new Elements(inputs, attributes);
    const { rows, K, cells, weight, positions, spreads } = elements;
    const dy = gradient.dataSync<"float32">();
    const dWeight = new Float32Array(weight.length);
    const dP = new Float32Array(positions.length);
    const dSIG = new Float32Array(inputs[2]?.size ?? 0);
    const absent = 3 - attributes.size.length;
    const sums = new Float64Array(7);
    for (let row = 0; row < rows; row++) {
      const G = dy.subarray(row * cells, (row + 1) * cells);
      elements.open(row, G);
      for (let index = row * K; index < (row + 1) * K; index++) {
        const norm = elements.place(index);
        gather(elements.axes, G, sums);
        const mean = sums[0] / norm;
        const share = weight[index] / norm;
        dWeight[index] = mean;
        for (let a = absent; a < 3; a++) {
          const at = (a - absent) * weight.length + index;
          dP[at] = share * (sums[1 + a] - elements.pull(mean, a, "positionSum"));
          if (spreads) {
            const throughSpread = share * (sums[4 + a] - elements.pull(mean, a, "spreadSum"));
            dSIG[at] = Math.sign(spreads[at]) * throughSpread;
          }
        }
      }
    }
    return [dWeight, dP, dSIG].map((values, i) => needs[i] ? tf.tensor(values, inputs[i]!.shape) : null);
  },
};

/** The three axes of a kernel, those that it lacks with one cell; the innermost is the last. */
type Axes = readonly [AxisFactors, AxisFactors, AxisFactors];

/** Goes through the elements, and has the factors of one at a time. */
class Elements {
  readonly axes: Axes;
  readonly K: number;
  readonly rows: number;
  /** Of one row's kernel. */
  readonly cells: number;
  readonly weight: Float32Array;
  readonly positions: Float32Array;
  readonly spreads: Float32Array | null;
  readonly #normalised: boolean;
  readonly #offset: number;
  /** Positioned axes. */
  readonly #count: number;
  /** Whether numbers of the open row are not finite. */
  #broken = false;

  constructor(
    [weight, P, SIG]: Inputs,
    { version, spreadOffset, size, weightShape }: ConstructKernelAttributes,
  ) {
    const axis = (a: number): AxisFactors =>
      a < 0 ? new AxisFactors(version, 1).absent() : new AxisFactors(version, size[a]);
    this.#count = size.length;
    this.axes = [axis(this.#count - 3), axis(this.#count - 2), axis(this.#count - 1)];
    this.K = weightShape.at(-1)!;
    this.rows = sizeOf(weightShape.slice(0, -1));
    this.cells = sizeOf(size);
    // Copies out of the processor's own memory: nothing is waited for.
    this.weight = weight!.dataSync<"float32">();
    this.positions = P!.dataSync<"float32">();
    this.spreads = SIG && INTERPOLATION[version].spread ? SIG.dataSync<"float32">() : null;
    this.#normalised = INTERPOLATION[version].normalised;
    this.#offset = spreadOffset;
  }

  /** Turns to a row, whose elements visit all cells if one of its numbers is not finite: 0 * NaN is to be NaN. */
  open(row: number, G?: Float32Array): void {
    const { K, weight, positions, spreads } = this;
    let check = G ? zeroOf(G, 0, G.length) : 0;
    check += zeroOf(weight, row * K, K);
    for (let a = 0; a < this.#count; a++) {
      const first = a * weight.length + row * K;
      check += zeroOf(positions, first, K);
      if (spreads) check += zeroOf(spreads, first, K);
    }
    this.#broken = check !== 0;
  }

  /** Computes an element's factors. @returns what its product is divided by */
  place(index: number): number {
    const { axes, positions, spreads } = this;
    for (let a = 0; a < this.#count; a++) {
      const at = a * this.weight.length + index;
      const spread = spreads ? Math.abs(spreads[at]) + this.#offset : 1;
      axes[3 - this.#count + a].place(positions[at], spread, this.#broken);
    }
    return this.#normalised ? axes[0].valueSum * axes[1].valueSum * axes[2].valueSum + EPSILON : 1;
  }

  /** dw Σ e', with `mean` for dw and e' by the derivative along that axis; 0 where there is no divisor. */
  pull(mean: number, axis: number, derivative: "positionSum" | "spreadSum"): number {
    if (!this.#normalised) return 0;
    const { axes } = this;
    return mean * axes[axis][derivative] * axes[(axis + 1) % 3].valueSum * axes[(axis + 2) % 3].valueSum;
  }
}

/** 0, or NaN where one of the values is not finite. */
function zeroOf(values: Float32Array, first: number, count: number): number {
  let sum = 0;
  for (let i = first; i < first + count; i++) sum += 0 * values[i];
  return sum;
}

/** Σ over the cells of G times the product of factors, then with the derivative by each position, by each spread. */
function gather([planes, lines, columns]: Axes, G: Float32Array, sums: Float64Array): void {
  let all = 0, position0 = 0, position1 = 0, position2 = 0, spread0 = 0, spread1 = 0, spread2 = 0;
  const { from, to, value, byPosition, bySpread } = columns;
  for (let z = planes.from; z < planes.to; z++) {
    let plane = 0, planePosition1 = 0, planePosition2 = 0, planeSpread1 = 0, planeSpread2 = 0;
    for (let y = lines.from; y < lines.to; y++) {
      const start = (z * lines.extent + y) * columns.extent;
      let line = 0, linePosition = 0, lineSpread = 0;
      for (let x = from; x < to; x++) {
        const g = G[start + x];
        line += g * value[x];
        linePosition += g * byPosition[x];
        lineSpread += g * bySpread[x];
      }
      plane += lines.value[y] * line;
      planePosition1 += lines.byPosition[y] * line;
      planeSpread1 += lines.bySpread[y] * line;
      planePosition2 += lines.value[y] * linePosition;
      planeSpread2 += lines.value[y] * lineSpread;
    }
    all += planes.value[z] * plane;
    position0 += planes.byPosition[z] * plane;
    spread0 += planes.bySpread[z] * plane;
    position1 += planes.value[z] * planePosition1;
    spread1 += planes.value[z] * planeSpread1;
    position2 += planes.value[z] * planePosition2;
    spread2 += planes.value[z] * planeSpread2;
  }
  sums[0] = all;
  sums[1] = position0;
  sums[2] = position1;
  sums[3] = position2;
  sums[4] = spread0;
  sums[5] = spread1;
  sums[6] = spread2;
}
