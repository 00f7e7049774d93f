/**
 * What the adapter can do at most: copy bandwidth and FMA rate, measured by kernels that do nothing else, and the work
 * that warms it up.
 * @module
 */
import { type DeviceTimer, sampleTimes } from "./timed_device.ts";

/** Measured limits of an adapter. */
export interface AdapterLimits {
  /** Bytes read and written, per second, in units of 10^9. */
  readonly copyGigabytesPerSecond: number;
  /** Multiplications and additions in float32, per second, in units of 10^12. */
  readonly teraflopsPerSecond: number;
  /** Bytes that one copy read and wrote. */
  readonly copyBytes: number;
  /** Whether the times are the device's own timestamps, rather than wall time. */
  readonly timestamps: boolean;
}

/** GPUs idle at low clocks: work of this length precedes a series. */
export const WARM_UP_MILLISECONDS = 300;
const SAMPLES = 5;
const WORKGROUP = 64;
/** Independent chains of vec4 that hide each other's latency, and steps unrolled in each. */
const CHAINS = 8, STEPS = 32, TURNS = 32;

const COPY = `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) t: u32) {
  let id = (g.y * groups.x + g.x) * ${WORKGROUP}u + t;
  if (id < arrayLength(&x)) { y[id] = x[id]; }
}`;

/** As `fma` and as a product and a sum: some drivers are slow at the one, some at the other. */
function multiplyAdd(fused: boolean): string {
  const step = (c: number): string => fused ? `a${c} = fma(a${c}, b, d);` : `a${c} = a${c} * b + d;`;
  const chains = Array.from({ length: CHAINS }, (_, c) => c);
  return `@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(workgroup_id) g: vec3u, @builtin(local_invocation_index) t: u32) {
  let id = g.x * ${WORKGROUP}u + t;
  let b = x[0]; let d = x[1];
  ${chains.map((c) => `var a${c} = x[${c + 2}] + f32(t);`).join(" ")}
  for (var turn = 0u; turn < ${TURNS}u; turn++) {
    ${Array.from({ length: STEPS }, () => chains.map(step).join(" ")).join("\n    ")}
  }
  y[id] = ${chains.map((c) => `a${c}`).join(" + ")};
}`;
}

/** Kernels of the limits, ready to be dispatched. */
class LimitKernels {
  readonly #device: GPUDevice;
  readonly #buffers: readonly GPUBuffer[];
  /** Invocations of the FMA kernels: they write one vec4 each. */
  readonly invocations: number;
  readonly copyBytes: number;

  constructor(device: GPUDevice, bytes: number, invocations: number) {
    this.#device = device;
    this.copyBytes = bytes;
    this.invocations = invocations;
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    this.#buffers = [0, 1].map((i) => device.createBuffer({ label: `limit ${i}`, size: bytes, usage }));
    device.queue.writeBuffer(this.#buffers[0], 0, new Float32Array(64).fill(0.5));
  }

  get flops(): number {
    return 2 * 4 * CHAINS * STEPS * TURNS * this.invocations;
  }

  /** A function that queues the kernel once, in a submit of its own. */
  make(label: string, code: string, groups: readonly [number, number]): () => void {
    const device = this.#device;
    const module = device.createShaderModule({ label, code });
    const pipeline = device.createComputePipeline({ label, layout: "auto", compute: { module } });
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: this.#buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    return () => {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...groups);
      pass.end();
      device.queue.submit([encoder.finish()]);
    };
  }

  copy(): () => void {
    const count = this.copyBytes / 16 / WORKGROUP, x = Math.min(32768, count);
    return this.make("limit: copy", COPY, [x, Math.ceil(count / x)]);
  }

  multiplyAdd(fused: boolean): () => void {
    const label = `limit: ${fused ? "fma" : "multiply and add"}`;
    return this.make(label, multiplyAdd(fused), [this.invocations / WORKGROUP, 1]);
  }

  destroy(): void {
    for (const buffer of this.#buffers) buffer.destroy();
  }
}

/** Times of a few runs each, the first left out, in milliseconds. */
async function timesOf(device: GPUDevice, timer: DeviceTimer, queue: () => void): Promise<number[]> {
  const done = (): Promise<undefined> => device.queue.onSubmittedWorkDone();
  queue();
  await done();
  if (!timer.granted) {
    // One wait for all: it takes 10 ms and more, however short the work.
    const started = performance.now();
    for (let i = 0; i < SAMPLES; i++) queue();
    await done();
    return [(performance.now() - started) / SAMPLES];
  }
  timer.start("sample");
  for (let i = 0; i < SAMPLES; i++) {
    timer.mark();
    queue();
  }
  await done();
  return sampleTimes(await timer.take());
}

/** An adapter whose limits are known, and its warm-up. */
export interface MeasuredAdapter {
  readonly limits: AdapterLimits;
  /** Queues about {@linkcode WARM_UP_MILLISECONDS} of FMA work on GPUs, nothing on software adapters. */
  warmUp(): void;
  dispose(): void;
}

/** Measures an adapter's limits. */
export async function measureAdapter(
  device: GPUDevice,
  timer: DeviceTimer,
  software: boolean,
): Promise<MeasuredAdapter> {
  const most = Math.min(device.limits.maxStorageBufferBindingSize, 2 ** 28);
  const bytes = software ? Math.min(most, 2 ** 26) : most;
  const kernels = new LimitKernels(device, bytes, software ? 2 ** 14 : 2 ** 20);
  const fused = kernels.multiplyAdd(true), separate = kernels.multiplyAdd(false), copy = kernels.copy();
  await calibrate(device, timer, fused);
  const fmaMilliseconds = Math.min(
    ...await timesOf(device, timer, fused),
    ...await timesOf(device, timer, separate),
  );
  const turns = Math.min(1000, Math.ceil(WARM_UP_MILLISECONDS / fmaMilliseconds));
  const warmUp = (): void => {
    for (let i = 0; !software && i < turns; i++) fused();
  };
  warmUp();
  const copyMilliseconds = Math.min(...await timesOf(device, timer, copy));
  return {
    limits: {
      copyGigabytesPerSecond: 2 * bytes / copyMilliseconds / 1e6,
      teraflopsPerSecond: kernels.flops / fmaMilliseconds / 1e9,
      copyBytes: 2 * bytes,
      timestamps: timer.granted,
    },
    warmUp,
    dispose: () => kernels.destroy(),
  };
}

/** Some adapters' ticks are no nanoseconds, whatever the standard says: compares a long series with the wall. */
async function calibrate(device: GPUDevice, timer: DeviceTimer, queue: () => void): Promise<void> {
  if (!timer.granted) return;
  queue();
  await device.queue.onSubmittedWorkDone();
  for (let turns = 4; turns <= 4096; turns *= 4) {
    timer.start("sample");
    timer.mark();
    const started = performance.now();
    for (let i = 0; i < turns; i++) queue();
    await device.queue.onSubmittedWorkDone();
    const wall = performance.now() - started;
    const spans = await timer.take();
    if (wall < 200 && turns < 1024) continue;
    const ratio = wall / spans.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    // Within a factor of 2 the difference is waiting; ticks of other lengths are off by 10 and more.
    if (ratio > 2 || ratio < 0.5) timer.millisecondsPerTick *= ratio;
    return;
  }
}
