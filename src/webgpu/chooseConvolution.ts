/**
 * Which algorithm runs a convolution. Measured crossovers, forward, ms:
 *
 * H100 (prototypes; 128 images): planes of 56² C96: FFT 0.145 for 7x7 to 17x17, direct 0.148 (7x7), 0.316 (11x11), 0.588 (17x17);
 * 28² C192: FFT 0.078 (7x7) and 0.102 (17x17), direct 0.085 and 0.267; 14² C384: direct ahead at every size. Both gradients
 * 14² C384 17x17: FFT 0.178, where the direct gradient to the kernel alone takes 0.253; 7² C768: direct 0.029 and 0.037.
 *
 * Software adapter (llvmpipe, 2 cores; processor time / 2), transforms by lines (with the kernel's spectrum) and direct:
 * 2 x 96 x 56²: FFT 4.5 at every size up to 17x17, 8.1 at 31x31, direct 2.0 (7x7) and 6.7 (17x17); both gradients FFT 9.3 and
 * 15.4, direct 12.7 (17x17). 4 x 192 x 28²: FFT 8.7, direct 6.1 (17x17). 4 x 384 x 14²: FFT 6.2, direct 3.8 (17x17).
 *
 * Products of patches, not written (implicit GEMM; processor time), and direct, from 12 channels a group on: 140 → 256, size 25, length 125, 4
 * images: forward 35 and 84, gradient to the input 50 and 104, to the kernel 48 and 107. 64 → 64, 3x3, 56²: 13 and 25, 14 and 25, 17
 * and 54. 16 → 33, 7x7x7, 14 x 24 x 12: 24 and 22, 70 and 32, 17 and 83: of an input far larger than the output the product
 * would meet mostly border. 24 → 24 in 2 groups, 7x7, 28²: 5.5 and 6.0, 5.6 and 6.3, 6.1 and 7.3. 32 → 32 in 4 groups, 9x9: 8.0 and 8.7,
 * 10.4 and 8.6, 10.4 and 10.7; in 16 groups of 2 → 4 direct is ahead, 5.8 and 7.2, 5.1 and 12.8, 4.5 and 20. On GPUs not measured yet:
 * there they are taken where half of the smallest tile has rows.
 *
 * llvmpipe behind OpenGL, which answers where Mesa is there without its Vulkan driver: LLVM takes minutes to split the FFT
 * at its barriers (over 4 for a transform of 64, a second behind Vulkan). It grants no subgroups, and gets direct kernels.
 */
import type { ConvolutionGeometry } from "../../kernels/convolution.ts";
import type { Storage } from "../../kernels/kernel.ts";
import { isCut } from "../../kernels/planeConvolution.ts";
import { heldRows, type TilePlan, tilesAlong } from "../../kernels/planeTiles.ts";
import { sizeOf } from "../spec.ts";
import type { Gpu } from "./gpu.ts";
import { isPatchConvolution } from "./ops/patches.ts";
import { planePlan, type TransformPlan } from "./ops/planeConvolution.ts";

/**
 * The algorithms: patches as channels of a product, products of patches that are not written, whole planes through the FFT, or
 * the direct kernels. `toInput`: whether the gradient to the input is a product too, else direct.
 */
export type ConvolutionChoice =
  | { readonly algorithm: "patches" }
  | { readonly algorithm: "gemm"; readonly toInput: boolean }
  | { readonly algorithm: "planes"; readonly plan: TransformPlan }
  | { readonly algorithm: "direct" };

/** Forward, or both gradients. */
export type ConvolutionPass = "forward" | "backward";

/**
 * The fastest algorithm that can run it here, on images kept as `storage`: the one that `autotune` found, else the one that
 * the figures above tell.
 */
export function chooseConvolution(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  storage: Storage,
  pass: ConvolutionPass,
): ConvolutionChoice {
  const found = gpu.tuned.size > 0 ? gpu.tuned.get(tuningKey(geometry, storage, pass)) : undefined;
  const tuned = found &&
    convolutionCandidates(gpu, geometry, storage).find(({ algorithm }) => algorithm === found);
  return tuned || expectedConvolution(gpu, geometry, storage, pass);
}

function expectedConvolution(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  storage: Storage,
  pass: ConvolutionPass,
): ConvolutionChoice {
  if (isPatchConvolution(geometry)) return { algorithm: "patches" };
  const { size, input, output, outChannels, groups } = geometry;
  if (outChannels / groups >= fewestRows(gpu)) {
    return { algorithm: "gemm", toInput: inputGemm(gpu, geometry) };
  }
  const taps = size[1] * size[2], plane = Math.max(input[1], input[2], output[1], output[2]);
  if (gpu.info.software) {
    const plan = transformPlan(gpu, geometry, storage);
    const wins = plan && !("fft" in plan) && lineTime(plan) < directTime(output[1] * output[2], taps);
    return wins ? { algorithm: "planes", plan } : { algorithm: "direct" };
  }
  const smallest = pass === "forward" ? 15 : 9;
  const plan = plane >= smallest && taps >= 49 ? transformPlan(gpu, geometry, storage) : null;
  // Tiles cost what planes of 56² do, where windows take as long for 7x7 (not measured).
  const wins = plan && (taps >= 121 || !("fft" in plan && isCut(plan)));
  return wins ? { algorithm: "planes", plan } : { algorithm: "direct" };
}

/** Every algorithm that can run it here. */
export function convolutionCandidates(
  gpu: Gpu,
  geometry: ConvolutionGeometry,
  storage: Storage,
): ConvolutionChoice[] {
  const plan = transformPlan(gpu, geometry, storage);
  return [
    ...(isPatchConvolution(geometry) ? [{ algorithm: "patches" } as const] : []),
    ...(geometry.outChannels / geometry.groups >= 4
      ? [{ algorithm: "gemm", toInput: inputGemm(gpu, geometry) } as const]
      : []),
    ...(plan ? [{ algorithm: "planes", plan } as const] : []),
    { algorithm: "direct" },
  ];
}

/** What findings are kept under. The batch is none of it: time grows with it whatever the algorithm. */
export function tuningKey(geometry: ConvolutionGeometry, storage: Storage, pass: ConvolutionPass): string {
  const { inChannels, outChannels, groups, input, size, stride, padding, dilation } = geometry;
  const axes = { input, kernel: size, stride, padding, dilation };
  const extents = Object.entries(axes).map(([name, list]) => `${name} ${list.join("x")}`);
  return [pass, storage, `${inChannels} to ${outChannels} channels in ${groups} groups`, ...extents].join(
    ", ",
  );
}

/** Channels of a group from which on products win. */
function fewestRows(gpu: Gpu): number {
  return gpu.info.software ? 12 : 8;
}

/** Whether the gradient to the input is better a product: not where most of its windows lie on the border. */
function inputGemm(gpu: Gpu, { inChannels, groups, input, output, stride }: ConvolutionGeometry): boolean {
  const cells = sizeOf(input), windows = sizeOf(output) * sizeOf(stride);
  return inChannels / groups >= fewestRows(gpu) && cells <= 2 * windows;
}

/** How the transforms would run it; on software adapters they do by lines alone, see above. */
function transformPlan(gpu: Gpu, geometry: ConvolutionGeometry, storage: Storage): TransformPlan | null {
  return gpu.info.software && !gpu.sharesLoads ? null : planePlan(gpu, geometry, storage);
}

/** Nanoseconds of one core for a pair of planes, fitted to the figures above: what the transforms take, by lines. */
function lineTime({ rows, columns }: TilePlan): number {
  const tiles = tilesAlong(rows, rows.output) * tilesAlong(columns, columns.output);
  return columns.L * (12 * tiles * (heldRows(rows) + rows.L) + 2.5 * rows.L);
}
/**
 * Likewise the direct kernels (7x7 to 31x31 at 56²). A fifth is added: where both are as fast, the transforms compile in a
 * quarter of the time (both gradients 17x17: 1.0 s and 4.0 s; 31x31: 2 s and 25 s).
 */
function directTime(results: number, taps: number): number {
  const each = taps > MOST_SLIDING_TAPS ? 0.64 * taps : 5 + 0.045 * taps + 5e-5 * taps ** 2;
  return 1.2 * 2 * results * each;
}
/** About where the sliding kernels end and the strips of `convolution.ts` begin: 51x51 takes them 1660 ns a result. */
const MOST_SLIDING_TAPS = 35 ** 2;
