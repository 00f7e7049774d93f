/** Parameters and multiply-adds of a model, layer by layer, from shapes alone. */
import { runOn } from "../backend.ts";
import { zeros } from "../create.ts";
import { LayerNorm } from "../nn/layer_norm.ts";
import { Module, type ModuleChild } from "../nn/module.ts";
import { Parameter } from "../nn/parameter.ts";
import type { OpName } from "../ops/mod.ts";
import { type Shape, sizeOf } from "../spec.ts";
import { tidy } from "../scope.ts";
import { noGrad } from "../tape.ts";
import { type SeenOp, ShapeBackend } from "./shapes.ts";

/** What a layer comes to. */
export interface SummaryRow {
  /** Where it is in the model, `stages.0.1.dwconv`; `""` for the model itself. */
  readonly path: string;
  /** Its class. */
  readonly layer: string;
  /** Of its last run, `[N, C, ...spatial]`; null where the pass did not come to it. */
  readonly outputShape: Shape | null;
  /** Learned values of its own; those it shares count in the row of the first layer that has them. */
  readonly parameters: number;
  /** Of one pass. */
  readonly multiplyAdds: number;
}

/** What a model comes to. */
export interface Summary {
  /** One for every layer with parameters of its own, in the order in which a pass comes to them. */
  readonly rows: readonly SummaryRow[];
  /** Learned values, each once. */
  readonly parameters: number;
  /** Of one pass. */
  readonly multiplyAdds: number;
}

/**
 * Which input of an op holds its weights, `[out, in, ...size]`: each element of the output costs as many multiply-adds
 * as the weights have elements beyond their first axis. Ops that are not here count nothing.
 */
const WEIGHTS: Readonly<Partial<Record<OpName, number>>> = {
  convolution: 1,
  pointwise: 1,
  layerNormPointwise: 3,
  pointwiseResidual: 1,
};

/** Ops that count nothing: element by element, normalisation, reductions, and what only depends on parameters. */
const FREE: readonly OpName[] = [
  "binary",
  "cast",
  "constructKernel",
  "correctCount",
  "crossEntropy",
  "globalAveragePool",
  "layerNorm",
  "pad",
  "repulsiveLoss",
  "scaleResidual",
  "sum",
  "unary",
];

/** The ops about which it is decided whether they count; a test holds this against the list of all ops. */
export const DECIDED_OPS: readonly string[] = [...Object.keys(WEIGHTS), ...FREE];

/** A row while it is made. */
interface OpenRow {
  readonly path: string;
  readonly module: Module;
  parameters: number;
  multiplyAdds: number;
  outputShape: Shape | null;
}

/** The parameters that a module holds itself, in lists or not. */
function ownParameters(module: Module): Parameter[] {
  const listed = (child: ModuleChild): Parameter[] =>
    child instanceof Parameter ? [child] : Array.isArray(child) ? child.flatMap(listed) : [];
  return listed(Object.values(module.children()));
}

/** Follows one pass and books every op on the layers whose parameters it takes. */
class Counter {
  readonly backend: ShapeBackend = new ShapeBackend((op) => this.#see(op));
  readonly #rows = new Map<string, OpenRow>();
  /** In the order in which the pass comes to them. */
  readonly #visited = new Set<OpenRow>();
  /** Whose parameters a storage holds, or what was made of them alone. */
  readonly #owners = new WeakMap<object, OpenRow>();
  /** While storages are looked up: receives each. */
  #onHandle: ((handle: object) => void) | null = null;

  constructor(model: Module) {
    const seen = new Set<Parameter>();
    for (const [path, module] of model.namedModules()) {
      const parameters = ownParameters(module);
      if (parameters.length === 0 && module !== model) continue;
      const row: OpenRow = { path, module, parameters: 0, multiplyAdds: 0, outputShape: null };
      this.#rows.set(path, row);
      for (const parameter of parameters.filter((one) => !seen.has(one))) {
        seen.add(parameter);
        row.parameters += parameter.size;
        this.#onHandle = (handle) => this.#owners.set(handle, row);
        runOn(this.backend, () => tidy(() => void parameter.neg()));
      }
    }
    this.#onHandle = null;
  }

  #see({ name, inputs, output }: SeenOp): void {
    if (this.#onHandle) return this.#onHandle(inputs[0]!.handle);
    const owners = inputs.map((input) => input && this.#owners.get(input.handle));
    if (owners[0] && owners.every((owner) => owner !== undefined)) { // made of parameters alone: a kernel
      return void this.#owners.set(output.handle, owners[0]);
    }
    const from = inputs[0]!.shape;
    for (const row of owners) {
      if (!row) continue;
      this.#visited.add(row);
      // A LayerNorm that runs as one with the map after it keeps the shape all the same.
      row.outputShape = row.module instanceof LayerNorm ? from : output.shape;
    }
    const index = WEIGHTS[name];
    if (index === undefined) return;
    const row = owners[index] ?? this.#rows.get("")!;
    this.#visited.add(row);
    row.multiplyAdds += sizeOf(output.shape) * sizeOf(inputs[index]!.shape.slice(1));
  }

  summary(): Summary {
    const rows = [...new Set([...this.#visited, ...this.#rows.values()])]
      .filter(({ parameters, multiplyAdds }) => parameters + multiplyAdds > 0)
      .map(({ path, module, ...row }) => ({ path, layer: module.constructor.name, ...row }));
    const sum = (key: "parameters" | "multiplyAdds"): number =>
      rows.reduce((total, row) => total + row[key], 0);
    return { rows, parameters: sum("parameters"), multiplyAdds: sum("multiplyAdds") };
  }
}

/**
 * Counts a model's parameters and the multiply-adds of one pass in evaluation, layer by layer. No op runs: only shapes
 * are followed, so it needs no device and no time. Any module can be counted that is made of this module's ops.
 *
 * Multiply-adds are those of convolutions and linear maps, as in ConvNeXt's paper and the DCLS paper's table 2: one for
 * each weight and output element, padding included. A DCLS layer counts with its constructed kernel, `17 x 17` and not
 * its 34 elements. The construction, biases, normalisation, activations and pooling count nothing.
 *
 * @param model a module, on whatever backend, or a function that makes one: inside it no element is kept, and `init()`
 * need not have run
 * @param inputShape `[N, C, ...spatial]`
 * @throws {RangeError} where the input does not fit the model
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { convnextDclsTiny, summary } from "@dcls/dcls/models";
 *
 * const { rows, parameters, multiplyAdds } = summary(() => convnextDclsTiny(), [1, 3, 224, 224]);
 * assert.equal((parameters / 1e6).toFixed(1), "28.6");
 * assert.equal((multiplyAdds / 1e9).toFixed(1), "5.0");
 * assert.deepEqual(rows[2], {
 *   path: "stages.0.0.dwconv",
 *   layer: "Dcls2d",
 *   outputShape: [1, 96, 56, 56],
 *   parameters: 96 * (34 + 1 + 2 * 34), // weight, bias, and the positions of the whole stage
 *   multiplyAdds: 96 * 56 ** 2 * 17 ** 2,
 * });
 * ```
 */
export function summary(model: Module | (() => Module), inputShape: Shape): Summary {
  const made = model instanceof Module ? model : runOn(new ShapeBackend(() => {}), model);
  const modules = made.namedModules().map(([, module]) => module);
  const modes = modules.map(({ training }) => training);
  const counter = new Counter(made);
  made.eval();
  try {
    runOn(counter.backend, () => noGrad(() => tidy(() => void made.forward(zeros(inputShape)))));
  } finally {
    modules.forEach((module, i) => module.train(modes[i])); // parts come after what they are parts of
  }
  return counter.summary();
}
