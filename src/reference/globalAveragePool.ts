/** globalAveragePool in float64. */
import { sizeOf } from "../spec.ts";
import { asked, elements, planes, type ReferenceOp, shapeOf } from "./operand.ts";

/** x → the mean of every channel of every sample. */
export const globalAveragePool: ReferenceOp<"globalAveragePool"> = {
  forward(inputs, _attributes, outputShape) {
    const x = elements(inputs, 0);
    const { pixels } = planes(shapeOf(inputs, 0));
    const y = new Float64Array(sizeOf(outputShape));
    for (let i = 0; i < x.length; i++) y[Math.floor(i / pixels)] += x[i] / pixels;
    return { data: y };
  },

  /** Each of a channel's pixels has derivative 1 / pixels. */
  backward(gradient, inputs, _attributes, needs) {
    const { pixels } = planes(shapeOf(inputs, 0));
    return asked(needs, [
      elements(inputs, 0).map((_, i) => gradient.handle.data[Math.floor(i / pixels)] / pixels),
    ]);
  },
};
