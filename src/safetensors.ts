/** `ministral-tune/safetensors`: files of tensors, read as far as they are asked for, and written whole. */
export { SafetensorsFile, ShardedCheckpoint, writeSafetensors } from './formats/safetensors.js';
export type { BitsAndBytesQuantization } from './formats/bnb-checkpoint.js';
export type { Fp8Quantization } from './formats/fp8-checkpoint.js';
export type { StoredQuantization } from './formats/quantized-checkpoint.js';
export type { StoredArray, TensorToWrite } from './formats/safetensors.js';
export type { SafetensorsDType, TensorInfo } from './formats/safetensors-header.js';
export type {
  DType,
  HeldFormat,
  Nf4Absmax,
  Nf4State,
  StackPlace,
  StoredDType,
  WeightScale,
  WeightUsage,
  WeightSource,
} from './formats/weight-source.js';
