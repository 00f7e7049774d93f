/**
 * A WebGPU device on paper: it takes every call that the backend makes, computes nothing, and keeps the shaders. So the
 * WGSL of every op can be looked at where no adapter answers, and by another compiler than the adapter's.
 * @module
 */

/** A shader that the backend made a pipeline of. */
export interface Shader {
  readonly label: string;
  readonly code: string;
}

/** A device on paper. */
export interface PaperDevice {
  readonly device: GPUDevice;
  /** Each once, in the order in which they were made. */
  readonly shaders: readonly Shader[];
  /** What was bound to other bindings than the shader declares. A real device would refuse it. */
  readonly mismatches: readonly string[];
}

/** The smallest limits that WebGPU promises. */
const LIMITS = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65535,
  minStorageBufferOffsetAlignment: 256,
};

/** The numbers of a shader's bindings, in order. */
function bindingsOf(code: string): number[] {
  return [...code.matchAll(/@binding\((\d+)\)/g)].map(([, n]) => Number(n)).sort((a, b) => a - b);
}

/** @param features what the device says it has; with "subgroups" it passes for a software adapter that has them */
export function paperDevice(features: readonly GPUFeatureName[] = []): PaperDevice {
  const shaders: Shader[] = [];
  const mismatches: string[] = [];
  const nothing = (): void => {};
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, finish: () => ({}) };
  const device = {
    adapterInfo: {
      description: "llvmpipe on paper",
      vendor: "",
      architecture: "",
      subgroupMinSize: 8,
      subgroupMaxSize: 8,
    },
    features: new Set(features),
    limits: LIMITS,
    lost: new Promise(nothing),
    queue: { writeBuffer: nothing, submit: nothing },
    addEventListener: nothing,
    destroy: nothing,
    createBuffer: ({ size }: GPUBufferDescriptor) => ({
      size,
      destroy: nothing,
      mapAsync: () => Promise.resolve(),
      getMappedRange: (_offset: number, bytes: number) => new ArrayBuffer(bytes),
      unmap: nothing,
    }),
    createShaderModule: ({ label = "", code }: GPUShaderModuleDescriptor) => {
      if (!shaders.some((shader) => shader.code === code)) shaders.push({ label, code });
      return { code };
    },
    createComputePipeline: ({ compute }: { compute: { module: { code: string } } }) => ({
      getBindGroupLayout: () => ({ bindings: bindingsOf(compute.module.code) }),
    }),
    createBindGroup: (
      { label, layout, entries }: {
        label: string;
        layout: { bindings: number[] };
        entries: { binding: number }[];
      },
    ) => {
      const bound = entries.map(({ binding }) => binding).sort((a, b) => a - b);
      if (bound.join() !== layout.bindings.join()) {
        mismatches.push(`${label}: bound ${bound}, declared ${layout.bindings}`);
      }
      return {};
    },
    createCommandEncoder: () => encoder,
  };
  return { device: device as unknown as GPUDevice, shaders, mismatches };
}
