/** The backend on tfjs: for machines without a WebGPU adapter. Every op is composed of stock tfjs ops. */
import * as tf from "@tensorflow/tfjs";
import type { Backend, BackendInfo, Handle, MemoryInfo, Operand } from "../backend.ts";
import type { OpName, OpTable, UpdateName, UpdateTable } from "../ops/mod.ts";
import { sameShape, type Shape, shapeText, sizeOf } from "../spec.ts";
import { type EngineName, startEngine } from "./engine.ts";
import { alias } from "./functions.ts";
import { type Layout, physicalShape, type TfjsHandle, viewed } from "./handle.ts";
import type { Inputs, TfjsOp } from "./op.ts";
import { tfjsOps } from "./ops/mod.ts";
import { tfjsUpdates } from "./updates.ts";

type TfjsOperand = Operand<TfjsHandle>;

/**
 * Starts tfjs and returns the backend.
 * @param engine default: wasm where it works, else cpu
 * @throws {Error} when no engine starts
 */
export async function createTfjsBackend(engine?: EngineName): Promise<Backend> {
  return new TfjsBackend(await startEngine(engine));
}

class TfjsBackend implements Backend {
  readonly info: BackendInfo;
  readonly #live = new Set<TfjsHandle>();

  constructor(engine: EngineName) {
    this.info = {
      name: "tfjs",
      adapter: engine,
      software: true,
      features: engine === "wasm" && tf.env().getBool("WASM_HAS_SIMD_SUPPORT") ? ["simd"] : [],
      dtypes: ["float32"],
      limits: engine === "wasm" ? { heapBytes: 2 ** 32 } : {},
    };
  }

  upload(data: Float32Array, shape: Shape): TfjsHandle {
    if (data.length !== sizeOf(shape)) {
      throw new RangeError(
        `Cannot create a tensor: shape ${shapeText(shape)} holds ${
          sizeOf(shape)
        } elements, got ${data.length}`,
      );
    }
    return this.#keep(tf.tensor(this.#own(data), [...shape], "float32"), shape, "first");
  }

  /** Never waits for anything on these engines, but stays right on one that would. */
  async read(operands: readonly Operand[]): Promise<Float32Array[]> {
    const read = (operands as readonly TfjsOperand[]).map(({ handle, shape }) => {
      const tensor = tf.tidy(() => alias(viewed(handle, shape, "first")));
      return tensor.data<"float32">().finally(() => tensor.dispose());
    });
    return (await Promise.all(read)).map((values) => this.#own(values));
  }

  release(handle: Handle): void {
    const own = handle as TfjsHandle;
    if (this.#live.delete(own)) own.tensor.dispose();
  }

  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    outputShape: Shape,
  ): TfjsHandle {
    const op: TfjsOp<OpTable[N]> = tfjsOps[name];
    const operands = inputs as readonly (TfjsOperand | null)[];
    const layouts = layoutsOf(op, operands);
    const output = outputLayout(layouts);
    return this.#inTidy(() => {
      const extents = physicalShape(outputShape, output);
      const result = operands.some(isEmpty) || sizeOf(outputShape) === 0
        ? tf.zeros(extents)
        : tf.reshape(op.forward(view(operands, layouts), attributes, outputShape), extents);
      return this.#keep(result, outputShape, output);
    });
  }

  backward<N extends OpName>(
    name: N,
    gradient: Operand,
    inputs: readonly (Operand | null)[],
    attributes: OpTable[N],
    needs: readonly boolean[],
  ): (TfjsHandle | null)[] {
    const op: TfjsOp<OpTable[N]> = tfjsOps[name];
    const operands = inputs as readonly (TfjsOperand | null)[];
    const layouts = layoutsOf(op, operands);
    const wanted = operands.map((operand, i) => operand !== null && needs[i]);
    const { handle, shape } = gradient as TfjsOperand;
    return this.#inTidy(() => {
      const results = operands.some(isEmpty) || sizeOf(shape) === 0
        ? operands.map((operand) => operand && tf.zeros([...operand.shape]))
        : gradients(
          op,
          alias(viewed(handle, shape, outputLayout(layouts))),
          view(operands, layouts),
          attributes,
          wanted,
          shape,
        );
      return results.map((result, i) => {
        if (!wanted[i] || !result) return null;
        const own = operands[i]!.shape;
        return this.#keep(tf.reshape(result, physicalShape(own, layouts[i])), own, layouts[i]);
      });
    });
  }

  update<N extends UpdateName>(name: N, operands: readonly Operand[], attributes: UpdateTable[N]): void {
    const own = operands as readonly TfjsOperand[];
    if (own.every(isEmpty)) return;
    tf.tidy(() => tfjsUpdates[name](own, attributes));
  }

  memory(): MemoryInfo {
    let bytes = 0;
    for (const { tensor } of this.#live) bytes += tensor.size * 4;
    return { buffers: this.#live.size, bytes, pooledBuffers: 0, pooledBytes: 0 };
  }

  dispose(): void {
    for (const handle of [...this.#live]) this.release(handle);
  }

  /** The values, apart from the other side's: the cpu engine stores arrays as they come and hands them out again. */
  #own(values: Float32Array): Float32Array {
    return this.info.adapter === "cpu" ? values.slice() : values;
  }

  /** Frees what `body` makes, except for what it keeps. */
  #inTidy<T>(body: () => T): T {
    let result: T;
    tf.tidy(() => {
      result = body();
    });
    return result!;
  }

  /** Takes what an op returned out of reach of every tf.tidy, a caller's included. */
  #keep(tensor: tf.Tensor, shape: Shape, layout: Layout): TfjsHandle {
    const handle: TfjsHandle = {
      tensor: tf.keep(tensor),
      shape,
      layout: shape.length < 3 ? "first" : layout,
    };
    this.#live.add(handle);
    return handle;
  }
}

function isEmpty(operand: Operand | null): boolean {
  return operand !== null && sizeOf(operand.shape) === 0;
}

/** The layout that the op wants each input in. */
function layoutsOf<A>(op: TfjsOp<A>, operands: readonly (TfjsOperand | null)[]): Layout[] {
  const { images } = op;
  if (images !== "any") return operands.map((_, i) => images.includes(i) ? "last" : "first");
  const main = operands.find((operand) => operand && sizeOf(operand.shape) > 1);
  // Under another shape than it was made with, a tensor has to go channels first anyhow.
  const layout = main && sameShape(main.handle.shape, main.shape) ? main.handle.layout : "first";
  return operands.map(() => layout);
}

/** Images in, image out. */
function outputLayout(layouts: readonly Layout[]): Layout {
  return layouts.includes("last") ? "last" : "first";
}

function view(operands: readonly (TfjsOperand | null)[], layouts: readonly Layout[]): Inputs {
  // Aliases, as one handle can be two inputs: a second view that converts it must not take the first one away.
  return operands.map((operand, i) => operand && alias(viewed(operand.handle, operand.shape, layouts[i])));
}

/** The op's own backward definition, else what tfjs derives from its forward one. */
function gradients<A>(
  op: TfjsOp<A>,
  dy: tf.Tensor,
  inputs: Inputs,
  attributes: A,
  wanted: readonly boolean[],
  outputShape: Shape,
): (tf.Tensor | null)[] {
  if (op.backward) return op.backward(dy, inputs, attributes, wanted);
  const results: (tf.Tensor | null)[] = wanted.map(() => null);
  const indices = wanted.flatMap((want, i) => want ? [i] : []);
  if (indices.length === 0) return results;
  const forward = (...variables: tf.Tensor[]): tf.Tensor => {
    const all = [...inputs];
    indices.forEach((index, i) => all[index] = variables[i]);
    return tf.reshape(op.forward(all, attributes, outputShape), dy.shape);
  };
  tf.grads(forward)(indices.map((i) => inputs[i]!), dy).forEach((result, i) => results[indices[i]] = result);
  return results;
}
