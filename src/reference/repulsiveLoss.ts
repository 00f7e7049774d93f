/** repulsiveLoss in float64. */
import { sizeOf } from "../spec.ts";
import { asked, elements, type Inputs, type ReferenceOp, shapeOf } from "./operand.ts";

/** Every pair of elements of every row: the indices of their first coordinates, and their distance. */
function visitPairs(inputs: Inputs, visit: (k: number, l: number, distance: number) => void): void {
  const P = elements(inputs, 0);
  const [axes, ...rest] = shapeOf(inputs, 0);
  const K = rest[rest.length - 1];
  const perAxis = sizeOf(rest);
  for (let k = 0; k < perAxis; k++) {
    const end = (Math.floor(k / K) + 1) * K;
    for (let l = k + 1; l < end; l++) {
      let square = 0;
      for (let a = 0; a < axes; a++) square += (P[a * perAxis + k] - P[a * perAxis + l]) ** 2;
      visit(k, l, Math.sqrt(square));
    }
  }
}

/** 2 / (K (K - 1) rows); of no consequence for K = 1, where there are no pairs. */
function pairWeight(inputs: Inputs): number {
  const shape = shapeOf(inputs, 0);
  const K = shape[shape.length - 1];
  return 2 / (Math.max(K - 1, 1) * sizeOf(shape.slice(1)));
}

/** P → how much its elements crowd. */
export const repulsiveLoss: ReferenceOp<"repulsiveLoss"> = {
  forward(inputs) {
    let sum = 0;
    visitPairs(inputs, (_k, _l, distance) => sum += Math.max(0, 1 - distance));
    return { data: new Float64Array([sum * pairWeight(inputs)]) };
  },

  /**
   * D = |p - q|, so dD/dp = (p - q) / D = -dD/dq, and a pair nearer than 1 contributes -dD/dp to p.
   * At D = 0 the direction is undefined and the gradient 0; at D = 1 relu'(0) = 0.
   */
  backward(gradient, inputs, _attributes, needs) {
    const P = elements(inputs, 0);
    const axes = shapeOf(inputs, 0)[0];
    const perAxis = P.length / axes;
    const scale = gradient.handle.data[0] * pairWeight(inputs);
    const gradP = new Float64Array(P.length);
    visitPairs(inputs, (k, l, distance) => {
      if (distance === 0 || distance >= 1) return;
      for (let a = 0; a < axes; a++) {
        const pull = scale * (P[a * perAxis + k] - P[a * perAxis + l]) / distance;
        gradP[a * perAxis + k] -= pull;
        gradP[a * perAxis + l] += pull;
      }
    });
    return asked(needs, [gradP]);
  },
};
