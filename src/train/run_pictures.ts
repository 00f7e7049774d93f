/**
 * The pictures of a run: curves, learned positions, learned kernels.
 * @module
 */
import { join } from "node:path";
import { writeFileAtomic } from "../io/files.ts";
import type { ConvNeXt } from "../models/mod.ts";
import { Dcls2d } from "../nn/mod.ts";
import { noGrad } from "../tape.ts";
import { readAll } from "../tensor.ts";
import type { Metrics } from "./metrics.ts";
import {
  drawCurves,
  drawKernels,
  drawPositionHistogram,
  drawPositionMap,
  type KernelImage,
} from "./pictures.ts";

/** Kernels drawn of each stage. */
const KERNELS_PER_STAGE = 8;

/** Positions by the path of their layer, each set once; empty where the layers have none. */
export async function readPositions(model: ConvNeXt): Promise<Map<string, Float32Array>> {
  const seen = new Set<unknown>();
  const sets = model.namedParameters().filter(([, parameter]) => {
    const isNew = parameter.name === "P" && !seen.has(parameter);
    seen.add(parameter);
    return isNew;
  });
  const values = await readAll(sets.map(([, P]) => P));
  return new Map(sets.map(([path], i) => [path.replace(/\.dwconv\.P$/, ""), values[i]]));
}

/** The first and the second half of a set of positions: along axis 0 and axis 1. */
function axes(P: Float32Array): [Float32Array, Float32Array] {
  return [P.subarray(0, P.length / 2), P.subarray(P.length / 2)];
}

/** Kernels of each stage's first block, spread over its channels. */
async function readKernels(model: ConvNeXt): Promise<KernelImage[]> {
  const images: KernelImage[] = [];
  for (const [stage, [{ dwconv }]] of model.stages.entries()) {
    const kernel = dwconv instanceof Dcls2d ? noGrad(() => dwconv.constructKernel()) : dwconv.weight;
    const [channels, , height, width] = kernel.shape;
    const isDcls = dwconv instanceof Dcls2d;
    const [values, weight, P] = await readAll([kernel, dwconv.weight, isDcls ? dwconv.P : kernel]);
    if (isDcls) kernel.dispose();
    const shown = Math.min(KERNELS_PER_STAGE, channels);
    for (let i = 0; i < shown; i++) {
      const channel = Math.floor(i * channels / shown);
      const cells = height * width;
      const K = isDcls ? dwconv.spec.kernelCount : 0;
      const points = Array.from({ length: K }, (_, k) => {
        const [rows, columns] = axes(P);
        const at = channel * K + k;
        return { row: rows[at], column: columns[at], weight: weight[at] };
      });
      images.push({
        name: `stages.${stage}.0, channel ${channel}`,
        shape: [height, width],
        values: values.subarray(channel * cells, (channel + 1) * cells),
        points,
      });
    }
  }
  return images;
}

/**
 * Draws a run into its directory: `curves.svg`, `kernels.svg`, and with DCLS `positions.svg` and `position-map.svg`.
 *
 * @param initial the positions before the first step, by {@link readPositions}
 * @returns the files' names
 * @throws {Error} "Cannot write ...", and RangeError where a value is not finite
 */
export async function drawRun(
  directory: string,
  model: ConvNeXt,
  initial: ReadonlyMap<string, Float32Array>,
  { steps, evaluations }: Metrics,
  title: string,
): Promise<string[]> {
  const rows = evaluations.map(({ testAccuracy, testLoss, ...rest }) => ({
    ...rest,
    accuracy: testAccuracy,
    loss: testLoss,
  }));
  const pictures: Record<string, string> = {
    "curves.svg": await drawCurves(steps, rows, title),
    "kernels.svg": await drawKernels(await readKernels(model), `${title}: learned kernels`),
  };
  const learned = await readPositions(model);
  if (learned.size > 0) {
    const { dilatedKernelSize } = model.spec;
    const size = [dilatedKernelSize, dilatedKernelSize];
    const histograms = [...learned].flatMap(([layer, P]) => {
      const before = axes(initial.get(layer) ?? new Float32Array());
      return axes(P).map((values, axis) => ({ layer, axis, values, initial: before[axis] }));
    });
    const maps = [...learned].map(([layer, P]) => ({ layer, rows: axes(P)[0], columns: axes(P)[1] }));
    pictures["positions.svg"] = await drawPositionHistogram(histograms, size, `${title}: learned positions`);
    pictures["position-map.svg"] = await drawPositionMap(maps, size, `${title}: where the elements are`);
  }
  for (const [name, svg] of Object.entries(pictures)) await writeFileAtomic(join(directory, name), svg);
  return Object.keys(pictures);
}
