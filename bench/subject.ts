/**
 * A case on a backend: its tensors there, and each op as one call that queues it.
 * @module
 */
import { Dcls1d, Dcls2d, Dcls3d, type Tensor, tensor, tidy } from "../mod.ts";
import type { Backend, BackendInfo, Handle, Operand } from "../src/backend.ts";
import type { DType } from "../src/dtype.ts";
import type { ConstructKernelAttributes } from "../src/ops/constructKernel.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import { fillNormal } from "../src/random.ts";
import { type Shape, sizeOf, type Version } from "../src/spec.ts";
import { type BenchCase, type BenchOpName, outputExtents } from "./cases.ts";

const CLASSES = { 1: Dcls1d, 2: Dcls2d, 3: Dcls3d } as const;
type Layer = Dcls1d | Dcls2d | Dcls3d;

/** A case's data in float32: the same on every backend, and numbers that float16 has where it is asked for. */
export interface CaseData {
  readonly batch: number;
  /** `[N, C, ...spatial]` */
  readonly x: Float32Array;
  /** Gradient of the output, `[N, O, ...spatial]` */
  readonly dy: Float32Array;
  /** Of `kernelShape`: for ops that take a dense kernel, or the gradient of one. */
  readonly kernel: Float32Array;
}

/** Draws a case's data. */
export function drawData(benched: BenchCase, batch: number, dtype: DType = "float32"): CaseData {
  const { axes, inChannels, outChannels, groups, size, extents } = benched;
  const normal = (count: number, seed: number): Float32Array => fillNormal(new Float32Array(count), seed);
  const activation = (count: number, seed: number): Float32Array =>
    dtype === "float16" ? normal(count, seed).map(Math.f16round) : normal(count, seed);
  return {
    batch,
    x: activation(batch * inChannels * sizeOf(extents), 1),
    dy: activation(batch * outChannels * sizeOf(outputExtents(benched)), 2),
    kernel: normal(outChannels * inChannels / groups * size ** axes, 3),
  };
}

/** What one call of an op made: the tensors by name, until they are freed. */
export interface OpResult {
  read(): Promise<Readonly<Record<string, Float32Array>>>;
  free(): void;
}

/** A case, a version, a backend. */
export class Subject {
  readonly info: BackendInfo;
  readonly benched: BenchCase;
  readonly version: Version;
  readonly data: CaseData;
  /** Of x, the output and their gradients. */
  readonly dtype: DType;
  readonly layer: Layer;
  /** The shapes of x and of the output. */
  readonly shape: { readonly x: Shape; readonly y: Shape };
  readonly construction: ConstructKernelAttributes;
  readonly convolution: ConvolutionAttributes;
  readonly #backend: Backend;
  readonly #x: Tensor;
  readonly #dy: Tensor;
  readonly #one: Tensor;
  readonly #operands: Readonly<
    Record<"x" | "dy" | "kernel" | "weight" | "P" | "SIG" | "bias", Operand | null>
  >;

  private constructor(
    backend: Backend,
    benched: BenchCase,
    version: Version,
    data: CaseData,
    dtype: DType,
    layer: Layer,
    parameters: Readonly<Record<"weight" | "P" | "SIG" | "bias", Float32Array | null>>,
  ) {
    const { spec } = layer;
    this.info = backend.info;
    this.#backend = backend;
    this.benched = benched;
    this.version = version;
    this.data = data;
    this.dtype = dtype;
    this.layer = layer;
    this.shape = {
      x: [data.batch, benched.inChannels, ...benched.extents],
      y: [data.batch, benched.outChannels, ...outputExtents(benched)],
    };
    this.construction = {
      version,
      spreadOffset: spec.spreadOffset,
      size: spec.dilatedKernelSize,
      weightShape: spec.weightShape,
      kernelShape: spec.kernelShape,
    };
    this.convolution = {
      stride: spec.stride,
      padding: spec.padding,
      dilation: spec.stride.map(() => 1),
      groups: spec.groups,
    };
    this.#x = tensor(data.x, this.shape.x, { requiresGrad: true, dtype });
    this.#dy = tensor(data.dy, this.shape.y, { dtype });
    this.#one = tensor([1], [1]);
    const on = (values: Float32Array | null, shape: Shape, as?: DType): Operand | null =>
      values && { handle: backend.upload(values, shape, as), shape, dtype: as };
    this.#operands = {
      x: on(data.x, this.shape.x, dtype),
      dy: on(data.dy, this.shape.y, dtype),
      kernel: on(data.kernel, spec.kernelShape),
      weight: on(parameters.weight, spec.weightShape),
      P: on(parameters.P, spec.positionShape),
      SIG: on(parameters.SIG, spec.positionShape),
      bias: on(parameters.bias, [benched.outChannels]),
    };
  }

  /** Makes the layer and its tensors on the running backend. */
  static async create(
    backend: Backend,
    benched: BenchCase,
    version: Version,
    data: CaseData,
    dtype: DType = "float32",
  ): Promise<Subject> {
    const { inChannels, outChannels, kernelCount, size, padding, groups } = benched;
    const options = { kernelCount, dilatedKernelSize: size, padding, groups, version, seed: 0 };
    const layer = new CLASSES[benched.axes](inChannels, outChannels, options);
    const { weight, P, SIG, bias } = layer;
    return new Subject(backend, benched, version, data, dtype, layer, {
      weight: await weight.data(),
      P: await P.data(),
      SIG: SIG && await SIG.data(),
      bias: bias && await bias.data(),
    });
  }

  /** Queues the op once. What it makes can be read until it is freed. */
  run(op: BenchOpName): OpResult {
    const backend = this.#backend;
    const { x, dy, kernel, weight, P, SIG, bias } = this.#operands;
    const { kernelShape, weightShape, positionShape } = this.layer.spec;
    const held = (handles: readonly (Handle | null)[], shapes: Readonly<Record<string, Shape>>): OpResult => {
      const operands: Operand[] = handles.filter((handle) => handle !== null)
        .map((handle, i) => {
          const [name, shape] = Object.entries(shapes)[i];
          return { handle, shape, dtype: /^(output|input gradient)$/.test(name) ? this.dtype : undefined };
        });
      return {
        read: async () => {
          const values = await backend.read(operands);
          return Object.fromEntries(Object.keys(shapes).map((name, i) => [name, values[i]]));
        },
        free: () => operands.forEach(({ handle }) => backend.release(handle)),
      };
    };
    const gradients = (needs: boolean[], shapes: Readonly<Record<string, Shape>>): OpResult =>
      held(backend.backward("convolution", dy!, [x, kernel, bias], this.convolution, needs), shapes);
    switch (op) {
      case "constructKernel":
        return held([backend.forward(op, [weight, P, SIG], this.construction, kernelShape)], {
          kernel: kernelShape,
        });
      case "constructKernelBackward": {
        const handles = backend.backward("constructKernel", kernel!, [weight, P, SIG], this.construction, [
          true,
          true,
          SIG !== null,
        ]);
        return held(handles, {
          "weight gradient": weightShape,
          "P gradient": positionShape,
          ...(SIG ? { "SIG gradient": positionShape } : {}),
        });
      }
      case "convolution":
        return held([backend.forward(op, [x, kernel, bias], this.convolution, this.shape.y, this.dtype)], {
          output: this.shape.y,
        });
      case "convBackwardInput":
        return gradients([true, false, false], { "input gradient": this.shape.x });
      case "convBackwardKernel":
        return gradients([false, true, false], { "kernel gradient": kernelShape });
      case "convBackward":
        return gradients([true, true, false], {
          "input gradient": this.shape.x,
          "kernel gradient": kernelShape,
        });
      case "layer forward": {
        const output = tidy(() => this.layer.forward(this.#x));
        return {
          read: async () => ({ output: await output.data() }),
          free: () => output.dispose(),
        };
      }
      case "layer forward + backward": {
        tidy(() => this.layer.forward(this.#x).backward(this.#dy));
        const tensors: Record<string, { grad: Tensor | null }> = {
          "input gradient": this.#x,
          "weight gradient": this.layer.weight,
          "P gradient": this.layer.P,
          "bias gradient": this.layer.bias!,
          ...(this.layer.SIG ? { "SIG gradient": this.layer.SIG } : {}),
        };
        return {
          read: async () => {
            const entries = Object.entries(tensors).map(async ([name, { grad }]) =>
              [name, await grad!.data()] as const
            );
            return Object.fromEntries(await Promise.all(entries));
          },
          free: () => {
            this.layer.zeroGrad();
            this.#x.zeroGrad();
          },
        };
      }
    }
  }

  /** Ends once everything queued has run: reads one element. */
  async wait(): Promise<void> {
    await this.#one.data();
  }

  /** Gives its tensors back. */
  dispose(): void {
    for (const operand of Object.values(this.#operands)) if (operand) this.#backend.release(operand.handle);
    for (const each of [this.#x, this.#dy, this.#one]) each.dispose();
    for (const [, parameter] of this.layer.namedParameters()) parameter.dispose();
  }
}
