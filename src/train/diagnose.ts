/**
 * Where a run went wrong: repeats steps until a value is not finite, and names the layer.
 * @module
 */
import { keep, tidy } from "../scope.ts";
import { noGrad } from "../tape.ts";
import { readAll, type Tensor } from "../tensor.ts";
import type { Learner } from "./learner.ts";

/** The first values that were not finite. */
export interface Trouble {
  /** Step, counted from 1. */
  readonly step: number;
  /** What they were: `the output of stages.0.0.dwconv`. */
  readonly what: string;
}

/** A scalar, kept, that is finite only if all elements are; scaled so that the sum of large ones stays finite. */
function probe(x: Tensor): Tensor {
  return noGrad(() => tidy(() => keep(x.mul(1e-30).sum())));
}

/** Repeats one step and looks at every layer's output, the loss, every gradient and every updated parameter. */
async function examine(learner: Learner, step: number): Promise<string | null> {
  const { model } = learner;
  const names: string[] = [];
  const probes: Tensor[] = [];
  const add = (name: string, x: Tensor): void => {
    names.push(name);
    probes.push(probe(x));
  };
  const scores = learner.gradients(step, (path, output) => add(`the output of ${path}`, output));
  add("the loss", scores.loss);
  for (const [path, { grad }] of model.namedParameters()) if (grad) add(`the gradient of ${path}`, grad);
  learner.update(step);
  for (const [path, parameter] of model.namedParameters()) add(`${path} after the update`, parameter);
  const values = await readAll(probes);
  for (const tensor of [...probes, scores.loss, scores.correct]) tensor.dispose();
  const index = values.findIndex(([value]) => !Number.isFinite(value));
  return index < 0 ? null : names[index];
}

/**
 * Repeats the steps from `from` (steps done) up to the one that is number `to` (from 1), from the present state.
 * @returns the first trouble, or null where all values stay finite this time
 */
export async function findTrouble(learner: Learner, from: number, to: number): Promise<Trouble | null> {
  for (let step = from; step < to; step++) {
    const what = await examine(learner, step);
    if (what !== null) return { step: step + 1, what };
  }
  return null;
}
