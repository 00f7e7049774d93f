/** A backend that follows shapes: ops on it compute nothing, but say which parameters took part in which op. */
import type { Backend, BackendInfo, Handle, MemoryInfo, Operand } from "../backend.ts";
import type { OpName, OpTable } from "../ops/mod.ts";
import type { Shape } from "../spec.ts";

/** An op as it was asked for. */
export interface SeenOp {
  readonly name: OpName;
  readonly inputs: readonly (Operand | null)[];
  readonly output: Operand;
}

/** Hands out handles that hold nothing, and shows every op. Takes the tensors of other backends as inputs. */
export class ShapeBackend implements Backend {
  readonly followsShapes = true;
  readonly info: BackendInfo = {
    name: "reference",
    adapter: "shapes only",
    software: true,
    features: [],
    dtypes: ["float32", "float16"],
    limits: {},
  };
  readonly #onOp: (op: SeenOp) => void;

  /** @param onOp is told every op as it is run */
  constructor(onOp: (op: SeenOp) => void) {
    this.#onOp = onOp;
  }

  /** A handle; the elements are forgotten. */
  upload(): Handle {
    return {};
  }

  /** Tells of the op. */
  forward<N extends OpName>(
    name: N,
    inputs: readonly (Operand | null)[],
    _attributes: OpTable[N],
    shape: Shape,
  ): Handle {
    const handle = {};
    this.#onOp({ name, inputs, output: { handle, shape } });
    return handle;
  }

  /** There is nothing to read. */
  read(): Promise<Float32Array[]> {
    return Promise.reject(new Error("Cannot read data(): only shapes are followed here, got no elements"));
  }

  /** There are no gradients. */
  backward(): (Handle | null)[] {
    throw new Error("Cannot run backward(): only shapes are followed here, got no elements");
  }

  /** Nothing changes. */
  update(): void {}

  /** Nothing is held. */
  release(): void {}

  /** Nothing is held. */
  memory(): MemoryInfo {
    return { buffers: 0, bytes: 0, pooledBuffers: 0, pooledBytes: 0 };
  }

  /** Nothing is held. */
  dispose(): void {}
}
