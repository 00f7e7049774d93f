/** A forward pass that was queued once and is queued again without running the module: for serving. */
import { type Backend, currentBackend, hasEnded, type Recording, requireDtype } from "./backend.ts";
import { type DType, type DTypeName, dtypeNamed, ELEMENT_BYTES } from "./dtype.ts";
import { tensor } from "./create.ts";
import type { Module } from "./nn/module.ts";
import type { Parameter } from "./nn/parameter.ts";
import { tidy } from "./scope.ts";
import { sameShape, type Shape, shapeText, sizeOf } from "./spec.ts";
import { noGrad } from "./tape.ts";
import { adopt, operand, Tensor } from "./tensor.ts";

/** Options of {@linkcode compile}. */
export interface CompileOptions {
  /** How the input's elements are kept. Default float32. */
  dtype?: DTypeName;
}

/** What a compiled forward was recorded as: null where the backend has no recordings. */
interface Recorded {
  readonly recording: Recording;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A module's forward pass for one input shape: see {@linkcode compile}. */
export class CompiledForward {
  /** The only shape that it takes. */
  readonly inputShape: Shape;
  /** How its input's elements are kept. */
  readonly dtype: DType;
  readonly #module: Module;
  readonly #parameters: readonly Parameter[];
  readonly #backend: Backend;
  #recorded: Recorded | null;
  #disposed = false;

  /** @ignore not for users: see {@linkcode compile} */
  constructor(module: Module, inputShape: Shape, dtype: DType) {
    this.#backend = currentBackend("compile a forward");
    requireDtype(this.#backend, dtype, "compile a forward");
    this.#module = module;
    this.#parameters = module.parameters();
    this.inputShape = Object.freeze([...inputShape]);
    this.dtype = dtype;
    this.#check("compile");
    this.#recorded = this.#record();
  }

  /** Bytes of the buffers that it holds beside the parameters: its activations. 0 where nothing is recorded. */
  get bytes(): number {
    return this.#recorded?.recording.bytes ?? 0;
  }

  /** Dispatches of one call while the parameters stay as they are; 0 where nothing is recorded. */
  get dispatches(): number {
    return this.#recorded?.recording.dispatches ?? 0;
  }

  /**
   * Runs the forward pass, as `noGrad(() => module.forward(x))` would, to the last bit. Queues work; nothing waits.
   *
   * @param x a tensor of the compiled shape and dtype, or as many numbers in row-major order
   * @returns a new tensor, without a gradient
   * @throws {RangeError} for another shape or number of elements
   * @throws {TypeError} for a tensor of another dtype
   * @throws {Error} after `dispose()` or `shutdown()`, where the module trains again, its parameters were disposed, or x
   * lives on another backend
   */
  forward(x: Tensor | Float32Array): Tensor {
    this.#check("run");
    if (this.#disposed) throw new Error("Cannot run a compiled forward: it was disposed");
    if (!(x instanceof Tensor)) return this.#forwardElements(x);
    if (!sameShape(x.shape, this.inputShape)) {
      throw new RangeError(
        `Cannot run a compiled forward: the input must have shape ${shapeText(this.inputShape)}, got ${
          shapeText(x.shape)
        }; compile another for that shape`,
      );
    }
    if (x.dtype !== this.dtype) {
      throw new TypeError(
        `Cannot run a compiled forward: the input must be ${this.dtype}, got ${x.dtype}; convert it with ` +
          `x.to("${this.dtype}"), or compile with that dtype`,
      );
    }
    if (x.backend !== this.#backend) {
      throw new Error(
        "Cannot run a compiled forward: the input must live on the backend that it was compiled on",
      );
    }
    if (!this.#recorded) return plainForward(this.#module, x);
    return this.#run(operand(x, "run a compiled forward").handle);
  }

  /** Gives the activations back. Calling it again does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    if (!hasEnded(this.#backend)) this.#recorded?.recording.dispose();
    this.#recorded = null;
  }

  /** So that `using compiled = ...` frees at the end of the block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #forwardElements(x: Float32Array): Tensor {
    const size = sizeOf(this.inputShape);
    if (!(x instanceof Float32Array) || x.length !== size) {
      throw new RangeError(
        `Cannot run a compiled forward: the input must be a tensor or a Float32Array of ${size} elements, got ${
          x instanceof Float32Array ? `${(x as Float32Array).length} elements` : typeof x
        }`,
      );
    }
    if (this.#recorded && this.dtype === "float32") return this.#run(x);
    return tidy(() => this.forward(tensor(x, this.inputShape, { dtype: this.dtype })));
  }

  #run(input: object | Float32Array): Tensor {
    const { recording, shape, dtype } = this.#recorded!;
    return adopt(this.#backend, recording.run(input), shape, dtype);
  }

  #record(): Recorded | null {
    const backend = this.#backend, { inputShape, dtype } = this;
    let shape: Shape = [], outputDtype: DType = dtype;
    const recording = backend.record?.(sizeOf(inputShape) * ELEMENT_BYTES[dtype], (input) =>
      tidy(() => {
        const output = plainForward(this.#module, adopt(backend, input, inputShape, dtype));
        ({ shape, dtype: outputDtype } = output);
        return operand(output, "compile a forward").handle;
      }));
    return recording ? { recording, shape, dtype: outputDtype } : null;
  }

  #check(doing: "compile" | "run"): void {
    const what = `Cannot ${doing} ${doing === "run" ? "a compiled forward" : this.#module.constructor.name}`;
    if (hasEnded(this.#backend)) {
      throw new Error(`${what}: its backend was ended by shutdown(); compile again after init()`);
    }
    if (this.#module.training) {
      throw new Error(`${what}: the module must be in evaluation, got one that trains; call its eval()`);
    }
    if (this.#parameters.some((parameter) => parameter.isDisposed)) {
      throw new Error(`${what}: its parameters were disposed`);
    }
  }
}

/** The module's own forward; what it makes on the way goes back at once. */
function plainForward(module: Module, x: Tensor): Tensor {
  return noGrad(() =>
    tidy(() => {
      const y = module.forward(x);
      return y === x ? x.reshape(x.shape) : y;
    })
  );
}

/**
 * Records a module's forward pass for one input shape, so that calls need neither the module's code nor the ops': on
 * WebGPU every dispatch is kept with its kernel, bindings and buffers, and the activations share buffers where they are
 * never alive together. What depends on the parameters alone (constructed kernels and their spectra, for one) is
 * computed by the first call, and again by the next one after they changed in place (optimizer steps, `assign`,
 * `loadStateDict`). On the other backends it runs the module.
 *
 * @param module in evaluation: `module.eval()`
 * @param inputShape of every later input
 * @returns what runs it; give it back with `dispose()`
 * @throws {RangeError} where the module refuses the shape, or `dtype` is unknown or not the backend's
 * @throws {Error} before `init`, and for a module that trains
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { compile, Dcls2d, init, noGrad, randn } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2d(4, 4, { kernelCount: 3, dilatedKernelSize: 7, padding: 3, groups: 4 }).eval();
 * const compiled = compile(layer, [1, 4, 16, 16]);
 * const x = randn([1, 4, 16, 16]);
 * const eager = noGrad(() => layer.forward(x));
 * assert.deepEqual(await compiled.forward(x).data(), await eager.data());
 * compiled.dispose();
 * ```
 */
export function compile(module: Module, inputShape: Shape, options: CompileOptions = {}): CompiledForward {
  return new CompiledForward(module, inputShape, dtypeNamed("compile a forward", options.dtype));
}
