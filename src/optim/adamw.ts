/** AdamW: Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019; the numbers are PyTorch's. */
import type { Parameter } from "../nn/parameter.ts";
import { overwrite } from "../nn/parameter.ts";
import type { StateDict, StateInput } from "../nn/state.ts";
import { zeros } from "../create.ts";
import { keep } from "../scope.ts";
import { sameShape, shapeText } from "../spec.ts";
import { readAll, type Tensor, update } from "../tensor.ts";

/** What a group of parameters may have of its own. */
export interface AdamWOptions {
  /** Default 1e-3. */
  learningRate?: number;
  /** Default 0.01. */
  weightDecay?: number;
  /** Decay of the first moment. Default 0.9. */
  beta1?: number;
  /** Decay of the second moment. Default 0.999. */
  beta2?: number;
  /** Added to the root of the second moment. Default 1e-8. */
  epsilon?: number;
}

/** Parameters that are updated alike; options left out are the optimizer's. */
export interface ParameterGroup extends AdamWOptions {
  /** The parameters, with the names that the optimizer's state gives them (default: their number). */
  parameters: readonly (Parameter | readonly [name: string, parameter: Parameter])[];
}

/** One parameter and what the optimizer remembers of it. */
interface Slot {
  readonly name: string;
  readonly parameter: Parameter;
  readonly options: Required<AdamWOptions>;
  readonly firstMoment: Tensor;
  readonly secondMoment: Tensor;
  /** Updates so far. */
  steps: number;
}

const DEFAULTS: Required<AdamWOptions> = {
  learningRate: 1e-3,
  weightDecay: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
};

const RULES: Record<keyof AdamWOptions, [test: (value: number) => boolean, rule: string]> = {
  learningRate: [(value) => value >= 0 && value < Infinity, "a finite number of at least 0"],
  weightDecay: [(value) => value >= 0 && value < Infinity, "a finite number of at least 0"],
  beta1: [(value) => value >= 0 && value < 1, "from 0 to below 1"],
  beta2: [(value) => value >= 0 && value < 1, "from 0 to below 1"],
  epsilon: [(value) => value > 0 && value < Infinity, "a positive number"],
};

/** `options` over `base`, checked. */
function complete(base: Required<AdamWOptions>, options: AdamWOptions): Required<AdamWOptions> {
  const result = { ...base };
  for (const name of Object.keys(RULES) as (keyof AdamWOptions)[]) {
    const value = options[name] ?? base[name];
    const [test, rule] = RULES[name];
    if (!test(value)) throw new RangeError(`Cannot create AdamW: ${name} must be ${rule}, got ${value}`);
    result[name] = value;
  }
  return result;
}

/**
 * Adam with decoupled weight decay. A step only queues work.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init } from "@dcls/dcls";
 * import { parameter } from "@dcls/dcls/nn";
 * import { AdamW } from "@dcls/dcls/optim";
 *
 * await init();
 * const x = parameter("x", [3], [1]);
 * const optimizer = new AdamW([{ parameters: [x] }], { learningRate: 0.1, weightDecay: 0 });
 * for (let step = 0; step < 100; step++) {
 *   x.square().sum().backward();
 *   optimizer.step();
 *   optimizer.zeroGrad();
 * }
 * assert(Math.abs(await x.item()) < 0.5);
 * ```
 */
export class AdamW {
  readonly #slots: Slot[] = [];

  /**
   * Makes moments of zeros beside the parameters.
   *
   * @param groups each parameter in one of them, once
   * @param options those of all groups, where a group has none of its own
   * @throws {RangeError} for options out of their range, no parameters, and a parameter or name given twice
   */
  constructor(groups: readonly ParameterGroup[], options: AdamWOptions = {}) {
    const common = complete(DEFAULTS, options);
    const entries = groups.flatMap((group) => {
      const own = complete(common, group);
      return group.parameters.map((entry) => ({ entry, options: own }));
    });
    if (entries.length === 0) throw new RangeError("Cannot create AdamW: it needs parameters, got none");
    const seen = new Set<Parameter | string>();
    const named = entries.map(({ entry, options }, i) => {
      const [name, parameter] = isPair(entry) ? entry : [String(i), entry];
      if (seen.has(parameter) || seen.has(name)) {
        throw new RangeError(`Cannot create AdamW: every parameter must be given once, got ${name} twice`);
      }
      seen.add(parameter).add(name);
      return { name, parameter, options };
    });
    for (const { name, parameter, options } of named) {
      const firstMoment = keep(zeros(parameter.shape));
      const secondMoment = keep(zeros(parameter.shape));
      this.#slots.push({ name, parameter, options, firstMoment, secondMoment, steps: 0 });
    }
  }

  /**
   * Updates every parameter that has a gradient, all in one update.
   * @param learningRateFactor of every group's learning rate: what a schedule gives for this step. Default 1
   */
  step(learningRateFactor = 1): void {
    const operands: Tensor[] = [];
    const attributes = [];
    for (const slot of this.#slots) {
      const { parameter, firstMoment, secondMoment, options } = slot;
      if (!parameter.grad) continue;
      slot.steps++;
      operands.push(parameter, parameter.grad, firstMoment, secondMoment);
      attributes.push({
        ...options,
        learningRate: options.learningRate * learningRateFactor,
        step: slot.steps,
      });
    }
    if (operands.length > 0) update("adamW", operands, attributes);
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const { parameter } of this.#slots) parameter.zeroGrad();
  }

  /** The moments, on the backend, in a fixed order: for copies that need not be read. */
  get moments(): Tensor[] {
    return this.#slots.flatMap(({ firstMoment, secondMoment }) => [firstMoment, secondMoment]);
  }

  /** Updates of each parameter so far; with the moments the optimizer's whole state. */
  get stepCounts(): number[] {
    return this.#slots.map(({ steps }) => steps);
  }
  set stepCounts(counts: readonly number[]) {
    this.#slots.forEach((slot, i) => slot.steps = counts[i]);
  }

  /**
   * Moments and steps, under `<name>.firstMoment`, `<name>.secondMoment` and `<name>.step`: with the parameters all
   * that is needed to go on as if never stopped. Reads them in one wait.
   */
  async stateDict(): Promise<StateDict> {
    const steps = this.#slots.map((slot) => slot.steps); // now, not when the reading is done
    const values = await readAll(this.#slots.flatMap((slot) => [slot.firstMoment, slot.secondMoment]));
    const state: StateDict = {};
    this.#slots.forEach(({ name, parameter }, i) => {
      const shape = [...parameter.shape];
      state[`${name}.firstMoment`] = { shape, data: values[2 * i] };
      state[`${name}.secondMoment`] = { shape, data: values[2 * i + 1] };
      state[`${name}.step`] = { shape: [], data: Float32Array.of(steps[i]) };
    });
    return state;
  }

  /**
   * Goes on from a state. Everything is checked first: on an error nothing is loaded.
   * @throws {RangeError} that lists missing, unexpected and misshapen tensors
   */
  loadStateDict(state: StateInput): void {
    const problems: string[] = [];
    const known = new Set<string>();
    const take = (name: string, shape: readonly number[]): Float32Array => {
      known.add(name);
      if (!Object.hasOwn(state, name)) {
        problems.push(`no ${name} ${shapeText(shape)}`);
      } else if (!sameShape(state[name].shape, shape)) {
        problems.push(`${name} of shape ${shapeText(state[name].shape)} in place of ${shapeText(shape)}`);
      } else {
        return Float32Array.from(state[name].data as ArrayLike<number>);
      }
      return new Float32Array();
    };
    const values = this.#slots.map(({ name, parameter: { shape } }) => ({
      firstMoment: take(`${name}.firstMoment`, shape),
      secondMoment: take(`${name}.secondMoment`, shape),
      step: take(`${name}.step`, []),
    }));
    for (const name of Object.keys(state)) if (!known.has(name)) problems.push(`an unexpected ${name}`);
    if (problems.length > 0) {
      throw new RangeError(
        `Cannot load a state into AdamW: its tensors must be those of the parameters, got ${
          problems.slice(0, 8).join(", ")
        }${problems.length > 8 ? ` and ${problems.length - 8} more` : ""}. Nothing was loaded`,
      );
    }
    this.#slots.forEach((slot, i) => {
      overwrite(slot.firstMoment, values[i].firstMoment);
      overwrite(slot.secondMoment, values[i].secondMoment);
      slot.steps = values[i].step[0];
    });
  }

  /** Gives the moments back; the parameters stay. */
  dispose(): void {
    for (const { firstMoment, secondMoment } of this.#slots.splice(0)) {
      firstMoment.dispose();
      secondMoment.dispose();
    }
  }
}

function isPair(
  entry: Parameter | readonly [name: string, parameter: Parameter],
): entry is readonly [name: string, parameter: Parameter] {
  return Array.isArray(entry);
}
