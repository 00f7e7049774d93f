/** The tape: which op made which tensor, and the walk back through it. */
import type { Operand } from "./backend.ts";
import type { Op } from "./ops/op.ts";
import type { OpName, OpTable } from "./ops/mod.ts";
import { tidy } from "./scope.ts";
import { sameShape, shapeText } from "./spec.ts";
import type { Tensor } from "./tensor.ts";

/** One recorded op. Holds its inputs until its gradient has been taken. */
export interface TapeNode<N extends OpName = OpName> {
  /** Null for a reshape, which no backend needs to know about. */
  readonly op: Op<N, OpTable[N]> | null;
  readonly attributes: OpTable[N] | null;
  readonly inputs: readonly (Tensor | null)[];
  /** Of a checkpoint: runs it again for the gradients of the inputs, given that of the output. Nobody else has them. */
  readonly rerun?: (gradient: Tensor) => readonly (Tensor | null)[];
}

let recording = true;

/** Whether ops are recorded: not inside {@linkcode noGrad}. */
export function isRecording(): boolean {
  return recording;
}

/**
 * Runs `body` without recording ops: for evaluation, where no gradient is wanted.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, noGrad, ones } from "@dcls/dcls";
 *
 * await init();
 * const x = ones([2], { requiresGrad: true });
 * const y = noGrad(() => x.mul(2));
 * assert.throws(() => y.sum().backward(), /no gradient/);
 * ```
 */
export function noGrad<T>(body: () => T): T {
  return withRecording(false, body);
}

/**
 * One step of a chain of layers. Where ops are not recorded, what the step makes on the way and the tensor that it starts
 * from go back at once, so that an inference holds the tensors of one layer, not of all.
 * @param held a tensor that is needed later: it stays where the step starts from it
 */
export function advance(x: Tensor, step: (x: Tensor) => Tensor, held: Tensor | null): Tensor {
  if (recording) return step(x);
  const next = tidy(() => step(x));
  if (x !== next && x !== held) x.dispose();
  return next;
}

/** Runs `body` with ops recorded or not, whatever is the case around it. */
export function withRecording<T>(on: boolean, body: () => T): T {
  const before = recording;
  recording = on;
  try {
    return body();
  } finally {
    recording = before;
  }
}

/**
 * Throws unless `backward()` can start at `root` with this gradient.
 * @throws {RangeError} for another shape, or where it is needed and left out
 * @throws {TypeError} for another dtype
 * @throws {Error} when nothing here requires a gradient
 */
export function checkGradient(root: Tensor, gradient?: Tensor): void {
  if (!root.requiresGrad) {
    throw new Error(
      "Cannot run backward(): no gradient leads from this tensor to a parameter; it was made inside noGrad(), or " +
        "from tensors without requiresGrad",
    );
  }
  if (!gradient && root.size !== 1) {
    throw new RangeError(
      `Cannot run backward() without a gradient: the tensor must have one element, got shape ${
        shapeText(root.shape)
      }; call it on a loss, or pass a gradient of that shape`,
    );
  }
  if (gradient && !sameShape(gradient.shape, root.shape)) {
    throw new RangeError(
      `Cannot run backward(): the gradient must have shape ${shapeText(root.shape)}, got ${
        shapeText(gradient.shape)
      }`,
    );
  }
  if (gradient && gradient.dtype !== root.dtype) {
    throw new TypeError(
      `Cannot run backward(): the gradient must be ${root.dtype}, as the tensor is, got ${gradient.dtype}; ` +
        `convert it with gradient.to("${root.dtype}")`,
    );
  }
}

/** What the walk needs of a tensor; the tensor module provides it, so that this file makes no tensor. */
export interface TapeAccess {
  /** Position in the order of creation: an op's output is younger than its inputs. */
  age(tensor: Tensor): number;
  node(tensor: Tensor): TapeNode | null;
  /** Whether no op made the tensor. */
  isLeaf(tensor: Tensor): boolean;
  /** Forgets a tensor's node, so that its inputs can be freed. */
  detach(tensor: Tensor): void;
  /** The same storage in the shape of `like`, outside every scope. */
  view(tensor: Tensor, like: Tensor): Tensor;
  operand(tensor: Tensor, doing: string): Operand;
  /** Takes a handle made by a backward as a tensor of the given shape, outside every scope. */
  adopt(handle: object, like: Tensor): Tensor;
  add(a: Tensor, b: Tensor): Tensor;
}

/**
 * Reverse mode: visits the recorded ops from the youngest to the oldest, so that a tensor's gradient is complete
 * before its own op is asked. The tape is consumed.
 */
export function walkBack(root: Tensor, seed: Tensor, access: TapeAccess): void {
  const gradients = new Map<Tensor, Tensor>([[root, seed]]);
  const collect = (input: Tensor, part: Tensor): void => {
    const before = gradients.get(input);
    gradients.set(input, before ? access.add(before, part) : part);
    if (!before) return;
    before.dispose();
    part.dispose();
  };
  try {
    const order = reachable(root, access).sort((a, b) => access.age(b) - access.age(a));
    for (const tensor of order) {
      const gradient = gradients.get(tensor);
      const node = access.node(tensor);
      access.detach(tensor);
      if (!gradient) continue;
      if (node) {
        stepBack(root, node, gradient, access, collect);
        gradient.dispose();
      } else accumulate(tensor, gradient, access);
      gradients.delete(tensor);
    }
  } finally {
    for (const left of gradients.values()) left.dispose(); // after an error
  }
}

/** Adds a leaf's gradient to what it has. */
function accumulate(leaf: Tensor, gradient: Tensor, access: TapeAccess): void {
  const before = leaf.grad;
  leaf.grad = before ? access.add(before, gradient) : gradient;
  if (!before) return;
  before.dispose();
  gradient.dispose();
}

/** Asks one op for the gradients of its inputs. */
function stepBack(
  root: Tensor,
  { op, inputs, attributes, rerun }: TapeNode,
  gradient: Tensor,
  access: TapeAccess,
  collect: (input: Tensor, part: Tensor) => void,
): void {
  if (rerun) {
    rerun(gradient).forEach((part, i) => part && collect(inputs[i]!, part));
    return;
  }
  if (!op) {
    if (inputs[0]) collect(inputs[0], access.view(gradient, inputs[0]));
    return;
  }
  const doing = `take the gradient of ${op.name}`;
  const { passThrough, constantInputs } = op,
    shortcut = passThrough === undefined ? null : inputs[passThrough];
  if (shortcut?.requiresGrad) collect(shortcut, access.view(gradient, shortcut));
  const needs = inputs.map((x, i) =>
    x !== null && x.requiresGrad && i !== passThrough && !constantInputs?.includes(i)
  );
  if (!needs.includes(true)) return;
  const operands = inputs.map((x) => x && access.operand(x, doing));
  root.backend.backward(op.name, access.operand(gradient, doing), operands, attributes!, needs)
    .forEach((handle, i) => {
      const input = inputs[i];
      if (handle && input) collect(input, access.adopt(handle, input));
    });
}

/** Every tensor that a gradient passes on its way from `root`; throws where the way was already walked. */
function reachable(root: Tensor, access: TapeAccess): Tensor[] {
  const seen = new Set<Tensor>([root]);
  for (const tensor of seen) { // grows while it is walked
    const node = access.node(tensor);
    if (tensor.isDisposed) {
      throw new Error(
        `Cannot run backward(): the tensor of shape [${
          tensor.shape.join(", ")
        }] that the gradient passes was disposed; ` +
          "dispose it later",
      );
    }
    if (!node && !access.isLeaf(tensor)) {
      throw new Error(
        `Cannot run backward(): the gradient through a tensor of shape [${
          tensor.shape.join(", ")
        }] was already ` +
          "taken; run the forward pass again, or add the losses up before one backward()",
      );
    }
    for (const input of node?.inputs ?? []) {
      if (input?.requiresGrad) seen.add(input);
    }
  }
  return [...seen];
}
