/** The Dcls layer, once for every number of axes. */
import { INTERPOLATION } from "../interpolation.ts";
import {
  type DclsOptions,
  type LayerForm,
  type LayerSpec,
  layerSpec,
  positionBounds,
  sameShape,
  type Shape,
  shapeText,
  sizeOf,
} from "../spec.ts";
import { anySeed } from "../create.ts";
import { fillUniform } from "../random.ts";
import { type Tensor, update } from "../tensor.ts";
import { constructKernel } from "./functional.ts";
import { clampAxes, deriveSeed, fanIn, kaimingUniform, normal } from "./initialize.ts";
import { type ConvolutionLayer, convolve } from "./input.ts";
import { fromTorch, toTorch } from "./layout.ts";
import { Module, type ModuleChild } from "./module.ts";
import { Parameter, parameter } from "./parameter.ts";
import type { Layout } from "./state.ts";

/**
 * Where |SIG| starts, for `gauss` and `max`: PyTorch's 0.23 of `gauss`. PyTorch starts `max` at 0, where the
 * derivative sign(SIG) is 0 and stays so; 0.23 leaves it the derivative 1 and lets an element that sits on a cell feel
 * its neighbours (spread 1.23, so they weigh 0.23 against 1.23).
 */
const INITIAL_SPREAD = 0.23;

/** How a layer's parameters begin, beyond the options that PyTorch's layers have. */
export interface InitialParameters {
  /** Standard deviation of the initial positions, in cells. Default 0.5, the paper's. */
  positionStd?: number;
  /** Positions to share with another layer, in place of own ones: `P: other.P`. */
  P?: Parameter;
  /** Spreads to share with another layer, for `max` and `gauss`. */
  SIG?: Parameter | null;
}

/** Streams of a layer's seed. */
const [WEIGHT, BIAS, POSITION] = [0, 1, 2];

/**
 * A convolution whose kernels have few elements with learnable positions (DCLS). The classes `Dcls1d` to `Dcls2dK1d`
 * give it a form; nothing else makes one.
 */
export abstract class DclsNd extends Module {
  /** The validated options and every shape that follows from them. */
  readonly spec: LayerSpec;
  /** `[out, in/groups, ...dense, K]` */
  readonly weight: Parameter;
  /** `[out]` */
  readonly bias: Parameter | null;
  #P: Parameter;
  #SIG: Parameter | null;
  readonly #convolution: ConvolutionLayer;

  /** @ignore called by the classes that give it a form */
  protected constructor(
    form: LayerForm,
    inChannels: number,
    outChannels: number,
    options: DclsOptions & InitialParameters,
  ) {
    super();
    const spec = layerSpec(form, inChannels, outChannels, options);
    const { P, SIG, positionStd = 0.5, seed = anySeed() } = options;
    if (!(positionStd >= 0 && positionStd < Infinity)) {
      throw new RangeError(
        `Cannot create ${spec.name}: positionStd must be a finite number of at least 0, got ${positionStd}`,
      );
    }
    this.spec = spec;
    this.#convolution = { ...spec, dilation: spec.kernelSize.map(() => 1) };
    const spread = INTERPOLATION[spec.version].spread;
    if (P) this.#checkShared("P", P);
    if (SIG && !spread) {
      throw new RangeError(
        `Cannot create ${spec.name}: version ${spec.version} has no SIG, got one to share`,
      );
    }
    if (SIG) this.#checkShared("SIG", SIG);
    const fan = fanIn(spec.weightShape);
    this.weight = parameter(
      "weight",
      kaimingUniform(spec.weightShape, fan, deriveSeed(seed, WEIGHT)),
      spec.weightShape,
    );
    this.bias = spec.bias
      ? parameter("bias", kaimingUniform([outChannels], fan, deriveSeed(seed, BIAS)), [outChannels])
      : null;
    this.#P = P ?? parameter("P", initialPositions(form, spec, positionStd, seed), spec.positionShape);
    this.#SIG = !spread ? null : SIG ??
      parameter(
        "SIG",
        new Float32Array(sizeOf(spec.positionShape)).fill(INITIAL_SPREAD),
        spec.positionShape,
      );
  }

  /**
   * Positions in cells from the centre cell floor(S/2), `[positioned axes, out, in/groups, ...dense, K]`; `P[a]` moves
   * along spatial axis a. Set it to share another layer's; the old one is not disposed.
   */
  get P(): Parameter {
    return this.#P;
  }
  set P(shared: Parameter) {
    this.#P = this.#checkShared("P", shared);
  }

  /**
   * Spreads, of P's shape; null for `v0` and `v1`. The spread of an element is |SIG| + 1 for `max`, |SIG| + 0.27 for
   * `gauss` (`Dcls2_1d`: + 1). Set it to share another layer's.
   */
  get SIG(): Parameter | null {
    return this.#SIG;
  }
  set SIG(shared: Parameter | null) {
    if ((shared === null) !== (this.#SIG === null)) {
      throw new TypeError(
        `Cannot set SIG of ${this.spec.name}: version ${this.spec.version} ${
          this.#SIG ? "needs one, got null" : "has none, got one"
        }`,
      );
    }
    this.#SIG = shared && this.#checkShared("SIG", shared);
  }

  #checkShared(name: "P" | "SIG", shared: Parameter): Parameter {
    if (!(shared instanceof Parameter)) {
      throw new TypeError(
        `Cannot share ${name} with ${this.spec.name}: it must be a Parameter, got ${typeof shared}`,
      );
    }
    if (!sameShape(shared.shape, this.spec.positionShape)) {
      throw new RangeError(
        `Cannot share ${name} with ${this.spec.name}: it must have shape ${
          shapeText(this.spec.positionShape)
        }, got ${shapeText(shared.shape)}`,
      );
    }
    return shared;
  }

  /** The parameters by name. */
  override children(): Readonly<Record<string, ModuleChild>> {
    return { weight: this.weight, bias: this.bias, P: this.#P, SIG: this.#SIG };
  }

  /** The dense kernel `[out, in/groups, ...S]` that the positions make. */
  constructKernel(): Tensor {
    const { version, spreadOffset, dilatedKernelSize, kernelShape } = this.spec;
    return constructKernel(this.weight, this.#P, this.#SIG, {
      version,
      spreadOffset,
      size: dilatedKernelSize,
      kernelShape,
    });
  }

  /**
   * Convolves.
   *
   * @param x `[N, in, ...spatial]`, or `[in, ...spatial]` without a batch
   * @returns `[N, out, ...floor((spatial + 2 padding - kernel) / stride) + 1]`, without N where x has none
   * @throws {RangeError} for another rank or number of channels, a kernel larger than the padded input, and reflect
   * or circular padding larger than the input
   */
  override forward(x: Tensor): Tensor {
    return convolve(this.#convolution, x, () => this.constructKernel(), this.bias);
  }

  /** Clamps P to the kernel's own cells. */
  protected override clampOwn(): void {
    update("clamp", [this.#P], positionBounds(this.spec.dilatedKernelSize));
  }

  /** P and SIG in the axis order of the PyTorch package, where it is asked for. */
  protected override toLayout(name: string, data: Float32Array, layout: Layout): Float32Array {
    return layout === "torch" && isPositional(name)
      ? toTorch(this.spec, name, data, this.spec.positionShape)
      : data;
  }

  /** P and SIG out of the axis order of the PyTorch package. */
  protected override fromLayout(name: string, data: Float32Array, layout: Layout): Float32Array {
    return layout === "torch" && isPositional(name)
      ? fromTorch(this.spec, name, data, this.spec.positionShape)
      : data;
  }
}

function isPositional(name: string): name is "P" | "SIG" {
  return name === "P" || name === "SIG";
}

/** N(0, positionStd) within the kernel; uniform over its cells in the classes with dense axes, as in PyTorch. */
function initialPositions(form: LayerForm, spec: LayerSpec, positionStd: number, seed: number): Float32Array {
  const { low, high } = positionBounds(spec.dilatedKernelSize);
  const shape: Shape = spec.positionShape;
  const own = deriveSeed(seed, POSITION);
  const positions = form.denseAxes > 0
    ? fillUniform(new Float32Array(sizeOf(shape)), own, low[0], high[0])
    : normal(shape, positionStd, own);
  return clampAxes(positions, low, high);
}
