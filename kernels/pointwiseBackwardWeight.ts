/**
 * pointwiseBackwardWeight: dweight[m, c] = sum over n, p of dy[n, m, p] x[n, c, p].
 *
 * A gemm whose summed axis is batch and pixels together, cut into slices that run side by side: their sums go to
 * partial[slice][m][c], added by `sumChunks`. No atomics, the same result every time.
 *
 * With `totals`, the sums of dy over n and p, which are the bias's gradient, follow each slice's dweight: dy is in registers
 * anyhow, and a pass of its own would read it once more.
 *
 * Software adapter, processor time, ms, against whole images a slice, 16 x 8 results an invocation: 96 → 384 channels, 3136
 * pixels 19 (40), 384 → 1536, 196 pixels 16 (21), 3072 → 768, 49 pixels 18 (30), 768 → 3072 30 (28).
 *
 * Bindings: dy, x, partial, parameters { rows (M), columns (C), depth (n and p together), pixels (P), run (of depth in a
 * slice, a multiple of 16), slice (the first to write) }.
 */
import { gemm, type GemmPlan } from "./gemm.ts";
import { arrayOfWidth, channelOperand } from "./gemmOperands.ts";
import { arrayOf, type Kernel, type Storage } from "./kernel.ts";
import { edgesOf, type PointwiseGeometry, widthFor } from "./pointwise.ts";

/** All that the code depends on. */
export interface PointwiseWeightForm {
  readonly plan: GemmPlan;
  /** Elements of dy and x. */
  readonly storage: Storage;
  readonly width: 1 | 4;
  readonly edges: { readonly rows: boolean; readonly depth: boolean };
  /** Whether partial holds M more elements per slice, the sums of dy. */
  readonly totals: boolean;
}

/** The form of the code that serves this product. */
export function pointwiseWeightForm(
  { outChannels, pixels }: PointwiseGeometry,
  plan: GemmPlan,
  storage: Storage = "f32",
  totals = false,
): PointwiseWeightForm {
  // slices are whole steps but for the last, which ends with some image, whatever the batch
  const edges = edgesOf(plan, outChannels, pixels);
  return { plan, storage, width: widthFor(plan, pixels), edges, totals };
}

/** Partial sums; dispatch over `gemmGroups` (x, y) by slices (z). */
export function pointwiseBackwardWeight(
  { plan, storage, width, edges, totals }: PointwiseWeightForm,
): Kernel {
  const rows = "parameters.rows", columns = "parameters.columns", pixels = "parameters.pixels";
  const slice = totals ? `(${rows} * ${columns} + ${rows})` : `${rows} * ${columns}`;
  return gemm({
    label: "pointwiseBackwardWeight",
    bindings: [
      ["dy", arrayOfWidth(storage, width), "read"],
      ["x", arrayOfWidth(storage, width), "read"],
      ["partial", arrayOf("f32"), "read_write"],
    ],
    parameters: { rows: "u32", columns: "u32", depth: "u32", pixels: "u32", run: "u32", slice: "u32" },
    rows,
    columns,
    depth: {
      first: "g.z * parameters.run",
      end: "min(first + parameters.run, parameters.depth)",
    },
    edges,
    a: channelOperand({ buffer: "dy", width, storage }, { channels: rows, pixels }),
    b: channelOperand({ buffer: "x", width, storage }, { channels: columns, pixels }),
    epilogue: {
      width: 1,
      columns: (slot, column) => `let ${slot}Index = ${column};`,
      rows: (slot, row) => `let place${slot} = (parameters.slice + g.z) * ${slice} + ${row} * ${columns};`,
      store: (value, row, column) => `partial[place${row} + ${column}Index] = ${value};`,
    },
    ...totals
      ? {
        rowSums: (value: string, row: string) =>
          `partial[(parameters.slice + g.z) * ${slice} + ${rows} * ${columns} + ${row}] = ${value};`,
      }
      : {},
  }, plan);
}
