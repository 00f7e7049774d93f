/** The in-place updates on WebGPU. */
import { adamW as adamWKernel, ADAMW_BUFFERS, adamWTable } from "../../../kernels/adamW.ts";
import { clamp as clampKernel } from "../../../kernels/clamp.ts";
import type { UpdateTable } from "../../ops/mod.ts";
import { sizeOf } from "../../spec.ts";
import { type BufferView, part } from "../buffers.ts";
import type { Gpu, Word } from "../gpu.ts";
import { flatGroups } from "../limits.ts";
import { flatSlices, type GpuUpdate } from "./op.ts";

const f32 = (value: number): Word => ({ f32: value });

/**
 * Parameters per dispatch at most; more would save little, and each brings code of its own. On a CPU every lane runs the
 * code of every parameter (llvmpipe jumps over no branch), so only small parameters go together there, by fours, and
 * those of more than `SMALL` elements alone. Processor ms per step, llvmpipe, by 1 / 2 / 4 / 8: 48 parameters of 500
 * elements 3.0 / 1.7 / 1.8 / 2.2, 16 of 50,000 elements 13 / 18 / 30 / 56. JavaScript's part for the 50 parameters of a
 * small ConvNeXt, median: one dispatch each 3.0 ms, by eights 0.23 ms.
 */
const TOGETHER = { gpu: 8, software: 4 };
const SMALL = 2048;

/** The step-dependent rates of a parameter, as the kernel wants them. */
function ratesOf(attributes: UpdateTable["adamW"][number]): Word[] {
  const { learningRate, beta1, beta2, epsilon, weightDecay, step } = attributes;
  return [
    beta1,
    1 - beta1,
    beta2,
    1 - beta2,
    1 - learningRate * weightDecay,
    learningRate / (1 - beta1 ** step),
    1 / Math.sqrt(1 - beta2 ** step),
    epsilon,
  ].map(f32);
}

/** A run of a parameter's elements, within one binding. */
interface AdamWPiece {
  readonly views: readonly BufferView[];
  readonly elements: number;
  readonly rates: readonly Word[];
}

/** As many parameters a dispatch as pay and as the adapter can bind. */
export const adamW: GpuUpdate<UpdateTable["adamW"]> = (gpu, operands, attributes) => {
  const pieces = attributes.flatMap((each, i) => {
    const own = operands.slice(ADAMW_BUFFERS * i, ADAMW_BUFFERS * (i + 1)), rates = ratesOf(each);
    return flatSlices(gpu, sizeOf(own[0].shape)).map(({ first, count }): AdamWPiece => ({
      views: own.map(({ handle }) => part(handle, first, count, 4)),
      elements: count,
      rates,
    }));
  });
  const bound = Math.floor(gpu.limits.maxStorageBuffersPerShaderStage / ADAMW_BUFFERS);
  if (gpu.info.software) {
    const small = pieces.filter(({ elements }) => elements <= SMALL);
    adamWTogether(gpu, Math.min(TOGETHER.software, bound), small);
    adamWTogether(gpu, 1, pieces.filter(({ elements }) => elements > SMALL));
  } else adamWTogether(gpu, Math.min(TOGETHER.gpu, bound), pieces);
};

function adamWTogether(gpu: Gpu, tensors: number, pieces: readonly AdamWPiece[]): void {
  const kernel = gpu.kernel(`adamW ${tensors}`, () => adamWKernel(tensors));
  for (let first = 0; first < pieces.length; first += tensors) {
    const now = pieces.slice(first, first + tensors), missing = tensors - now.length;
    let total = 0;
    const ends = now.map(({ elements }) => total += Math.ceil(elements / kernel.workgroupSize));
    const table = adamWTable(
      [...ends, ...new Array<number>(missing).fill(total)],
      [...now.map(({ rates }) => rates), ...new Array<Word[]>(missing).fill(new Array<Word>(8).fill(0))],
    );
    const idle = missing > 0 ? new Array(missing).fill(idleViews(gpu)).flat() : [];
    const views = [...now.flatMap((piece) => piece.views), ...idle];
    gpu.dispatch(kernel, [...views, gpu.passing(table)], flatGroups(total, gpu.limits));
  }
}

/** What the places of a dispatch bind that no parameter needs: parts that are written apart from one that is read. */
function idleViews(gpu: Gpu): BufferView[] {
  const align = gpu.limits.minStorageBufferOffsetAlignment;
  const written = gpu.constant("adamW idle, written", () => new Float32Array(3 * align / 4));
  const read = gpu.constant("adamW idle, read", () => new Float32Array(1));
  const [p, m, v] = [0, 1, 2].map((i): BufferView => ({ of: written, offset: i * align, bytes: 4 }));
  return [p, { of: read, offset: 0, bytes: 4 }, m, v];
}

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
