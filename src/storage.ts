/** What tensors hold of a backend: a handle, how its elements are kept, and how many tensors share it. */
import type { Backend, Handle } from "./backend.ts";
import type { DType } from "./dtype.ts";
import type { Shape } from "./spec.ts";

/** Storage that one or more tensors (reshapes) share; released with the last of them. */
export class Storage {
  #tensors = 0;

  /** Takes a handle over. */
  constructor(readonly backend: Backend, readonly handle: Handle, readonly dtype: DType) {}

  /** Counts one more tensor. */
  retain(): this {
    this.#tensors++;
    return this;
  }

  /** Counts one tensor less. */
  release(): void {
    if (--this.#tensors === 0) this.backend.release(this.handle);
  }
}

/** New storage of elements, of the shape and dtype that are asked for. */
export function storageOf(
  backend: Backend,
  data: ArrayLike<number>,
  { shape, dtype }: { readonly shape: Shape; readonly dtype: DType },
): Storage {
  const elements = data instanceof Float32Array ? data : Float32Array.from(data);
  return new Storage(backend, backend.upload(elements, shape, dtype), dtype);
}
