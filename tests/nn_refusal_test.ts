/** What layers refuse: options, inputs, disposed parameters, and everything before `init`. */
import { init, shutdown } from "../src/backend.ts";
import { zeros } from "../src/create.ts";
import {
  Conv1d,
  Conv2d,
  Conv3d,
  crossEntropy,
  Dcls1d,
  Dcls2d,
  Dcls2dK1d,
  Dcls3_1d,
  Dcls3d,
  LayerNorm,
  Linear,
  Pointwise,
} from "../src/nn/mod.ts";
import { assertStringIncludes, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

const own = (name: string, body: () => void | Promise<void>): void => testBackends(name, body, ["reference"]);

const depthwise = { kernelCount: 3, dilatedKernelSize: 7 } as const;
const BAD_LAYERS: [string, () => unknown, string][] = [
  [
    "groups",
    () => new Dcls2d(96, 96, { ...depthwise, groups: 7 }),
    "Cannot create Dcls2d: inChannels must be divisible by groups, got inChannels 96 and groups 7",
  ],
  [
    "out groups",
    () => new Conv2d(4, 6, { kernelSize: 3, groups: 4 }),
    "Cannot create Conv2d: outChannels must be divisible by groups, got outChannels 6 and groups 4",
  ],
  [
    "kernelCount",
    () => new Dcls1d(1, 1, { ...depthwise, kernelCount: 0 }),
    "Cannot create Dcls1d: kernelCount must be a positive integer, got 0",
  ],
  [
    "size",
    () => new Dcls3d(1, 1, { ...depthwise, dilatedKernelSize: 2.5 }),
    "Cannot create Dcls3d: dilatedKernelSize must be a positive integer, got 2.5",
  ],
  [
    "sizes",
    () => new Dcls2d(1, 1, { ...depthwise, dilatedKernelSize: [3, 3, 3] }),
    "dilatedKernelSize must be one number or 2 of them, got 3",
  ],
  [
    "channels",
    () => new Dcls2d(0, 1, depthwise),
    "Cannot create Dcls2d: inChannels must be a positive integer, got 0",
  ],
  [
    "version",
    () => new Dcls2d(1, 1, { ...depthwise, version: "v2" as "v1" }),
    'Cannot create Dcls2d: version must be one of v0, v1, max, gauss, got "v2"',
  ],
  [
    "padding mode",
    () => new Dcls2d(1, 1, { ...depthwise, paddingMode: "same" as "zeros" }),
    'Cannot create Dcls2d: paddingMode must be one of zeros, reflect, replicate, circular, got "same"',
  ],
  [
    "conv padding mode",
    () => new Conv1d(1, 1, { kernelSize: 1, paddingMode: "same" as "zeros" }),
    "Cannot create Conv1d: paddingMode must be one of",
  ],
  [
    "dense size",
    () => new Dcls3_1d(1, 1, { ...depthwise, denseKernelSize: 0 }),
    "Cannot create Dcls3_1d: denseKernelSize must be a positive integer, got 0",
  ],
  [
    "flatDim",
    () => new Dcls2dK1d(1, 1, { ...depthwise, flatDim: 2 as 1 }),
    "Cannot create Dcls2dK1d: flatDim must be 0 or 1, got 2",
  ],
  [
    "positionStd",
    () => new Dcls2d(1, 1, { ...depthwise, positionStd: -1 }),
    "Cannot create Dcls2d: positionStd must be a finite number of at least 0, got -1",
  ],
  [
    "no options",
    () => new Dcls2d(1, 1, undefined as never),
    "Cannot create Dcls2d: options { kernelCount, dilatedKernelSize } are required",
  ],
  [
    "conv size",
    () => new Conv3d(1, 1, { kernelSize: -1 }),
    "Cannot create Conv3d: kernelSize must be a positive integer, got -1",
  ],
  [
    "epsilon",
    () => new LayerNorm(4, { epsilon: 0 }),
    "Cannot create LayerNorm: epsilon must be positive, got 0",
  ],
  ["linear", () => new Linear(3, 0), "Cannot create Linear: outChannels must be a positive integer, got 0"],
  [
    "pointwise",
    () => new Pointwise(NaN, 1),
    "Cannot create Pointwise: inChannels must be a positive integer, got NaN",
  ],
];
for (const [name, make, message] of BAD_LAYERS) {
  own(`bad option: ${name}`, () => {
    const error = assertThrows(make, Error);
    assertStringIncludes(error.message, message);
  });
}

const BAD_INPUTS: [string, () => unknown, string][] = [
  [
    "rank",
    () => new Dcls2d(96, 96, { ...depthwise, groups: 96 }).forward(zeros([96, 8])),
    "Cannot run Dcls2d: input must be [N, 96, H, W] or [96, H, W], got [96, 8]",
  ],
  [
    "channels",
    () => new Dcls2d(96, 96, { ...depthwise, groups: 96 }).forward(zeros([2, 3, 8, 8])),
    "Cannot run Dcls2d: input must be [N, 96, H, W] or [96, H, W], got [2, 3, 8, 8]",
  ],
  [
    "1-d",
    () => new Dcls1d(2, 2, depthwise).forward(zeros([2, 3, 8])),
    "input must be [N, 2, L] or [2, L], got [2, 3, 8]",
  ],
  [
    "3-d",
    () => new Dcls3d(2, 2, depthwise).forward(zeros([8])),
    "input must be [N, 2, D, H, W] or [2, D, H, W], got [8]",
  ],
  [
    "no tensor",
    () => new Dcls1d(2, 2, depthwise).forward([1] as never),
    "Cannot run Dcls1d: input must be a Tensor, got object",
  ],
  [
    "large kernel",
    () => new Dcls2d(1, 1, { ...depthwise, padding: 1 }).forward(zeros([1, 1, 9, 4])),
    "Cannot run Dcls2d: the kernel must fit into the padded input, got a kernel of 7 cells and 4 + 2 * 1 cells of input along W",
  ],
  [
    "dilated kernel",
    () => new Conv1d(1, 1, { kernelSize: 3, dilation: 4 }).forward(zeros([1, 1, 8])),
    "Cannot run Conv1d: the kernel must fit into the padded input, got a kernel of 9 cells and 8 + 2 * 0 cells of input along L",
  ],
  [
    "reflect",
    () => new Dcls2d(1, 1, { ...depthwise, padding: 4, paddingMode: "reflect" }).forward(zeros([1, 1, 4, 9])),
    "Cannot run Dcls2d: reflect padding must be at most 3 where the input has 4 cells, got padding 4 along H",
  ],
  [
    "circular",
    () => new Conv2d(1, 1, { kernelSize: 3, padding: 5, paddingMode: "circular" }).forward(zeros([1, 4, 9])),
    "Cannot run Conv2d: circular padding must be at most 4 where the input has 4 cells, got padding 5 along H",
  ],
  [
    "linear",
    () => new Linear(4, 2).forward(zeros([2, 4, 3])),
    "Cannot run Linear: input must be [N, 4], got [2, 4, 3]",
  ],
  [
    "pointwise",
    () => new Pointwise(4, 2).forward(zeros([2, 3, 3])),
    "Cannot run Pointwise: input must be [N, 4, ...spatial], got [2, 3, 3]",
  ],
  [
    "norm",
    () => new LayerNorm(4).forward(zeros([2, 3])),
    "Cannot run LayerNorm: input must be [N, 4, ...spatial], got [2, 3]",
  ],
  [
    "smoothing",
    () => crossEntropy(zeros([1, 2]), zeros([1]), { labelSmoothing: 2 }),
    "Cannot run crossEntropy: labelSmoothing must be from 0 to 1, got 2",
  ],
];
for (const [name, run, message] of BAD_INPUTS) {
  own(`bad input: ${name}`, () => {
    const error = assertThrows(run, Error);
    assertStringIncludes(error.message, message);
  });
}

own("a layer whose parameters were disposed says so", () => {
  const layer = new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 3 });
  layer.dispose();
  assertThrows(() => layer.forward(zeros([1, 1, 9])), Error, "was disposed");
});

Deno.test("layers before init say so", async () => {
  shutdown();
  assertThrows(
    () => new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 3 }),
    Error,
    "no backend is running, call `await init()` first",
  );
  await init({ backend: "reference" });
});
