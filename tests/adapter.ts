/**
 * Tests that need a WebGPU adapter: one place that finds it, and that says so where there is none.
 *
 * Without an adapter they are skipped, by name and with the reason. With the environment variable
 * `DCLS_REQUIRE_WEBGPU=1`, for machines that are meant to have one, they fail instead.
 * @module
 */
import type { Backend } from "../src/backend.ts";
import { createWebgpuBackend } from "../src/webgpu/backend.ts";
import { findDevice, type FoundDevice } from "../src/webgpu/device.ts";

/** Whether a missing adapter is a failure. Without the permission to ask, it is not. */
function required(): boolean {
  const variable = "DCLS_REQUIRE_WEBGPU";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" && Deno.env.get(variable) === "1";
}

/** Whether WebGPU tests fail, rather than being skipped, where no adapter answers. */
export const WEBGPU_REQUIRED: boolean = required();

/** The device that the tests share, software adapters included; null where no adapter answers. */
export const FOUND_DEVICE: FoundDevice | null = await findDevice();

/** Why WebGPU tests cannot run here; null where they can. */
export const NO_WEBGPU: string | null = FOUND_DEVICE ? null : "no WebGPU adapter answers";
const REMEDY = "install a Vulkan driver, without a GPU Debian's mesa-vulkan-drivers";

const backend = FOUND_DEVICE && await createWebgpuBackend(FOUND_DEVICE.device);
let told = false;

/**
 * Registers a test named `<name> [webgpu]`, skipped where no adapter answers.
 * @param body is given a backend that the file's tests share
 */
export function webgpuTest(
  name: string,
  body: (backend: Backend, context: Deno.TestContext) => void | Promise<void>,
): void {
  const title = `${name} [webgpu]`;
  if (backend) {
    Deno.test(title, (context) => body(backend, context));
  } else if (WEBGPU_REQUIRED) {
    Deno.test(title, () => {
      throw new Error(`Cannot run ${title}: DCLS_REQUIRE_WEBGPU is 1, but ${NO_WEBGPU}: ${REMEDY}`);
    });
  } else {
    const notice = `WebGPU tests are skipped: ${NO_WEBGPU}; ${REMEDY}\n`;
    if (!told) Deno.stderr.writeSync(new TextEncoder().encode(notice));
    told = true;
    Deno.test({ name: `${title} (skipped: ${NO_WEBGPU})`, ignore: true, fn: () => {} });
  }
}
