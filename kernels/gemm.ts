/**
 * gemm: C[m, j] = sum over k of A[m, k] B[k, j], whatever A, B and C are: what their elements are and what becomes of a
 * finished sum are given as WGSL snippets. Pointwise products, implicit GEMM convolutions and their gradients are made
 * of it, with whatever is fused into them.
 *
 * Two ways to compute it, a plan each: `gemmTile.ts` shares tiles in workgroup memory, for GPUs; `gemmRegisters.ts` goes
 * without barriers, for software adapters. Columns j are usually batch and pixels together.
 */
import { gemmRegisters, type RegisterPlan } from "./gemmRegisters.ts";
import { gemmTile, type TilePlan } from "./gemmTile.ts";
import { bindings, type Kernel, main, parameters } from "./kernel.ts";

/**
 * How elements of A or B are fetched. A snippet may use whatever the product declares, `group`, `g` (workgroup) and `t`
 * (invocation), and what its own `setup` declared. A row of A or a column of B is called `own` here.
 */
export interface Operand {
  /** Elements per load. With 4, `own` (or `depth`) is a multiple of 4, and so must the extent be. */
  readonly width: 1 | 4;
  /** Along what they are neighbours, which is also what neighbouring invocations walk: its own axis, or depth. */
  readonly along: "own" | "depth";
  /** Statements ahead of the loop, for the row or column `own` (u32); names that they declare must end in `slot`. */
  setup(slot: string, own: string): string;
  /** The expression of A[own, depth] or B[depth, own], as f32 or, 4 wide, vec4f. `depth` (u32) is within its range. */
  value(slot: string, depth: string): string;
  /**
   * What becomes of a value on its way to the sums, well after it was asked for: arithmetic put into `value` would wait for
   * the load. Beyond the end of the summed axis it is given 0, where it may be anything finite.
   */
  finish?(slot: string, value: string): string;
}

/** What becomes of the sums. */
export interface Epilogue {
  /** Columns per value: with 4, values are vec4f of 4 neighbours, and the number of columns must be a multiple of 4. */
  readonly width: 1 | 4;
  /** Statements once per column, or per first of 4; names that they declare must end in `slot`. */
  columns(slot: string, column: string): string;
  /** Statements once per row. */
  rows(slot: string, row: string): string;
  /** Statements that store a finished value: f32, or vec4f where `width` is 4. */
  store(value: string, rowSlot: string, columnSlot: string): string;
}

/**
 * Columns come in lines of `line` (u32), depth in runs of `run`, and within both B[k, j + 1] = B[k + 1, j]: a window that slides
 * over an image. Register plans that slide load one column a step in place of all of theirs.
 */
export interface Sliding {
  readonly line: string;
  readonly run: number;
  /** As `value` of B at a run's first k, `shift` (i32) columns after the one that `setup` was given: within the line or what it meets. */
  value(slot: string, depth: string, shift: string): string;
}

/** A buffer that is bound, as for `bindings`. */
export type Binding = [name: string, type: string, access: "read" | "read_write"];

/** A product, independent of how it is computed. */
export interface Gemm {
  readonly label: string;
  /** In order. */
  readonly bindings: readonly Binding[];
  readonly parameters: Readonly<Record<string, "u32" | "f32" | "i32">>;
  /** Functions and constants of the module. */
  readonly declarations?: string;
  /** Expressions of the extents, u32: literals or members of `parameters`. Rows are those of one group. */
  readonly rows: string;
  readonly columns: string;
  /** The range of k, default [0, depth). Both may use `g.z`, the slice; `first` and `end - first` are multiples of 16 but for the end. */
  readonly depth: { readonly first: string; readonly end: string };
  /** Products side by side, with rows and columns of their own; snippets find the number in `group`. Default 1. */
  readonly groups?: number;
  /** Which extents may leave a remainder: whether rows end within a tile, depth within a step. Columns always may. */
  readonly edges: { readonly rows: boolean; readonly depth: boolean };
  readonly a: Operand;
  readonly b: Operand;
  readonly epilogue: Epilogue;
  /** Where B repeats itself; products without it have plans that do not slide. */
  readonly sliding?: Sliding;
  /**
   * Statements that store `value`, the sum over k of A[row, k]: once for every row, beside what the epilogue stores. A's
   * neighbours must lie along depth, and must not need finishing.
   */
  rowSums?(value: string, row: string): string;
}

/** How a product is computed. */
export type GemmPlan = TilePlan | RegisterPlan;

/** Rows and columns that a workgroup computes. */
export function blockOf(plan: GemmPlan): readonly [rows: number, columns: number] {
  return plan.mapping === "tile" ? [plan.rows, plan.columns] : [plan.rows, plan.columns * plan.workgroupSize];
}

/**
 * Workgroups of a product: dispatch over them, spread over x and y, by slices (z).
 * @param line columns in a line, for plans that slide
 */
export function gemmGroups(
  plan: GemmPlan,
  rows: number,
  columns: number,
  groups = 1,
  line = columns,
): number {
  const block = blockOf(plan), slides = plan.mapping === "registers" && plan.slides;
  const taken = slides ? Math.ceil(columns / line) * Math.ceil(line / plan.columns) * plan.columns : columns;
  return groups * Math.ceil(rows / block[0]) * Math.ceil(taken / block[1]);
}

/** The kernel. */
export function gemm(product: Gemm, plan: GemmPlan): Kernel {
  const [rows, columns] = blockOf(plan);
  const { groups = 1 } = product;
  const body = plan.mapping === "tile" ? gemmTile(product, plan) : gemmRegisters(product, plan);
  const head = main(body.workgroupSize);
  // Row blocks come first: workgroups side by side read the same columns of B, which is the larger operand.
  const code = `${bindings(...product.bindings)}
${parameters(product.bindings.length, product.parameters)}
${product.declarations ?? ""}
${body.declarations}
${body.subgroups ? head.replace(/\)$/, ", @builtin(subgroup_invocation_id) subgroupLane: u32)") : head} {
let rowBlocks = (${product.rows} + ${rows - 1}u) / ${rows}u;
let block = g.y * groups.x + g.x;
let columnBlock = block / (rowBlocks * ${groups}u);
let firstColumn = columnBlock * ${columns}u;
if (${beyond(product, plan)}) { return; }
let group = block / rowBlocks % ${groups}u; let firstRow = block % rowBlocks * ${rows}u;
let first = ${product.depth.first}; let end = ${product.depth.end};
${body.code}
}`;
  const { label } = product, { workgroupSize, workgroupBytes } = body;
  return { label, workgroupSize, workgroupBytes, code };
}

/** Whether the workgroup has no columns. Where lines are cut into strips, `firstColumn` counts the strips' columns, real or not. */
function beyond(product: Gemm, plan: GemmPlan): string {
  if (plan.mapping === "tile" || !plan.slides) return `firstColumn >= ${product.columns}`;
  const strips = `((${product.sliding!.line} + ${plan.columns - 1}u) / ${plan.columns}u)`;
  return `firstColumn / ${plan.columns}u / ${strips} * ${product.sliding!.line} >= ${product.columns}`;
}

/** What a mapping contributes to a kernel. */
export interface GemmBody {
  readonly workgroupSize: number;
  readonly workgroupBytes: number;
  readonly declarations: string;
  readonly subgroups: boolean;
  readonly code: string;
}
