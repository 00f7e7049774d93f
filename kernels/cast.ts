/**
 * cast: y[i] = x[i] in another storage, rounded to the nearest where it is narrower. An elementwise kernel.
 * Bindings: x, y, parameters { count }.
 */
import { elementwise } from "./elementwise.ts";
import type { Kernel, Storage } from "./kernel.ts";

/** y. */
export function cast(from: Storage, to: Storage): Kernel {
  return elementwise({
    label: `cast ${from} to ${to}`,
    inputs: [{ name: "x", storage: from }],
    output: { name: "y", storage: to },
    value: "x",
  });
}
