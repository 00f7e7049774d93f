/**
 * JavaScript's part: the CPU time of queueing a training step, and the latency of a small call whose result is read.
 * @module
 */
import { compile, Dcls2d, init, noGrad, randn, tensor, tidy } from "../mod.ts";
import { median, percentile } from "./measure.ts";

/** Times of many repetitions, in milliseconds. */
export interface HostTimes {
  readonly name: string;
  readonly p50: number;
  readonly p99: number;
  readonly mean: number;
  readonly min: number;
  readonly samples: number;
  /** p50 aimed at; null where it holds for GPUs only and this is none. */
  readonly target: number | null;
}

function summarise(name: string, times: readonly number[], target: number | null): HostTimes {
  return {
    name,
    p50: median(times),
    p99: percentile(times, 0.99),
    mean: times.reduce((sum, time) => sum + time, 0) / times.length,
    min: Math.min(...times),
    samples: times.length,
    target,
  };
}

/** Steps behind one wait, and before the first that counts. */
const STEPS_PER_WAIT = 50;

/**
 * What one step of a layer (forward, backward, gradients forgotten) costs JavaScript once its pipelines, bind groups
 * and buffers exist, the share of the submits included. On a software adapter the layer is small: the same dispatches,
 * but the device does not take the processor from JavaScript.
 */
export async function measureStep(software: boolean, rounds: number): Promise<HostTimes> {
  const [channels, extent, batch] = software ? [2, 24, 1] : [96, 56, 128];
  const layer = new Dcls2d(channels, channels, {
    kernelCount: 34,
    dilatedKernelSize: 17,
    padding: 8,
    groups: channels,
    seed: 0,
  });
  const x = randn([batch, channels, extent, extent], { seed: 1, requiresGrad: true });
  const dy = randn([batch, channels, extent, extent], { seed: 2 }), one = tensor([1], [1]);
  const times: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    for (let step = 0; step < STEPS_PER_WAIT; step++) {
      const started = performance.now();
      tidy(() => layer.forward(x).backward(dy));
      layer.zeroGrad();
      x.zeroGrad();
      if (round > 0) times.push(performance.now() - started);
    }
    await one.data();
  }
  for (const each of [x, dy, one, ...Object.values(layer.children())]) {
    if (each && "dispose" in each) each.dispose();
  }
  const name = `queueing a layer step, ${batch} x ${channels} x ${extent}², 17x17 / 34`;
  return summarise(name, times, 0.2);
}

/** How a small call is made and its output read. */
export type LatencyWay = "as it comes" | "recorded, quick reads";

/** A forward call of the poster's layer with one image, until its output is read. */
export async function measureLatency(
  software: boolean,
  calls: number,
  way: LatencyWay = "as it comes",
): Promise<HostTimes> {
  const layer = new Dcls2d(96, 96, {
    kernelCount: 34,
    dilatedKernelSize: 17,
    padding: 8,
    groups: 96,
    seed: 0,
  }).eval();
  const x = randn([1, 96, 56, 56], { seed: 1 });
  const compiled = way === "as it comes" ? null : compile(layer, x.shape);
  await init({ backend: "webgpu", quickReads: compiled !== null });
  const times: number[] = [];
  for (let call = -5; call < calls; call++) {
    const started = performance.now();
    const output = compiled ? compiled.forward(x) : tidy(() => noGrad(() => layer.forward(x)));
    await output.data();
    output.dispose();
    if (call >= 0) times.push(performance.now() - started);
  }
  await init({ backend: "webgpu", quickReads: false });
  compiled?.dispose();
  for (const each of [x, ...Object.values(layer.children())]) if (each && "dispose" in each) each.dispose();
  return summarise(
    `latency of one call, 1 x 96 x 56², output read${compiled ? ", recorded, with quick reads" : ""}`,
    times,
    software ? null : 2,
  );
}
