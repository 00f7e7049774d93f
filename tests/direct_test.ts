/** Every direct kernel, also those that are not chosen on this adapter, against the float64 reference. */
import { rowConvolution, rowLayout } from "../kernels/rowConvolution.ts";
import { rowGradientPlan, rowKernelGradient } from "../kernels/rowKernelGradient.ts";
import { isFlatDepthwise, windowConvolution } from "../kernels/windowConvolution.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { checkWorkgroup } from "../src/webgpu/limits.ts";
import { batchRuns } from "../src/webgpu/ops/batchRuns.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose, assertEquals, assertThrows } from "./assert.ts";
import { directCase, expectedOf, geometryOf, type Outcome, runDirect } from "./direct_support.ts";
import { SmallGpu } from "./webgpu_compare.ts";

/** As in webgpu_compare.ts; sums here have up to 1,500 terms. */
const TOLERANCE = 1e-5;
/** Rounding of inputs and of what is written, 5e-4 each, against the largest magnitude. */
const TOLERANCE_FLOAT16 = 2e-3;

/** A Gpu of the test's device; the kernels that share loads also run without. */
class PlainGpu extends Gpu {
  override get sharesLoads(): boolean {
    return false;
  }
}

const CASES = {
  small: directCase("one image beyond a group", [33, 3, 7, 7], [3, 1, 5, 5], { padding: [2, 2] }),
  larger: directCase("larger than the plane", [3, 1, 4, 5], [1, 1, 9, 11], { padding: [4, 5] }),
  quads: directCase("whole quads of columns, a larger output", [3, 3, 6, 8], [3, 1, 4, 3], {
    padding: [1, 3],
  }),
  plane: directCase("beyond one strip, rectangular", [1, 2, 17, 35], [2, 1, 3, 5], { padding: [1, 2] }),
  padded: directCase("padding beyond the kernel", [2, 3, 4, 5], [3, 1, 2, 2], { padding: [3, 4] }),
  single: directCase("one tap, stride 2", [3, 2, 8, 9], [2, 1, 1, 1], { stride: [2, 2] }),
  stride: directCase("stride 2", [3, 3, 9, 34], [3, 1, 3, 5], { padding: [1, 2], stride: [2, 2] }),
  mixed: directCase("strides and dilations", [2, 3, 13, 20], [3, 1, 3, 2], {
    padding: [2, 1],
    stride: [2, 3],
    dilation: [3, 2],
  }),
  common: directCase("stride and dilation with a common divisor", [2, 2, 9, 13], [2, 1, 3, 2], {
    padding: [2, 1],
    stride: [2, 2],
    dilation: [2, 4],
  }),
  sparse: directCase("a stride beyond the kernel", [2, 2, 11, 17], [2, 1, 2, 2], {
    stride: [5, 4],
    padding: [1, 1],
  }),
  signal: directCase("1-d", [3, 3, 101], [3, 1, 25], { padding: [12] }),
  strided: directCase("1-d, stride 3", [2, 1, 100], [1, 1, 9], { padding: [4], stride: [3] }),
  volume: directCase("3-d, strides", [2, 2, 5, 7, 8], [2, 1, 3, 2, 3], {
    padding: [1, 1, 1],
    stride: [2, 1, 2],
  }),
  groups: directCase("groups, stride 2", [2, 4, 7, 6], [6, 2, 3, 2], {
    groups: 2,
    padding: [1, 1],
    stride: [2, 2],
  }),
  nothing: directCase("taps that see padding alone", [1, 1, 1, 1], [1, 1, 1, 2], {
    stride: [3, 1],
    padding: [1, 1],
  }),
};

const gpu = FOUND_DEVICE && new Gpu(FOUND_DEVICE.device, FOUND_DEVICE.info);

function check(outcomes: readonly Outcome[], tolerance: number): void {
  for (const { what, shape, actual, expected } of outcomes) {
    assertClose(what, actual, expected, tolerance, shape);
  }
}

webgpuTest("direct kernels: output and gradients", async () => {
  for (const drawn of Object.values(CASES)) {
    check(await runDirect(gpu!, drawn, await expectedOf(drawn)), TOLERANCE);
  }
});

webgpuTest("direct kernels: without subgroups", async () => {
  const plain = new PlainGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  const drawn = CASES.groups;
  check(await runDirect(plain, drawn, await expectedOf(drawn), "float32", /sliding/), TOLERANCE);
});

webgpuTest("direct kernels: float16 images", async () => {
  if (!gpu!.device.features.has("shader-f16")) return; // float16_test.ts says so
  check(await runDirect(gpu!, CASES.quads, await expectedOf(CASES.quads), "float16"), TOLERANCE_FLOAT16);
  const plane = await expectedOf(CASES.plane); // not in quads of columns
  check(await runDirect(gpu!, CASES.plane, plane, "float16", /window/), TOLERANCE_FLOAT16);
});

webgpuTest("direct kernels: NaN and infinities stay in their image and channel", async () => {
  for (const drawn of [CASES.small, CASES.stride, CASES.signal]) {
    const good = await expectedOf(drawn);
    const [N, C] = drawn.x, spoiled: Map<string, Float32Array> = new Map();
    // Image 1, channel 2 of x and of dy.
    const spoil = (data: Float32Array): Float32Array => {
      const plane = data.length / (N * C), at = (C + 2) * plane, copy = data.slice();
      copy[at + 1] = NaN;
      copy[at + 2] = Infinity;
      copy[at + plane - 1] = -Infinity;
      return copy;
    };
    const [x, taps, bias] = good.inputs;
    const bad = {
      ...good,
      inputs: [{ ...x, data: spoil(x.data) }, taps, bias] as const,
      dy: { ...good.dy, data: spoil(good.dy.data) },
    };
    for (const { what, actual, expected } of await runDirect(gpu!, drawn, bad)) {
      spoiled.set(what, actual);
      const ofKernel = what.endsWith("kernel");
      const plane = expected.length / (ofKernel ? C : N * C), first = (ofKernel ? 2 : C + 2) * plane;
      assert(actual.subarray(first, first + plane).some((value) => !Number.isFinite(value)), what);
      const rest = (data: Float32Array): Float32Array =>
        data.map((value, i) => i >= first && i < first + plane ? 0 : value);
      assertClose(what, rest(actual), rest(expected), TOLERANCE);
    }
    assert(spoiled.size >= 8);
  }
});

webgpuTest("direct kernels: an empty batch", async () => {
  const drawn = directCase("empty", [0, 3, 7, 7], [3, 1, 3, 3], { padding: [1, 1] });
  for (const { what, actual, expected } of await runDirect(gpu!, drawn, await expectedOf(drawn))) {
    assertEquals([...actual], [...expected], what);
  }
});

webgpuTest("direct kernels: more channels than a row of workgroups", async () => {
  const drawn = directCase("66,000 channels", [2, 66_000, 1, 3], [66_000, 1, 1, 3], { padding: [0, 1] });
  assert(drawn.x[1] > gpu!.limits.maxComputeWorkgroupsPerDimension);
  check(await runDirect(gpu!, drawn, await expectedOf(drawn), "float32", /^(?!sliding, odd)/), TOLERANCE);
});

webgpuTest("direct kernels: small bindings, few workgroups a row, items that begin anywhere", async () => {
  const small = new SmallGpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  for (
    const drawn of [
      // 756 bytes an item: 64 of them would be needed to begin at a multiple of 256 again
      directCase("odd items", [40, 3, 7, 9], [3, 1, 1, 3], { padding: [0, 1] }),
      directCase("more channels than workgroups", [3, 47, 4, 4], [47, 1, 1, 2], { stride: [1, 2] }),
      directCase("many items", [1900, 1, 1, 1], [1, 1, 1, 3], { padding: [0, 1] }),
    ]
  ) check(await runDirect(small, drawn, await expectedOf(drawn), "float32", /^(?!sliding, odd)/), TOLERANCE);
  const buffer = small.upload(new Float32Array(4096), "test");
  assertThrows(
    () => batchRuns(small, 2, [{ buffer, item: 2000, elementBytes: 4 }]),
    RangeError,
    "an item of 8000 bytes and 256 before it must fit the adapter's maxStorageBufferBindingSize of 8192",
  );
});

Deno.test("direct kernels: workgroup memory of 16 and 32 KiB is not exceeded", () => {
  for (const bytes of [16384, 32768]) {
    const limits = { bytes, invocations: 256 };
    const gpuLimits = {
      maxComputeWorkgroupStorageSize: bytes,
      maxComputeInvocationsPerWorkgroup: 256,
    } as GPUSupportedLimits;
    for (const [extent, images] of [[1, 32], [7, 32], [8, 32], [14, 16], [28, 4]]) {
      for (const size of [1, 3, 7, 17, 51]) {
        const geometry = geometryOf(
          directCase("", [128, 4, extent, extent], [4, 1, size, size], { padding: [size >> 1, size >> 1] }),
        );
        assert(isFlatDepthwise(geometry));
        const layout = rowLayout(geometry, 128, limits);
        assert(layout && (layout.images === images || bytes === 16384 && size > 17), `${extent}, ${size}`);
        checkWorkgroup(rowConvolution(geometry, layout, true), gpuLimits);
        if (size <= 9) checkWorkgroup(windowConvolution(geometry, true), gpuLimits);
        const plan = rowGradientPlan(geometry, limits);
        assertEquals(plan !== null, extent <= 8);
        if (plan) checkWorkgroup(rowKernelGradient(geometry, plan), gpuLimits);
      }
    }
  }
  const wide = geometryOf(directCase("", [1, 1, 8, 29], [1, 1, 3, 3], { padding: [1, 1] }));
  assertEquals(rowLayout(wide, 1, { bytes: 32768, invocations: 256 }), null);
  assertEquals(rowLayout(geometryOf(CASES.small), 1, { bytes: 64, invocations: 256 }), null);
});
