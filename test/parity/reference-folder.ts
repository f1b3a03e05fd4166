/** A folder of reference values made with transformers and peft, opened. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Message, VlmBatch } from '../../src/data/types.js';
import { SafetensorsFile } from '../../src/formats/safetensors.js';

/** The parts of the JSON files that the checks read. */
export interface ReferenceJson {
  readonly tokenizer: readonly { text: string; ids: number[]; with_special: number[]; decoded: string }[];
  readonly template: { template: string; train: string[]; generation_prompt: string; conversations: Message[][] };
  readonly collated: readonly { image: string; label: number; input_ids: number[]; labels: number[] }[];
  readonly generate: {
    image: string;
    prompt_ids: number[];
    greedy: number[];
    sampling_logits: number[];
    sampling_probs: Record<string, number[]>;
  };
  readonly trainer: {
    args: Record<string, number>;
    micro_batches: number[][];
    log_history: { loss?: number; grad_norm: number; learning_rate: number; step: number }[];
  };
  readonly ropeReal: Record<string, { inv_freq: number[]; attention_scaling: number }>;
  readonly versions: { prompt: string; classes: string[]; params: Record<string, unknown> };
}

export class ReferenceFolder {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
  }

  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  async json<T>(name: string): Promise<T> {
    return JSON.parse(await readFile(this.path(name), 'utf8')) as T;
  }

  async all(): Promise<ReferenceJson> {
    const [tokenizer, template, collated, generate, trainer, ropeReal, versions] = await Promise.all([
      this.json<ReferenceJson['tokenizer']>('tokenizer_cases.json'),
      this.json<ReferenceJson['template']>('template_cases.json'),
      this.json<ReferenceJson['collated']>('collated.json'),
      this.json<ReferenceJson['generate']>('generate.json'),
      this.json<ReferenceJson['trainer']>('trainer.json'),
      this.json<ReferenceJson['ropeReal']>('rope_real.json'),
      this.json<ReferenceJson['versions']>('versions.json'),
    ]);
    return { tokenizer, template, collated, generate, trainer, ropeReal, versions };
  }

  /** Runs `body` with an open safetensors file. */
  async arrays<T>(name: string, body: (file: SafetensorsFile) => Promise<T>): Promise<T> {
    const file = await SafetensorsFile.open(this.path(name));
    try {
      return await body(file);
    } finally {
      await file.close();
    }
  }

  /** The collated batch that forward.safetensors was computed with. */
  async batch(file: SafetensorsFile): Promise<VlmBatch> {
    const integers = async (name: string): Promise<{ data: Int32Array; shape: readonly number[] }> => {
      const data = (await file.readArray(name)) as Iterable<number | bigint>;
      return { data: Int32Array.from(data, Number), shape: file.info(name).shape };
    };
    return {
      inputIds: await integers('input_ids'),
      attentionMask: await integers('attention_mask'),
      labels: await integers('labels'),
      pixelValues: { data: await file.readFloat32('pixel_values'), shape: file.info('pixel_values').shape },
      imageSizes: await integers('image_sizes'),
    };
  }
}

/** Rows of a padded array [B, T, width] at the real tokens. */
export function realRows(values: Float32Array, batch: VlmBatch, width: number): Float32Array {
  const rows: number[] = [];
  for (const [i, real] of batch.attentionMask.data.entries()) if (real) rows.push(i);
  const result = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) result.set(values.subarray(row * width, (row + 1) * width), i * width);
  return result;
}

/** The reference's collator starts every sample with two BOS; this puts the second in front of a right-padded batch. */
export function withSecondBos(batch: VlmBatch, bos: number): VlmBatch {
  const [rows, columns] = batch.inputIds.shape as [number, number];
  const widen = (data: Int32Array, first: number): { data: Int32Array; shape: number[] } => {
    const wide = new Int32Array(rows * (columns + 1));
    for (let b = 0; b < rows; b++) {
      wide[b * (columns + 1)] = first;
      wide.set(data.subarray(b * columns, (b + 1) * columns), b * (columns + 1) + 1);
    }
    return { data: wide, shape: [rows, columns + 1] };
  };
  return {
    ...batch,
    inputIds: widen(batch.inputIds.data, bos),
    attentionMask: widen(batch.attentionMask.data, 1),
    ...(batch.labels ? { labels: widen(batch.labels.data, bos) } : {}),
  };
}
