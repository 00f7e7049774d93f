/**
 * Figures of the PyTorch package `dcls` and the times that are aimed at, each with the machine it holds for.
 * @module
 */
import type { Version } from "../src/spec.ts";
import type { BenchOpName } from "./cases.ts";

/** A machine on which PyTorch was timed. */
export interface PytorchHost {
  readonly device: string;
  /** Whether the figures are to be compared with those of a GPU or of CPUs. */
  readonly kind: "gpu" | "cpu";
  readonly pytorch: string;
  readonly method: string;
}

/** The machines. */
export const PYTORCH_HOSTS = {
  h100: {
    device: "NVIDIA H100 80GB HBM3",
    kind: "gpu",
    pytorch: "PyTorch 2.11, CUDA, float32, TF32 off",
    method:
      "the package's own layers, poster's layer at batch 128; figures given with the project's targets, 2026",
  },
  epyc: {
    device: "AMD EPYC, 2 cores (virtual machine)",
    kind: "cpu",
    pytorch: "PyTorch 1.13, CPU, float32",
    method:
      "the package's own layers, poster's layer at batch 2; figures given with the project's targets, 2026",
  },
} as const satisfies Record<string, PytorchHost>;

/** One measured time. */
export interface PytorchFigure {
  readonly host: keyof typeof PYTORCH_HOSTS;
  /** Name of the case in `cases.ts`. */
  readonly case: string;
  /** Null where the figure was given without its version, or does not depend on it. */
  readonly version: Version | null;
  readonly batch: number;
  /** The ops that it covers: their times here are added up. */
  readonly ops: readonly BenchOpName[];
  /** PyTorch's time in milliseconds; null where only a target was set. */
  readonly milliseconds: number | null;
  /** What is aimed at here, in milliseconds, on the same device. */
  readonly target: number;
}

const POSTER = "96 x 56², 17x17 / 34";

function onH100(
  name: string,
  ops: readonly BenchOpName[],
  milliseconds: number | null,
  target: number,
  batch = 128,
): PytorchFigure {
  return { host: "h100", case: name, version: null, batch, ops, milliseconds, target };
}

/** On the CPU the aim is a ratio: 5 times as fast forward, 3 times both ways. */
function onCpu(version: Version, op: BenchOpName, milliseconds: number): PytorchFigure {
  const target = milliseconds / (op === "layer forward" ? 5 : 3);
  return { host: "epyc", case: POSTER, version, batch: 2, ops: [op], milliseconds, target };
}

/** All figures. Where a range was given, its lower end: the ratios are the cautious ones. */
export const PYTORCH_FIGURES: readonly PytorchFigure[] = [
  onH100(POSTER, ["constructKernel", "constructKernelBackward"], 1.2, 0.05),
  onH100(POSTER, ["convolution"], 5.48, 0.145),
  onH100(POSTER, ["convBackwardInput"], 6.69, 0.26),
  onH100(POSTER, ["convBackwardKernel"], 14.7, 0.26),
  onH100(POSTER, ["convBackward"], 6.69 + 14.7, 0.26),
  onH100(POSTER, ["layer forward"], 6.0, 0.17),
  onH100(POSTER, ["layer forward + backward"], 27.9, 0.45),
  ...["96 x 56², 23x23 / 26", "96 x 56², 31x31 / 34"].flatMap((name) => [
    onH100(name, ["layer forward"], null, 0.2),
    onH100(name, ["layer forward + backward"], null, 0.6),
  ]),
  onH100("192 x 28², 17x17 / 34", ["convolution"], null, 0.1),
  onH100("384 x 14², 17x17 / 34", ["convolution"], null, 0.085),
  onH100("768 x 7², 17x17 / 34", ["convolution"], null, 0.025),
  onH100("Dcls1d 140 to 256, K 1, S 25, length 125", ["layer forward"], 2.03, 1.0, 256),
  onH100("Dcls3d 16 to 33, K 10, 7x7x7, 50 x 100 x 30", ["layer forward"], 72, 36, 20),
  onCpu("v0", "layer forward", 59),
  onCpu("gauss", "layer forward", 204),
  onCpu("v0", "layer forward + backward", 165),
  onCpu("gauss", "layer forward + backward", 285),
];
