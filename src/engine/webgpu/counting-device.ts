/**
 * A device that only keeps the books: buffers have sizes, nothing is copied or computed. What a model takes is so known
 * without a GPU.
 */
import type { GpuBuffer, GpuCommandEncoder, GpuComputePass, GpuDevice, GpuLimits } from './gpu-types.js';
import { MATRIX_FEATURES } from './matrix-unit.js';

/** Of a slab at most: larger than any array of a pass. */
const BINDING_BYTES = 2 ** 37;

function nothing(): void {}

const PASS: GpuComputePass = {
  setPipeline: nothing,
  setBindGroup: nothing,
  dispatchWorkgroups: nothing,
  end: nothing,
};

const ENCODER: GpuCommandEncoder = {
  beginComputePass: () => PASS,
  copyBufferToBuffer: nothing,
  clearBuffer: nothing,
  finish: () => ({}),
};

export class CountingDevice implements GpuDevice {
  readonly features = new Set<string>(MATRIX_FEATURES);
  readonly limits: GpuLimits = {
    maxBufferSize: BINDING_BYTES,
    maxStorageBufferBindingSize: BINDING_BYTES,
    maxStorageBuffersPerShaderStage: 8,
    maxComputeWorkgroupStorageSize: 16_384,
    maxComputeInvocationsPerWorkgroup: 256,
    maxComputeWorkgroupSizeX: 256,
    maxComputeWorkgroupsPerDimension: 65_535,
  };
  readonly adapterInfo = {
    description: 'a device that only keeps the books',
    subgroupMatrixConfigs: [{ M: 16, N: 16, K: 16, componentType: 'f16', resultComponentType: 'f32' }],
  };
  readonly lost = new Promise<never>(nothing);
  readonly queue = { writeBuffer: nothing, submit: nothing, onSubmittedWorkDone: async (): Promise<void> => {} };

  createBuffer({ size }: { readonly size: number }): GpuBuffer {
    return {
      size,
      mapAsync: async () => {},
      getMappedRange: (_, bytes = size) => new ArrayBuffer(bytes),
      unmap: nothing,
      destroy: nothing,
    };
  }

  createShaderModule(): object {
    return {};
  }

  createBindGroupLayout(): object {
    return {};
  }

  createPipelineLayout(): object {
    return {};
  }

  createComputePipeline(): object {
    return {};
  }

  createBindGroup(): object {
    return {};
  }

  createCommandEncoder(): GpuCommandEncoder {
    return ENCODER;
  }

  pushErrorScope(): void {}

  async popErrorScope(): Promise<null> {
    return null;
  }

  addEventListener(): void {}
  destroy(): void {}
}
