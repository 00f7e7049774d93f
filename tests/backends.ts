/**
 * One test body, every backend: the backend is in the test's name, and one that cannot run here is skipped by name, or
 * fails where `DCLS_REQUIRE_WEBGPU=1` (see adapter.ts).
 * @module
 */
import { type BackendName, init } from "../src/backend.ts";
import { NO_WEBGPU, WEBGPU_REQUIRED } from "./adapter.ts";

/** A backend under test. */
export interface TestedBackend {
  readonly name: BackendName;
  /** Largest error, relative to the tensor's largest magnitude: float64 against float32. */
  readonly tolerance: number;
  /** Why it cannot run here; null where it can. */
  readonly skip: string | null;
}

/** The backends, the reference first. */
export const BACKENDS: readonly TestedBackend[] = [
  { name: "reference", tolerance: 1e-5, skip: null },
  { name: "webgpu", tolerance: 1e-4, skip: NO_WEBGPU },
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
    const skip = WEBGPU_REQUIRED ? null : backend.skip; // where one is required, init fails, and says why
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
