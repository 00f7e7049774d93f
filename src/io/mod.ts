/**
 * Checkpoints, without a dependency: safetensors and PyTorch's `.pth`, read and written. Nothing in a file is
 * trusted: reading checks it before it returns anything, and runs nothing of it. Writing gives equal bytes for
 * equal contents.
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
export { writeFileAtomic } from "./files.ts";
export { readPth } from "./pth.ts";
export type { PthFile, PthTensor, ReadPthOptions } from "./pth.ts";
export { writePth } from "./pth_write.ts";
export type { PthInput, WritePthOptions } from "./pth_write.ts";
export { readSafetensors, writeSafetensors } from "./safetensors.ts";
export type {
  SafetensorsData,
  SafetensorsDtype,
  SafetensorsFile,
  SafetensorsInput,
  SafetensorsTensor,
} from "./safetensors.ts";
export type { TensorInput } from "./tensor_input.ts";
