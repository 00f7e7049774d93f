/**
 * Timestamps for a device that knows nothing of them: it is patched, so that what the backend records while a series
 * runs goes through passes with timestamps, and so that every pipeline's creation is timed. Outside of a series
 * nothing is in the way.
 * @module
 */

/** How long a kernel took to become a pipeline: shader module and pipeline, both made synchronously in Deno. */
export interface PipelineTime {
  readonly label: string;
  readonly milliseconds: number;
}

/** What ran between two timestamps. */
export interface Span {
  /** The number of the sample, from 0, that `mark` opened. */
  readonly sample: number;
  /** Label of the span's first kernel. */
  readonly label: string;
  readonly milliseconds: number;
}

/** What gets a span, and thus a pass, of its own. */
export type SpanUnit = "sample" | "dispatch";

/** Passes per series; query sets hold at most 4096 timestamps. */
const SPANS = 2048;

/** Stands where a pass was asked for, and opens real ones as spans begin. */
class TimedPass {
  readonly #begin: (descriptor: GPUComputePassDescriptor) => GPUComputePassEncoder;
  /** Timestamps for the next dispatch, where it begins a span. */
  readonly #next: (label: string, open: boolean) => GPUComputePassTimestampWrites | null;
  #pass: GPUComputePassEncoder | null = null;
  #pipeline: GPUComputePipeline | null = null;
  #group: GPUBindGroup | null = null;

  constructor(
    begin: (descriptor: GPUComputePassDescriptor) => GPUComputePassEncoder,
    next: (label: string, open: boolean) => GPUComputePassTimestampWrites | null,
  ) {
    this.#begin = begin;
    this.#next = next;
  }

  setPipeline(pipeline: GPUComputePipeline): void {
    this.#pipeline = pipeline;
  }

  setBindGroup(_index: number, group: GPUBindGroup): void {
    this.#group = group;
  }

  dispatchWorkgroups(...groups: [number, number, number]): void {
    const timestampWrites = this.#next(this.#pipeline!.label, this.#pass !== null);
    if (timestampWrites) {
      this.#pass?.end();
      this.#pass = this.#begin({ timestampWrites });
    }
    this.#pass!.setPipeline(this.#pipeline!);
    this.#pass!.setBindGroup(0, this.#group!);
    this.#pass!.dispatchWorkgroups(...groups);
  }

  end(): void {
    this.#pass?.end();
    this.#pass = null;
  }
}

/** The timer of one device. Pipelines are timed from its construction on. */
export class DeviceTimer {
  /** Whether the device grants timestamps; without them a series cannot be started. */
  readonly granted: boolean;
  /** Every pipeline made so far, in order. */
  readonly pipelines: PipelineTime[] = [];
  /** A tick is a nanosecond by the standard; `calibrate` in `adapter.ts` sees whether it is. */
  millisecondsPerTick = 1e-6;
  readonly #device: GPUDevice;
  readonly #createCommandEncoder: GPUDevice["createCommandEncoder"];
  readonly #querySet: GPUQuerySet | null;
  #unit: SpanUnit = "sample";
  #sample = -1;
  #marked = false;
  #spans: { readonly sample: number; readonly label: string }[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
    this.granted = device.features.has("timestamp-query");
    this.#querySet = this.granted ? device.createQuerySet({ type: "timestamp", count: 2 * SPANS }) : null;
    this.#createCommandEncoder = device.createCommandEncoder.bind(device);
    const createShaderModule = device.createShaderModule.bind(device);
    const createComputePipeline = device.createComputePipeline.bind(device);
    let moduleMilliseconds = 0;
    device.createShaderModule = (descriptor) => {
      const started = performance.now();
      const module = createShaderModule(descriptor);
      moduleMilliseconds = performance.now() - started;
      return module;
    };
    device.createComputePipeline = (descriptor) => {
      const started = performance.now();
      const pipeline = createComputePipeline(descriptor);
      const milliseconds = moduleMilliseconds + performance.now() - started;
      this.pipelines.push({ label: descriptor.label ?? "", milliseconds });
      return pipeline;
    };
  }

  /** Begins a series. What was recorded before must have been submitted. */
  start(unit: SpanUnit): void {
    if (!this.granted) throw new Error("Cannot start a series: the device must grant timestamp-query");
    this.#unit = unit;
    this.#sample = -1;
    this.#marked = false;
    this.#spans = [];
    this.#device.createCommandEncoder = (descriptor) => {
      const encoder = this.#createCommandEncoder(descriptor);
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = () =>
        new TimedPass(begin, (label, open) => this.#next(label, open)) as unknown as GPUComputePassEncoder;
      return encoder;
    };
  }

  /** Begins a sample with the next dispatch. */
  mark(): void {
    this.#sample++;
    this.#marked = true;
  }

  /**
   * Ends the series and reads its spans, in the order of the dispatches. What was recorded must have been submitted.
   * @throws {RangeError} where the series had more spans than timestamps
   */
  async take(): Promise<Span[]> {
    this.#device.createCommandEncoder = this.#createCommandEncoder;
    const spans = this.#spans;
    if (spans.length > SPANS) {
      throw new RangeError(
        `Cannot time a series: at most ${SPANS} passes have timestamps, got ${spans.length}`,
      );
    }
    if (spans.length === 0) return [];
    const size = 16 * spans.length;
    const device = this.#device;
    const resolved = device.createBuffer({
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.#querySet!, 0, 2 * spans.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const ticks = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    resolved.destroy();
    return spans.map(({ sample, label }, i) => ({
      sample,
      label,
      milliseconds: Number(ticks[2 * i + 1] - ticks[2 * i]) * this.millisecondsPerTick,
    }));
  }

  #next(label: string, open: boolean): GPUComputePassTimestampWrites | null {
    if (open && !this.#marked && this.#unit === "sample") return null;
    this.#marked = false;
    this.#spans.push({ sample: this.#sample, label });
    const index = 2 * Math.min(this.#spans.length - 1, SPANS - 1);
    return {
      querySet: this.#querySet!,
      beginningOfPassWriteIndex: index,
      endOfPassWriteIndex: index + 1,
    };
  }
}

/** The samples' times: spans of one sample added up, which leaves out the gaps between submits. */
export function sampleTimes(spans: readonly Span[]): number[] {
  const times: number[] = [];
  for (const { sample, milliseconds } of spans) times[sample] = (times[sample] ?? 0) + milliseconds;
  return times;
}
