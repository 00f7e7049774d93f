/**
 * Checkpoints in the safetensors format, without a dependency: reading checks the whole file before it returns
 * anything, writing gives equal bytes for equal contents.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { readSafetensors, writeSafetensors } from "./mod.ts";
 *
 * const bytes = writeSafetensors({ P: { shape: [1, 2], data: new Float32Array([-1.5, 2.25]) } });
 * assert.deepEqual([...readSafetensors(bytes).tensors.P.data], [-1.5, 2.25]);
 * ```
 * @module
 */
export { readSafetensors, writeSafetensors } from "./safetensors.ts";
export type {
  SafetensorsData,
  SafetensorsDtype,
  SafetensorsFile,
  SafetensorsInput,
  SafetensorsTensor,
} from "./safetensors.ts";
