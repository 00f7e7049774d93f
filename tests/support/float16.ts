/**
 * What the tests of float16 share.
 * @module
 */
import { FOUND_DEVICE, NO_WEBGPU } from "../adapter.ts";

/** For what takes several roundings, as a layer with padding does, in the Euclidean norm. One op alone: `HALF_TOLERANCE`. */
export const HALF_LAYER_TOLERANCE = 2e-3;

/** Why float16 cannot be tested on WebGPU here; null where it can. */
export const NO_FLOAT16: string | null = NO_WEBGPU ??
  (FOUND_DEVICE!.info.dtypes.includes("float16") ? null : "the adapter has no shader-f16");
