import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { float32ToBfloat16, float32ToFloat16, roundToDtype } from '../../src/formats/half-precision.js';
import { FILE_DTYPES, ShardedCheckpoint, type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import type { DType } from '../../src/formats/weight-source.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { mergedWeight } from '../../src/lora/merged-weight.js';
import { toDiskName } from '../../src/model/tensor-names.js';
import { FakeEngine, fakeModel, linearShapes, someNumbers } from './fake-engine.js';

let folder: string;
let base: string;
let out: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'merge-'));
  base = join(folder, 'base');
  out = join(folder, 'out');
  await mkdir(base);
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const store: Record<DType, (values: Float32Array) => ArrayBufferView> = {
  f32: (values) => values,
  bf16: (values) => float32ToBfloat16(values),
  f16: (values) => float32ToFloat16(values),
};

/** A checkpoint of the fake model with published names in two shards, tied. Gives the weights by module name. */
async function writeBase(dtype: DType): Promise<Map<string, Float32Array>> {
  const weights = new Map<string, Float32Array>();
  const tensors = linearShapes(2).map(([name, rows, inner], i): TensorToWrite => {
    const values = roundToDtype(someNumbers(rows * inner, i), dtype);
    weights.set(name, values);
    return {
      name: toDiskName(`${name}.weight`),
      dtype: FILE_DTYPES[dtype],
      shape: [rows, inner],
      data: store[dtype](values),
    };
  });
  const norm = {
    name: 'language_model.model.norm.weight',
    dtype: 'F32',
    shape: [12],
    data: someNumbers(12, 99),
  } as const;
  const table = {
    name: 'language_model.model.embed_tokens.weight',
    dtype: 'F32',
    shape: [5, 12],
    data: someNumbers(60, 98),
  } as const;
  const shards = [tensors.slice(0, 11), [...tensors.slice(11), norm, table]];
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `model-0000${i + 1}-of-00002.safetensors`;
    await writeSafetensors(join(base, file), shard, { format: 'pt' });
    for (const { name } of shard) weightMap[name] = file;
  }
  await writeFile(join(base, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  for (const name of ['config.json', 'tokenizer.json', 'chat_template.jinja', 'params.json', 'README.md', 'old.bin']) {
    await writeFile(join(base, name), name);
  }
  return weights;
}

function trained(options: LoraConfigOptions): LoraAdapter {
  const model = fakeModel();
  const adapter = applyLora(model, options);
  model.engine.writeParameters(adapter.parameters, someNumbers(adapter.parameters.size, 5));
  return adapter;
}

/** W + scale · B·A element by element, in double precision. */
function naive(
  weight: Float32Array,
  inner: number,
  r: number,
  scale: number,
  a: Float32Array,
  b: Float32Array,
): number[] {
  return Array.from(weight, (value, index) => {
    const [row, column] = [Math.floor(index / inner), index % inner];
    let product = 0;
    for (let k = 0; k < r; k++) product += b[row * r + k]! * a[k * inner + column]!;
    return value + scale * product;
  });
}

describe('mergedWeight', () => {
  it.each([1, 2, 3, 4, 5, 7, 8, 16])('adds a product of rank %i, row block by row block', (r) => {
    const [rows, inner] = [6, 13];
    const [weight, a, b] = [someNumbers(rows * inner, 1), someNumbers(r * inner, 2), someNumbers(rows * r, 3)];
    const merged = mergedWeight(weight, inner, { r, scale: 1.7, a, b });
    const expected = naive(weight, inner, r, 1.7, a, b);
    const worst = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - merged[i]!)), 0);
    expect(worst).toBeLessThan(1e-6);
    for (const first of [2, 3]) {
      const rest = mergedWeight(weight.subarray(first * inner), inner, { r, scale: 1.7, a, b: b.subarray(first * r) });
      expect(rest).toEqual(merged.subarray(first * inner));
    }
  });
});

describe('mergeAdapter', () => {
  it.each<DType>(['f32', 'bf16', 'f16'])(
    'rounds once to %s, and keeps names, shards and all other tensors',
    async (dtype) => {
      const weights = await writeBase(dtype);
      const adapter = trained({ r: 3, alpha: 5, targetModules: 'all-linear', excludeModules: ['k_proj'] });
      await saveAdapter(adapter, join(folder, 'adapter'));
      const seen: number[] = [];
      const result = await mergeAdapter({
        checkpointDir: base,
        adapterDir: join(folder, 'adapter'),
        outputDir: out,
        onProgress: ({ bytesDone }) => seen.push(bytesDone),
      });
      expect(result.mergedModules).toBe(27);
      expect(seen).toHaveLength(result.tensors);
      expect(seen.at(-1)).toBe(result.bytes);
      expect(result.files).toEqual([
        'chat_template.jinja',
        'config.json',
        'model-00001-of-00002.safetensors',
        'model-00002-of-00002.safetensors',
        'model.safetensors.index.json',
        'tokenizer.json',
      ]);

      const [before, after] = [await ShardedCheckpoint.open(base), await ShardedCheckpoint.open(out)];
      expect([...after.tensors.values()]).toEqual([...before.tensors.values()]);
      const values = await adapter.readValues();
      for (const [name, weight] of weights) {
        const entry = adapter.modules.find(({ module }) => module.name === name);
        const merged = await after.readFloat32(toDiskName(`${name}.weight`));
        if (!entry) {
          expect(merged).toEqual(weight);
          continue;
        }
        const [a, b] = [values.get(entry.a.name)!, values.get(entry.b.name)!];
        const exact = naive(weight, entry.module.weight.shape[1]!, 3, 5 / 3, a, b);
        // One rounding: the stored number is the nearest one to the float32 sum, itself within 1e-6 of the exact sum.
        const unit = { f32: 0, bf16: 2 ** -9, f16: 2 ** -12 }[dtype];
        const isNear = (value: number, i: number) => Math.abs(merged[i]! - value) <= 2 * Math.abs(value) * unit + 1e-6;
        expect(exact.every(isNear)).toBe(true);
      }
      expect(await after.readFloat32('language_model.model.norm.weight')).toEqual(someNumbers(12, 99));
      expect(after.tensors.has('language_model.lm_head.weight')).toBe(false);
      await Promise.all([before.close(), after.close()]);
    },
  );

  it('merges a layer that comes in several chunks', async () => {
    const [rows, inner] = [300_001, 8];
    const name = 'model.language_model.layers.0.self_attn.q_proj';
    const weight = someNumbers(rows * inner, 1);
    const data = store.f32(weight);
    await writeSafetensors(join(base, 'model.safetensors'), [
      { name: `${name}.weight`, dtype: 'F32', shape: [rows, inner], data },
    ]);
    const engine = new FakeEngine();
    const module = { name, index: 0, weight: { name, shape: [rows, inner], dtype: 'f32' }, bias: undefined } as const;
    const adapter = applyLora({ engine, linearModules: [{ ...module, lora: undefined }] }, { r: 5, alpha: 5 });
    const values = someNumbers(adapter.parameters.size, 2);
    engine.writeParameters(adapter.parameters, values);
    await mergeAdapter({ checkpointDir: base, adapter, outputDir: out });
    const after = await ShardedCheckpoint.open(out);
    const merged = await after.readFloat32(`${name}.weight`);
    await after.close();
    const [a, b] = [values.subarray(0, 5 * inner), values.subarray(5 * inner)];
    const expected = naive(weight, inner, 5, 1, a, b);
    let worst = 0;
    for (const [i, value] of expected.entries()) worst = Math.max(worst, Math.abs(value - merged[i]!));
    expect(worst).toBeLessThan(1e-6);
  });

  it('gives the same bytes from an adapter in memory', async () => {
    await writeBase('bf16');
    const adapter = trained({ r: 2, useRslora: true, rankPattern: { q_proj: 4 } });
    await saveAdapter(adapter, join(folder, 'adapter'));
    await mergeAdapter({ checkpointDir: base, adapter, outputDir: out });
    const other = join(folder, 'deep', 'other');
    await mergeAdapter({ checkpointDir: base, adapterDir: join(folder, 'adapter'), outputDir: other });
    for (const name of await readdir(out))
      expect(await readFile(join(out, name))).toEqual(await readFile(join(other, name)));
  });

  it('follows links into the store of the Hub, and refuses those that lead elsewhere', async () => {
    await writeBase('bf16');
    const adapter = trained({ r: 2 });
    const [snapshot, blobs] = [join(folder, 'hub', 'snapshots', 'abc'), join(folder, 'hub', 'blobs')];
    await mkdir(blobs, { recursive: true });
    await cp(base, snapshot, { recursive: true });
    await rename(join(snapshot, 'config.json'), join(blobs, '1234'));
    await symlink(join('..', '..', 'blobs', '1234'), join(snapshot, 'config.json'));
    await mergeAdapter({ checkpointDir: snapshot, adapter, outputDir: out });
    expect(await readFile(join(out, 'config.json'), 'utf8')).toBe('config.json');

    const secret = join(folder, 'secret');
    await writeFile(secret, 'not to be published');
    for (const target of [secret, '/dev/zero', join(folder, 'none')]) {
      await symlink(target, join(snapshot, 'notes.txt'));
      const outputDir = join(folder, 'other');
      await expect(mergeAdapter({ checkpointDir: snapshot, adapter, outputDir })).rejects.toThrow(
        /notes\.txt: a symbolic link (to .*, which does not belong|that cannot be followed)/,
      );
      expect(await readdir(folder)).not.toContain('other');
      await rm(join(snapshot, 'notes.txt'));
    }
  });

  it('refuses output folders that are not free, and leaves nothing there', async () => {
    await writeBase('f32');
    const adapter = trained({ r: 2 });
    const merge = (outputDir: string) => mergeAdapter({ checkpointDir: base, adapter, outputDir });
    const before = (await readdir(base)).sort();
    await expect(merge(base)).rejects.toThrow(/lies in the source folder/);
    await expect(merge(join(base, '.', 'merged'))).rejects.toThrow(/lies in the source folder/);
    await mkdir(out);
    await writeFile(join(out, 'keep.txt'), 'x');
    await expect(merge(out)).rejects.toThrow(/not empty: it holds keep.txt/);
    await rm(join(out, 'keep.txt'));
    expect((await merge(out)).mergedModules).toBe(28);
    expect((await readdir(base)).sort()).toEqual(before);
    expect((await readdir(folder)).sort()).toEqual(['base', 'out']);
  });

  it('lets one of two merges into one folder begin', async () => {
    await writeBase('f32');
    const merge = () => mergeAdapter({ checkpointDir: base, adapter: trained({ r: 2 }), outputDir: out });
    const results = await Promise.allSettled([merge(), merge(), merge()]);
    const refused = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
    expect(refused).toHaveLength(2);
    for (const text of refused)
      expect(text).toMatch(/CheckpointError.*(is being written by a merge: this process|is not empty)/);
    expect((await readdir(folder)).sort()).toEqual(['base', 'out']);
    expect(await readdir(out)).toContain('model-00002-of-00002.safetensors');
  });

  it('refuses a merged weight that its dtype cannot hold', async () => {
    await writeBase('f16');
    const model = fakeModel();
    const adapter = applyLora(model, { r: 2 });
    model.engine.writeParameters(adapter.parameters, new Float32Array(adapter.parameters.size).fill(200));
    await expect(mergeAdapter({ checkpointDir: base, adapter, outputDir: out })).rejects.toMatchObject({
      message: expect.stringMatching(/has an element [3-9]\d{5}/),
      hint: 'That is more than f16 holds: the training has diverged, or the base is to be stored as bfloat16 first.',
      details: { name: expect.stringMatching(/\.weight$/) },
    });
    expect(await readdir(folder)).toEqual(['base']);
  });

  it('cleans up when it fails on the way', async () => {
    await writeBase('f32');
    const model = fakeModel();
    const adapter = applyLora(model, { r: 2, towers: 'vision' });
    const broken = someNumbers(adapter.parameters.size, 1);
    broken[broken.length - 1] = NaN;
    model.engine.writeParameters(adapter.parameters, broken);
    await expect(mergeAdapter({ checkpointDir: base, adapter, outputDir: out })).rejects.toMatchObject({
      message: expect.stringMatching(/vision_tower.*down_proj.weight: the merged weight has an element NaN/),
      hint: expect.stringMatching(/^The base weight or the adapter holds values that are not finite\./),
    });
    const abort = new AbortController();
    const onProgress = (): void => abort.abort();
    const options = {
      checkpointDir: base,
      adapter: trained({ r: 2 }),
      outputDir: out,
      onProgress,
      signal: abort.signal,
    };
    await expect(mergeAdapter(options)).rejects.toThrow(/abort/i);
    expect(await readdir(folder)).toEqual(['base']);
  });

  it('names a base whose weights are packed by another method, before it compares shapes', async () => {
    await writeBase('f32');
    const merge = () => mergeAdapter({ checkpointDir: base, adapter: trained({ r: 2 }), outputDir: out });
    for (const method of ['awq', 'gptq', 'compressed-tensors']) {
      const config = JSON.stringify({ quantization_config: { quant_method: method } });
      await writeFile(join(base, 'config.json'), config);
      await expect(merge()).rejects.toThrow(new RegExp(`quantised \\("${method}"\\)[\\s\\S]*16 bits, FP8 or NF4`));
    }
    await writeFile(join(base, 'config.json'), JSON.stringify({ quantization_config: null }));
    expect((await merge()).mergedModules).toBeGreaterThan(0);
  });

  it('refuses adapters of another model, and quantised weights', async () => {
    await writeBase('f32');
    const model = fakeModel({ layers: 3 });
    const adapter = applyLora(model, { r: 2 });
    const merge = () => mergeAdapter({ checkpointDir: base, adapter, outputDir: out });
    await expect(merge()).rejects.toThrow(/layers.2.self_attn.q_proj: the checkpoint has no such layer/);
    await expect(mergeAdapter({ checkpointDir: base, outputDir: out })).rejects.toThrow(/either/);
    const tensors = linearShapes(3).map(([name, rows, inner]): TensorToWrite => {
      return { name: `${name}.weight`, dtype: 'F8_E4M3', shape: [rows, inner], data: new Uint8Array(rows * inner) };
    });
    await writeSafetensors(join(base, 'model.safetensors'), tensors);
    await expect(merge()).rejects.toThrow(/config.json, which says how the weights are quantised/);
    await writeFile(join(base, 'config.json'), '{"quantization_config": {"quant_method": "fp8"}}');
    await expect(merge()).rejects.toThrow(/stored as F8_E4M3 \[12, 20\] without ".*weight_scale_inv"/);
    const several = { quant_method: 'fp8', weight_block_size: 5, activation_scheme: 7 };
    await writeFile(join(base, 'config.json'), JSON.stringify({ quantization_config: several }));
    await expect(merge()).rejects.toThrow(/config\.json cannot be used:\n {2}- .*quantization_config/);
    expect(await readdir(folder)).toEqual(['base']);
  });
});
