/**
 * Does a backend compute the right numbers here? One layer, forward and backward, against the float64 reference.
 * @module
 */
import { type BackendName, Dcls2d, init, randn, readAll, shutdown } from "../../../mod.ts";

/** Largest error allowed, relative to the tensor's largest magnitude: a hundred times what float32 leaves. */
export const TOLERANCE = 1e-4;

/** What came out. */
export interface SelfCheck {
  readonly passed: boolean;
  /** Largest error relative to its tensor's largest magnitude; infinite where a value is not finite. */
  readonly largestError: number;
  /** The tensor that has it. */
  readonly tensor: string;
  readonly tolerance: number;
  /** The backend's time for everything, kernels compiled included. */
  readonly seconds: number;
}

/** The tensors of one forward and backward pass, by name; the same seeds everywhere. */
async function computeLayer(): Promise<Map<string, Float32Array>> {
  const layer = new Dcls2d(6, 6, {
    kernelCount: 5,
    dilatedKernelSize: 9,
    padding: 4,
    groups: 6,
    version: "gauss",
    seed: 1,
  });
  const x = randn([2, 6, 20, 20], { seed: 2, requiresGrad: true });
  const kernel = layer.constructKernel();
  const y = layer.forward(x);
  y.square().sum().backward();
  const tensors = { kernel, output: y, "input gradient": x.grad!, "bias gradient": layer.bias!.grad! };
  const gradients = {
    "weight gradient": layer.weight.grad!,
    "P gradient": layer.P.grad!,
    "SIG gradient": layer.SIG!.grad!,
  };
  const all = Object.entries({ ...tensors, ...gradients });
  const values = await readAll(all.map(([, tensor]) => tensor));
  return new Map(all.map(([name], i) => [name, values[i]]));
}

/** Largest |actual - expected| relative to the largest |expected|; infinite where anything is not finite. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  let error = 0, largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(actual[i] - expected[i]);
    if (!Number.isFinite(difference)) return Infinity;
    error = Math.max(error, difference);
    largest = Math.max(largest, Math.abs(expected[i]));
  }
  return error / largest;
}

/**
 * Runs a layer on the reference and on the backend, and compares every tensor. Ends the running backend.
 * @throws what the backend throws
 */
export async function selfCheck(backend: BackendName): Promise<SelfCheck> {
  shutdown();
  await init({ backend: "reference" });
  const expected = await computeLayer();
  shutdown();
  await init({ backend });
  const started = performance.now();
  const actual = await computeLayer();
  const seconds = (performance.now() - started) / 1000;
  let largestError = 0, tensor = "";
  for (const [name, values] of expected) {
    const error = relativeError(actual.get(name)!, values);
    if (error >= largestError) [largestError, tensor] = [error, name];
  }
  return { passed: largestError <= TOLERANCE, largestError, tensor, tolerance: TOLERANCE, seconds };
}
