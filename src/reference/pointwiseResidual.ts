/** pointwiseResidual in float64: the ops it is made of, one after another. */
import type { Operand } from "../backend.ts";
import type { Activation } from "../ops/layerNormPointwise.ts";
import { asked, type Inputs, type ReferenceHandle, type ReferenceOp, shapeOf } from "./operand.ts";
import { pointwise } from "./pointwise.ts";
import { scaleResidual } from "./scaleResidual.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** Every sample of an image times its keep. */
function kept(image: Float64Array, keep: Operand<ReferenceHandle> | null): Float64Array {
  if (!keep) return image;
  const { data } = keep.handle;
  return image.map((value, i) => value * data[Math.floor(i * data.length / image.length)]);
}

/** f(x), and the linear map of it times keep. */
function parts(
  inputs: Inputs,
  activation: Activation,
): { activated: Operand<ReferenceHandle>; sums: Operand<ReferenceHandle> } {
  const [x, weight, bias, , shortcut] = inputs;
  const shape = shapeOf(inputs, 0);
  const activated = activation === "none" ? x! : { shape, handle: unary.forward([x], GELU, shape) };
  const { data } = pointwise.forward([activated, weight, bias], {}, shortcut!.shape);
  return { activated, sums: { shape: shortcut!.shape, handle: { data: kept(data, inputs[5]) } } };
}

/** Scale, or ones. */
function scaleOf(inputs: Inputs): Operand<ReferenceHandle> {
  const shape = [shapeOf(inputs, 1)[0]];
  return inputs[3] ?? { shape, handle: { data: new Float64Array(shape[0]).fill(1) } };
}

/** x, weight, bias, scale, shortcut, keep → y. */
export const pointwiseResidual: ReferenceOp<"pointwiseResidual"> = {
  forward(inputs, { activation }, outputShape) {
    const { sums } = parts(inputs, activation);
    return scaleResidual.forward([inputs[4], sums, scaleOf(inputs)], {}, outputShape);
  },

  /** y = scaleResidual(shortcut, s), s = keep pointwise(a), a = f(x): the chain rule, through each op's own backward. */
  backward(gradient, inputs, { activation }, needs) {
    const { activated, sums } = parts(inputs, activation);
    const [dShortcut, ds, dScale] = scaleResidual.backward(gradient, [inputs[4], sums, scaleOf(inputs)], {}, [
      true,
      true,
      true,
    ]);
    const [da, dWeight, dBias] = pointwise.backward(
      { shape: sums.shape, handle: { data: kept(ds!.data, inputs[5]) } },
      [activated, inputs[1], inputs[2]],
      {},
      [true, true, inputs[2] !== null],
    );
    const dx = activation === "none"
      ? da
      : unary.backward({ shape: activated.shape, handle: da! }, [inputs[0]], GELU, [true])[0];
    const gradients = [dx, dWeight, dBias, dScale, dShortcut, null];
    return asked(needs, gradients.map((handle) => handle?.data ?? null));
  },
};
