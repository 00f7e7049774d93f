/**
 * Copies of a learner's state that stay on the backend: the way back to the last step that is known to be good.
 * @module
 */
import { zeros } from "../create.ts";
import { keep } from "../scope.ts";
import { type Tensor, update } from "../tensor.ts";
import type { Learner } from "./learner.ts";

/** One copy. */
class Copy {
  readonly #tensors: Tensor[];
  #steps: number[] = [];
  /** Steps done when it was taken; -1 before. */
  step = -1;

  constructor(learner: Learner) {
    this.#tensors = stateTensors(learner).map(({ shape }) => keep(zeros(shape)));
  }

  take(learner: Learner, step: number): void {
    stateTensors(learner).forEach((tensor, i) => update("assign", [this.#tensors[i], tensor], {}));
    this.#steps = learner.optimizer.stepCounts;
    this.step = step;
  }

  restore(learner: Learner): void {
    stateTensors(learner).forEach((tensor, i) => update("assign", [tensor, this.#tensors[i]], {}));
    learner.optimizer.stepCounts = this.#steps;
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor.dispose();
  }
}

function stateTensors({ model, optimizer }: Learner): Tensor[] {
  return [...model.parameters(), ...optimizer.moments];
}

/**
 * Two copies that take turns. A loss is read some steps after it was queued, so a copy is good only once all losses
 * before it are known to be finite; until then the older one is kept.
 */
export class Snapshots {
  readonly #learner: Learner;
  #good: Copy;
  #candidate: Copy;
  #isPending = false;

  /** Copies the present state as a good one. */
  constructor(learner: Learner, step: number) {
    this.#learner = learner;
    this.#good = new Copy(learner);
    this.#candidate = new Copy(learner);
    this.#good.take(learner, step);
  }

  /** Copies the state after `step` steps, unless an earlier copy still waits to be known as good. Queues work. */
  offer(step: number): void {
    if (this.#isPending) return;
    this.#candidate.take(this.#learner, step);
    this.#isPending = true;
  }

  /** All losses of the first `step` steps are finite. */
  confirm(step: number): void {
    if (!this.#isPending || this.#candidate.step > step) return;
    [this.#good, this.#candidate] = [this.#candidate, this.#good];
    this.#isPending = false;
  }

  /** Goes back to the last good state. Returns how many steps it has seen. */
  restore(): number {
    this.#good.restore(this.#learner);
    return this.#good.step;
  }

  /** Gives the copies back. */
  dispose(): void {
    this.#good.dispose();
    this.#candidate.dispose();
  }
}
