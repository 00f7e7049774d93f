/**
 * What the suite's results consist of, and what they are compared with.
 * @module
 */
import type { Version } from "../src/spec.ts";
import type { AdapterLimits } from "./adapter.ts";
import { type BenchCase, type BenchOpName, type Cost, OPS } from "./cases.ts";
import type { Times } from "./measure.ts";
import { PYTORCH_FIGURES, PYTORCH_HOSTS, type PytorchFigure } from "./pytorch.ts";
import type { PipelineTime } from "./timed_device.ts";

/** What the rows of WebGPU's float16 call their backend. */
export const HALF_BACKEND = "webgpu, float16";

/** One line of the results. */
export interface Row {
  readonly case: string;
  readonly op: BenchOpName;
  readonly version: Version;
  /** A backend of this module, or a rival. */
  readonly backend: string;
  readonly batch: number;
  readonly times: Times;
  readonly teraflopsPerSecond: number;
  readonly gigabytesPerSecond: number;
  /** Time at the measured limit over the time taken; null for engines that are not the adapter. */
  readonly ofLimit: number | null;
  readonly bound: Cost["bound"];
  /** PyTorch's time on a machine of the same kind, and how many times as fast this is. */
  readonly pytorch: { readonly milliseconds: number; readonly device: string; readonly ratio: number } | null;
  /** The first call until its end, pipelines included, in milliseconds. */
  readonly firstUse: number;
  /** Largest error against float64, relative to the largest magnitude. */
  readonly error: number;
  /** The kernels of one call. */
  readonly kernels: readonly { readonly label: string; readonly milliseconds: number }[];
}

/** What the suite found. */
export interface SuiteResult {
  readonly limits: AdapterLimits | null;
  readonly adapter: string | null;
  readonly software: boolean | null;
  readonly rows: readonly Row[];
  readonly pipelines: readonly PipelineTime[];
  /** What was left out, and wrong numbers. */
  readonly problems: readonly string[];
}

/** What a filter is matched with: `convolution v0 96 x 56², 17x17 / 34`. */
export function describeOp(benched: BenchCase, version: Version, op: BenchOpName): string {
  return `${op} ${version} ${benched.name}`;
}

/**
 * The ops of a case in a version: a convolution does not know versions, so it is timed in the first alone.
 * @param quick without the layers of most versions
 */
export function opsOf(benched: BenchCase, version: Version, quick = false): BenchOpName[] {
  if (quick && benched.quick.length === 0) return [];
  return OPS.filter((op) =>
    (version === benched.versions[0] || !op.startsWith("conv")) &&
    (!quick || !op.startsWith("layer") || benched.quick.includes(version))
  );
}

/** The time that is compared with PyTorch's: on CPUs the wall's, which hides nothing. */
export function comparedTime({ median, wall }: Times, software: boolean): number {
  return software ? wall : median;
}

/** PyTorch's figure for one op alone, from a machine of the same kind. */
export function figureOf(
  benched: BenchCase,
  op: BenchOpName,
  version: Version,
  batch: number,
  software: boolean,
): PytorchFigure | undefined {
  return PYTORCH_FIGURES.find((figure) =>
    figure.case === benched.name && figure.ops.length === 1 && figure.ops[0] === op &&
    figure.batch === batch &&
    (figure.version === null || figure.version === version) && figure.milliseconds !== null &&
    (PYTORCH_HOSTS[figure.host].kind === "cpu") === software
  );
}
