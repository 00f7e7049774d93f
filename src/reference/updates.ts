/** The in-place updates in float64. */
import type { UpdateImplementations } from "../backend.ts";
import type { ReferenceHandle } from "./operand.ts";

/** Each update by name; see `UpdateTable` for the operands. */
export const referenceUpdates: UpdateImplementations<ReferenceHandle> = {
  /**
   * p ← p (1 - lr decay);  m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;
   * p ← p - lr m̂ / (√v̂ + ε), with m̂ = m / (1 - β1^step) and v̂ = v / (1 - β2^step); for each parameter.
   */
  adamW(operands, attributes) {
    attributes.forEach(({ learningRate, beta1, beta2, epsilon, weightDecay, step }, n) => {
      const [p, g, m, v] = operands.slice(4 * n, 4 * n + 4).map((operand) => operand.handle.data);
      for (let i = 0; i < p.length; i++) {
        m[i] = beta1 * m[i] + (1 - beta1) * g[i];
        v[i] = beta2 * v[i] + (1 - beta2) * g[i] * g[i];
        const first = m[i] / (1 - beta1 ** step);
        const second = v[i] / (1 - beta2 ** step);
        p[i] = p[i] * (1 - learningRate * weightDecay) - learningRate * first / (Math.sqrt(second) + epsilon);
      }
    });
  },

  /** NaN stays NaN. */
  clamp([{ handle: { data } }], { low, high }) {
    const perAxis = data.length / low.length;
    for (let i = 0; i < data.length; i++) {
      const axis = Math.floor(i / perAxis);
      data[i] = Math.min(Math.max(data[i], low[axis]), high[axis]);
    }
  },

  assign([target, source]) {
    target.handle.data.set(source.handle.data);
  },
};
