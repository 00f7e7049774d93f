/** What an op is on tfjs: a forward definition and, where stock gradients are wrong, missing or slow, a backward one. */
import type * as tf from "@tensorflow/tfjs";
import type { Shape } from "../spec.ts";

/** An absent input is null, as in the op's definition in `src/ops`. */
export type Inputs = readonly (tf.Tensor | null)[];

/** One op, composed of stock tfjs ops wherever that is not slow. Runs inside tf.tidy; what it returns is kept. */
export interface TfjsOp<Attributes> {
  /**
   * Which inputs are images, to be passed channels last; the output then is one, too, if it has spatial axes.
   * `"any"`: the op does not care about order, all tensors of more than one element share the first one's.
   */
  readonly images: readonly number[] | "any";
  forward(inputs: Inputs, attributes: Attributes, outputShape: Shape): tf.Tensor;
  /** Gradients of the inputs marked in `needs`. Default: tf.grads of `forward`. */
  backward?(
    gradient: tf.Tensor,
    inputs: Inputs,
    attributes: Attributes,
    needs: readonly boolean[],
  ): (tf.Tensor | null)[];
}
