/**
 * What PyTorch's ConvNeXt models reach on a GPU, and what is aimed at here on the same one.
 * @module
 */

/** What a model is timed at. */
export type ModelTask = "inference" | "training step";

/** One figure: PyTorch's, a target, or both. */
export interface ModelFigure {
  readonly model: "ConvNeXt-T" | "ConvNeXt-T-dcls";
  readonly task: ModelTask;
  readonly batch: number;
  readonly dtype: "float32" | "float16";
  /** PyTorch's images a second; null where only a target was set. */
  readonly pytorch: number | null;
  /** Images a second aimed at here; null where PyTorch's figure stands for comparison. */
  readonly target: number | null;
  readonly note: string;
}

/** Where PyTorch's figures come from. */
export const MODEL_HOST =
  "NVIDIA H100 80GB HBM3, PyTorch 2.11, 224 x 224; figures given with the project's targets, 2026. A training step is " +
  "forward + backward there, and has AdamW in it here";

/** All figures. */
export const MODEL_FIGURES: readonly ModelFigure[] = [
  figure("ConvNeXt-T", "inference", 128, "float32", 2527, null, "TF32 off; with it 4426"),
  figure("ConvNeXt-T-dcls", "inference", 128, "float32", 1584, 3800, "TF32 off; with it 2154"),
  figure("ConvNeXt-T", "inference", 128, "float16", 4541, null, "autocast"),
  figure("ConvNeXt-T-dcls", "inference", 128, "float16", 2020, 5000, "autocast; storage here"),
  figure("ConvNeXt-T", "training step", 64, "float32", 715, null, ""),
  figure("ConvNeXt-T-dcls", "training step", 64, "float32", 350, 1000, ""),
];

function figure(
  model: ModelFigure["model"],
  task: ModelTask,
  batch: number,
  dtype: ModelFigure["dtype"],
  pytorch: number | null,
  target: number | null,
  note: string,
): ModelFigure {
  return { model, task, batch, dtype, pytorch, target, note };
}

/** Least throughput of ConvNeXt-T-dcls over ConvNeXt-T on the same engine; 0.936 in the paper (V100), 0.45 to 0.63 with PyTorch on the H100. */
export const TARGET_DCLS_RATIO = 0.98;
/** Most that sizes 23 and 31 may cost over 17. */
export const TARGET_SIZE_RATIO = 1.05;
/** Seconds from the start of a process to the first logits: on a GPU with a cold driver cache, and anywhere. */
export const TARGET_FIRST_RESULT = { gpu: 8, software: 10 } as const;
/** TFLOP/s of the pointwise products on the H100. */
export const TARGET_POINTWISE = 38;

/** The pointwise products of ConvNeXt-T at 224 x 224: channels in and out, pixels an image. */
export const POINTWISE_SHAPES: readonly (readonly [from: number, to: number, pixels: number])[] = [
  [96, 384, 3136],
  [384, 96, 3136],
  [192, 768, 784],
  [768, 192, 784],
  [384, 1536, 196],
  [1536, 384, 196],
  [768, 3072, 49],
  [3072, 768, 49],
];
