/** pointwise in float64: one matrix product per sample. */
import { sizeOf } from "../spec.ts";
import { asked, elements, planes, type ReferenceOp, shapeOf } from "./operand.ts";

/** x, weight, bias → y. */
export const pointwise: ReferenceOp<"pointwise"> = {
  forward(inputs, _attributes, outputShape) {
    const [x, weight] = [elements(inputs, 0), elements(inputs, 1)];
    const bias = inputs[2]?.handle.data;
    const { batch, channels, pixels } = planes(shapeOf(inputs, 0));
    const outChannels = shapeOf(inputs, 1)[0];
    const y = new Float64Array(sizeOf(outputShape));
    for (let n = 0; n < batch; n++) {
      for (let m = 0; m < outChannels; m++) {
        const out = (n * outChannels + m) * pixels;
        if (bias) y.fill(bias[m], out, out + pixels);
        for (let c = 0; c < channels; c++) {
          const w = weight[m * channels + c];
          const into = (n * channels + c) * pixels;
          for (let p = 0; p < pixels; p++) y[out + p] += w * x[into + p];
        }
      }
    }
    return { data: y };
  },

  /**
   * y[n, m, p] = bias[m] + sum over c of weight[m, c] x[n, c, p], so with G the gradient of y
   *   dL/dx[n, c, p]   = sum over m of weight[m, c] G[n, m, p]
   *   dL/dweight[m, c] = sum over n, p of G[n, m, p] x[n, c, p]
   *   dL/dbias[m]      = sum over n, p of G[n, m, p]
   */
  backward(gradient, inputs, _attributes, needs) {
    const [x, weight, G] = [elements(inputs, 0), elements(inputs, 1), gradient.handle.data];
    const { batch, channels, pixels } = planes(shapeOf(inputs, 0));
    const outChannels = shapeOf(inputs, 1)[0];
    const gradX = new Float64Array(x.length);
    const gradWeight = new Float64Array(weight.length);
    const gradBias = inputs[2] ? new Float64Array(outChannels) : null;
    for (let n = 0; n < batch; n++) {
      for (let m = 0; m < outChannels; m++) {
        const out = (n * outChannels + m) * pixels;
        if (gradBias) { for (let p = 0; p < pixels; p++) gradBias[m] += G[out + p]; }
        for (let c = 0; c < channels; c++) {
          const w = weight[m * channels + c];
          const into = (n * channels + c) * pixels;
          let sum = 0;
          for (let p = 0; p < pixels; p++) {
            gradX[into + p] += w * G[out + p];
            sum += G[out + p] * x[into + p];
          }
          gradWeight[m * channels + c] += sum;
        }
      }
    }
    return asked(needs, [gradX, gradWeight, gradBias]);
  },
};
