/**
 * How a layer's time grows with batch, channels, plane, size, and count, and how far it spreads over all sizes, versions
 * and counts.
 * @module
 */
import { currentBackend } from "../src/backend.ts";
import { type Version, VERSIONS } from "../src/spec.ts";
import { type BenchCase, type BenchOpName, depthwise } from "./cases.ts";
import { type Effort, interleave } from "./measure.ts";
import { drawData, Subject } from "./subject.ts";
import type { OpenWebgpu } from "./suite.ts";
import { TOLERANCE, verify } from "./verify.ts";

/** What grows. `claim` is the grid of sizes, versions and counts. */
export const SWEEP_AXES = ["batch", "channels", "plane", "size", "count", "claim"] as const;
/** One of them. */
export type SweepAxis = typeof SWEEP_AXES[number];

/** The two steps that are timed. */
export const SWEEP_OPS = ["layer forward", "layer forward + backward"] as const satisfies BenchOpName[];

/** One layer. */
export interface SweepSetting {
  readonly batch: number;
  readonly channels: number;
  /** H and W. */
  readonly plane: number;
  readonly size: number;
  readonly count: number;
  readonly version: Version;
}

/** Its times. */
export interface SweepPoint extends SweepSetting {
  readonly axis: SweepAxis;
  readonly op: typeof SWEEP_OPS[number];
  readonly median: number;
  readonly min: number;
  /** The kernels that its first call made pipelines of, or found: the algorithm, in short. */
  readonly algorithm: string;
}

/** The layers of a sweep: one axis at a time from a base, and the claim's grid. */
export function sweepSettings(software: boolean): (SweepSetting & { readonly axis: SweepAxis })[] {
  const base: SweepSetting = {
    batch: software ? 2 : 128,
    channels: software ? 32 : 96,
    plane: 56,
    size: 17,
    count: 34,
    version: "v0",
  };
  const vary = <K extends keyof SweepSetting>(
    axis: SweepAxis,
    key: K,
    values: readonly SweepSetting[K][],
  ): (SweepSetting & { readonly axis: SweepAxis })[] =>
    values.map((value) => ({ ...base, [key]: value, axis }));
  const { batch, channels } = base;
  const sizes = [7, 11, 17, 23, 31];
  const grid = VERSIONS.flatMap((version) =>
    sizes.flatMap((size) => [8, 34, 128].map((count) => ({ version, size, count })))
  );
  return [
    ...vary("batch", "batch", [batch / 2, batch, 2 * batch, 4 * batch]),
    ...vary("channels", "channels", [channels / 2, channels, 2 * channels, 4 * channels]),
    ...vary("plane", "plane", [7, 14, 28, 56, 112]),
    ...vary("size", "size", [3, 5, ...sizes, 51]),
    ...vary("count", "count", [8, 16, 34, 64, 128]),
    ...grid.map((some) => ({ ...base, ...some, axis: "claim" as const })),
  ];
}

/** Largest over smallest median of an op over the claim's grid, and where each is; null without points. */
export function spread(
  points: readonly SweepPoint[],
  op: SweepPoint["op"],
  keep: (point: SweepPoint) => boolean = () => true,
): { readonly ratio: number; readonly least: SweepPoint; readonly most: SweepPoint } | null {
  const claimed = points.filter((point) => point.axis === "claim" && point.op === op && keep(point));
  if (claimed.length === 0) return null;
  const least = claimed.reduce((a, b) => b.median < a.median ? b : a);
  const most = claimed.reduce((a, b) => b.median > a.median ? b : a);
  return { ratio: most.median / least.median, least, most };
}

/**
 * Times the settings on the running WebGPU backend, each verified first.
 * @throws {Error} where a result is off
 */
export async function runSweep(
  { timer, adapter }: OpenWebgpu,
  settings: readonly (SweepSetting & { readonly axis: SweepAxis })[],
  effort: Effort,
  note: (line: string) => void,
): Promise<SweepPoint[]> {
  const points: SweepPoint[] = [];
  for (const setting of settings) {
    const { axis, batch, channels, plane, size, count, version } = setting;
    const benched: BenchCase = depthwise(channels, plane, size, count);
    const subject = await Subject.create(currentBackend("sweep"), benched, version, drawData(benched, batch));
    const wait = (): Promise<void> => subject.wait();
    const contenders = SWEEP_OPS.map((op) => ({
      run: () => subject.run(op).free(),
      wait,
      timer: timer.granted ? timer : null,
    }));
    const algorithms: string[] = [];
    for (const op of SWEEP_OPS) {
      await wait();
      if (timer.granted) timer.start("dispatch");
      const result = subject.run(op);
      await wait();
      const spans = timer.granted ? await timer.take() : [];
      algorithms.push(
        !timer.granted ? "unknown" : spans.some(({ label }) => label.startsWith("plane")) ? "FFT" : "direct",
      );
      const error = await verify(subject, op, await result.read());
      result.free();
      if (!(error <= TOLERANCE)) {
        throw new Error(
          `Cannot sweep: ${op} ${version} ${benched.name} must be within ${TOLERANCE} of float64, got ${error}`,
        );
      }
    }
    adapter.warmUp();
    const times = await interleave(contenders, effort);
    SWEEP_OPS.forEach((op, i) => {
      const { median, min } = times[i];
      points.push({ ...setting, op, median, min, algorithm: algorithms[i] });
    });
    note(
      `${axis.padEnd(8)} ${version.padEnd(5)} ${batch} x ${benched.name}: ` +
        times.map(({ median }) => median.toFixed(2)).join(" and ") + " ms",
    );
    subject.dispose();
  }
  return points;
}
