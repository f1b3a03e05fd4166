/**
 * What a merged checkpoint holds: the tensors of its base in their dtypes; of a base in 8 or 4 bits, bfloat16 weights
 * without scales, and a config.json without `quantization_config`.
 */
import { basename, join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { writeFileAtomically } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';
import { dequantizedSource, type HeldSource } from '../formats/held-source.js';
import { parseQuantization, QuantizedCheckpoint } from '../formats/quantized-checkpoint.js';
import { FILE_DTYPES, type SafetensorsDType, type ShardedCheckpoint } from '../formats/safetensors.js';

export interface WrittenTensor {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  readonly byteLength: number;
  read(target: Uint8Array, offset: number): Promise<void>;
}

/** An output head that the base shares with its embedding, and the merged checkpoint does not. */
export interface UntiedHead {
  /** Name of the new tensor, in the spelling of the file. */
  readonly name: string;
  /** Stored name of the embedding, which it starts from. */
  readonly embedding: string;
}

export class MergeOutput {
  /** By name, in the order of the base. */
  readonly tensors: ReadonlyMap<string, WrittenTensor>;
  readonly #checkpoint: ShardedCheckpoint;
  readonly #quantized: QuantizedCheckpoint;
  /** The changed config.json; undefined if it stays as it is. */
  readonly #config: Record<string, unknown> | undefined;
  /** Shard of each tensor, by file name. */
  readonly #shards = new Map<string, string>();
  readonly #changesIndex: boolean;
  readonly #untied: UntiedHead | undefined;

  private constructor(
    checkpoint: ShardedCheckpoint,
    config: Record<string, unknown> | undefined,
    quantized: QuantizedCheckpoint,
    isQuantized: boolean,
    untied: UntiedHead | undefined,
  ) {
    this.#checkpoint = checkpoint;
    this.#config = config;
    this.#quantized = quantized;
    this.#changesIndex = isQuantized || untied !== undefined;
    const tensors = new Map<string, WrittenTensor>();
    for (const { name, dtype, shape, byteLength } of checkpoint.tensors.values()) {
      if (isQuantized && quantized.isCompanion(name)) continue;
      this.#shards.set(name, basename(checkpoint.fileOf(name).path));
      // For packed weights that are not supported NF4, `source` throws: without their companions they are useless.
      if (quantized.formatOf(name) || (isQuantized && (dtype === 'U8' || dtype === 'I8'))) {
        const held = this.source(name);
        const { shape, byteLength, read } = held;
        tensors.set(name, { name, dtype: FILE_DTYPES[held.dtype], shape, byteLength, read });
      } else {
        const file = checkpoint.fileOf(name);
        const read = (target: Uint8Array, offset: number): Promise<void> => file.readBytes(name, target, offset);
        tensors.set(name, { name, dtype, shape, byteLength, read });
      }
    }
    if (untied) {
      tensors.set(untied.name, { ...tensors.get(untied.embedding)!, name: untied.name });
      this.#shards.set(untied.name, this.#shards.get(untied.embedding)!);
    }
    this.tensors = tensors;
    this.#untied = untied;
  }

  /**
   * @param head whether the output head changes, which then is no longer that of the embedding
   * @throws CheckpointError if 8-bit or 4-bit weights are stored in an unsupported way
   */
  static async of(
    checkpoint: ShardedCheckpoint,
    head: { readonly changes: boolean; readonly untied?: UntiedHead | undefined } = { changes: false },
  ): Promise<MergeOutput> {
    const plain = await QuantizedCheckpoint.of(checkpoint, undefined);
    const isQuantized = plain.isQuantized;
    if (!isQuantized && !head.changes) return new MergeOutput(checkpoint, undefined, plain, false, undefined);
    const path = join(checkpoint.directory, 'config.json');
    const what = isQuantized ? 'how the weights are quantised' : 'whether embedding and output head are tied';
    const json = await readJson(path).catch((cause: Error) => {
      const reason = `cannot be read as JSON: ${cause.message}`;
      throw new CheckpointError(`${path}, which says ${what}, ${reason}`, { cause });
    });
    if (typeof json !== 'object' || json === null) throw new CheckpointError(`${path} holds no JSON object`);
    const config = json as Record<string, unknown>;
    const faults: string[] = [];
    const quantization = isQuantized ? parseQuantization(config.quantization_config, faults) : undefined;
    if (faults.length > 0) throw new CheckpointError(`${path} cannot be used:\n  - ${faults.join('\n  - ')}`);
    const quantized = isQuantized ? await QuantizedCheckpoint.of(checkpoint, quantization) : plain;
    const { quantization_config: _, ...others } = config;
    const changed = { ...(isQuantized ? others : config), ...(head.changes ? untie(config) : {}) };
    return new MergeOutput(checkpoint, changed, quantized, isQuantized, head.untied);
  }

  /** Tensors of one file of the base, as they are written, in its order. */
  inFile(path: string): WrittenTensor[] {
    const shard = basename(path);
    return [...this.tensors.values()].filter(({ name }) => this.#shards.get(name) === shard);
  }

  /** Bytes of all tensors. */
  get bytes(): number {
    return [...this.tensors.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** A weight in the format in which it is merged and written. */
  source(name: string): HeldSource {
    const stored = name === this.#untied?.name ? this.#untied.embedding : name;
    const source = dequantizedSource(this.#quantized.source(stored));
    return stored === name ? source : { ...source, name };
  }

  /** Writes over config.json and the index of the shards where they no longer hold. */
  async writeJson(folder: string): Promise<void> {
    if (!this.#config) return;
    const write = (name: string, value: unknown): Promise<void> =>
      // In place of a copy that may be read-only, as its original.
      writeFileAtomically(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
    await write('config.json', this.#config);
    const { indexFile } = this.#checkpoint;
    if (indexFile === undefined || !this.#changesIndex) return;
    const weightMap = Object.fromEntries([...this.tensors.keys()].map((name) => [name, this.#shards.get(name)]));
    await write(indexFile, { metadata: { total_size: this.bytes }, weight_map: weightMap });
  }
}

/** What config.json says of a head with weights of its own: else a reader would tie it again. */
function untie(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const text = config.text_config;
  const nested = typeof text === 'object' && text !== null && 'tie_word_embeddings' in text;
  return {
    tie_word_embeddings: false,
    ...(nested ? { text_config: { ...text, tie_word_embeddings: false } } : {}),
  };
}
