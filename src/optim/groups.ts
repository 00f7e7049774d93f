/** How the DCLS paper divides a model's parameters among the optimizer's groups. */
import type { Module } from "../nn/module.ts";
import type { Parameter } from "../nn/parameter.ts";
import type { ParameterGroup } from "./adamw.ts";

/** Options of {@linkcode parameterGroups}. */
export interface GroupOptions {
  /** Peak learning rate of everything but positions. */
  learningRate: number;
  /** Of parameters with two axes or more. Default 0.05, the paper's. */
  weightDecay?: number;
  /** Learning rate of positions relative to `learningRate`. Default 5, the paper's. */
  positionRate?: number;
  /** Weight decay of positions and spreads. Default 0, the paper's: decay would pull them to the centre. */
  positionWeightDecay?: number;
}

/**
 * The groups of the DCLS paper (section 4): weights decay; scales, shifts and biases (one axis) do not; positions do
 * not decay and learn five times as fast. Spreads do not decay.
 *
 * @param model every parameter goes into one group, under its first path
 * @returns groups for {@linkcode AdamW}, the empty ones left out
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls2d, init } from "@dcls/dcls";
 * import { parameterGroups } from "@dcls/dcls/optim";
 *
 * await init();
 * const layer = new Dcls2d(2, 2, { kernelCount: 3, dilatedKernelSize: 7 });
 * const groups = parameterGroups(layer, { learningRate: 1e-3 });
 * assert.deepEqual(groups.map((group) => [group.learningRate, group.weightDecay]), [
 *   [1e-3, 0.05], // weight
 *   [1e-3, 0], // bias
 *   [5e-3, 0], // P
 * ]);
 * ```
 */
export function parameterGroups(model: Module, options: GroupOptions): ParameterGroup[] {
  const { learningRate, weightDecay = 0.05, positionRate = 5, positionWeightDecay = 0 } = options;
  const weights: [string, Parameter][] = [];
  const vectors: [string, Parameter][] = [];
  const positions: [string, Parameter][] = [];
  const spreads: [string, Parameter][] = [];
  const seen = new Set<Parameter>();
  for (const [path, parameter] of model.namedParameters()) {
    if (seen.has(parameter)) continue;
    seen.add(parameter);
    const group = parameter.name === "P"
      ? positions
      : parameter.name === "SIG"
      ? spreads
      : parameter.shape.length > 1
      ? weights
      : vectors;
    group.push([path, parameter]);
  }
  return [
    { parameters: weights, learningRate, weightDecay },
    { parameters: vectors, learningRate, weightDecay: 0 },
    { parameters: positions, learningRate: learningRate * positionRate, weightDecay: positionWeightDecay },
    { parameters: spreads, learningRate, weightDecay: positionWeightDecay },
  ].filter(({ parameters }) => parameters.length > 0);
}
