/**
 * Checkpoints whose linear layers are stored in 8-bit floats: `quantization_config` with quant_method "fp8" in
 * config.json, and beside each such P.weight a P.weight_scale_inv. In spite of its name it is multiplied with. A
 * P.activation_scale is for kernels that compute in 8 bits, and is not used.
 */
import { CheckpointError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import type { ShardedCheckpoint } from './safetensors.js';
import type { WeightScale, WeightSource } from './weight-source.js';

/** What the `quantization_config` of an FP8 checkpoint says about its scales. */
export interface Fp8Quantization {
  /** Rows and columns that a factor covers; undefined if one factor serves a whole matrix. */
  readonly blockSize: readonly [rows: number, columns: number] | undefined;
}

const SCALE_SUFFIX = '_scale_inv';

/** Tensors that only quantised checkpoints have: scales of weights and activations. */
export function isQuantizationTensor(name: string): boolean {
  return /\.(weight_scale_inv|activation_scale)$/.test(name);
}

/**
 * Reads the `quantization_config` of a config.json; undefined if there is none.
 * @param faults receives what is wrong with it
 */
export function parseQuantization(json: unknown, faults: string[]): Fp8Quantization | undefined {
  if (json === undefined || json === null) return undefined;
  if (typeof json !== 'object' || Array.isArray(json)) {
    faults.push(`quantization_config: expected an object, got ${showValue(json)}`);
    return undefined;
  }
  const { quant_method: method, weight_block_size: size } = json as Record<string, unknown>;
  if (method !== 'fp8') {
    const hint = 'use an FP8 checkpoint or the model in bfloat16, e.g. the repository whose name ends in -BF16';
    faults.push(`quantization_config.quant_method: expected "fp8", got ${showValue(method)}; ${hint}`);
    return undefined;
  }
  if (size === undefined || size === null) return { blockSize: undefined };
  const valid =
    Array.isArray(size) &&
    size.length === 2 &&
    size.every((extent) => Number.isInteger(extent) && extent > 0 && extent <= 2 ** 24);
  if (valid) return { blockSize: [size[0], size[1]] };
  faults.push(
    `quantization_config.weight_block_size: expected null or two positive whole numbers, got ${showValue(size)}`,
  );
  return undefined;
}

/**
 * A tensor to be streamed into an engine, with its scale where it is stored in 8 bits.
 * @throws CheckpointError if the scale is missing or does not fit, or for a dtype that no engine takes
 */
export function checkpointSource(
  checkpoint: ShardedCheckpoint,
  name: string,
  quantization: Fp8Quantization | undefined,
): WeightSource {
  const file = checkpoint.fileOf(name);
  const { dtype, shape, byteLength } = file.info(name);
  if (dtype !== 'F8_E4M3') return file.source(name);
  const read = (target: Uint8Array, offset = 0): Promise<void> => file.readBytes(name, target, offset);
  const scale = scaleOf(checkpoint, name, shape, quantization);
  return { name, shape, dtype: 'f8_e4m3', byteLength, scale, read };
}

function scaleOf(
  checkpoint: ShardedCheckpoint,
  name: string,
  shape: readonly number[],
  quantization: Fp8Quantization | undefined,
): WeightScale {
  const scaleName = `${name}${SCALE_SUFFIX}`;
  const info = checkpoint.tensors.get(scaleName);
  const fail = (message: string): CheckpointError =>
    new CheckpointError(`${checkpoint.directory}: "${name}" is stored as F8_E4M3 [${shape.join(', ')}] ${message}`, {
      hint: 'Use an FP8 checkpoint of the published layout, or the model in bfloat16, e.g. the repository whose name ends in -BF16.',
      details: { name },
    });
  const [rows, columns] = shape;
  if (!info) throw fail(`without "${scaleName}"`);
  if (shape.length !== 2) throw fail('but only matrices may be');
  if (!['F32', 'BF16', 'F16'].includes(info.dtype)) {
    throw fail(`and "${scaleName}" as ${info.dtype}, expected F32, BF16 or F16`);
  }
  const read = (): Promise<Float32Array> => checkpoint.readFloat32(scaleName);
  const size = quantization?.blockSize;
  const block = size ?? ([rows!, columns!] as const);
  const blocks = [Math.ceil(rows! / block[0]), Math.ceil(columns! / block[1])];
  const isOne = info.shape.every((extent) => extent === 1);
  if (isOne) return { block: [rows!, columns!], read };
  if (!size || info.shape.join() !== blocks.join()) {
    const expected = size ? `[${blocks.join(', ')}] for blocks of ${size.join(' × ')}` : 'one number';
    throw fail(`with "${scaleName}" [${info.shape.join(', ')}], expected ${expected}`);
  }
  return { block, read };
}
