/**
 * repulsiveLoss of positions P [axes, rows, K]: every element k looks at the others l of its row, at distance D:
 *   losses[row, k] = w sum over l of max(0, 1 - D),  w = 1 / (K (K - 1) rows)     (each pair is met twice, half each)
 *   dP[a, row, k] = -2 w dy sum over l with 0 < D < 1 of (P[a, row, k] - P[a, row, l]) / D
 * Bindings: P, losses [rows, K], parameters { count: rows * K, weight: w }; backward: P, dy [1], dP, parameters.
 * axes and K are constants of the code. One invocation an element: half as many pairs would do for the forward, but then
 * the work would be uneven and the backward would need atomics.
 */
import { bindings, flatId, IS_NAN, type Kernel, main, parameters, unroll } from "./kernel.ts";

const SIZE = 64;

/** Visits the others of the row: their difference `d0, d1, ...` and `distance`. NaN stays NaN. */
const pairs = (axes: number, K: number, visit: string): string => `
${flatId(SIZE)}
if (id >= parameters.count) { return; }
let row = id / ${K}u * ${K}u;
${unroll(axes, (a) => `let p${a} = P[${a}u * parameters.count + id];`)}
for (var l = row; l < row + ${K}u; l++) {
if (l == id) { continue; }
${unroll(axes, (a) => `let d${a} = p${a} - P[${a}u * parameters.count + l];`)}
let distance = sqrt(${Array.from({ length: axes }, (_, a) => `d${a} * d${a}`).join(" + ")});
${visit}
}`;

/** What each element contributes to the loss. */
export function repulsiveLoss(axes: number, K: number): Kernel {
  return {
    label: `repulsiveLoss ${axes} ${K}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${bindings(["P", "array<f32>", "read"], ["losses", "array<f32>", "read_write"])}
${parameters(2, { count: "u32", weight: "f32" })}
${IS_NAN}
${main(SIZE)} {
var s = 0.0;
${pairs(axes, K, "if (distance < 1.0 || isNaN(distance)) { s += 1.0 - distance; }")}
losses[id] = s * parameters.weight;
}`,
  };
}

/** dP. */
export function repulsiveLossBackward(axes: number, K: number): Kernel {
  const pull = unroll(axes, (a) => `s${a} += d${a} / distance;`, " ");
  return {
    label: `repulsiveLossBackward ${axes} ${K}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(["P", "array<f32>", "read"], ["dy", "array<f32>", "read"], ["dP", "array<f32>", "read_write"])
    }
${parameters(3, { count: "u32", weight: "f32" })}
${IS_NAN}
${main(SIZE)} {
${unroll(axes, (a) => `var s${a} = 0.0;`)}
${pairs(axes, K, `if ((distance > 0.0 && distance < 1.0) || isNaN(distance)) { ${pull} }`)}
let scale = -2.0 * parameters.weight * dy[0];
${unroll(axes, (a) => `dP[${a}u * parameters.count + id] = scale * s${a};`)}
}`,
  };
}
