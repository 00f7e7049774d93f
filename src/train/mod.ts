/**
 * Training runs as `deno task train` makes them: the loop with metrics, checkpoints and pictures, and what it is made of.
 * For Deno only.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { configOf, parseCommand, trainCommand } from "@dcls/dcls/train";
 *
 * const config = configOf(parseCommand(trainCommand, ["--conv", "standard"]));
 * assert.deepEqual([config.conv, config.positionRate], ["standard", 5]);
 * ```
 * @module
 */
export { type Checkpoint, loadCheckpoint, saveCheckpoint } from "./checkpoint.ts";
export * from "./cli.ts";
export { checkConfig, configOf, resumedConfig, type TrainArguments, type TrainConfig } from "./config.ts";
export { type EvaluationMetrics, type Metrics, readMetrics, type StepMetrics } from "./metrics.ts";
export {
  createProgress,
  type Progress,
  type ProgressOptions,
  type ProgressOutput,
  type ProgressState,
} from "./progress.ts";
export type { ImageDataset, LabelledImages } from "../data/images.ts";
export { train, type TrainOptions, type TrainResult } from "./trainer.ts";
export { trainCommand, trainOptions } from "./train_options.ts";
