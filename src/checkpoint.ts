/** Recomputation: memory for time in training. */
import { tidy } from "./scope.ts";
import { isRecording, noGrad, withRecording } from "./tape.ts";
import { type Tensor, tracked } from "./tensor.ts";

/**
 * Runs `body` without keeping what it makes on the way: `backward()` runs it again. So a model's activations take the
 * memory of its checkpoints' inputs and of one body at a time, for one more forward pass (Chen et al., "Training deep
 * nets with sublinear memory cost", 2016; `torch.utils.checkpoint`). The gradients are the same, those of parameters
 * that `body` uses included.
 *
 * @param body has to give the same when it runs again: what is drawn (drop path) is drawn before. It may use tensors
 * beside its inputs, but only leaves among them, parameters for one, receive a gradient
 * @param inputs what the body is called with; their storage is kept for the second run
 * @returns what the body returns
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { checkpoint, init, tensor } from "@dcls/dcls";
 *
 * await init();
 * const x = tensor([1, 2], [2], { requiresGrad: true });
 * const y = checkpoint((x) => x.square().mul(3), x);
 * y.sum().backward();
 * assert.deepEqual([...await x.grad!.data()], [6, 12]);
 * ```
 */
export function checkpoint<Inputs extends readonly Tensor[]>(
  body: (...inputs: Inputs) => Tensor,
  ...inputs: Inputs
): Tensor {
  if (!isRecording()) return body(...inputs);
  const rerun = (gradient: Tensor): (Tensor | null)[] =>
    tidy(() => {
      const copies = inputs.map((x) => x.requiresGrad ? tracked(x, null) : x);
      const output = withRecording(true, () => body(...copies as unknown as Inputs));
      if (output.requiresGrad) output.backward(gradient);
      return copies.map((copy, i) => {
        if (copy === inputs[i]) return null;
        const gradient = copy.grad;
        copy.grad = null; // or it would go with the copy
        return gradient;
      });
    });
  return tidy(() =>
    tracked(noGrad(() => tidy(() => body(...inputs))), { op: null, attributes: null, inputs, rerun })
  );
}
