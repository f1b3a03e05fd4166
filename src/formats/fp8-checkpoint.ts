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
  readonly method: 'fp8';
  /** Rows and columns that a factor covers; undefined if one factor serves a whole matrix. */
  readonly blockSize: readonly [rows: number, columns: number] | undefined;
}

const SCALE_SUFFIX = '_scale_inv';

/** Stored name of the weight that a scale belongs to; undefined for other tensors. */
export function fp8WeightOf(name: string): string | undefined {
  const [, module] = /^(.+)\.(?:weight_scale_inv|activation_scale)$/.exec(name) ?? [];
  return module === undefined ? undefined : `${module}.weight`;
}

/** Reads `quantization_config` where its quant_method is fp8. @param faults receives what is wrong with it */
export function parseFp8(json: Readonly<Record<string, unknown>>, faults: string[]): Fp8Quantization | undefined {
  const { weight_block_size: size } = json;
  if (size === undefined || size === null) return { method: 'fp8', blockSize: undefined };
  const valid =
    Array.isArray(size) &&
    size.length === 2 &&
    size.every((extent) => Number.isInteger(extent) && extent > 0 && extent <= 2 ** 24);
  if (valid) return { method: 'fp8', blockSize: [size[0], size[1]] };
  faults.push(
    `quantization_config.weight_block_size: expected null or two positive whole numbers, got ${showValue(size)}`,
  );
  return undefined;
}

/**
 * A weight in 8 bits to be streamed into an engine, with its scale.
 * @param blockSize rows and columns that a factor covers; undefined if one serves a whole matrix
 * @throws CheckpointError if the scale is missing or does not fit
 */
export function fp8Source(
  checkpoint: ShardedCheckpoint,
  name: string,
  blockSize: Fp8Quantization['blockSize'],
): WeightSource {
  const file = checkpoint.fileOf(name);
  const { shape, byteLength } = file.info(name);
  const read = (target: Uint8Array, offset = 0): Promise<void> => file.readBytes(name, target, offset);
  const scale = scaleOf(checkpoint, name, shape, blockSize);
  return { name, shape, dtype: 'f8_e4m3', byteLength, scale, read };
}

function scaleOf(
  checkpoint: ShardedCheckpoint,
  name: string,
  shape: readonly number[],
  size: Fp8Quantization['blockSize'],
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
