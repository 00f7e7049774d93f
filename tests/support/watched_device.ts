/**
 * A GPU device that counts what is made of it, that claims smaller limits than it has so that small tensors are cut
 * like large ones, and that refuses what a device with these limits would refuse.
 * @module
 */

/** What was made of a watched device. */
export interface Seen {
  /** Buffers made and not destroyed, and their bytes. */
  buffers: number;
  bytes: number;
  /** Buffers destroyed. */
  destroyed: number;
  dispatches: number;
  bindGroups: number;
  pipelines: number;
  /** Labels of the kernels that were bound. */
  readonly kernels: Set<string>;
  /** Storage bindings that begin behind their buffer's first byte: what slices look like. */
  offsets: number;
  /** Dispatches over more than one row of workgroups. */
  rows: number;
}

/** Limits that WebGPU would not let a device have less of. */
export interface ClaimedLimits {
  readonly maxStorageBufferBindingSize?: number;
  readonly maxComputeWorkgroupsPerDimension?: number;
}

/** Reads a property as the object itself would, so that its methods find their `this`. */
function own<T extends object>(target: T, key: string | symbol): unknown {
  const value: unknown = Reflect.get(target, key, target);
  return typeof value === "function" ? value.bind(target) : value;
}

/** Watches a device. */
export function watchDevice(
  device: GPUDevice,
  claimed: ClaimedLimits = {},
): { device: GPUDevice; seen: Seen } {
  const seen: Seen = {
    buffers: 0,
    bytes: 0,
    destroyed: 0,
    dispatches: 0,
    bindGroups: 0,
    pipelines: 0,
    kernels: new Set(),
    offsets: 0,
    rows: 0,
  };
  const limits = new Proxy(device.limits, {
    get: (target, key) => claimed[key as keyof ClaimedLimits] ?? own(target, key),
  });

  const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    const buffer = device.createBuffer(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    seen.buffers++;
    seen.bytes += buffer.size;
    buffer.destroy = () => {
      seen.buffers--;
      seen.bytes -= buffer.size;
      seen.destroyed++;
      buffer.destroy = destroy; // once more does nothing
      destroy();
    };
    return buffer;
  };

  const createBindGroup = (descriptor: GPUBindGroupDescriptor): GPUBindGroup => {
    for (const { binding, resource } of descriptor.entries) {
      const { buffer, offset = 0, size = buffer.size - offset } = resource as GPUBufferBinding;
      if ((buffer.usage & GPUBufferUsage.STORAGE) === 0) continue;
      if (
        size > limits.maxStorageBufferBindingSize || offset % limits.minStorageBufferOffsetAlignment !== 0
      ) {
        throw new Error(`${descriptor.label}, binding ${binding}: ${size} bytes from byte ${offset} on`);
      }
      if (offset > 0) seen.offsets++;
    }
    seen.kernels.add(descriptor.label ?? "");
    seen.bindGroups++;
    return device.createBindGroup(descriptor);
  };

  const createComputePipeline = (descriptor: GPUComputePipelineDescriptor): GPUComputePipeline => {
    seen.pipelines++;
    return device.createComputePipeline(descriptor);
  };

  const createCommandEncoder = (descriptor?: GPUCommandEncoderDescriptor): GPUCommandEncoder => {
    const encoder = device.createCommandEncoder(descriptor);
    const beginComputePass = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (passDescriptor) => {
      const pass = beginComputePass(passDescriptor);
      const dispatchWorkgroups = pass.dispatchWorkgroups.bind(pass);
      pass.dispatchWorkgroups = (x, y = 1, z = 1) => {
        if (Math.max(x, y, z) > limits.maxComputeWorkgroupsPerDimension) {
          throw new Error(`${x} x ${y} x ${z} workgroups`);
        }
        seen.dispatches++;
        if (y > 1 || z > 1) seen.rows++;
        dispatchWorkgroups(x, y, z);
      };
      return pass;
    };
    return encoder;
  };

  const replaced: Readonly<Record<string | symbol, unknown>> = {
    limits,
    createBuffer,
    createBindGroup,
    createComputePipeline,
    createCommandEncoder,
  };
  return { device: new Proxy(device, { get: (target, key) => replaced[key] ?? own(target, key) }), seen };
}
