/**
 * Optimisation: AdamW with parameter groups, the groups of the DCLS paper, and its schedule.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Dcls1d, init, ones } from "@dcls/dcls";
 * import { AdamW, parameterGroups, warmupCosine } from "@dcls/dcls/optim";
 *
 * await init();
 * const layer = new Dcls1d(1, 1, { kernelCount: 2, dilatedKernelSize: 9 });
 * const optimizer = new AdamW(parameterGroups(layer, { learningRate: 4e-3 }));
 * const schedule = warmupCosine({ totalSteps: 10, warmupSteps: 2 });
 * const before = await layer.weight.data();
 * layer.forward(ones([1, 1, 20])).square().sum().backward();
 * optimizer.step(schedule(0));
 * layer.clampParameters();
 * assert.notDeepEqual(await layer.weight.data(), before);
 * ```
 * @module
 */
export { AdamW, type AdamWOptions, type ParameterGroup } from "./adamw.ts";
export { type GroupOptions, parameterGroups } from "./groups.ts";
export { type Schedule, warmupCosine, type WarmupCosineOptions } from "./schedule.ts";
