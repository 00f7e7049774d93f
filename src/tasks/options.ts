/**
 * Options that several tasks have.
 * @module
 */

/** `--backend`. */
export const backendOption = {
  name: "backend",
  type: "choice",
  choices: ["auto", "webgpu", "tfjs", "reference"],
  default: "auto",
  description: "Where to compute. auto takes WebGPU where an adapter answers, else tfjs.",
} as const;
