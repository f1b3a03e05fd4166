/** Writes a checkpoint with the names, shapes and shards of the published ones, and random numbers. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { float32ToBfloat16 } from '../../src/formats/half-precision.js';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import { parseModelConfig } from '../../src/model/parse-config.js';
import { toDiskName } from '../../src/model/tensor-names.js';
import { configJson, randomBlock, SIZES, type Size, shapesOf } from './random-model.js';

const SHARD_BYTES = 5e9;

export interface RandomCheckpointOptions {
  readonly dir: string;
  readonly size: Size;
  /** e4m3: the linear layers of the decoder in 8 bits with scalar scales, as the published FP8 checkpoints. */
  readonly dtype: 'bf16' | 'e4m3';
  /** Decoder layers, to make a smaller one. */
  readonly layers?: number | undefined;
}

type Piece = TensorToWrite & { readonly bytes: number };

/** Writes it and gives the bytes of all tensors. */
export async function writeRandomCheckpoint({ dir, size, dtype, layers }: RandomCheckpointOptions): Promise<number> {
  const json = configJson(size, layers === undefined ? undefined : { text: layers });
  const quantization = {
    quant_method: 'fp8',
    activation_scheme: 'static',
    weight_block_size: null,
    dequantize: false,
    modules_to_not_convert: ['model.vision_tower', 'model.multi_modal_projector', 'lm_head'],
  };
  const config = dtype === 'e4m3' ? { ...json, quantization_config: quantization } : json;
  const numbers = randomBlock();
  // Any code but the two that stand for no number.
  const codes = numbers.map((byte) => ((byte & 0x7f) % 0x7f) | (byte & 0x80));
  const ones = new Uint8Array(new Uint16Array(1 << 15).fill(0x3f80).buffer);
  const repeated = function* (block: Uint8Array, bytes: number): Generator<Uint8Array> {
    for (let done = 0; done < bytes; done += block.length)
      yield block.subarray(0, Math.min(block.length, bytes - done));
  };
  const pieces: Piece[] = [];
  for (const [memoryName, shape] of shapesOf(parseModelConfig(config), SIZES[size].tied)) {
    const name = toDiskName(memoryName);
    const isQuantized = dtype === 'e4m3' && /language_model\.model\.layers\..*_proj\.weight$/.test(name);
    const bytes = sizeOf(shape) * (isQuantized ? 1 : 2);
    const block = isQuantized ? codes : shape.length === 1 ? ones : numbers;
    const stored = isQuantized ? 'F8_E4M3' : 'BF16';
    pieces.push({ name, dtype: stored, shape, bytes, chunks: () => repeated(block, bytes) });
    if (!isQuantized) continue;
    for (const [scale, value] of [
      [`${name}_scale_inv`, 2e-4],
      [name.replace(/weight$/, 'activation_scale'), 0.02],
    ] as const) {
      pieces.push({ name: scale, dtype: 'BF16', shape: [], bytes: 2, data: float32ToBfloat16(Float32Array.of(value)) });
    }
  }
  const shards: Piece[][] = [[]];
  let filled = 0;
  for (const piece of pieces) {
    if (filled > 0 && filled + piece.bytes > SHARD_BYTES) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(piece);
    filled += piece.bytes;
  }
  await mkdir(dir, { recursive: true });
  const number = (value: number): string => String(value).padStart(5, '0');
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(join(dir, file), shard, { format: 'pt' });
    for (const { name } of shard) weightMap[name] = file;
  }
  const total = pieces.reduce((sum, { bytes }) => sum + bytes, 0);
  const index = { metadata: { total_size: total }, weight_map: weightMap };
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify(index));
  await writeFile(join(dir, 'config.json'), JSON.stringify(config, null, 2));
  return total;
}
