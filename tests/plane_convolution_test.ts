/**
 * Convolutions through transforms of whole planes and of tiles, forward and every gradient, against the float64
 * reference, in the workgroup memory that adapters have.
 */
import { offsetsOf, type PlaneAxis, planeLength } from "../kernels/planeAxis.ts";
import { fftPlan } from "../kernels/planeFft.ts";
import { tilePlan } from "../kernels/planeTiles.ts";
import type { Shape } from "../src/spec.ts";
import { planePlan } from "../src/webgpu/ops/planeConvolution.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import { NO_FLOAT16 } from "./support/float16.ts";
import { type PlaneFamily, PlaneGpu, planeRunner } from "./support/plane_runner.ts";
import { compareOp, half, type Input, runOp, uniform } from "./webgpu_compare.ts";

const LITTLE = 16_384, COMMON = 32_768;

/** Batch and channels, plane, size, padding, workgroup memory. */
type Case = [[N: number, C: number], plane: Shape, size: Shape, padding: Shape, bytes: number];

const axis = (plane: Shape, size: Shape, padding: Shape, a: number): PlaneAxis => ({
  input: plane[a],
  output: plane[a] + 2 * padding[a] - size[a] + 1,
  size: size[a],
  padding: padding[a],
});

Deno.test("tiles cover every plane and size, within 16 and 32 KiB", () => {
  const planes = [[7, 7], [14, 14], [28, 28], [56, 56], [56, 31], [112, 112], [224, 224], [33, 200]];
  for (const plane of planes) {
    for (const S of [3, 7, 17, 23, 31, 51]) {
      for (const pad of [0, S >> 1, S - 1]) {
        if (plane.some((extent) => extent + 2 * pad < S)) continue;
        const [rows, columns] = [0, 1].map((a) => axis(plane, [S, S], [pad, pad], a));
        for (const bytes of [LITTLE, COMMON]) {
          const what = `${plane}, ${S}, padding ${pad}, ${bytes}`;
          const plan = tilePlan(rows, columns, bytes);
          if (S === 51 && bytes === LITTLE) continue; // long halos: there may be none
          assert(plan, what);
          assert(plan.workgroupBytes <= bytes, what);
          for (const { L, step, cut, ...rest } of [plan.rows, plan.columns]) {
            const { low, high } = offsetsOf(rest);
            const least = cut ? step + Math.max(0, high) + Math.max(0, -low) : planeLength(rest);
            assert(L >= least, `${what}: ${L} of ${least}`);
          }
        }
      }
    }
  }
});

Deno.test("planes of 56 x 56 fit 16 and 32 KiB on GPUs as well", () => {
  for (const S of [7, 17, 23, 31]) {
    const length = planeLength(axis([56, 56], [S, S], [S >> 1, S >> 1], 0));
    const [large, common, little] = [49_152, COMMON, LITTLE].map((bytes) => fftPlan(length, 56, bytes, 1024));
    assert(large && !large.halves && large.pitch > large.L);
    assert(common && common.workgroupBytes <= COMMON && common.L === large.L);
    assert(S > 17 ? little === null : little!.workgroupBytes <= LITTLE);
  }
  assertEquals(fftPlan(64, 64, LITTLE, 1024), null); // no column is left for flags
  assertEquals(fftPlan(64, 56, COMMON, 128), null);
});

/** Compares forward and gradients, in full and each gradient alone. */
async function compare(family: PlaneFamily, [[N, C], plane, size, padding, bytes]: Case): Promise<PlaneGpu> {
  const gpu = new PlaneGpu(family, bytes), runner = planeRunner(gpu);
  const attributes = { stride: [1, 1], padding, dilation: [1, 1], groups: C };
  const inputs = [uniform([N, C, ...plane]), uniform([C, 1, ...size])];
  await compareOp(runner, "convolution", attributes, ...inputs, null);
  assert([...gpu.ran].every(({ workgroupBytes }) => workgroupBytes <= bytes));
  assertEquals(gpu.buffers.memory.buffers, 0);
  return gpu;
}

const CASES: Record<PlaneFamily, Record<string, Case>> = {
  lines: {
    "odd planes, batch and channels": [[3, 3], [13, 11], [5, 9], [2, 4], LITTLE],
    "a size larger than the plane, one image": [[1, 2], [7, 6], [51, 31], [25, 17], LITTLE],
    "tiles of odd planes, padding beyond the kernel": [[3, 2], [35, 43], [5, 3], [7, 4], 2048],
    "31x31 in 32 KiB": [[2, 1], [56, 56], [31, 31], [15, 15], COMMON],
    "23x23 in 16 KiB": [[3, 1], [56, 56], [23, 23], [11, 11], LITTLE],
    "an empty batch": [[0, 2], [13, 11], [5, 9], [2, 4], LITTLE],
  },
  workgroup: {
    "odd planes, batch and channels": [[3, 3], [13, 11], [5, 9], [2, 4], LITTLE],
    "a size larger than the plane, in halves": [[1, 2], [7, 6], [51, 31], [25, 17], 1100],
    "tight halves": [[3, 2], [12, 13], [5, 4], [2, 2], 1024],
    "tiles in both directions": [[3, 1], [75, 80], [9, 7], [4, 3], 5000],
    "an empty batch": [[0, 2], [13, 11], [5, 9], [2, 4], LITTLE],
  },
};

for (const family of ["lines", "workgroup"] as const) {
  for (const [what, each] of Object.entries(CASES[family])) {
    webgpuTest(`planes, ${family}: ${what}`, async () => {
      await compare(family, each);
    });
  }
}

for (const family of ["lines", "workgroup"] as const) {
  webgpuTest(`planes, ${family}: batches beyond one binding, and their spectral sums`, async () => {
    // 3 slices of 32 images at most, where spectral sums take 3,200 bytes a run (by lines 3,072).
    const runner = planeRunner(new PlaneGpu(family, LITTLE, 32 * 4 * 12 * 16));
    const attributes = { stride: [1, 1], padding: [2, 2], dilation: [1, 1], groups: 1 };
    await compareOp(runner, "convolution", attributes, uniform([67, 1, 12, 16]), uniform([1, 1, 5, 5]), null);
  });
  Deno.test(
    `planes, ${family}: none whose spectrum no binding holds, or whose channels no row of workgroups [webgpu]`,
    { ignore: !FOUND_DEVICE },
    () => {
      const gpu = new PlaneGpu(family, LITTLE, 2 ** 16), extents = [1, 13, 15];
      const geometry = { input: extents, output: extents, size: [1, 5, 5], padding: [0, 2, 2] };
      const planOf = (channels: number, on = gpu): unknown =>
        planePlan(on, {
          ...geometry,
          inChannels: channels,
          outChannels: channels,
          groups: channels,
          stride: [1, 1, 1],
          dilation: [1, 1, 1],
        });
      assert(planOf(16));
      assertEquals(planOf(33), null);
      if (family === "lines") return; // these take several channels a workgroup
      const most = gpu.limits.maxComputeWorkgroupsPerDimension;
      const large = new PlaneGpu(family, LITTLE, 2 ** 31);
      assert(planOf(most, large));
      assertEquals(planOf(most + 1, large), null);
    },
  );
}

const HALVES: Record<PlaneFamily, Case> = {
  lines: [[3, 2], [12, 12], [5, 5], [2, 2], COMMON],
  workgroup: [[3, 2], [11, 12], [5, 5], [2, 2], COMMON],
};
for (const family of ["lines", "workgroup"] as const) {
  Deno.test({
    name: `planes, ${family}: float16 [webgpu]${NO_FLOAT16 ? ` (skipped: ${NO_FLOAT16})` : ""}`,
    ignore: NO_FLOAT16 !== null,
    fn: async () => {
      const [[N, C], plane, size, padding, bytes] = HALVES[family];
      const runner = planeRunner(new PlaneGpu(family, bytes));
      const attributes = { stride: [1, 1], padding, dilation: [1, 1], groups: C };
      const x = half(uniform([N, C, ...plane])), taps = uniform([C, 1, ...size]), bias = uniform([C]);
      await compareOp(runner, "convolution", attributes, x, taps, bias);
    },
  });

  webgpuTest(
    `planes, ${family}: what is not finite stays in its image; the same sums every time`,
    async () => {
      const [[N, C], plane, size, padding, bytes] = HALVES[family];
      const runner = planeRunner(new PlaneGpu(family, bytes));
      const attributes = { stride: [1, 1], padding, dilation: [1, 1], groups: C };
      const x = uniform([N, C, ...plane]), taps = uniform([C, 1, ...size]), pixels = plane[0] * plane[1];
      const output = [N, C, ...[0, 1].map((a) => plane[a] + 2 * padding[a] - size[a] + 1)];
      const results = output[2] * output[3], dy = uniform(output), needs = [true, true, false];
      const run = (input: Input): Promise<(Float32Array | null)[]> =>
        runOp(runner, "convolution", attributes, [input, taps, null], dy, needs);
      const [y, dx, dk] = await run(x), again = await run(x);
      assertEquals(again.slice(0, 3), [y, dx, dk]);
      const data = x.data.slice();
      data[5] = NaN; // image 0, channel 0
      data[(2 * C + 1) * pixels + 7] = -Infinity; // image 2, channel 1
      const spoiled = await run({ shape: x.shape, data });
      for (let n = 0; n < N; n++) {
        for (let c = 0; c < C; c++) {
          const part = (values: Float32Array): Float32Array =>
            values.subarray((n * C + c) * results, (n * C + c + 1) * results);
          const bad = (n === 0 && c === 0) || (n === 2 && c === 1);
          if (bad) {
            assert(part(spoiled[0]!).every((value) => Number.isNaN(value)), `image ${n}, channel ${c}`);
          } else assertClose(`image ${n}, channel ${c}`, part(spoiled[0]!), part(y!), 1e-5);
        }
      }
      assertEquals(spoiled[1], dx);
      assert(
        spoiled[2]!.every((value) => Number.isNaN(value)),
        "both channels of the kernel's gradient",
      );
    },
  );
}
