/** pad: extends the spatial axes of x by reflection, replication or wrapping around (zeros are convolution's own). */
import type { PaddingMode, Shape } from "../spec.ts";
import { type Op, requireAxes } from "./op.ts";

/** Attributes of {@linkcode pad}. */
export interface PadAttributes {
  /** Cells added on both sides, one per spatial axis. */
  readonly padding: Shape;
  readonly mode: Exclude<PaddingMode, "zeros">;
}

/** Inputs: x `[N, C, ...spatial]`. */
export const pad: Op<"pad", PadAttributes> = {
  name: "pad",
  outputShape([input], { padding, mode }) {
    const x = requireAxes("pad", "the input", input, padding.length + 2);
    x.slice(2).forEach((extent, a) => {
      const most = mode === "reflect" ? extent - 1 : mode === "circular" ? extent : Infinity;
      if (padding[a] > most || extent === 0) {
        throw new RangeError(
          `Cannot run pad: ${mode} padding must be at most ${most} where the input has ${extent} cells, ` +
            `got ${padding[a]} along spatial axis ${a}`,
        );
      }
    });
    return [x[0], x[1], ...x.slice(2).map((extent, a) => extent + 2 * padding[a])];
  },
};
