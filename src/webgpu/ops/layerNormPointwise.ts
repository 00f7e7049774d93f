/** layerNormPointwise on WebGPU. */
import {
  foldNorm,
  layerNormPointwise as productKernel,
  layerNormPointwiseBackwardNorm,
  layerNormPointwiseForm,
  layerNormPointwiseNormSums,
  layerNormPointwiseParameters,
  PARAMETER_ROWS,
} from "../../../kernels/layerNormPointwise.ts";
import { layerNormStatistics, type PixelPlan } from "../../../kernels/layerNormStatistics.ts";
import type { Storage } from "../../../kernels/kernel.ts";
import type { PointwiseGeometry } from "../../../kernels/pointwise.ts";
import type { LayerNormPointwiseAttributes } from "../../ops/layerNormPointwise.ts";
import { type BufferView, type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { dispatchGemm, gemmPlan } from "./gemm.ts";
import { layerNorm } from "./layerNorm.ts";
import { bytesOf, type GpuOp, type GpuOperand, output, storageOf } from "./op.ts";
import { type Planes, planes } from "./planes.ts";
import { product, weightGradient } from "./pointwise.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** Pixels below which one invocation each leaves a GPU half empty. */
const FEW_PIXELS = 2 ** 16;

/** On software adapters a barrier costs more than an invocation more. */
function pixelPlan(gpu: Gpu, pixels: number): PixelPlan {
  return gpu.info.software || pixels >= FEW_PIXELS ? { parts: 1, lanes: 64 } : { parts: 8, lanes: 32 };
}

/** The statistics of every pixel of `count` samples, `[count, P]` of (mean, 1 / standard deviation). */
function statisticsOf(
  gpu: Gpu,
  x: BufferView,
  storage: Storage,
  { channels, pixels }: Planes,
  count: number,
  epsilon: number,
): GpuBuffer {
  const plan = pixelPlan(gpu, count * pixels);
  const kernel = gpu.kernel(
    `layerNormStatistics ${storage} ${plan.parts}`,
    () => layerNormStatistics(storage, plan),
  );
  const statistics = gpu.buffers.take(8 * count * pixels, "layerNorm statistics");
  const groups = flatGroups(Math.ceil(count * pixels / plan.lanes), gpu.limits);
  gpu.dispatch(kernel, [x, statistics], groups, [count * pixels, channels, pixels, { f32: epsilon }]);
  return statistics;
}

/** weight and bias of the product with those of the norm in them. */
function folded(gpu: Gpu, inputs: readonly (GpuOperand | null)[]): [weight: GpuBuffer, bias: GpuBuffer] {
  const [, normWeight, normBias, weight, bias] = inputs;
  const [rows, channels] = weight!.shape;
  const made = [4 * rows * channels, 4 * rows].map((bytes) => gpu.buffers.take(bytes, "foldNorm"));
  const kernel = gpu.kernel(`foldNorm ${bias !== null}`, () => foldNorm(bias !== null));
  const read = [weight, normWeight, normBias, bias].filter((operand) => operand !== null);
  const views = [...read.map((operand) => operand!.handle), ...made];
  gpu.dispatch(kernel, views, flatGroups(rows, gpu.limits), [rows, channels]);
  return [made[0], made[1]];
}

/** y: x times weight, plus bias; x normalised as it is loaded where there is an epsilon to do it with. */
function run(
  gpu: Gpu,
  x: GpuOperand,
  [weight, bias]: readonly (GpuBuffer | null)[],
  y: GpuBuffer,
  rows: number,
  gelu: boolean,
  epsilon: number | null,
): void {
  const image = planes(x.shape), { batch, channels, pixels } = image, storage = storageOf(x);
  const plan = gemmPlan(gpu, rows, batch * pixels);
  const options = { normalise: epsilon !== null, bias: bias !== null, gelu, storage };
  const form = layerNormPointwiseForm(geometryOf(image, rows), options, plan);
  const kernel = gpu.kernel(`layerNormPointwise ${JSON.stringify(form)}`, () => productKernel(form));
  const [xBytes, yBytes] = [channels, rows].map((each) => bytesOf(x) * each * pixels);
  for (const { first, count } of batchSlices(batch, [xBytes, yBytes], gpu.limits)) {
    const columns = count * pixels, own = part(x.handle, first, count, xBytes);
    const statistics = epsilon === null ? [] : [statisticsOf(gpu, own, storage, image, count, epsilon)];
    const views = [
      own,
      ...statistics,
      weight!,
      ...bias ? [bias] : [],
      part(y, first, count, yBytes),
    ];
    dispatchGemm(gpu, kernel, plan, views, { rows, columns }, [rows, columns, channels, pixels]);
    for (const buffer of statistics) gpu.buffers.release(buffer);
  }
}

/** dx of the norm, and the normalised x, from the gradient of what the norm made. */
function normGradient(
  gpu: Gpu,
  [x, normWeight]: readonly (GpuOperand | null)[],
  dz: GpuBuffer,
  epsilon: number,
): [dx: GpuBuffer, normal: GpuBuffer] {
  const { batch, channels, pixels } = planes(x!.shape), itemBytes = 4 * channels * pixels;
  const plan = pixelPlan(gpu, batch * pixels);
  const kernel = gpu.kernel(
    `layerNormPointwise norm ${plan.parts}`,
    () => layerNormPointwiseBackwardNorm(plan),
  );
  const made = ["dx", "normal"].map((name) => output(gpu, x!.shape, `layerNormPointwise ${name}`));
  for (const { first, count } of batchSlices(batch, [itemBytes], gpu.limits)) {
    const cut = (buffer: GpuBuffer) => part(buffer, first, count, itemBytes);
    gpu.dispatch(
      kernel,
      [cut(x!.handle), cut(dz), normWeight!.handle, ...made.map(cut)],
      flatGroups(Math.ceil(count * pixels / plan.lanes), gpu.limits),
      [count * pixels, channels, pixels, { f32: epsilon }],
    );
  }
  return [made[0], made[1]];
}

/** The gradients of normWeight, normBias, weight and bias, from the sums over all pixels. */
function parameterGradients(
  gpu: Gpu,
  S: GpuBuffer,
  [, normWeight, normBias, weight, bias]: readonly (GpuOperand | null)[],
): (GpuBuffer | null)[] {
  const [rows, channels] = weight!.shape, blocks = Math.ceil(rows / PARAMETER_ROWS);
  const take = (elements: number): GpuBuffer => gpu.buffers.take(4 * elements, "layerNormPointwise gradient");
  const dweight = take(rows * channels), dbias = bias && take(rows), partial = take(2 * blocks * channels);
  const width = channels % 4 === 0 ? 4 : 1;
  const kernel = gpu.kernel(
    `layerNormPointwise parameters ${bias !== null} ${width}`,
    () => layerNormPointwiseParameters(bias !== null, width),
  );
  gpu.dispatch(
    kernel,
    [
      ...[S, weight!.handle, normWeight!.handle, normBias!.handle, dweight],
      ...dbias ? [dbias] : [],
      partial,
    ],
    flatGroups(Math.ceil(blocks * channels / width / kernel.workgroupSize), gpu.limits),
    [rows, channels],
  );
  const [dNormWeight, dNormBias] = [take(channels), take(channels)];
  const sums = gpu.kernel("layerNormPointwise sums for the norm", layerNormPointwiseNormSums);
  const groups = flatGroups(Math.ceil(channels / 32), gpu.limits);
  gpu.dispatch(sums, [partial, dNormWeight, dNormBias], groups, [blocks, channels]);
  gpu.buffers.release(partial);
  return [dNormWeight, dNormBias, dweight, dbias];
}

const geometryOf = ({ channels, pixels }: Planes, outChannels: number): PointwiseGeometry => ({
  inChannels: channels,
  outChannels,
  pixels,
});

/**
 * Forward: statistics, folding and the product, or, where there are fewer pixels than rows of weight to fold, layerNorm
 * and the product. Backward: the product's input gradient, the norm's, the sums over pixels, and what follows from them.
 */
export const layerNormPointwise: GpuOp<LayerNormPointwiseAttributes> = {
  keepsFloat16: (_gpu, _inputs, _attributes, direction) => direction === "forward",
  forward(gpu, inputs, { epsilon, activation }, shape) {
    const [x, , , weight, bias] = inputs, gelu = activation === "gelu";
    const y = output(gpu, shape, "layerNormPointwise", x!.dtype);
    const image = planes(x!.shape);
    if (image.batch * image.pixels === 0) return y;
    if (image.batch * image.pixels > shape[1]) {
      const parameters = folded(gpu, inputs);
      run(gpu, x!, parameters, y, shape[1], gelu, epsilon);
      for (const buffer of parameters) gpu.buffers.release(buffer);
    } else {
      const normal = layerNorm.forward(gpu, inputs.slice(0, 3), { epsilon }, x!.shape);
      run(gpu, { ...x!, handle: normal }, [weight!.handle, bias?.handle ?? null], y, shape[1], gelu, null);
      gpu.buffers.release(normal);
    }
    return y;
  },
  backward(gpu, dy, inputs, { epsilon, activation }) {
    const [x, , , weight] = inputs;
    const image = planes(x!.shape), geometry = geometryOf(image, dy.shape[1]);
    let ds = dy.handle;
    if (activation !== "none") {
      const handle = this.forward(gpu, inputs, { epsilon, activation: "none" }, dy.shape);
      ds = unary.backward(gpu, dy, [{ ...dy, handle }], GELU, [true])[0]!;
      gpu.buffers.release(handle);
    }
    const dz = output(gpu, x!.shape, "layerNormPointwise dz");
    const { inChannels, outChannels, pixels } = geometry;
    const back = { inChannels: outChannels, outChannels: inChannels, pixels };
    product(gpu, back, true, image.batch, ds, [weight!.handle], dz);
    const [dx, normal] = normGradient(gpu, inputs, dz, epsilon);
    gpu.buffers.release(dz);
    const S = weightGradient(gpu, geometry, image.batch, ds, normal, true);
    gpu.buffers.release(normal);
    if (ds !== dy.handle) gpu.buffers.release(ds);
    const others = parameterGradients(gpu, S, inputs);
    gpu.buffers.release(S);
    return [dx, ...others];
  },
};
