/** layerNormPointwise on tfjs: the ops it is made of; what is cheap is computed again in the backward, not kept. */
import * as tf from "@tensorflow/tfjs";
import type { LayerNormPointwiseAttributes } from "../../ops/layerNormPointwise.ts";
import { columnSum } from "../functions.ts";
import type { Inputs, TfjsOp } from "../op.ts";
import { layerNorm, normalise, throughNormal } from "./layerNorm.ts";
import { pointwise } from "./pointwise.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** What the activation is applied to. */
function sumsOf(inputs: Inputs, epsilon: number): tf.Tensor {
  const normal = layerNorm.forward(inputs.slice(0, 3), { epsilon }, inputs[0]!.shape);
  return pointwise.forward([normal, inputs[3], inputs[4]], {}, normal.shape);
}

/** What the backward has at hand. */
interface Parts {
  /** Gradient before the activation. */
  readonly ds: tf.Tensor;
  /** The normalised x, and what it was scaled by. */
  readonly normal: tf.Tensor;
  readonly scale: tf.Tensor;
}

/** Each op's own gradients, one after another: for few pixels. */
function byPixels(
  { ds, normal, scale }: Parts,
  inputs: Inputs,
  needs: readonly boolean[],
): (tf.Tensor | null)[] {
  const [x, normWeight, normBias, weight, bias] = inputs;
  const z = tf.add(tf.mul(normal, normWeight!), normBias!);
  const towards = needs[0] || needs[1] || needs[2];
  const [dz, dWeight, dBias] = pointwise.backward!(ds, [z, weight, bias], {}, [towards, needs[3], needs[4]]);
  const g = dz && tf.reshape(dz, x!.shape);
  return [
    needs[0] ? throughNormal(tf.mul(g!, normWeight!), normal, scale) : null,
    needs[1] ? columnSum(tf.mul(g!, normal)) : null,
    needs[2] ? columnSum(g!) : null,
    dWeight,
    dBias,
  ];
}

/**
 * With u the normal, S[m, c] = Σ ds[m] u[c] and t = Σ ds over all pixels:
 *   dweight = normWeight S + t normBiasᵀ, dbias = t, dnormWeight = Σ over m of weight S, dnormBias = weightᵀ t
 * so that no pixel is looked at for the norm's own parameters: for more pixels than rows of weight.
 */
function bySums(
  { ds, normal, scale }: Parts,
  inputs: Inputs,
  needs: readonly boolean[],
): (tf.Tensor | null)[] {
  const [x, normWeight, normBias, weight] = inputs;
  const turned = tf.mul(weight!, normWeight!);
  const [g] = needs[0] ? pointwise.backward!(ds, [normal, turned, null], {}, [true, false, false]) : [null];
  const dx = g && throughNormal(tf.reshape(g, x!.shape), normal, scale);
  if (!needs.slice(1).includes(true)) return [dx, null, null, null, null];
  const [, S, t] = pointwise.backward!(ds, [normal, weight, null], {}, [false, true, true]);
  const column = tf.reshape(t!, [t!.size, 1]);
  return [
    dx,
    needs[1] ? tf.sum(tf.mul(weight!, S!), 0) : null,
    needs[2] ? tf.sum(tf.mul(weight!, column), 0) : null,
    needs[3] ? tf.add(tf.mul(S!, normWeight!), tf.mul(column, normBias!)) : null,
    needs[4] ? t! : null,
  ];
}

/** x `[N, ...spatial, C]`, normWeight and normBias `[C]`, weight `[M, C]`, bias `[M]`. */
export const layerNormPointwise: TfjsOp<LayerNormPointwiseAttributes> = {
  images: [0],
  forward(inputs, { epsilon, activation }, shape) {
    const sums = sumsOf(inputs, epsilon);
    return activation === "none" ? sums : unary.forward([sums], GELU, shape);
  },
  backward(gradient, inputs, { epsilon, activation }, needs) {
    const [x, , , weight] = inputs;
    const [ds] = activation === "none"
      ? [gradient]
      : unary.backward!(gradient, [sumsOf(inputs, epsilon)], GELU, [true]);
    const parts = { ds: ds!, ...normalise(x!, epsilon) };
    const [rows, channels] = weight!.shape;
    return (x!.size / channels > rows ? bySums : byPixels)(parts, inputs, needs);
  },
};
