/**
 * Which direct kernel runs a convolution that no product or transform does.
 *
 * Software adapters (llvmpipe, 2 cores; processor time / 2, ms, strips → sliding): there the sliding kernels read every
 * element about once. Forward 2 x 96 x 56²: 7x7 10 → 2.0, 17x17 40 → 7; stride 2: 4.5 → 0.9 and 14 → 2.4. 4 x 192 x 28²: 10 → 1.8,
 * 46 → 6. 4 x 384 x 14²: 2.6 → 1.2, 7.4 → 3.8. 4 x 768 x 7²: 2.1 → 0.7, 4.6 → 1.3. 16 x 64 x 16000: size 3 33 → 24, size 51
 * 340 → 41. 2 x 32 x 16 x 28², 7x7x7: 100 → 14. The gradient to the input takes as long. To the kernel: 56² 9.6 → 2.2 and 33 → 6.5;
 * 4 x 768 x 7² 1.6 → 1.1; 16 x 64 x 16000: size 3 25 → 25, size 51 116 → 45; 7x7x7: 106 → 18.
 *
 * GPUs (H100, prototypes, 128 images, ms): window 56² 7x7 0.148 and 28² 0.085, where rows take 0.205 and more; rows 14²
 * 0.051 (7x7) to 0.122 (31x31), 7² 0.024 to 0.034. The gradient to the kernel by rows at 7²: 0.029 (7x7), 0.037 (17x17).
 * Everything else goes by strips: other ranks, strides, dilations, several channels a group.
 */
import type { ConvolutionGeometry } from "../../kernels/convolution.ts";
import { type PlaneLayout, rowLayout } from "../../kernels/rowConvolution.ts";
import { type RowGradientPlan, rowGradientPlan } from "../../kernels/rowKernelGradient.ts";
import type { SlidingPlan } from "../../kernels/slidingPlan.ts";
import { isFlatDepthwise, WINDOW_SIZE } from "../../kernels/windowConvolution.ts";
import type { Gpu } from "./gpu.ts";
import { slidingPlanFor } from "./ops/slidingConvolution.ts";

/** The kernels of a convolution and of its gradient to the input. */
export type DirectChoice =
  | { readonly kernel: "sliding"; readonly plan: SlidingPlan }
  | { readonly kernel: "rows"; readonly layout: PlaneLayout }
  | { readonly kernel: "window" }
  | { readonly kernel: "strips" };

/** The kernels of the gradient to the kernel. */
export type KernelGradientChoice =
  | { readonly kernel: "sliding"; readonly plan: SlidingPlan }
  | { readonly kernel: "rows"; readonly plan: RowGradientPlan }
  | { readonly kernel: "strips" };

/** Planes up to this extent go by rows, larger ones by windows. */
const SMALL_PLANE = 14;

const limitsOf = ({ limits }: Gpu): { bytes: number; invocations: number } => ({
  bytes: limits.maxComputeWorkgroupStorageSize,
  invocations: limits.maxComputeInvocationsPerWorkgroup,
});

/** For a batch of `count`; the geometry is the mirrored one for the gradient to the input. */
export function chooseDirect(gpu: Gpu, geometry: ConvolutionGeometry, count: number): DirectChoice {
  if (gpu.info.software) {
    const plan = slidingPlanFor(geometry, count, "convolution");
    return plan ? { kernel: "sliding", plan } : { kernel: "strips" };
  }
  if (!isFlatDepthwise(geometry)) return { kernel: "strips" };
  const { input, output, size } = geometry;
  const windowed = Math.max(size[1], size[2]) <= WINDOW_SIZE;
  const small = Math.max(input[1], input[2], output[1], output[2]) <= SMALL_PLANE;
  const layout = windowed && !small ? null : rowLayout(geometry, count, limitsOf(gpu));
  if (layout) return { kernel: "rows", layout };
  return windowed ? { kernel: "window" } : { kernel: "strips" };
}

/** For a batch of `count`. */
export function chooseKernelGradient(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  count: number,
): KernelGradientChoice {
  if (gpu.info.software) {
    const plan = slidingPlanFor(geometry, count, "kernelGradient");
    return plan ? { kernel: "sliding", plan } : { kernel: "strips" };
  }
  const plan = isFlatDepthwise(geometry) ? rowGradientPlan(geometry, limitsOf(gpu)) : null;
  return plan ? { kernel: "rows", plan } : { kernel: "strips" };
}
