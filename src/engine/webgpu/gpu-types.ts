/**
 * The part of WebGPU that the engine uses, as structural types: a device of the `webgpu` package, of a browser's types or
 * of a test satisfies them, and nobody needs type packages.
 */

export interface GpuBuffer {
  readonly size: number;
  mapAsync(mode: number, offset?: number, size?: number): Promise<unknown>;
  getMappedRange(offset?: number, size?: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}

/** A part of a buffer, as a binding takes it. */
export interface BufferRange {
  readonly buffer: GpuBuffer;
  /** In bytes, a multiple of 256. */
  readonly offset: number;
  /** In bytes, a multiple of 4. */
  readonly size: number;
}

type GpuShaderModule = object;
export type GpuPipeline = object;
export type GpuBindGroup = object;
export type GpuBindGroupLayout = object;
type GpuPipelineLayout = object;
type GpuCommandBuffer = object;

export interface GpuComputePass {
  setPipeline(pipeline: GpuPipeline): void;
  setBindGroup(index: number, group: GpuBindGroup | null | undefined, dynamicOffsets?: Iterable<number>): void;
  dispatchWorkgroups(x: number, y?: number, z?: number): void;
  end(): void;
}

export interface GpuCommandEncoder {
  beginComputePass(): GpuComputePass;
  copyBufferToBuffer(
    source: GpuBuffer,
    sourceOffset: number,
    target: GpuBuffer,
    targetOffset: number,
    size: number,
  ): void;
  clearBuffer(buffer: GpuBuffer, offset?: number, size?: number): void;
  finish(): GpuCommandBuffer;
}

export interface GpuQueue {
  writeBuffer(
    buffer: GpuBuffer,
    offset: number,
    data: ArrayBuffer | SharedArrayBuffer | ArrayBufferView,
    dataOffset?: number,
    size?: number,
  ): void;
  submit(buffers: Iterable<GpuCommandBuffer>): void;
  onSubmittedWorkDone(): Promise<unknown>;
}

/** What the engine reads of `GPUSupportedLimits`. */
export interface GpuLimits {
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxStorageBuffersPerShaderStage: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupSizeX: number;
  readonly maxComputeWorkgroupsPerDimension: number;
}

export interface GpuDevice {
  readonly features: { has(name: string): boolean };
  readonly limits: GpuLimits;
  readonly lost: Promise<{ readonly reason?: string; readonly message: string }>;
  readonly queue: GpuQueue;
  readonly adapterInfo?: GpuAdapterInfo;
  createBuffer(descriptor: { size: number; usage: number; label?: string }): GpuBuffer;
  createShaderModule(descriptor: { code: string; label?: string }): GpuShaderModule;
  createBindGroupLayout(descriptor: { entries: Iterable<object> }): GpuBindGroupLayout;
  createPipelineLayout(descriptor: {
    bindGroupLayouts: Iterable<GpuBindGroupLayout | null | undefined>;
  }): GpuPipelineLayout;
  /** @param descriptor layout, module, entry point and constants */
  createComputePipeline(descriptor: object): GpuPipeline;
  createBindGroup(descriptor: { layout: GpuBindGroupLayout; entries: Iterable<object> }): GpuBindGroup;
  createCommandEncoder(): GpuCommandEncoder;
  pushErrorScope(filter: 'validation' | 'out-of-memory' | 'internal'): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  addEventListener(
    type: 'uncapturederror',
    listener: (event: { readonly error: { readonly message: string } }) => void,
  ): void;
  removeEventListener?(
    type: 'uncapturederror',
    listener: (event: { readonly error: { readonly message: string } }) => void,
  ): void;
  destroy(): void;
}

/** A product that subgroups compute at once: M x K by K x N. */
export interface GpuMatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

/** What `GPUAdapterInfo` says of a device; all of it may be empty. */
export interface GpuAdapterInfo {
  readonly vendor?: string;
  readonly architecture?: string;
  readonly device?: string;
  readonly description?: string;
  readonly isFallbackAdapter?: boolean;
  readonly subgroupMinSize?: number;
  readonly subgroupMaxSize?: number;
  /** Dawn's, with the feature chromium-experimental-subgroup-matrix. */
  readonly subgroupMatrixConfigs?: Iterable<GpuMatrixConfig>;
}

export interface GpuAdapter {
  readonly features: { has(name: string): boolean } & Iterable<string>;
  readonly limits: GpuLimits;
  readonly info?: GpuAdapterInfo;
  readonly isFallbackAdapter?: boolean;
  /** @param descriptor `requiredFeatures` and `requiredLimits`, for which type packages have names of their own */
  requestDevice(descriptor?: object): Promise<GpuDevice>;
}

export interface Gpu {
  requestAdapter(options?: { powerPreference?: 'high-performance' | 'low-power' }): Promise<GpuAdapter | null>;
}

/** `GPUBufferUsage`, which is a global only in browsers. */
export const BUFFER_USAGE = {
  mapRead: 0x1,
  copySource: 0x4,
  copyTarget: 0x8,
  uniform: 0x40,
  storage: 0x80,
} as const;
