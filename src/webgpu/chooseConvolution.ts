/**
 * Which algorithm runs a convolution. Measured crossovers, forward, ms:
 *
 * H100 (prototypes; 128 images): planes of 56² C96: FFT 0.145 for 7x7 to 17x17, direct 0.148 (7x7), 0.316 (11x11), 0.588 (17x17);
 * 28² C192: FFT 0.078 (7x7) and 0.102 (17x17), direct 0.085 and 0.267; 14² C384: direct ahead at every size.
 *
 * Software adapter (llvmpipe, 2 cores; processor time / 2): 2 x 96 x 56²: FFT 18, direct 9 (7x7) and 40 (17x17); both gradients
 * FFT 32, direct 74 (17x17). 4 x 192 x 28²: FFT 21 to 26, direct 12 (7x7), 15 (9x9), 46 (17x17). 128 x 16 x 14², 9x9: FFT 20,
 * direct 5. Direct work grows with the taps, the FFT's does not: they meet at about 150 taps.
 *
 * llvmpipe behind OpenGL, which answers where Mesa is there without its Vulkan driver: LLVM takes minutes to split the FFT
 * at its barriers (over 4 for a transform of 64, a second behind Vulkan). It grants no subgroups, and gets direct kernels.
 */
import type { ConvolutionGeometry } from "../../kernels/convolution.ts";
import type { PlanePlan } from "../../kernels/planeConvolution.ts";
import type { Gpu } from "./gpu.ts";
import { isPatchConvolution } from "./ops/patches.ts";
import { planePlan } from "./ops/planeConvolution.ts";

/** The algorithms: patches as channels of a product, whole planes through the FFT, or the direct kernels. */
export type ConvolutionChoice =
  | { readonly algorithm: "patches" }
  | { readonly algorithm: "planes"; readonly plan: PlanePlan }
  | { readonly algorithm: "direct" };

/** The fastest algorithm that can run it here. */
export function chooseConvolution(gpu: Gpu, geometry: ConvolutionGeometry): ConvolutionChoice {
  if (isPatchConvolution(geometry)) return { algorithm: "patches" };
  const { size, input, output } = geometry;
  const taps = size[1] * size[2], plane = Math.max(input[1], input[2], output[1], output[2]);
  const worthIt = gpu.info.software
    ? plane >= 20 && taps >= 150 && gpu.info.features.includes("subgroups")
    : plane >= 15 && taps >= 49;
  const plan = worthIt && planePlan(gpu, geometry);
  return plan ? { algorithm: "planes", plan } : { algorithm: "direct" };
}
