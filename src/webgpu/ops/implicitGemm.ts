/** Dense and grouped convolutions on WebGPU as products over patches that are never written. */
import type { ConvolutionGeometry } from "../../../kernels/convolution.ts";
import { groupExtents, implicitGemm, slidesAlong } from "../../../kernels/implicitGemm.ts";
import type { GemmPlan } from "../../../kernels/gemm.ts";
import {
  implicitGemmBackwardInput,
  type Phase,
  phasesOf,
  phaseWords,
} from "../../../kernels/implicitGemmBackwardInput.ts";
import { implicitGemmBackwardKernel } from "../../../kernels/implicitGemmBackwardKernel.ts";
import type { DType } from "../../dtype.ts";
import { sizeOf } from "../../spec.ts";
import { type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices } from "../limits.ts";
import { dispatchGemm, gemmPlan, slicesOf, slidingPlan, sumOfSlices } from "./gemm.ts";
import { bytesOf, storageOf } from "./op.ts";

/** Bytes of an image of the input and of the output. */
function imageBytes(geometry: ConvolutionGeometry, dtype: DType): [input: number, output: number] {
  const { inputCells, outputCells } = groupExtents(geometry), bytes = bytesOf({ dtype });
  return [bytes * geometry.inChannels * inputCells, bytes * geometry.outChannels * outputCells];
}

/** A plan that slides where more than one tap follows on another along a line. */
function planFor(
  gpu: Gpu,
  rows: number,
  columns: number,
  groups: number,
  run: number,
  line: number,
  slices = 1,
): GemmPlan {
  return run > 1 && line > 1
    ? slidingPlan(gpu, rows, columns, groups, line, slices)
    : gemmPlan(gpu, rows, columns, groups, slices);
}

/**
 * y = convolution of x.
 * @param others kernel and, where there is one, bias
 * @param dtype of x and y
 */
export function implicitForward(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  others: readonly GpuBuffer[],
  y: GpuBuffer,
  dtype: DType = "float32",
): void {
  const { groups } = geometry, { J: rows, outputCells } = groupExtents(geometry);
  const line = slidesAlong(geometry) ? geometry.output[2] : 1;
  const plan = planFor(gpu, rows, count * outputCells, groups, geometry.size[2], line);
  const options = { bias: others.length > 1, storage: storageOf({ dtype }) };
  const kernel = gpu.kernel(
    `implicitGemm ${JSON.stringify([geometry, options, plan])}`,
    () => implicitGemm(geometry, options, plan),
  );
  const [inputBytes, outputBytes] = imageBytes(geometry, dtype);
  for (const slice of batchSlices(count, [inputBytes, outputBytes], gpu.limits)) {
    const views = [
      part(x, slice.first, slice.count, inputBytes),
      ...others,
      part(y, slice.first, slice.count, outputBytes),
    ];
    const columns = slice.count * outputCells;
    dispatchGemm(gpu, kernel, plan, views, { rows, columns, groups, line }, [columns]);
  }
}

/** The gradient to the input, of dy's dtype. */
export function implicitInputGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  dy: GpuBuffer,
  taps: GpuBuffer,
  dtype: DType = "float32",
): GpuBuffer {
  const { groups } = geometry, { I: rows } = groupExtents(geometry);
  const [inputBytes, outputBytes] = imageBytes(geometry, dtype);
  const storage = storageOf({ dtype });
  const dx = gpu.buffers.take(count * inputBytes, "implicitGemmBackwardInput");
  const slides = geometry.stride[2] % geometry.dilation[2] === 0;
  const run = (phase: Phase): void => {
    const cells = sizeOf(phase.extents), line = slides ? phase.extents[2] : 1;
    const plan = planFor(gpu, rows, count * cells, groups, phase.counts[2], line);
    const kernel = gpu.kernel(
      `implicitGemmBackwardInput ${JSON.stringify([geometry, phase.counts, plan, storage])}`,
      () => implicitGemmBackwardInput(geometry, phase.counts, plan, storage),
    );
    for (const slice of batchSlices(count, [outputBytes, inputBytes], gpu.limits)) {
      const views = [
        part(dy, slice.first, slice.count, outputBytes),
        taps,
        part(dx, slice.first, slice.count, inputBytes),
      ];
      const columns = slice.count * cells;
      dispatchGemm(gpu, kernel, plan, views, { rows, columns, groups, line }, phaseWords(phase, columns));
    }
  };
  phasesOf(geometry).forEach(run);
  return dx;
}

/** The gradient to the kernel, in float32. */
export function implicitKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
  x: GpuBuffer,
  dy: GpuBuffer,
  dtype: DType = "float32",
): GpuBuffer {
  const { groups } = geometry, { I, J: rows, taps, outputCells } = groupExtents(geometry);
  const columns = I * taps, line = slidesAlong(geometry) ? geometry.size[2] : 1;
  const plan = planFor(gpu, rows, columns, groups, geometry.output[2], line, slicesOf(count * outputCells));
  const [inputBytes, outputBytes] = imageBytes(geometry, dtype), storage = storageOf({ dtype });
  return sumOfSlices(gpu, {
    kernel: gpu.kernel(
      `implicitGemmBackwardKernel ${JSON.stringify([geometry, plan, storage])}`,
      () => implicitGemmBackwardKernel(geometry, plan, storage),
    ),
    plan,
    batched: [{ buffer: dy, itemBytes: outputBytes }, { buffer: x, itemBytes: inputBytes }],
    count,
    pixels: outputCells,
    rows,
    columns,
    groups,
    line,
    unit: geometry.output[2],
    words: (items) => [items * outputCells],
  });
}
