/** Every op and update by name. */
import type { OpName, OpTable, UpdateName, UpdateTable } from "../../ops/mod.ts";
import { binary } from "./binary.ts";
import { constructKernel } from "./constructKernel.ts";
import { convolution } from "./convolution.ts";
import type { GpuOp, GpuUpdate } from "./op.ts";
import { pointwise } from "./pointwise.ts";
import { sum } from "./sum.ts";
import { unary } from "./unary.ts";

export type { GpuOp, GpuUpdate };

/** One implementation per op. */
export type GpuOps = { readonly [N in OpName]: GpuOp<OpTable[N]> };
/** One implementation per update. */
export type GpuUpdates = { readonly [N in UpdateName]: GpuUpdate<UpdateTable[N]> };

/** The ops. */
export const ops: GpuOps = { binary, constructKernel, convolution, pointwise, sum, unary };
/** The updates. */
export const updates: GpuUpdates = {};
