/**
 * Runs one op, forward and every gradient, on WebGPU and on the float64 reference, and compares.
 * @module
 */
import type { Backend, Handle, Operand } from "../src/backend.ts";
import type { DType } from "../src/dtype.ts";
import type { OpName, OpTable } from "../src/ops/mod.ts";
import * as definitions from "../src/ops/mod.ts";
import { type Op, outputDtypeOf } from "../src/ops/op.ts";
import { createRandom } from "../src/random.ts";
import { ReferenceBackend } from "../src/reference/backend.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { backendOn } from "../src/webgpu/backend.ts";
import { type BufferView, type GpuBuffer, whole } from "../src/webgpu/buffers.ts";
import { Gpu, type Word } from "../src/webgpu/gpu.ts";
import type { Kernel } from "../kernels/kernel.ts";
import { assert, assertClose, assertEquals } from "./assert.ts";
import { normError } from "./support/relative_error.ts";

/**
 * float32 against float64, relative to a tensor's largest magnitude: sums of some thousand terms, each rounded to
 * 6e-8 of its size. Seen: below 4e-6, in layerNorm where three channels are nearly equal.
 */
export const TOLERANCE = 1e-5;

/**
 * float16 against float64, in the Euclidean norm and relative to the tensor's: one rounding of every element that is
 * written, 3e-4 on the average (2^-11 / sqrt 3). A single result, like the gradient to one element that meets all, may
 * be off by 2^-11.
 */
export const HALF_TOLERANCE = 5e-4;

/** The part of a backend that running an op takes. */
export type Runner = Pick<Backend, "upload" | "read" | "release" | "forward" | "backward">;

/** An input of an op. */
export interface Input {
  readonly shape: Shape;
  readonly data: Float32Array;
  /** Default: float32. */
  readonly dtype?: DType;
}

/** The same input as float16; its elements are those that float16 has. */
export function half({ shape, data }: Input): Input {
  return { shape, data: data.map(Math.f16round), dtype: "float16" };
}

const random = createRandom(20260722);

/** Elements uniform in `[low, high)`, repeatable. */
export function uniform(shape: Shape, low = -1, high = 1): Input {
  const draw = (): number => low + (high - low) * random.uniform();
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, draw) };
}

/** Integers from 0 to n - 1. */
export function integers(shape: Shape, n: number): Input {
  return { shape, data: Float32Array.from({ length: sizeOf(shape) }, () => random.integer(n)) };
}

/** These elements. */
export function given(shape: Shape, ...values: number[]): Input {
  return { shape, data: Float32Array.from(values) };
}

/** The op's definition, the table's types aside. */
export function definitionOf(name: OpName): Op<OpName, unknown> {
  return definitions[name] as unknown as Op<OpName, unknown>;
}

/** Which inputs can have a gradient. */
export function differentiable(name: OpName, inputs: readonly unknown[]): boolean[] {
  return inputs.map((input, i) => input !== null && !definitionOf(name).constantInputs?.includes(i));
}

/** The dtype of the op's output. */
export function dtypeFor<N extends OpName>(
  name: N,
  inputs: readonly (Input | null)[],
  attributes: OpTable[N],
): DType {
  return outputDtypeOf(definitionOf(name), inputs.map((x) => x && (x.dtype ?? "float32")), attributes);
}

/** The output and the gradients of one run; their storage is given back. */
export async function runOp<N extends OpName>(
  runner: Runner,
  name: N,
  attributes: OpTable[N],
  inputs: readonly (Input | null)[],
  gradient: Input,
  needs: readonly boolean[],
): Promise<(Float32Array | null)[]> {
  const upload = ({ shape, data, dtype }: Input): Operand => ({
    shape,
    dtype,
    handle: runner.upload(data, shape, dtype),
  });
  const operands = inputs.map((input) => input && upload(input));
  const dtype = dtypeFor(name, inputs, attributes);
  const output = runner.forward(name, operands, attributes, gradient.shape, dtype);
  const dy = upload(gradient);
  const gradients = runner.backward(name, dy, operands, attributes, needs);
  const made: (Operand | null)[] = [
    { shape: gradient.shape, handle: output, dtype },
    ...gradients.map((handle, i) => handle && { shape: inputs[i]!.shape, dtype: inputs[i]!.dtype, handle }),
  ];
  const data = await runner.read(made.filter((operand) => operand !== null));
  for (const operand of [...operands, dy, ...made]) if (operand) runner.release(operand.handle);
  return made.map((operand) => operand && data.shift()!);
}

/** Leaves NaN in the pool, so that an element that a kernel forgets to write shows. */
function poison(runner: Runner, sizes: readonly number[]): void {
  const handles: Handle[] = [];
  for (const size of [...sizes, ...sizes, 1, 1, 65, 65, 129, 129, 193, 193]) {
    handles.push(runner.upload(new Float32Array(size).fill(NaN), [size]));
  }
  for (const handle of handles) runner.release(handle);
}

/**
 * Forward and every gradient agree with the reference; what is empty there is empty here. Where inputs are float16, the
 * reference computes in float64 on their elements and rounds nothing.
 */
export async function compareOp<N extends OpName>(
  runner: Runner,
  name: N,
  attributes: OpTable[N],
  ...inputs: (Input | null)[]
): Promise<void> {
  const shape = definitionOf(name).outputShape(inputs.map((input) => input && input.shape), attributes);
  const narrow = inputs.some((input) => input?.dtype === "float16");
  const drawn = uniform(shape);
  const gradient = dtypeFor(name, inputs, attributes) === "float16" ? half(drawn) : drawn;
  const needs = differentiable(name, inputs);
  const wide = ({ shape, data }: Input): Input => ({ shape, data });
  const exact = inputs.map((input) => input && wide(input));
  const expected = await runOp(new ReferenceBackend(), name, attributes, exact, wide(gradient), needs);
  poison(runner, [shape, ...inputs.map((input) => input?.shape ?? [])].map(sizeOf));
  const actual = await runOp(runner, name, attributes, inputs, gradient, needs);
  expected.forEach((values, i) => {
    const what = `${name} ${JSON.stringify(attributes)} [${inputs.map((x) => x?.shape.join("x"))}] ` +
      (i === 0 ? "output" : `gradient ${i - 1}`);
    if (values === null || values.length === 0) assertEquals(actual[i]?.length, values?.length, what);
    else if (narrow) {
      const error = normError(actual[i] ?? [], values);
      assert(error <= HALF_TOLERANCE, `${what}: error ${error} in norm, at most ${HALF_TOLERANCE}`);
    } else assertClose(what, actual[i] ?? [], values, TOLERANCE, i === 0 ? shape : inputs[i - 1]!.shape);
  });
}

/** An adapter with little: small bindings and few workgroups, so that small tensors are cut like large ones. (z only ever counts chunks.) */
export class SmallGpu extends Gpu {
  /** `maxStorageBufferBindingSize`. */
  bindingSize = 8192;

  override get limits(): GPUSupportedLimits {
    const { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } = super.limits;
    const small = {
      maxStorageBufferBindingSize: this.bindingSize,
      minStorageBufferOffsetAlignment: 256,
      maxComputeWorkgroupsPerDimension: 15,
    };
    return {
      ...small,
      maxComputeWorkgroupStorageSize,
      maxComputeInvocationsPerWorkgroup,
    } as GPUSupportedLimits;
  }

  /** As ever, but refuses what such an adapter would. */
  override dispatch(
    kernel: Kernel,
    views: readonly (BufferView | GpuBuffer)[],
    groups: readonly [number, number, number],
    words: readonly Word[] = [],
  ): void {
    const bound = views.map((view) => "of" in view ? view : whole(view));
    const { maxStorageBufferBindingSize, maxComputeWorkgroupsPerDimension } = this.limits;
    if (bound.some(({ bytes, offset }) => bytes > maxStorageBufferBindingSize || offset % 256 !== 0)) {
      throw new Error(`${kernel.label}: ${bound.map(({ bytes, offset }) => `${bytes} at ${offset}`)}`);
    }
    if (groups.slice(0, 2).some((count) => count > maxComputeWorkgroupsPerDimension)) {
      throw new Error(`${kernel.label}: ${groups} workgroups`);
    }
    super.dispatch(kernel, views, groups, words);
  }
}

/** Runs ops on a `Gpu` as the backend does. */
export function runnerOf(gpu: Gpu): Runner {
  return backendOn(gpu);
}
