/**
 * Operands of products over tensors `[N, C, ...spatial]` and their weights, to put a `gemm` together from. Every extent
 * is a WGSL expression (u32): a literal, or a member of `parameters`. With `width` 4 the extent along which neighbours
 * lie must be a multiple of 4, and the buffer is bound with the type that `arrayOfWidth` says.
 */
import type { Epilogue, Operand } from "./gemm.ts";
import { load, type Storage, store } from "./kernel.ts";

/** The WGSL type of a buffer that is accessed `width` elements at a time. */
export function arrayOfWidth(storage: Storage, width: 1 | 4): string {
  return `array<${width === 1 ? storage : storage === "f32" ? "vec4f" : "vec4h"}>`;
}

/** Element, or run of elements, `index` of such a buffer, as f32 or vec4f. */
export function loadWidth(storage: Storage, width: 1 | 4, buffer: string, index: string): string {
  return width === 1 || storage === "f32" ? load(storage, buffer, index) : `vec4f(${buffer}[${index}])`;
}

/** Writes an f32, or a vec4f, as element or run `index` of such a buffer. */
export function storeWidth(
  storage: Storage,
  width: 1 | 4,
  buffer: string,
  index: string,
  value: string,
): string {
  return width === 1 || storage === "f32"
    ? store(storage, buffer, index, value)
    : `${buffer}[${index}] = vec4h(${value});`;
}

/** Where the elements of an operand are. */
export interface TensorOperand {
  readonly buffer: string;
  readonly width: 1 | 4;
  /** Default "f32". */
  readonly storage?: Storage;
}

/** Element (row, depth) of a matrix `[rows, depth]`, or, transposed, of `[depth, rows]`. */
export function matrixOperand(
  { buffer, width, storage = "f32" }: TensorOperand,
  { rows, depth, transposed }: {
    readonly rows: string;
    readonly depth: string;
    readonly transposed: boolean;
  },
): Operand {
  return transposed
    ? {
      width,
      along: "own",
      setup: (slot, row) => `let ${slot}Row = ${row};`,
      value: (slot, k) => loadWidth(storage, width, buffer, `(${k} * ${rows} + ${slot}Row) / ${width}u`),
    }
    : {
      width,
      along: "depth",
      setup: (slot, row) => `let ${slot}Row = ${row} * ${depth};`,
      value: (slot, k) => loadWidth(storage, width, buffer, `(${slot}Row + ${k}) / ${width}u`),
    };
}

/** Column j = (n, p), depth c: element x[n, c, p]. */
export function imageOperand(
  { buffer, width, storage = "f32" }: TensorOperand,
  { channels, pixels }: { readonly channels: string; readonly pixels: string },
): Operand {
  return {
    width,
    along: "own",
    setup: (slot, column) =>
      `let ${slot}At = (${column} / ${pixels} * ${channels} * ${pixels} + ${column} % ${pixels}) / ${width}u;`,
    value: (slot, k) => loadWidth(storage, width, buffer, `${slot}At + ${k} * (${pixels} / ${width}u)`),
  };
}

/** Row or column c, depth (n, p): element x[n, c, p], for sums over batch and pixels. */
export function channelOperand(
  { buffer, width, storage = "f32" }: TensorOperand,
  { channels, pixels }: { readonly channels: string; readonly pixels: string },
): Operand {
  return {
    width,
    along: "depth",
    setup: (slot, channel) => `let ${slot}At = ${channel} * ${pixels};`,
    value: (slot, k) =>
      loadWidth(
        storage,
        width,
        buffer,
        `(${k} / ${pixels} * ${channels} * ${pixels} + ${slot}At + ${k} % ${pixels}) / ${width}u`,
      ),
  };
}

/** Stores y[n, m, p] at row m and column (n, p), `finish` applied to the sum first. */
export function imageEpilogue(
  { buffer, width, storage = "f32" }: TensorOperand,
  { channels, pixels }: { readonly channels: string; readonly pixels: string },
  rows: (slot: string, row: string) => string = () => "",
  finish: (value: string, rowSlot: string) => string = (value) => value,
): Epilogue {
  return {
    width,
    columns: (slot, column) =>
      `let at${slot} = (${column} / ${pixels} * ${channels} * ${pixels} + ${column} % ${pixels}) / ${width}u;`,
    rows: (slot, row) => `let place${slot} = ${row} * (${pixels} / ${width}u); ${rows(slot, row)}`,
    store: (value, row, column) =>
      storeWidth(storage, width, buffer, `at${column} + place${row}`, finish(value, row)),
  };
}
