import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import { type CpuEngine, createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { e4m3ToNumber } from '../../src/formats/float8.js';
import { float32ToBfloat16, roundToDtype } from '../../src/formats/half-precision.js';
import { dequantizedSource, quantizedSource } from '../../src/formats/held-source.js';
import { ShardedCheckpoint, type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import type { WeightSource } from '../../src/formats/weight-source.js';
import { loadModel } from '../../src/model/load.js';
import { BaseDigest } from '../../src/model/network/base-digest.js';

let root: string;
let plain: string;
let folder: string;
let engine: CpuEngine;
let values: Map<string, { shape: readonly number[]; values: Float32Array }>;
let before: Readonly<Record<string, string>>;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'digest-'));
  plain = join(root, 'plain');
  engine = createCpuEngine({ threads: 1 });
  await writeTinyCheckpoint({ outputDir: plain, seed: 5, corpus: ['one two three', 'four'] });
  const checkpoint = await ShardedCheckpoint.open(plain);
  values = new Map();
  for (const { name, shape } of checkpoint.tensors.values()) {
    const rounded = roundToDtype(await checkpoint.readFloat32(name), 'bf16');
    values.set(name, { shape, values: rounded });
  }
  await checkpoint.close();
  folder = plain;
  before = await digests([...values].map(([name, tensor]) => f32(name, tensor)));
});
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'variant-'));
  await cp(plain, folder, { recursive: true });
});
afterAll(async () => {
  await engine.dispose();
  await rm(root, { recursive: true, force: true });
});

type Tensor = { readonly shape: readonly number[]; readonly values: Float32Array };
const f32 = (name: string, { shape, values }: Tensor): TensorToWrite => ({ name, dtype: 'F32', shape, data: values });
const bf16 = (name: string, { shape, values }: Tensor): TensorToWrite => ({
  ...{ name, dtype: 'BF16', shape, data: float32ToBfloat16(values) },
});

/** Of a model of these tensors, in so many files. */
async function digests(tensors: readonly TensorToWrite[], shards = 1): Promise<Readonly<Record<string, string>>> {
  await rm(join(folder, 'model.safetensors'));
  if (shards === 1) await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  else {
    const weightMap: Record<string, string> = {};
    for (let shard = 0; shard < shards; shard++) {
      const part = tensors.filter((_, i) => i % shards === shard);
      await writeSafetensors(join(folder, `part-${shard}.safetensors`), part);
      for (const { name } of part) weightMap[name] = `part-${shard}.safetensors`;
    }
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  }
  return loaded();
}

async function loaded(): Promise<Readonly<Record<string, string>>> {
  const model = await loadModel(folder, { engine, onNotice: () => undefined });
  const { baseModel } = model;
  model.dispose();
  return baseModel!;
}

async function configure(name: string, change: (json: Record<string, unknown>) => void): Promise<void> {
  const path = join(folder, name);
  const json = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
  change(json);
  await writeFile(path, JSON.stringify(json));
}

function sourceOf(
  shape: readonly number[],
  dtype: 'f32' | 'bf16',
  bytes: Uint8Array,
  hold?: WeightSource['hold'],
): WeightSource {
  const read = async (target: Uint8Array, offset = 0): Promise<void> =>
    target.set(bytes.subarray(offset, offset + target.length));
  return { name: 'model.language_model.x.weight', shape, dtype, byteLength: bytes.length, hold, read };
}

describe('the base model of a run', () => {
  it('is told by the values of its weights, not by number format, files, order or folder', async () => {
    for (const part of ['config', 'language', 'vision', 'projector', 'other']) {
      expect(before[part]).toMatch(/^[0-9a-f]{16}$/);
    }
    const halves = [...values].map(([name, tensor]) => bf16(name, tensor));
    expect(await digests(halves)).toEqual(before);
    expect(await digests(halves.reverse(), 3)).toEqual(before);
  });

  it('is another if a weight of a part differs', async () => {
    const changed = async (pattern: RegExp) => {
      const name = [...values.keys()].find((key) => pattern.test(key))!;
      const tensors = [...values].map(([key, tensor]) => {
        if (key !== name) return bf16(key, tensor);
        const other = tensor.values.slice();
        other[0]! += 1;
        return bf16(key, { ...tensor, values: other });
      });
      const now = await digests(tensors);
      folder = await mkdtemp(join(root, 'variant-'));
      await cp(plain, folder, { recursive: true });
      return Object.keys(before).filter((part) => before[part] !== now[part]);
    };
    expect(await changed(/language_model.*layers\.0.*q_proj/)).toEqual(['language']);
    expect(await changed(/language_model\.model\.norm/)).toEqual(['language']);
    expect(await changed(/vision_tower.*attention_norm/)).toEqual(['vision']);
    expect(await changed(/projector.*linear_2/)).toEqual(['projector']);
    expect(await changed(/lm_head/)).toEqual(['other']);
  });

  it('is the same in 4 bits as with the bfloat16 values that these become, whatever pieces are read', async () => {
    const shape = [1, 12_345];
    const values = Float32Array.from({ length: 12_345 }, (_, i) => Math.sin(i));
    const hold = { format: 'nf4', blockSize: 64, doubleQuantization: true } as const;
    const held = await quantizedSource(sourceOf(shape, 'f32', new Uint8Array(values.buffer), hold));
    const bytes = new Uint8Array(2 * values.length);
    await dequantizedSource(held).read(bytes);
    const digestOf = async (source: WeightSource, pieceBytes: number): Promise<unknown> => {
      const digest = new BaseDigest();
      const watched = digest.watch(source);
      for (let at = 0; at < source.byteLength; at += pieceBytes) {
        await watched.source.read(new Uint8Array(Math.min(pieceBytes, source.byteLength - at)), at);
      }
      await watched.done();
      return digest.digests(false);
    };
    const expected = await digestOf(sourceOf(shape, 'bf16', bytes), 1000);
    expect(expected).toMatchObject({ language: expect.stringMatching(/^[0-9a-f]{16}$/) });
    for (const pieceBytes of [6173, 999, 64]) expect(await digestOf(held, pieceBytes)).toEqual(expected);
    bytes[100]! ^= 1;
    expect(await digestOf(sourceOf(shape, 'bf16', bytes), 1000)).not.toEqual(expected);
  });

  it('is the same in 8 bits as with the bfloat16 values that these become', async () => {
    const shape = [...values].find(([name]) => name.endsWith('layers.0.mlp.up_proj.weight'))![1].shape;
    const codes = Uint8Array.from({ length: shape[0]! * shape[1]! }, (_, i) => (i * 7) % 0x7e);
    const name = [...values.keys()].find((key) => key.endsWith('layers.0.mlp.up_proj.weight'))!;
    const others = [...values].filter(([key]) => key !== name).map(([key, tensor]) => bf16(key, tensor));
    const factor = roundToDtype(Float32Array.of(0.013), 'bf16');
    const numbers = roundToDtype(
      Float32Array.from(codes, (code) => e4m3ToNumber(code) * factor[0]!),
      'bf16',
    );
    const inHalves = await digests([...others, bf16(name, { shape, values: numbers })]);
    await configure('config.json', (json) => {
      json['quantization_config'] = { quant_method: 'fp8', weight_block_size: null };
    });
    const scale: TensorToWrite = {
      name: `${name}_scale_inv`,
      dtype: 'BF16',
      shape: [],
      data: float32ToBfloat16(factor),
    };
    expect(await digests([...others, { name, dtype: 'F8_E4M3', shape, data: codes }, scale])).toEqual(inHalves);
    expect(inHalves['language']).not.toBe(before['language']);
  });

  it('is another with other settings that decide what is computed, and only with such', async () => {
    const now = async (change: (json: Record<string, unknown>) => void) => {
      await configure('config.json', change);
      return (await loaded())['config'];
    };
    expect(await now((json) => Object.assign(json, { transformers_version: '9', eos_token_id: 5 }))).toBe(
      before['config'],
    );
    expect(await now((json) => Object.assign(json['text_config'] as object, { rms_norm_eps: 1e-3 }))).not.toBe(
      before['config'],
    );
  });
});

describe('BaseDigest', () => {
  const source = (data: Float32Array): WeightSource => ({
    name: 'lm_head.weight',
    shape: [data.length],
    dtype: 'f32',
    byteLength: 4 * data.length,
    read: async (target, offset = 0) => target.set(new Uint8Array(data.buffer, offset, target.length)),
  });
  /** What comes of reading in pieces of so many bytes, up to the end or not. */
  async function digest(data: Float32Array, piece: number, end = 4 * data.length): Promise<unknown> {
    const base = new BaseDigest();
    const watched = base.watch(source(data));
    for (let at = 0; at < end; at += piece) {
      await watched.source.read(new Uint8Array(Math.min(piece, 4 * data.length - at)), at);
    }
    await watched.done();
    return base.digests(false);
  }

  it('sees pieces of a large tensor, however an engine reads it', async () => {
    const data = Float32Array.from({ length: 100_000 }, (_, i) => i);
    const whole = await digest(data, 4 * data.length);
    for (const piece of [1000, 4096, 33_336]) expect(await digest(data, piece)).toEqual(whole);
    for (const at of [0, 511, 50_000 - 3_000, 99_999]) {
      const other = data.slice();
      other[at] = -1;
      const isSeen = JSON.stringify(await digest(other, 4096)) !== JSON.stringify(whole);
      // One of sixteen pieces, of 512 values each.
      const step = (100_000 - 512) / 15;
      const from = Math.floor(Math.floor(at / step) * step);
      expect([at, isSeen]).toEqual([at, at - from < 512]);
    }
    expect(await digest(new Float32Array(100_001), 4096)).not.toEqual(await digest(new Float32Array(100_000), 4096));
  });

  it('says nothing of a model that the engine has not read', async () => {
    expect(await digest(new Float32Array(100), 40, 0)).toBeUndefined();
    expect(await digest(new Float32Array(100), 40, 360)).toBeUndefined();
    expect(new BaseDigest().digests(true)).toBeUndefined();
  });

  it('takes a tied head for one of the same values', async () => {
    const data = Float32Array.of(1, 2, 3);
    const named = async (names: readonly string[], tied: boolean) => {
      const base = new BaseDigest();
      for (const name of names) {
        const watched = base.watch({ ...source(data), name });
        await watched.source.read(new Uint8Array(12));
        await watched.done();
      }
      return base.digests(tied);
    };
    const embedding = 'model.language_model.embed_tokens.weight';
    expect(await named([embedding], true)).toEqual(await named([embedding, 'lm_head.weight'], false));
  });
});

describe('the tokenizer of a run', () => {
  it('is told by what it does, not by how its file is written', async () => {
    const of = async (change: (json: Record<string, unknown>) => void, name = 'tokenizer.json') => {
      await configure(name, change);
      return (await MinistralTokenizer.fromFolder(folder)).digest;
    };
    type Model = { vocab: Record<string, number>; merges: (string | string[])[] };
    const modelOf = (json: Record<string, unknown>) => json['model'] as Model;
    const first = await of(() => undefined);
    expect(first).toMatch(/^[0-9a-f]{16}$/);
    const rewritten = await of((json) => {
      const model = modelOf(json);
      model.merges = model.merges.map((merge) => (typeof merge === 'string' ? merge.split(' ') : merge.join(' ')));
      model.vocab = Object.fromEntries(Object.entries(model.vocab).reverse());
      Object.assign(model, { fuse_unk: false, dropout: null });
      (json['added_tokens'] as unknown[]).reverse();
      json['version'] = '2.0';
    });
    expect(rewritten).toBe(first);
    const swapped = await of((json) => {
      const { merges } = modelOf(json);
      merges.reverse();
    });
    expect(swapped).not.toBe(first);
    const renamed = await of((json) => {
      const { vocab } = modelOf(json);
      const [a, b] = Object.keys(vocab).sort((x, y) => vocab[y]! - vocab[x]!) as [string, string];
      [vocab[a], vocab[b]] = [vocab[b]!, vocab[a]!];
    });
    expect([first, swapped]).not.toContain(renamed);
    const padded = await of((json) => {
      json['pad_token'] = '<unk>';
    }, 'tokenizer_config.json');
    expect([first, swapped, renamed]).not.toContain(padded);
  });
});
