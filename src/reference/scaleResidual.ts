/** scaleResidual in float64. */
import { asked, elements, planes, type ReferenceOp, shapeOf } from "./operand.ts";

/** shortcut, x, scale → shortcut + scale x. */
export const scaleResidual: ReferenceOp<"scaleResidual"> = {
  forward(inputs) {
    const [shortcut, x, scale] = [elements(inputs, 0), elements(inputs, 1), elements(inputs, 2)];
    const { channels, pixels } = planes(shapeOf(inputs, 1));
    return { data: shortcut.map((value, i) => value + scale[Math.floor(i / pixels) % channels] * x[i]) };
  },

  /**
   * y[n, c, p] = shortcut[n, c, p] + scale[c] x[n, c, p]:
   * dL/dshortcut = G, dL/dx = scale[c] G, dL/dscale[c] = sum over n, p of G x.
   */
  backward(gradient, inputs, _attributes, needs) {
    const [x, scale, G] = [elements(inputs, 1), elements(inputs, 2), gradient.handle.data];
    const { channels, pixels } = planes(shapeOf(inputs, 1));
    const gradX = new Float64Array(x.length);
    const gradScale = new Float64Array(channels);
    for (let i = 0; i < x.length; i++) {
      const c = Math.floor(i / pixels) % channels;
      gradX[i] = scale[c] * G[i];
      gradScale[c] += x[i] * G[i];
    }
    return asked(needs, [G.slice(), gradX, gradScale]);
  },
};
