/** layerNormPointwise on WebGPU: the ops it is made of; what is cheap is computed again in the backward, not kept. */
import type { LayerNormPointwiseAttributes } from "../../ops/layerNormPointwise.ts";
import type { GpuBuffer } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { layerNorm } from "./layerNorm.ts";
import type { GpuOp, GpuOperand } from "./op.ts";
import { pointwise } from "./pointwise.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** f(x), where x is released. */
function activated(gpu: Gpu, x: GpuOperand): GpuBuffer {
  const y = unary.forward(gpu, [x], GELU, x.shape);
  gpu.buffers.release(x.handle);
  return y;
}

/** One dispatch after another. */
export const layerNormPointwise: GpuOp<LayerNormPointwiseAttributes> = {
  forward(gpu, inputs, { epsilon, activation }, shape) {
    const [x, , , weight, bias] = inputs;
    const normal = layerNorm.forward(gpu, inputs.slice(0, 3), { epsilon }, x!.shape);
    const sums = pointwise.forward(gpu, [{ handle: normal, shape: x!.shape }, weight, bias], {}, shape);
    gpu.buffers.release(normal);
    return activation === "none" ? sums : activated(gpu, { handle: sums, shape });
  },
  backward(gpu, dy, inputs, { epsilon, activation }, needs) {
    const [x, , , weight, bias] = inputs;
    const handle = layerNorm.forward(gpu, inputs.slice(0, 3), { epsilon }, x!.shape);
    const normal = { handle, shape: x!.shape };
    let ds = dy;
    if (activation !== "none") {
      const sums = { handle: pointwise.forward(gpu, [normal, weight, bias], {}, dy.shape), shape: dy.shape };
      ds = { handle: unary.backward(gpu, dy, [sums], GELU, [true])[0]!, shape: dy.shape };
      gpu.buffers.release(sums.handle);
    }
    const towards = needs[0] || needs[1] || needs[2];
    const [dz, dWeight, dBias] = pointwise.backward(gpu, ds, [normal, weight, bias], {}, [
      towards,
      needs[3],
      needs[4],
    ]);
    gpu.buffers.release(handle);
    if (ds !== dy) gpu.buffers.release(ds.handle);
    if (!dz) return [null, null, null, dWeight, dBias];
    const dNormal = { handle: dz, shape: x!.shape };
    const before = layerNorm.backward(gpu, dNormal, inputs.slice(0, 3), { epsilon }, needs.slice(0, 3));
    gpu.buffers.release(dz);
    return [...before, dWeight, dBias];
  },
};
