/** layerNorm in float64: every pixel of every sample by itself, over its channels. */
import { asked, elements, planes, type ReferenceOp, shapeOf } from "./operand.ts";

/** The normalised channels of one pixel (those at `at`, `at + step`, …), and 1 / sqrt(variance + epsilon). */
function normalise(
  x: Float64Array,
  at: number,
  step: number,
  channels: number,
  epsilon: number,
): { unit: Float64Array; scale: number } {
  let mean = 0;
  for (let c = 0; c < channels; c++) mean += x[at + c * step] / channels;
  let variance = 0;
  for (let c = 0; c < channels; c++) variance += (x[at + c * step] - mean) ** 2 / channels;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return {
    unit: Float64Array.from({ length: channels }, (_, c) => (x[at + c * step] - mean) * scale),
    scale,
  };
}

/** x, weight, bias → y. */
export const layerNorm: ReferenceOp<"layerNorm"> = {
  forward(inputs, { epsilon }) {
    const [x, weight, bias] = [elements(inputs, 0), elements(inputs, 1), elements(inputs, 2)];
    const { batch, channels, pixels } = planes(shapeOf(inputs, 0));
    const y = new Float64Array(x.length);
    for (let n = 0; n < batch; n++) {
      for (let p = 0; p < pixels; p++) {
        const at = n * channels * pixels + p;
        const { unit } = normalise(x, at, pixels, channels, epsilon);
        for (let c = 0; c < channels; c++) y[at + c * pixels] = unit[c] * weight[c] + bias[c];
      }
    }
    return { data: y };
  },

  /**
   * With u = (x - mean) r, r = 1 / sqrt(variance + epsilon), y = weight u + bias, and h = G weight:
   *   dL/dx = r (h - mean(h) - u mean(h u)), the means over the channels of the pixel
   *   dL/dweight = sum over n, p of G u,  dL/dbias = sum over n, p of G
   * (du_j/dx_c = r (1[j = c] - 1/C - u_j u_c / C), for dr/dx_c = -r² u_c / C.)
   */
  backward(gradient, inputs, { epsilon }, needs) {
    const [x, weight, G] = [elements(inputs, 0), elements(inputs, 1), gradient.handle.data];
    const { batch, channels, pixels } = planes(shapeOf(inputs, 0));
    const gradX = new Float64Array(x.length);
    const gradWeight = new Float64Array(channels);
    const gradBias = new Float64Array(channels);
    for (let n = 0; n < batch; n++) {
      for (let p = 0; p < pixels; p++) {
        const at = n * channels * pixels + p;
        const { unit, scale } = normalise(x, at, pixels, channels, epsilon);
        let meanH = 0;
        let meanHU = 0;
        for (let c = 0; c < channels; c++) {
          const g = G[at + c * pixels];
          gradWeight[c] += g * unit[c];
          gradBias[c] += g;
          meanH += g * weight[c] / channels;
          meanHU += g * weight[c] * unit[c] / channels;
        }
        for (let c = 0; c < channels; c++) {
          const h = G[at + c * pixels] * weight[c];
          gradX[at + c * pixels] = scale * (h - meanH - unit[c] * meanHU);
        }
      }
    }
    return asked(needs, [gradX, gradWeight, gradBias]);
  },
};
