/** Checkpoints whose linear layers are quantised, in 8-bit floats or in bitsandbytes' 4 bits: each weight with its scales. */
import type { CheckpointError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import {
  type BitsAndBytesQuantization,
  type BnbState,
  bnbSource,
  bnbWeightOf,
  parseBitsAndBytes,
  readBnbStates,
} from './bnb-checkpoint.js';
import { type Fp8Quantization, fp8Source, fp8WeightOf, parseFp8 } from './fp8-checkpoint.js';
import type { ShardedCheckpoint } from './safetensors.js';
import type { WeightSource } from './weight-source.js';

/** `quantization_config` of a config.json, as far as the weights do not say it themselves. */
export type StoredQuantization = Fp8Quantization | BitsAndBytesQuantization;

/**
 * Reads the `quantization_config` of a config.json; undefined if there is none.
 * @param faults receives what is wrong with it
 */
export function parseQuantization(json: unknown, faults: string[]): StoredQuantization | undefined {
  if (json === undefined || json === null) return undefined;
  if (typeof json !== 'object' || Array.isArray(json)) {
    faults.push(`quantization_config: expected an object, got ${showValue(json)}`);
    return undefined;
  }
  const fields = json as Record<string, unknown>;
  const { quant_method: method } = fields;
  if (method === 'fp8') return parseFp8(fields, faults);
  // The first versions of bitsandbytes' files named no method.
  const isUnnamed = method === undefined && (fields['load_in_4bit'] ?? fields['load_in_8bit']) === true;
  if (method === 'bitsandbytes' || isUnnamed) return parseBitsAndBytes(fields, faults);
  const hint =
    'use an FP8 checkpoint, a 4-bit one of bitsandbytes (NF4), or the model in bfloat16, e.g. the repository whose name ends in -BF16';
  faults.push(`quantization_config.quant_method: expected "fp8" or "bitsandbytes", got ${showValue(method)}; ${hint}`);
  return undefined;
}

export class QuantizedCheckpoint {
  readonly #checkpoint: ShardedCheckpoint;
  readonly #quantization: StoredQuantization | undefined;
  readonly #states: ReadonlyMap<string, BnbState | CheckpointError>;

  private constructor(
    checkpoint: ShardedCheckpoint,
    quantization: StoredQuantization | undefined,
    states: ReadonlyMap<string, BnbState | CheckpointError>,
  ) {
    this.#checkpoint = checkpoint;
    this.#quantization = quantization;
    this.#states = states;
  }

  /** Reads the quant states, but no weights. A faulty weight throws when its `source` is requested. */
  static async of(
    checkpoint: ShardedCheckpoint,
    quantization: StoredQuantization | undefined,
  ): Promise<QuantizedCheckpoint> {
    return new QuantizedCheckpoint(checkpoint, quantization, await readBnbStates(checkpoint));
  }

  /** Whether any weight is stored in 8 or 4 bits. */
  get isQuantized(): boolean {
    return [...this.#checkpoint.tensors.keys()].some((name) => this.formatOf(name) !== undefined);
  }

  /** The quantised format that a tensor is stored in; undefined for other tensors, and for unsupported formats. */
  formatOf(name: string): 'nf4' | 'f8_e4m3' | undefined {
    if (this.#checkpoint.tensors.get(name)?.dtype === 'F8_E4M3') return 'f8_e4m3';
    return this.#states.has(name) ? 'nf4' : undefined;
  }

  /** Stored bytes of a tensor and its scales. */
  bytesOf(name: string): number {
    const { tensors } = this.#checkpoint;
    const parts = ['', '.absmax', '.nested_absmax', '_scale_inv'];
    return parts.reduce((sum, part) => sum + (tensors.get(`${name}${part}`)?.byteLength ?? 0), 0);
  }

  /** Shape of the weight, where the file gives that of its packed codes. */
  shapeOf(name: string): readonly number[] {
    const state = this.#states.get(name);
    return state && 'shape' in state ? state.shape : this.#checkpoint.fileOf(name).info(name).shape;
  }

  /** Whether a tensor is a scale or a part of the quant state of a weight that is quantised. */
  isCompanion(name: string): boolean {
    const dtypeOf = (weight: string | undefined): string | undefined =>
      weight === undefined ? undefined : this.#checkpoint.tensors.get(weight)?.dtype;
    // A scale beside a weight that is not quantised is a fault: the weight was converted without it.
    return dtypeOf(fp8WeightOf(name)) === 'F8_E4M3' || ['U8', 'I8'].includes(dtypeOf(bnbWeightOf(name)) ?? '');
  }

  /**
   * A tensor to be streamed into an engine, with its scales where it is quantised.
   * @throws CheckpointError if they are missing or do not fit, or for a dtype that no engine takes
   */
  source(name: string): WeightSource {
    const file = this.#checkpoint.fileOf(name);
    const { dtype } = file.info(name);
    if (dtype === 'F8_E4M3') {
      const quantization = this.#quantization;
      return fp8Source(this.#checkpoint, name, quantization?.method === 'fp8' ? quantization.blockSize : undefined);
    }
    const isPacked = this.#states.has(name) || (['U8', 'I8'].includes(dtype) && name.endsWith('.weight'));
    return isPacked ? bnbSource(this.#checkpoint, name, this.#states.get(name)) : file.source(name);
  }
}
