/** The in-place updates on WebGPU. */
import { adamW as adamWKernel } from "../../../kernels/adamW.ts";
import { clamp as clampKernel } from "../../../kernels/clamp.ts";
import type { UpdateTable } from "../../ops/mod.ts";
import { sizeOf } from "../../spec.ts";
import { part } from "../buffers.ts";
import type { Word } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { flatSlices, type GpuUpdate } from "./op.ts";

const f32 = (value: number): Word => ({ f32: value });

/** One dispatch a parameter. */
export const adamW: GpuUpdate<UpdateTable["adamW"]> = (gpu, operands, attributes) => {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
  const words = [
    beta1,
    1 - beta1,
    beta2,
    1 - beta2,
    1 - learningRate * weightDecay,
    learningRate / (1 - beta1 ** step),
    1 / Math.sqrt(1 - beta2 ** step),
    epsilon,
  ].map(f32);
  const kernel = gpu.kernel("adamW", adamWKernel);
  for (const { first, count } of flatSlices(gpu, sizeOf(operands[0].shape))) {
    const views = operands.map(({ handle }) => part(handle, first, count, 4));
    gpu.dispatch(kernel, views, flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits), words);
  }
};

/** One dispatch. */
export const clamp: GpuUpdate<UpdateTable["clamp"]> = (gpu, [P], { low, high }) => {
  const elements = sizeOf(P.shape), axes = low.length;
  const kernel = gpu.kernel(`clamp ${axes}`, () => clampKernel(axes));
  for (const { first, count } of flatSlices(gpu, elements)) {
    const bounds = low.flatMap((least, a) => [f32(least), f32(high[a])]);
    gpu.dispatch(
      kernel,
      [part(P.handle, first, count, 4)],
      flatGroups(Math.ceil(count / kernel.workgroupSize), gpu.limits),
      [first, elements / axes, ...bounds],
    );
  }
};

/** A copy. */
export const assign: GpuUpdate<UpdateTable["assign"]> = (gpu, [target, source]) => {
  gpu.copy(source.handle, target.handle);
};
