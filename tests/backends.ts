/**
 * One test body, every backend: the backend is in the test's name, and one that cannot run here is skipped by name.
 * @module
 */
import { type BackendName, init } from "../src/backend.ts";

/** A backend under test. */
export interface TestedBackend {
  readonly name: BackendName;
  /** Largest error, relative to the tensor's largest magnitude: float64 against float32. */
  readonly tolerance: number;
  /** Why it cannot run here; null where it can. */
  readonly skip: string | null;
}

/** Whether an adapter answers, software adapters included. */
async function hasAdapter(): Promise<boolean> {
  return typeof navigator !== "undefined" && navigator.gpu !== undefined &&
    await navigator.gpu.requestAdapter() !== null;
}

/** The backends, the reference first. */
export const BACKENDS: readonly TestedBackend[] = [
  { name: "reference", tolerance: 1e-5, skip: null },
  { name: "webgpu", tolerance: 1e-4, skip: await hasAdapter() ? null : "no WebGPU adapter answers" },
  { name: "tfjs", tolerance: 1e-4, skip: null },
];

/**
 * Registers a test for every backend, named `<name> [<backend>]`; `init` has run before the body.
 * @param only the backends to register; default: all
 */
export function testBackends(
  name: string,
  body: (backend: TestedBackend) => void | Promise<void>,
  only: readonly BackendName[] = BACKENDS.map((backend) => backend.name),
): void {
  for (const backend of BACKENDS.filter((candidate) => only.includes(candidate.name))) {
    const skip = backend.skip;
    Deno.test({
      name: `${name} [${backend.name}]${skip ? ` (skipped: ${skip})` : ""}`,
      ignore: skip !== null,
      fn: async () => {
        await init({ backend: backend.name });
        await body(backend);
      },
    });
  }
}
