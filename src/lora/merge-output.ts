/**
 * What a merged checkpoint holds: the tensors of its base in their dtypes; of an FP8 base, bfloat16 weights without
 * scales, and a config.json without `quantization_config`.
 */
import { basename, join } from 'node:path';
import { writeFileAtomically } from '../atomic-file.js';
import { dequantizedSource, type HeldSource } from '../engine/float8.js';
import {
  checkpointSource,
  type Fp8Quantization,
  isQuantizationTensor,
  parseQuantization,
} from '../engine/fp8-checkpoint.js';
import { FILE_DTYPES, type SafetensorsDType, type ShardedCheckpoint } from '../engine/safetensors.js';
import { CheckpointError } from '../errors.js';
import { readJson } from '../read-json.js';

export interface WrittenTensor {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  read(target: Uint8Array, offset: number): Promise<void>;
}

export class MergeOutput {
  /** By name, in the order of the base. */
  readonly tensors: ReadonlyMap<string, WrittenTensor>;
  readonly #checkpoint: ShardedCheckpoint;
  readonly #quantization: Fp8Quantization | undefined;
  /** The parsed config.json of a base with 8-bit weights. */
  readonly #config: Record<string, unknown> | undefined;

  private constructor(
    checkpoint: ShardedCheckpoint,
    config: Record<string, unknown> | undefined,
    quantization: Fp8Quantization | undefined,
  ) {
    this.#checkpoint = checkpoint;
    this.#config = config;
    this.#quantization = quantization;
    const tensors = new Map<string, WrittenTensor>();
    for (const { name, dtype, shape, byteLength } of checkpoint.tensors.values()) {
      if (config && isQuantizationTensor(name)) continue;
      if (dtype === 'F8_E4M3') {
        const held = this.source(name);
        const { byteLength, read } = held;
        tensors.set(name, { name, dtype: FILE_DTYPES[held.dtype], shape, byteLength, read });
      } else {
        const file = checkpoint.fileOf(name);
        const read = (target: Uint8Array, offset: number): Promise<void> => file.readBytes(name, target, offset);
        tensors.set(name, { name, dtype, shape, byteLength, read });
      }
    }
    this.tensors = tensors;
  }

  /** @throws CheckpointError if 8-bit weights are stored in a way that is not known */
  static async of(checkpoint: ShardedCheckpoint): Promise<MergeOutput> {
    const isQuantized = [...checkpoint.tensors.values()].some(({ dtype }) => dtype === 'F8_E4M3');
    if (!isQuantized) return new MergeOutput(checkpoint, undefined, undefined);
    const path = join(checkpoint.directory, 'config.json');
    const json = await readJson(path).catch((cause: Error) => {
      const reason = `cannot be read as JSON: ${cause.message}`;
      throw new CheckpointError(`${path}, which says how the weights are quantised, ${reason}`, { cause });
    });
    if (typeof json !== 'object' || json === null) throw new CheckpointError(`${path} holds no JSON object`);
    const config = json as Record<string, unknown>;
    const faults: string[] = [];
    const quantization = parseQuantization(config.quantization_config, faults);
    if (faults.length > 0) throw new CheckpointError(`${path} cannot be used:\n  - ${faults.join('\n  - ')}`);
    return new MergeOutput(checkpoint, config, quantization);
  }

  /** Bytes of all tensors. */
  get bytes(): number {
    return [...this.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** A weight in the format in which it is merged and written. */
  source(name: string): HeldSource {
    return dequantizedSource(checkpointSource(this.#checkpoint, name, this.#quantization));
  }

  /** Writes over config.json and the index of the shards where they still speak of 8-bit weights. */
  async writeJson(folder: string): Promise<void> {
    if (!this.#config) return;
    const { quantization_config: _, ...config } = this.#config;
    const write = (name: string, value: unknown): Promise<void> =>
      // In place of a copy that may be read-only, as its original.
      writeFileAtomically(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
    await write('config.json', config);
    const { indexFile } = this.#checkpoint;
    if (indexFile === undefined) return;
    const places = [...this.tensors.keys()].map((name) => [name, basename(this.#checkpoint.fileOf(name).path)]);
    await write(indexFile, { metadata: { total_size: this.bytes }, weight_map: Object.fromEntries(places) });
  }
}
