/**
 * Runs convolutions through the transforms of whole planes whatever the chooser would pick, on a device that claims as
 * little workgroup memory as wanted.
 * @module
 */
import type { Operand } from "../../src/backend.ts";
import type { ConvolutionGeometry } from "../../kernels/convolution.ts";
import type { Kernel } from "../../kernels/kernel.ts";
import type { ConvolutionAttributes } from "../../src/ops/convolution.ts";
import { outputExtent, type Shape, sizeOf } from "../../src/spec.ts";
import { type GpuBuffer, whole } from "../../src/webgpu/buffers.ts";
import { Gpu } from "../../src/webgpu/gpu.ts";
import {
  planeBackward,
  planeForward,
  planePlan,
  type TransformPlan,
} from "../../src/webgpu/ops/planeConvolution.ts";
import { channelSum } from "../../src/webgpu/ops/channelSum.ts";
import { output, storageOf } from "../../src/webgpu/ops/op.ts";
import { FOUND_DEVICE } from "../adapter.ts";
import { type Runner, runnerOf } from "../webgpu_compare.ts";

/** Transforms by lines, as on software adapters, or shared by a workgroup's invocations, as on GPUs. */
export type PlaneFamily = "lines" | "workgroup";

/** A device with so much workgroup memory, of one kind or the other. Bindings beyond its size are errors. */
export class PlaneGpu extends Gpu {
  readonly #workgroupBytes: number;
  readonly #bindingBytes: number;
  readonly #family: PlaneFamily;
  /** The kernels that ran. */
  readonly ran = new Set<Kernel>();

  constructor(family: PlaneFamily, workgroupBytes: number, bindingBytes = 2 ** 27) {
    super(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
    this.#workgroupBytes = workgroupBytes;
    this.#bindingBytes = bindingBytes;
    this.#family = family;
  }

  override get sharesLoads(): boolean {
    return this.#family === "lines" && super.sharesLoads;
  }

  override get limits(): GPUSupportedLimits {
    const { limits } = this.device;
    const claimed: Record<string, number> = {
      maxComputeWorkgroupStorageSize: this.#workgroupBytes,
      maxStorageBufferBindingSize: this.#bindingBytes,
      minStorageBufferOffsetAlignment: 256,
    };
    return new Proxy(limits, {
      get: (_, name) => claimed[String(name)] ?? Reflect.get(limits, name, limits),
    });
  }

  override dispatch(...dispatched: Parameters<Gpu["dispatch"]>): void {
    const [kernel, views] = dispatched;
    this.ran.add(kernel);
    const bound = views.map((view) => "of" in view ? view : whole(view));
    if (bound.some(({ bytes, offset }) => bytes > this.#bindingBytes || offset % 256 !== 0)) {
      throw new Error(`${kernel.label}: ${bound.map(({ bytes, offset }) => `${bytes} at ${offset}`)}`);
    }
    super.dispatch(...dispatched);
  }
}

function geometryOf(x: Shape, taps: Shape, attributes: ConvolutionAttributes): ConvolutionGeometry {
  const input = x.slice(2), size = taps.slice(2), { padding } = attributes;
  const flat = (list: readonly number[], value: number): number[] => [value, ...list];
  return {
    inChannels: x[1],
    outChannels: taps[0],
    groups: attributes.groups,
    input: flat(input, 1),
    size: flat(size, 1),
    stride: [1, 1, 1],
    padding: flat(padding, 0),
    dilation: [1, 1, 1],
    output: flat(input.map((extent, a) => outputExtent(extent, size[a], 1, padding[a], 1)), 1),
  };
}

/** Runs the op "convolution", depthwise and of stride 1. */
export function planeRunner(gpu: PlaneGpu): Runner {
  const runner = runnerOf(gpu);
  const chosen = (
    x: Operand,
    taps: Operand,
    attributes: unknown,
  ): { geometry: ConvolutionGeometry; plan: TransformPlan } => {
    const geometry = geometryOf(x.shape, taps.shape, attributes as ConvolutionAttributes);
    const plan = planePlan(gpu, geometry, storageOf(x));
    if (!plan) throw new Error(`no transform serves ${JSON.stringify(geometry)}`);
    return { geometry, plan };
  };
  const at = (operand: Operand): GpuBuffer => operand.handle as GpuBuffer;
  return {
    upload: (...upload) => runner.upload(...upload),
    read: (operands) => runner.read(operands),
    release: (handle) => runner.release(handle),
    forward(_name, [x, taps, bias], attributes, shape, dtype) {
      const { geometry, plan } = chosen(x!, taps!, attributes), y = output(gpu, shape, "y", dtype);
      planeForward(gpu, plan, geometry, x!.shape[0], at(x!), at(taps!), bias && at(bias), y);
      return y;
    },
    backward(_name, dy, [x, taps, bias], attributes, needs) {
      const { geometry, plan } = chosen(x!, taps!, attributes);
      const wants = { input: needs[0], kernel: needs[1] };
      const { dx, dtaps } = planeBackward(gpu, plan, geometry, x!.shape[0], at(x!), at(taps!), at(dy), wants);
      const [N, C, ...extents] = dy.shape;
      const dbias = bias && needs[2] ? channelSum(gpu, at(dy), null, N, C, sizeOf(extents), dy.dtype) : null;
      return [dx, dtaps, dbias];
    },
  };
}
