/** Finds an adapter and asks it for a device with every limit and feature that matters here. */
import type { BackendInfo } from "../backend.ts";

/** Limits that are asked for at the adapter's own size. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** Features used where granted. Adapters do not list all they grant, so each is tried. */
const FEATURES: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16", "subgroups"];

/** A device and what is known about it. */
export interface FoundDevice {
  readonly device: GPUDevice;
  readonly info: BackendInfo;
}

/**
 * A device of the best adapter, or null where none answers.
 *
 * Under Deno, Mesa's OpenGL on a CPU counts as none: it answers where EGL is installed without a Vulkan driver, and
 * trained at 68 images/s where tfjs does 389. It has no subgroups, which tells it from Mesa's Vulkan.
 */
export async function findDevice(): Promise<FoundDevice | null> {
  const gpu = globalThis.navigator?.gpu;
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return null;
  const requiredLimits: Record<string, number> = {};
  for (const name of LIMITS) {
    const limit: unknown = adapter.limits[name];
    if (typeof limit === "number") requiredLimits[name] = limit;
  }
  let features = [...FEATURES];
  while (true) {
    const requiredFeatures = features;
    try {
      const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
      const info = describe(device, adapter.info);
      if (!("Deno" in globalThis && info.software && !info.features.includes("subgroups"))) {
        return { device, info };
      }
      device.destroy();
      return null;
    } catch (error) {
      const listed = features.filter((feature) => adapter.features.has(feature));
      if (features.length === 0) throw error;
      // Not all granted: first only what the adapter lists, then none.
      features = listed.length < features.length ? listed : [];
    }
  }
}

/** What to tell users about a device. */
export function describe(device: GPUDevice, adapter?: GPUAdapterInfo): BackendInfo {
  const info = adapter ?? device.adapterInfo;
  const name = info ? info.description || `${info.vendor} ${info.architecture}`.trim() : "";
  const limits: Record<string, number> = {};
  for (const limit of [...LIMITS, "minStorageBufferOffsetAlignment"] as const) {
    limits[limit] = device.limits[limit];
  }
  return {
    name: "webgpu",
    adapter: name || "unnamed adapter",
    software: Boolean(info?.isFallbackAdapter) || /llvmpipe|swiftshader|lavapipe|software/i.test(name),
    features: FEATURES.filter((feature) => device.features.has(feature)),
    dtypes: device.features.has("shader-f16") ? ["float32", "float16"] : ["float32"],
    limits,
  };
}
