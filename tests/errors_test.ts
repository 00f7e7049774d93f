/** Bad options and bad input, each with its message: what was done, the rule, what was passed. */
import { init, memory, shutdown } from "../src/backend.ts";
import { ones, tensor, zeros } from "../src/create.ts";
import {
  Conv1d,
  Conv2d,
  Conv3d,
  convolution,
  crossEntropy,
  Dcls1d,
  Dcls2_1d,
  Dcls2d,
  Dcls2dK1d,
  Dcls3_1d,
  Dcls3d,
  LayerNorm,
  Linear,
  Pointwise,
} from "../src/nn/mod.ts";
import { type AnyClass, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

/** [what, the attempt, the message or its distinctive part, the class of the error where it is not a RangeError] */
type Refusal = [string, () => unknown, string, AnyClass<Error>?];

const some = { kernelCount: 3, dilatedKernelSize: 7 } as const;

/** Options are read before anything is made, whatever the backend. */
const BAD_OPTIONS: Refusal[] = [
  [
    "inChannels not divisible by groups",
    () => new Dcls2d(96, 96, { ...some, groups: 7 }),
    "Cannot create Dcls2d: inChannels must be divisible by groups, got inChannels 96 and groups 7",
  ],
  [
    "outChannels not divisible by groups",
    () => new Dcls1d(4, 6, { ...some, groups: 4 }),
    "Cannot create Dcls1d: outChannels must be divisible by groups, got outChannels 6 and groups 4",
  ],
  [
    "groups of a dense convolution",
    () => new Conv2d(4, 6, { kernelSize: 3, groups: 4 }),
    "Cannot create Conv2d: outChannels must be divisible by groups, got outChannels 6 and groups 4",
  ],
  ...[0, -3, 2.5, NaN, Infinity, "3", null, undefined].map((kernelCount): Refusal => [
    `kernelCount ${typeof kernelCount} ${kernelCount}`,
    () => new Dcls3d(1, 1, { ...some, kernelCount: kernelCount as number }),
    `Cannot create Dcls3d: kernelCount must be a positive integer, got ${kernelCount}`,
  ]),
  ...[0, -7, 2.5, NaN].map((dilatedKernelSize): Refusal => [
    `dilatedKernelSize ${dilatedKernelSize}`,
    () => new Dcls2d(1, 1, { ...some, dilatedKernelSize }),
    `Cannot create Dcls2d: dilatedKernelSize must be a positive integer, got ${dilatedKernelSize}`,
  ]),
  [
    "one of two sizes",
    () => new Dcls2d(1, 1, { ...some, dilatedKernelSize: [7, 0] }),
    "Cannot create Dcls2d: dilatedKernelSize must be a positive integer, got 0",
  ],
  [
    "a size too many",
    () => new Dcls2d(1, 1, { ...some, dilatedKernelSize: [3, 3, 3] }),
    "Cannot create Dcls2d: dilatedKernelSize must be one number or 2 of them, got 3 (3,3,3)",
  ],
  [
    "no size",
    () => new Dcls1d(1, 1, { kernelCount: 1 } as never),
    "Cannot create Dcls1d: dilatedKernelSize must be a positive integer, got undefined",
  ],
  [
    "denseKernelSize 0",
    () => new Dcls3_1d(1, 1, { ...some, denseKernelSize: 0 }),
    "Cannot create Dcls3_1d: denseKernelSize must be a positive integer, got 0",
  ],
  [
    "no denseKernelSize",
    () => new Dcls2_1d(1, 1, some as never),
    "Cannot create Dcls2_1d: denseKernelSize must be one number or 1 of them, got 0",
  ],
  [
    "kernelSize -1",
    () => new Conv3d(1, 1, { kernelSize: -1 }),
    "Cannot create Conv3d: kernelSize must be a positive integer, got -1",
  ],
  [
    "channels 0",
    () => new Dcls2d(0, 1, some),
    "Cannot create Dcls2d: inChannels must be a positive integer, got 0",
  ],
  [
    "outChannels 1.5",
    () => new Dcls2dK1d(1, 1.5, some),
    "Cannot create Dcls2dK1d: outChannels must be a positive integer, got 1.5",
  ],
  [
    "groups 0",
    () => new Dcls2d(1, 1, { ...some, groups: 0 }),
    "Cannot create Dcls2d: groups must be a positive integer, got 0",
  ],
  [
    "stride 0",
    () => new Dcls2d(1, 1, { ...some, stride: [1, 0] }),
    "Cannot create Dcls2d: stride must be a positive integer, got 0",
  ],
  [
    "padding -1",
    () => new Dcls2d(1, 1, { ...some, padding: -1 }),
    "Cannot create Dcls2d: padding must be an integer of at least 0, got -1",
  ],
  [
    "version",
    () => new Dcls2d(1, 1, { ...some, version: "v2" as "v1" }),
    'Cannot create Dcls2d: version must be one of v0, v1, max, gauss, got "v2"',
  ],
  [
    "padding mode",
    () => new Dcls2d(1, 1, { ...some, paddingMode: "same" as "zeros" }),
    'Cannot create Dcls2d: paddingMode must be one of zeros, reflect, replicate, circular, got "same"',
  ],
  [
    "padding mode of a dense convolution",
    () => new Conv1d(1, 1, { kernelSize: 1, paddingMode: "same" as "zeros" }),
    'Cannot create Conv1d: paddingMode must be one of zeros, reflect, replicate, circular, got "same"',
  ],
  [
    "flatDim",
    () => new Dcls2dK1d(1, 1, { ...some, flatDim: 2 as 1 }),
    "Cannot create Dcls2dK1d: flatDim must be 0 or 1, got 2",
  ],
  [
    "positionStd",
    () => new Dcls2d(1, 1, { ...some, positionStd: -1 }),
    "Cannot create Dcls2d: positionStd must be a finite number of at least 0, got -1",
  ],
  [
    "no options",
    () => new Dcls2d(1, 1, undefined as never),
    "Cannot create Dcls2d: options { kernelCount, dilatedKernelSize } are required, got undefined",
    TypeError,
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
  [
    "elements that do not fill the shape",
    () => tensor([1, 2, 3], [2, 2]),
    "Cannot create a tensor: shape [2, 2] needs 4 elements, got 3",
  ],
  [
    "a negative extent",
    () => zeros([2, -1]),
    "Cannot create zeros: the shape must be a list of non-negative integers, got [2,-1]",
  ],
];

const padded = (mode: "reflect" | "circular", padding: number): Dcls2d =>
  new Dcls2d(1, 1, { ...some, padding, paddingMode: mode });

const BAD_INPUTS: Refusal[] = [
  [
    "rank",
    () => new Dcls2d(96, 96, { ...some, groups: 96 }).forward(zeros([96, 8])),
    "Cannot run Dcls2d: input must be [N, 96, H, W] or [96, H, W], got [96, 8]",
  ],
  [
    "rank of a 1-d layer",
    () => new Dcls1d(2, 2, some).forward(zeros([1, 2, 3, 8])),
    "Cannot run Dcls1d: input must be [N, 2, L] or [2, L], got [1, 2, 3, 8]",
  ],
  [
    "rank of a 3-d layer",
    () => new Dcls3d(2, 2, some).forward(zeros([8])),
    "Cannot run Dcls3d: input must be [N, 2, D, H, W] or [2, D, H, W], got [8]",
  ],
  [
    "channels",
    () => new Dcls2d(96, 96, { ...some, groups: 96 }).forward(zeros([2, 3, 8, 8])),
    "Cannot run Dcls2d: input must be [N, 96, H, W] or [96, H, W], got [2, 3, 8, 8]",
  ],
  [
    "channels without a batch",
    () => new Dcls2dK1d(4, 4, some).forward(zeros([3, 8, 8])),
    "Cannot run Dcls2dK1d: input must be [N, 4, H, W] or [4, H, W], got [3, 8, 8]",
  ],
  [
    "no tensor",
    () => new Dcls1d(2, 2, some).forward([1] as never),
    "Cannot run Dcls1d: input must be a Tensor, got object",
    TypeError,
  ],
  [
    "a kernel larger than the padded input",
    () => new Dcls2d(1, 1, { ...some, padding: 1 }).forward(zeros([1, 1, 9, 4])),
    "Cannot run Dcls2d: the kernel must fit into the padded input, got a kernel of 7 cells and 4 + 2 * 1 cells of " +
    "input along W",
  ],
  [
    "a dilated kernel larger than the input",
    () => new Conv1d(1, 1, { kernelSize: 3, dilation: 4 }).forward(zeros([1, 1, 8])),
    "Cannot run Conv1d: the kernel must fit into the padded input, got a kernel of 9 cells and 8 + 2 * 0 cells of " +
    "input along L",
  ],
  [
    "a kernel larger than the input of an op",
    () => convolution(zeros([1, 1, 3]), zeros([1, 1, 4])),
    "Cannot run convolution: the kernel must fit into the padded input, got kernel size 4 and padded input 3",
  ],
  [
    "a plane of no cells",
    () => new Dcls2d(1, 1, some).forward(zeros([1, 1, 0, 8])),
    "Cannot run Dcls2d: the kernel must fit into the padded input, got a kernel of 7 cells and 0 + 2 * 0 cells",
  ],
  [
    "reflect padding too large",
    () => padded("reflect", 4).forward(zeros([1, 1, 4, 9])),
    "Cannot run Dcls2d: reflect padding must be at most 3 where the input has 4 cells, got padding 4 along H",
  ],
  [
    "circular padding too large",
    () => padded("circular", 5).forward(zeros([1, 9, 4])),
    "Cannot run Dcls2d: circular padding must be at most 4 where the input has 4 cells, got padding 5 along W",
  ],
  [
    "circular padding of a dense convolution too large",
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
  [
    "operands of other shapes",
    () => zeros([2, 3]).add(zeros([3, 2])),
    "Cannot run add: shapes must be equal, or one a single element, got [2, 3] and [3, 2]",
  ],
  [
    "a reshape to another number of elements",
    () => zeros([2, 3]).reshape([4, -1]),
    "Cannot reshape: the new shape must hold 6 elements, got [4, -1] for [2, 3]",
  ],
  [
    "backward of many elements",
    () => ones([2], { requiresGrad: true }).mul(2).backward(),
    "Cannot run backward() without a gradient: the tensor must have one element, got shape [2]",
  ],
  [
    "a gradient of another shape",
    () => ones([2], { requiresGrad: true }).mul(2).backward(ones([3])),
    "Cannot run backward(): the gradient must have shape [2], got [3]",
  ],
  [
    "backward of a constant",
    () => ones([]).mul(2).backward(),
    "Cannot run backward(): no gradient leads from this tensor to a parameter",
    Error,
  ],
  [
    "backward twice",
    () => {
      const loss = ones([2], { requiresGrad: true }).square().sum();
      loss.backward();
      loss.backward();
    },
    "was already taken; run the forward pass again",
    Error,
  ],
];

for (const [what, attempt, message, Class = RangeError] of BAD_OPTIONS) {
  testBackends(`bad option: ${what}`, () => {
    assertThrows(attempt, Class, message);
  }, ["reference"]);
}
for (const [what, attempt, message, Class = RangeError] of BAD_INPUTS) {
  testBackends(`bad input: ${what}`, () => {
    assertThrows(attempt, Class, message);
  });
}

testBackends("a bad option makes nothing", async ({ name }) => {
  shutdown();
  await init({ backend: name });
  for (const [what, attempt] of BAD_OPTIONS) {
    assertThrows(attempt);
    assertEquals(memory().buffers, 0, what);
  }
});
