/** pointwiseResidual on WebGPU: the ops it is made of; what is cheap is computed again in the backward, not kept. */
import type { PointwiseResidualAttributes } from "../../ops/pointwiseResidual.ts";
import type { GpuOp } from "./op.ts";
import { pointwise } from "./pointwise.ts";
import { scaleResidual } from "./scaleResidual.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** One dispatch after another. */
export const pointwiseResidual: GpuOp<PointwiseResidualAttributes> = {
  forward(gpu, [x, weight, bias, scale, shortcut], { activation }, shape) {
    const activated = activation === "none"
      ? x!
      : { handle: unary.forward(gpu, [x], GELU, x!.shape), shape: x!.shape };
    const sums = { handle: pointwise.forward(gpu, [activated, weight, bias], {}, shape), shape };
    if (activated !== x) gpu.buffers.release(activated.handle);
    const y = scaleResidual.forward(gpu, [shortcut, sums, scale], {}, shape);
    gpu.buffers.release(sums.handle);
    return y;
  },
  backward(gpu, dy, [x, weight, bias, scale, shortcut], { activation }, needs) {
    const activated = activation === "none"
      ? x!
      : { handle: unary.forward(gpu, [x], GELU, x!.shape), shape: x!.shape };
    const sums = pointwise.forward(gpu, [activated, weight, bias], {}, dy.shape);
    const [dShortcut, ds, dScale] = scaleResidual.backward(
      gpu,
      dy,
      [shortcut, { handle: sums, shape: dy.shape }, scale],
      {},
      [needs[4], true, needs[3]],
    );
    gpu.buffers.release(sums);
    const dSums = { handle: ds!, shape: dy.shape };
    let [dx, dWeight, dBias] = pointwise.backward(
      gpu,
      dSums,
      [activated, weight, bias],
      {},
      needs.slice(0, 3),
    );
    gpu.buffers.release(ds!);
    if (activated !== x) {
      gpu.buffers.release(activated.handle);
      if (dx) {
        const before = { handle: dx, shape: x!.shape };
        [dx] = unary.backward(gpu, before, [x], GELU, [true]);
        gpu.buffers.release(before.handle);
      }
    }
    return [dx, dWeight, dBias, dScale, dShortcut, null];
  },
};
