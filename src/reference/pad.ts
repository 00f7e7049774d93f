/** pad in float64: every cell of the output names the cell of the input it is a copy of. */
import type { PadAttributes } from "../ops/pad.ts";
import { type Shape, sizeOf } from "../spec.ts";
import { asked, elements, type ReferenceOp, shapeOf, threeAxes } from "./operand.ts";

/** The input cell that cell `i` of the padded axis copies, both counted from the input's first cell. */
function source(i: number, extent: number, mode: PadAttributes["mode"]): number {
  if (mode === "replicate") return Math.min(Math.max(i, 0), extent - 1);
  if (mode === "circular") return (i + extent) % extent;
  return i < 0 ? -i : i >= extent ? 2 * (extent - 1) - i : i;
}

/** For every cell of the output, row-major, the flat index of the input cell it copies. */
function sources(inputShape: Shape, { padding, mode }: PadAttributes): Int32Array {
  const input = threeAxes(inputShape.slice(2), 1);
  const margin = threeAxes(padding, 0);
  const along = input.map((extent, a) =>
    Array.from({ length: extent + 2 * margin[a] }, (_, i) => source(i - margin[a], extent, mode))
  );
  const planes = inputShape[0] * inputShape[1];
  const result = new Int32Array(planes * along[0].length * along[1].length * along[2].length);
  let at = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (const i of along[0]) {
      for (const j of along[1]) {
        const row = ((plane * input[0] + i) * input[1] + j) * input[2];
        for (const k of along[2]) result[at++] = row + k;
      }
    }
  }
  return result;
}

/** x → x extended by its own cells. */
export const pad: ReferenceOp<"pad"> = {
  forward(inputs, attributes) {
    const x = elements(inputs, 0);
    return { data: Float64Array.from(sources(shapeOf(inputs, 0), attributes), (index) => x[index]) };
  },

  /** Each output cell is a copy, so each input cell receives the sum of G over its copies. */
  backward(gradient, inputs, attributes, needs) {
    const gradX = new Float64Array(sizeOf(shapeOf(inputs, 0)));
    sources(shapeOf(inputs, 0), attributes).forEach((index, at) => gradX[index] += gradient.handle.data[at]);
    return asked(needs, [gradX]);
  },
};
