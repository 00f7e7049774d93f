/**
 * implicitGemmBackwardKernel: convBackwardKernel as one product per group of channels,
 *   dkernel[group J + m, c] = sum over k of dy[n, group J + m, q] patch[c, k],  c = (i, t), k = (n, q), patch as in implicitGemm.
 * The summed axis is cut into slices that run side by side: partial[slice][o][c], added by `sumChunks`.
 *
 * Bindings: dy, x, partial, parameters { depth (n and q together), run (of depth in a slice), slice (the first to write) }.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import { gemm, type GemmPlan, type Operand } from "./gemm.ts";
import { arrayOfWidth, channelOperand } from "./gemmOperands.ts";
import {
  cellCode,
  gatherCode,
  groupExtents,
  leaves,
  shifted,
  slidesAlong,
  splitCode,
  vectorCode,
  windowSliding,
} from "./implicitGemm.ts";
import { arrayOf, type Kernel, type Storage } from "./kernel.ts";
import { edgesOf, widthFor } from "./pointwise.ts";

/** Partial sums; dispatch over `gemmGroups` (x, y) by slices (z). */
export function implicitGemmBackwardKernel(
  geometry: ConvolutionGeometry,
  plan: GemmPlan,
  storage: Storage = "f32",
): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, padding, dilation } = geometry;
  const { I, J, taps, inputCells, outputCells } = groupExtents(geometry), columns = I * taps;
  const width = widthFor(plan, outputCells);
  const patch: Operand = {
    width: 1,
    along: "own",
    setup: (slot, column) =>
      `let ${slot}Origin = vec3i(${splitCode(`(${column} % ${taps}u)`, size)}) * ${vectorCode(dilation)} - ${
        vectorCode(padding)
      };
let ${slot}Base = i32((group * ${I}u + ${column} / ${taps}u) * ${inputCells}u) + ${
        cellCode(`${slot}Origin`, input)
      };`,
    value: (slot, k) => `element(${slot}Base, ${slot}Origin, ${k})`,
  };
  return gemm({
    label: `implicitGemmBackwardKernel ${size.join("x")}`,
    bindings: [
      ["dy", arrayOfWidth(storage, width), "read"],
      ["x", arrayOf(storage), "read"],
      ["partial", arrayOf("f32"), "read_write"],
    ],
    parameters: { depth: "u32", run: "u32", slice: "u32" },
    declarations: `${gatherCode("x", storage, input, leaves(geometry))}
fn element(base: i32, origin: vec3i, k: u32) -> f32 {
let q = k % ${outputCells}u; let step = vec3i(${splitCode("q", output)}) * ${vectorCode(stride)};
return gather(base, origin, i32(k / ${outputCells}u * ${C * inputCells}u) + ${cellCode("step", input)}, step);
}`,
    rows: `${J}u`,
    columns: `${columns}u`,
    depth: { first: "g.z * parameters.run", end: "min(first + parameters.run, parameters.depth)" },
    groups,
    edges: edgesOf(plan, J, outputCells),
    a: shifted(
      channelOperand({ buffer: "dy", width, storage }, { channels: `${O}u`, pixels: `${outputCells}u` }),
      `group * ${J}u`,
    ),
    b: patch,
    ...slidesAlong(geometry) ? { sliding: windowSliding(`${size[2]}u`, output[2], stride[2]) } : {},
    epilogue: {
      width: 1,
      columns: (slot, column) => `let ${slot}Index = ${column};`,
      rows: (slot, row) =>
        `let place${slot} = ((parameters.slice + g.z) * ${O}u + group * ${J}u + ${row}) * ${columns}u;`,
      store: (value, row, column) => `partial[place${row} + ${column}Index] = ${value};`,
    },
  }, plan);
}
