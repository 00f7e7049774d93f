/** cast on tfjs, which keeps float32 only: the identity. */
import type { CastAttributes } from "../../ops/cast.ts";
import { alias } from "../functions.ts";
import type { TfjsOp } from "../op.ts";

/** Any shape, any layout. */
export const cast: TfjsOp<CastAttributes> = {
  images: "any",
  forward: ([x]) => alias(x!),
  backward: (dy) => [alias(dy)],
};
