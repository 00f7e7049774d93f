/** layerNormPointwise in float64: the three ops it is made of, one after another. */
import type { Operand } from "../backend.ts";
import { layerNorm } from "./layerNorm.ts";
import { asked, type Inputs, type ReferenceHandle, type ReferenceOp, shapeOf } from "./operand.ts";
import { pointwise } from "./pointwise.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** LayerNorm(x), and the linear map of it. */
function parts(
  inputs: Inputs,
  epsilon: number,
): { normal: Operand<ReferenceHandle>; sums: Operand<ReferenceHandle> } {
  const shape = shapeOf(inputs, 0), outShape = [shape[0], shapeOf(inputs, 3)[0], ...shape.slice(2)];
  const normal = { shape, handle: layerNorm.forward(inputs.slice(0, 3), { epsilon }, shape) };
  const handle = pointwise.forward([normal, inputs[3], inputs[4]], {}, outShape);
  return { normal, sums: { shape: outShape, handle } };
}

/** x, normWeight, normBias, weight, bias → y. */
export const layerNormPointwise: ReferenceOp<"layerNormPointwise"> = {
  forward(inputs, { epsilon, activation }, outputShape) {
    const { sums } = parts(inputs, epsilon);
    return activation === "none" ? sums.handle : unary.forward([sums], GELU, outputShape);
  },

  /** y = f(s), s = pointwise(z), z = layerNorm(x): the chain rule, through each op's own backward. */
  backward(gradient, inputs, { epsilon, activation }, needs) {
    const { normal, sums } = parts(inputs, epsilon);
    const ds = activation === "none" ? gradient : {
      shape: sums.shape,
      handle: unary.backward(gradient, [sums], GELU, [true])[0]!,
    };
    const [dz, dWeight, dBias] = pointwise.backward(ds, [normal, inputs[3], inputs[4]], {}, [
      true,
      true,
      inputs[4] !== null,
    ]);
    const [dx, dNormWeight, dNormBias] = layerNorm.backward(
      { shape: normal.shape, handle: dz! },
      inputs.slice(0, 3),
      { epsilon },
      [true, true, true],
    );
    return asked(needs, [dx, dNormWeight, dNormBias, dWeight, dBias].map((handle) => handle?.data ?? null));
  },
};
