/** Products on WebGPU: which plan computes them here, and their dispatches, over slices of the summed axis where they are sums over the batch. */
import { blockOf, gemmGroups, type GemmPlan } from "../../../kernels/gemm.ts";
import { SMALL_TILE, TILE, TILES } from "../../../kernels/gemmTile.ts";
import { sumChunks } from "../../../kernels/convBackwardKernel.ts";
import type { Kernel } from "../../../kernels/kernel.ts";
import { type BufferView, type GpuBuffer, part } from "../buffers.ts";
import type { Gpu, Word } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";

/** Workgroups that leave a GPU half empty. */
const FEW = 48;

/** The tile that leaves the fewest invocations idle; the first of about equals. */
function tileFor(rows: number, columns: number, groups: number, slices: number): GemmPlan {
  if (gemmGroups(TILE, rows, columns, groups) * slices < FEW) return SMALL_TILE;
  const work = (plan: GemmPlan): number => {
    const [down, across] = blockOf(plan);
    return Math.ceil(rows / down) * down * Math.ceil(columns / across) * across;
  };
  return TILES.reduce((best, plan) => work(plan) < 0.8 * work(best) ? plan : best);
}

/**
 * How to compute a product of this many rows and columns, in up to `slices` slices of the summed axis.
 *
 * Software adapter, processor time, 384 → 96 channels, 3136 pixels: rows x columns x invocations 16x8x64 35 ms, 16x8x8 21,
 * 32x8x64 24, 32x8x8 14, 48x8x8 14, 64x8x8 17, 32x4x8 18; 3072 → 768, 49 pixels: 223, 29, 169, 19, 17, 16, 24.
 */
export function gemmPlan(gpu: Gpu, rows: number, columns: number, groups = 1, slices = 1): GemmPlan {
  if (!gpu.info.software) return tileFor(rows, columns, groups, slices);
  const broadcast = gpu.sharesLoads;
  // no more than there are; few rows leave registers for twice as many (64 → 16, 128 x 14²: 5.8 ms in place of 7.6)
  const most = broadcast && rows <= 16 ? 16 : 8;
  const taken = (each: number): number => Math.ceil(columns / (8 * each)) * each;
  // 12 where they leave no more of the last block idle: weights 3072 → 768, 4 x 49 pixels, 57 ms in place of 64; 96 → 384 18 and 26
  const usual = columns < 4096 && rows > 16 && taken(12) <= taken(most) ? 12 : most;
  const each = [1, 2, 4, 8].find((each) => each * 8 >= columns) ?? usual;
  return {
    mapping: "registers",
    rows: rowsEach(rows, broadcast),
    columns: each,
    workgroupSize: 8,
    broadcast,
  };
}

/**
 * As `gemmPlan`, for a product that slides along lines of this many columns. 140 → 256, size 25, lines of 101: 32 rows x 6
 * columns 59 ms, 8 55, 12 34, 13 29, 17 30; 16 x 17 38, 48 x 8 61. 64 → 64, 3x3, lines of 54: 32 x 8 17 ms, 12 15, 17 18.
 */
export function slidingPlan(
  gpu: Gpu,
  rows: number,
  columns: number,
  groups: number,
  line: number,
  slices = 1,
): GemmPlan {
  if (!gpu.info.software) return tileFor(rows, columns, groups, slices);
  const broadcast = gpu.sharesLoads;
  // columns computed, those beyond the line included, and the loads that a strip costs besides
  const cost = (each: number): number => Math.ceil(line / each) * (each + 2);
  const most = Math.min(line, rows <= 16 ? 17 : 14);
  let each = most;
  for (let fewer = most - 1; fewer >= 4; fewer--) if (cost(fewer) < cost(each)) each = fewer;
  return {
    mapping: "registers",
    rows: rowsEach(rows, broadcast),
    columns: each,
    workgroupSize: 8,
    broadcast,
    slides: true,
  };
}

function rowsEach(rows: number, broadcast: boolean): number {
  const [usual, most] = broadcast ? [32, 40] : [8, 8];
  return rows <= most ? rows : usual;
}

/** Records a product; `words` fill the parameters. */
export function dispatchGemm(
  gpu: Gpu,
  kernel: Kernel,
  plan: GemmPlan,
  views: readonly (BufferView | GpuBuffer)[],
  extents: {
    readonly rows: number;
    readonly columns: number;
    readonly groups?: number;
    readonly slices?: number;
    /** Columns in a line, for plans that slide. */
    readonly line?: number;
  },
  words: readonly Word[],
): void {
  const { rows, columns, groups = 1, slices = 1, line } = extents;
  const [x, y] = flatGroups(gemmGroups(plan, rows, columns, groups, line), gpu.limits);
  gpu.dispatch(kernel, views, [x, y, slices], words);
}

/** A product that sums over batch and pixels, and what it reads. */
export interface SlicedGemm {
  readonly kernel: Kernel;
  readonly plan: GemmPlan;
  /** Buffers cut along the batch, and the bytes of one item in each. */
  readonly batched: readonly { readonly buffer: GpuBuffer; readonly itemBytes: number }[];
  readonly count: number;
  /** Of the summed axis, per batch item. */
  readonly pixels: number;
  readonly rows: number;
  readonly columns: number;
  readonly groups?: number;
  /** Columns in a line, and what the slices of a plan that slides are multiples of. */
  readonly line?: number;
  readonly unit?: number;
  /** Elements of a slice beyond rows x columns of each group. Default 0. */
  readonly more?: number;
  /** Parameters of a run of `count` items; `run` and `slice` follow them. */
  words(count: number): readonly Word[];
}

/** Workgroups that keep a device busy: about three for each of a large GPU's multiprocessors; a few for each core. */
const BUSY = { gpu: 400, software: 16 };

/** Of the summed axis, in a slice: enough that the sum of the slices costs little. */
const SHORTEST = 240;

/** A multiple of every plan's steps along the summed axis. */
const STEP = 48;

/** Slices that a sum over this many pixels may be cut into. */
export function slicesOf(pixels: number): number {
  return Math.max(1, Math.floor(pixels / SHORTEST));
}

/** Runs the slices and adds them up; the result is a new buffer. */
export function sumOfSlices(gpu: Gpu, product: SlicedGemm): GpuBuffer {
  const { kernel, plan, batched, count, pixels, rows, columns, groups = 1, line, more = 0 } = product;
  const elements = groups * rows * columns + more;
  const out = gpu.buffers.take(4 * elements, kernel.label);
  const blocks = gemmGroups(plan, rows, columns, groups, line);
  const step = plan.mapping === "registers" && plan.slides ? product.unit! : STEP;
  const wanted = Math.max(1, Math.round((gpu.info.software ? BUSY.software : BUSY.gpu) / blocks));
  const runs = batchSlices(count, batched.map(({ itemBytes }) => itemBytes), gpu.limits).map((slice) => {
    const depth = slice.count * pixels;
    // whole steps of any plan
    const run = Math.max(Math.ceil(SHORTEST / step), Math.ceil(depth / wanted / step)) * step;
    return { slice, run, slices: Math.ceil(depth / run) };
  });
  const total = runs.reduce((sum, { slices }) => sum + slices, 0);
  const partial = total === 1 ? out : gpu.buffers.take(4 * elements * Math.max(1, total), "partial sums");
  let first = 0;
  for (const { slice, run, slices } of runs) {
    const views = batched.map(({ buffer, itemBytes }) => part(buffer, slice.first, slice.count, itemBytes));
    dispatchGemm(gpu, kernel, plan, [...views, partial], { rows, columns, groups, slices, line }, [
      ...product.words(slice.count),
      run,
      first,
    ]);
    first += slices;
  }
  if (total !== 1) {
    const sum = gpu.kernel("sumChunks", sumChunks);
    const groups = flatGroups(Math.ceil(elements / sum.workgroupSize), gpu.limits);
    gpu.dispatch(sum, [partial, out], groups, [elements, total]);
    gpu.buffers.release(partial);
  }
  return out;
}
