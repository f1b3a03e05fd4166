/**
 * `ministral-tune/engine`: what an engine of `createEngine` offers a model, for those who write a model of their own
 * against its operations, or their own loop over one.
 */
export { Tape } from './engine/tape.js';
export { evaluateLoss } from './train/evaluate-loss.js';
export { accumulateGradients } from './train/window-step.js';
export type { CreateEngineOptions } from './engine/create-engine.js';
export type { DeviceMapOptions } from './engine/device-map.js';
export type { CudaEngineOptions, OffloadOptions } from './engine/cuda/cuda-options.js';
export type {
  Deferred,
  EngineDevice,
  EngineMemory,
  EngineName,
  ModelShapes,
  OptimizerArrays,
  OptimizerState,
  OptimizerStep,
  StorageCosts,
  TrainingBytes,
  RowMaxima,
} from './engine/engine.js';
export type { ImagePatches, ImagePixels } from './engine/image-patches.js';
export type {
  Activation,
  BlockAttributes,
  BlockName,
  Composition,
  EntryAttributes,
  ForwardResult,
  KeyValueRows,
  LinearPart,
  LoraPart,
  Operation,
  OperationAttributes,
  OperationName,
  OperationRunner,
  Operations,
  Precision,
  Segments,
} from './engine/operations.js';
export type { OnFinal, RegionOptions, Steps, TapeOptions } from './engine/tape.js';
export type { Parameter, ParameterSet, ParameterSpec, Tensor, Weight } from './engine/tensor.js';
export type { TfNamespace, TfTensor } from './engine/tfjs/tf-namespace.js';
export type { TfjsEngineOptions } from './engine/tfjs/tfjs-engine.js';
export type { WebgpuEngineOptions } from './engine/webgpu/create-webgpu.js';
export type {
  Gpu,
  GpuAdapter,
  GpuAdapterInfo,
  GpuBuffer,
  GpuCommandEncoder,
  GpuComputePass,
  GpuDevice,
  GpuLimits,
  GpuMatrixConfig,
  GpuQueue,
} from './engine/webgpu/gpu-types.js';
export type { RowNoise } from './random.js';
