/** Kernel construction as GPUs, CPUs and adapters without subgroups run it, against the reference. */
import { INTERPOLATION } from "../src/interpolation.ts";
import type { ConstructKernelAttributes } from "../src/ops/constructKernel.ts";
import { type Shape, sizeOf, VERSIONS } from "../src/spec.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertEquals } from "./assert.ts";
import { compareOp, type Input, runnerOf, runOp, SmallGpu, uniform } from "./webgpu_compare.ts";

/** Sizes around the lanes and strips that kernels count in, rows and elements. */
const PLANS: [size: Shape, rows: Shape, kernelCount: number][] = [
  [[25], [70, 1], 1],
  [[8], [5, 2], 3],
  [[3, 40], [3, 1], 5],
  [[17, 17], [3, 1], 34],
  [[2, 3, 9], [2, 2], 7],
];

function drawn(version: typeof VERSIONS[number], [size, rows, K]: typeof PLANS[number]): {
  attributes: ConstructKernelAttributes;
  inputs: (Input | null)[];
} {
  const weightShape = [...rows, K],
    { spread } = INTERPOLATION[version],
    shape = [size.length, ...weightShape];
  // some positions are whole; off the kernel only where no sum close to 0 divides
  const reach = Math.min(...size) / 2 - 0.5 + (version === "v0" ? 2 : 0);
  const P = uniform(shape, -reach, reach);
  for (let i = 0; i < P.data.length; i += 5) P.data[i] = Math.round(P.data[i] * 0.99);
  return {
    attributes: {
      version,
      spreadOffset: version === "gauss" ? 0.27 : 1,
      size,
      weightShape,
      kernelShape: [...rows, ...size],
    },
    inputs: [uniform(weightShape), P, spread ? uniform(shape, -2, 2) : null],
  };
}

const RUNS: [what: string, gpuOf: () => Gpu, plans: typeof PLANS][] = [
  ["as it is", () => new Gpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info), PLANS],
  [
    "as a GPU",
    () => new Gpu(FOUND_DEVICE!.device, { ...FOUND_DEVICE!.info, software: false }),
    [PLANS[0], PLANS[2]],
  ],
  ["few workgroups in a row", () => new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info), [PLANS[0]]],
];
for (const [what, gpuOf, plans] of RUNS) {
  webgpuTest(`constructKernel: output and gradients, ${what}`, async () => {
    const runner = runnerOf(gpuOf());
    for (const version of VERSIONS) {
      for (const plan of plans) {
        const { attributes, inputs } = drawn(version, plan);
        await compareOp(runner, "constructKernel", attributes, ...inputs);
      }
    }
  });
}

webgpuTest("constructKernel: a NaN position or spread spoils its row, and nothing else", async () => {
  const runner = runnerOf(new Gpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info));
  for (const version of VERSIONS) {
    const { attributes, inputs } = drawn(version, [[5, 6], [4, 1], 9]);
    for (const spoilt of inputs[2] ? [1, 2] : [1]) {
      const bad = inputs.map((input) => input && { shape: input.shape, data: input.data.slice() });
      bad[spoilt]!.data[2 * 9 + 4] = NaN;
      const shape = [4, 1, 5, 6], needs = [true, true, inputs[2] !== null];
      const [kernel, dweight] = await runOp(
        runner,
        "constructKernel",
        attributes,
        bad,
        uniform(shape),
        needs,
      );
      const finite = [...kernel!].map(Number.isFinite);
      assertEquals(
        finite,
        Array.from({ length: sizeOf(shape) }, (_, i) => Math.floor(i / 30) !== 2),
        version,
      );
      assert(Number.isNaN(dweight![2 * 9 + 4]), `${version}: the gradient says so`);
      assertEquals(dweight!.filter(Number.isNaN).length, 1, version);
    }
  }
});
