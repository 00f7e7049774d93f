/** `[N, C, ...spatial]` seen as `[N, C, P]`: all that per-channel ops need to know of a shape. */
import { type Shape, sizeOf } from "../../spec.ts";

/** A shape with its spatial axes taken together. */
export interface Planes {
  readonly batch: number;
  readonly channels: number;
  /** Elements of one channel of one sample; 1 where there is no spatial axis. */
  readonly pixels: number;
}

/** `[N, C, ...spatial]` as `[N, C, P]`. */
export function planes(shape: Shape): Planes {
  return { batch: shape[0], channels: shape[1], pixels: sizeOf(shape.slice(2)) };
}
