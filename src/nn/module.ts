/** What every layer and model is: parameters under paths, a state, and a forward. */
import { readAll, type Tensor } from "../tensor.ts";
import { Parameter } from "./parameter.ts";
import {
  checkLayout,
  type Layout,
  type Leaf,
  type LoadOptions,
  type StateDict,
  type StateInput,
  type StateOptions,
  verifyState,
} from "./state.ts";

/** What a module may be made of; null where an optional part is absent. */
export type ModuleChild = Parameter | Module | null | readonly ModuleChild[];

function isChild(value: unknown): value is ModuleChild {
  return value instanceof Parameter || value instanceof Module ||
    (Array.isArray(value) && value.length > 0 && value.every(isChild));
}

/**
 * Base of layers and models. The parts of a module are its public fields that hold parameters, modules or (nested)
 * lists of them; their paths are PyTorch's: `stages.0.1.dwconv.weight`. Override {@linkcode Module.children} where
 * names must differ from the fields'.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls1d, init, type Tensor, zeros } from "@dcls/dcls";
 * import { Linear, Module } from "@dcls/dcls/nn";
 *
 * class Net extends Module {
 *   readonly delays = new Dcls1d(1, 4, { kernelCount: 2, dilatedKernelSize: 9, padding: 4 });
 *   readonly head = new Linear(4, 3);
 *   override forward(x: Tensor): Tensor {
 *     return this.head.forward(this.delays.forward(x).relu().reshape([-1, 4]));
 *   }
 * }
 * await init();
 * const net = new Net();
 * assert.deepEqual(net.forward(zeros([5, 1, 1])).shape, [5, 3]);
 * assert.deepEqual(net.namedParameters().map(([path]) => path), [
 *   "delays.weight", "delays.bias", "delays.P", "head.weight", "head.bias",
 * ]);
 * ```
 */
export abstract class Module {
  #training = true;

  /** Runs the module. Queues work; nothing waits. */
  abstract forward(x: Tensor): Tensor;

  /** Whether the module trains, as it does at first, or is evaluated. Drop path acts in training alone. */
  get training(): boolean {
    return this.#training;
  }

  /**
   * Sets this module and all within it to training, as in PyTorch.
   * @param mode false for evaluation
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { init } from "@dcls/dcls";
   * import { DropPath } from "@dcls/dcls/nn";
   *
   * await init();
   * const layer = new DropPath(0.5);
   * assert(layer.training && !layer.eval().training && layer.train().training);
   * ```
   */
  train(mode = true): this {
    for (const [, module] of this.namedModules()) module.#training = mode;
    return this;
  }

  /** Sets this module and all within it to evaluation: `train(false)`. */
  eval(): this {
    return this.train(false);
  }

  /**
   * Makes the random layers within (drop path) draw as at this step: the same seed and step draw the same, so that a
   * resumed run goes on as if it had not been stopped. Each forward pass in training then goes one step further.
   *
   * @param step passes before it, an integer from 0
   * @throws {RangeError} for another number
   */
  setStep(step: number): void {
    if (!Number.isInteger(step) || step < 0 || step >= 2 ** 32) {
      throw new RangeError(
        `Cannot set the step of ${this.constructor.name}: it must be an integer from 0 to 2^32 - 1, got ${step}`,
      );
    }
    for (const [, module] of this.namedModules()) module.setOwnStep(step);
  }

  /** The parts by name. Default: the public fields that hold parameters, modules or lists of them. */
  children(): Readonly<Record<string, ModuleChild>> {
    return Object.fromEntries(Object.entries(this).filter(([, value]) => isChild(value)));
  }

  /** Values of an own parameter as a state of that layout holds them. For layers whose layouts differ. */
  protected toLayout(_name: string, data: Float32Array, _layout: Layout): Float32Array {
    return data;
  }

  /** The inverse of `toLayout`. */
  protected fromLayout(_name: string, data: Float32Array, _layout: Layout): Float32Array {
    return data;
  }

  /** Clamps the module's own parameters, where they have bounds. */
  protected clampOwn(): void {}

  /** Sets what the module itself draws next, where it draws. */
  protected setOwnStep(_step: number): void {}

  /** This module and all within it, with their paths; the path of this one is `""`. */
  namedModules(): [string, Module][] {
    const found: [string, Module][] = [["", this]];
    for (const [path, module] of found) { // grows while it is walked
      const visit = (name: string, child: ModuleChild): void => {
        if (child instanceof Module) found.push([path ? `${path}.${name}` : name, child]);
        else if (isList(child)) child.forEach((entry, i) => visit(`${name}.${i}`, entry));
      };
      for (const [name, child] of Object.entries(module.children())) visit(name, child);
    }
    return found;
  }

  #leaves(): (Leaf & { owner: Module; name: string })[] {
    return this.namedModules().flatMap(([prefix, owner]) => {
      const visit = (name: string, child: ModuleChild): (Leaf & { owner: Module; name: string })[] => {
        if (isList(child)) return child.flatMap((entry, i) => visit(`${name}.${i}`, entry));
        if (!(child instanceof Parameter)) return [];
        const path = prefix ? `${prefix}.${name}` : name;
        const read = (data: Float32Array, layout: Layout): Float32Array =>
          owner.fromLayout(name, data, layout);
        return [{ path, parameter: child, owner, name, read }];
      };
      return Object.entries(owner.children()).flatMap(([name, child]) => visit(name, child));
    });
  }

  /** Every parameter under every path it has: a shared one appears once for each module that holds it. */
  namedParameters(): [string, Parameter][] {
    return this.#leaves().map(({ path, parameter }) => [path, parameter]);
  }

  /** Every parameter once. */
  parameters(): Parameter[] {
    return [...new Set(this.namedParameters().map(([, parameter]) => parameter))];
  }

  /**
   * The values of all parameters by path; shared ones under each of their paths. Reads them in one wait.
   *
   * @param options `layout: "torch"` gives P and SIG in the axis order of the PyTorch package
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { Dcls2d, init, readSafetensors, writeSafetensors } from "@dcls/dcls";
   *
   * await init();
   * const options = { kernelCount: 3, dilatedKernelSize: 7, groups: 4 };
   * const a = new Dcls2d(4, 4, options), b = new Dcls2d(4, 4, options);
   * const file = writeSafetensors(await a.stateDict({ layout: "torch" }));
   * b.loadStateDict(readSafetensors(file).tensors, { layout: "torch" });
   * assert.deepEqual(await b.stateDict(), await a.stateDict());
   * ```
   */
  async stateDict(options: StateOptions = {}): Promise<StateDict> {
    const { layout = "native" } = options;
    checkLayout("read stateDict()", layout);
    const leaves = this.#leaves();
    const parameters = [...new Set(leaves.map(({ parameter }) => parameter))];
    const values = await readAll(parameters);
    return Object.fromEntries(leaves.map(({ path, parameter, owner, name }) => {
      const data = values[parameters.indexOf(parameter)];
      return [path, { shape: [...parameter.shape], data: owner.toLayout(name, data, layout) }];
    }));
  }

  /**
   * Replaces the values of all parameters. Everything is checked first: on an error nothing is loaded.
   * A shared parameter may be stored under one of its paths or under several, with equal values.
   *
   * @param state the tensors by path, as `stateDict()` or `readSafetensors` give them
   * @param options `layout: "torch"` for states of the PyTorch package; `strict: false` lets tensors be missing or
   * unexpected
   * @throws {RangeError} that lists missing, unexpected and misshapen tensors with their shapes, positions that are
   * not finite, and copies of a shared parameter that disagree
   */
  loadStateDict(state: StateInput, options: LoadOptions = {}): void {
    const values = verifyState(this.constructor.name, this.#leaves(), state, options);
    for (const [parameter, data] of values) parameter.assign(data);
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }

  /** Moves positions that left their kernel back to its nearest cell, in all Dcls layers within. Call after a step. */
  clampParameters(): void {
    for (const [, module] of this.namedModules()) module.clampOwn();
  }

  /** Gives the storage of all parameters back, shared ones included. */
  dispose(): void {
    for (const parameter of this.parameters()) parameter.dispose();
  }
}

/** `Array.isArray` forgets read-only lists. */
function isList(child: ModuleChild): child is readonly ModuleChild[] {
  return Array.isArray(child);
}
