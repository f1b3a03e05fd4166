import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VlmBatch } from '../../src/data/types.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import { SafetensorsFile, ShardedCheckpoint, writeSafetensors } from '../../src/formats/safetensors.js';
import { sizeOf } from '../../src/formats/weight-source.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { generateTokens } from '../../src/model/generate.js';
import { loadModel } from '../../src/model/load.js';
import type { VisionLanguageModel } from '../../src/model/network/vision-language-model.js';
import { parseModelConfig } from '../../src/model/parse-config.js';
import { toDiskName } from '../../src/model/tensor-names.js';
import { counterHash } from '../../src/random.js';
import { countLabels } from '../../src/train/trainable-model.js';
import { accumulateGradients } from '../../src/train/window-step.js';
import { shapesOf } from '../bench/random-model.js';
import { relativeL2 } from '../parity/check-list.js';

// What transformers and peft compute, made by test/fixtures/make-mistral-small.py.
const fixture = (name: string): URL => new URL(`../fixtures/mistral-small/${name}`, import.meta.url);
const expected = JSON.parse(await readFile(fixture('expected.json'), 'utf8')) as {
  input_ids: number[][];
  attention_mask: number[][];
  labels: number[][];
  image_sizes: [number, number][];
  loss: number;
  lastLogits: number[][];
  logitNorms: number[];
  gradients: Record<string, { norm: number; projection: number }>;
  answer: number[];
  losses: number[];
  norms: number[];
  lossAfter: number;
};
const SIDE = 56;

/** As the Python program's: scale times numbers in [-1, 1) that depend on the name and the place alone. */
function noise(name: string, size: number, scale: number): Float32Array {
  let seed = 0x811c9dc5;
  for (const byte of Buffer.from(name)) seed = Math.imul(seed ^ byte, 0x01000193) >>> 0;
  return Float32Array.from({ length: size }, (_, i) => scale * (counterHash(seed, i) / 2 ** 31 - 1));
}

async function writeCheckpoint(dir: string, spelled: (name: string) => string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const config = await readFile(fixture('config.json'), 'utf8');
  const tensors = [...shapesOf(parseModelConfig(JSON.parse(config)), false)].map(([name, shape]) => {
    const isNorm = shape.length === 1;
    const data = noise(name, sizeOf(shape), isNorm ? 0.3 : 0.5);
    return { name: spelled(name), dtype: 'F32' as const, shape, data: isNorm ? data.map((value) => value + 1) : data };
  });
  const weightMap: Record<string, string> = {};
  for (const part of [0, 1]) {
    const file = `model-0000${part + 1}-of-00002.safetensors`;
    const shard = tensors.filter((_, i) => i % 2 === part);
    await writeSafetensors(join(dir, file), shard);
    for (const { name } of shard) weightMap[name] = file;
  }
  await writeFile(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  await writeFile(join(dir, 'config.json'), config);
  // The same weights once more, as the published repositories have them.
  await writeFile(join(dir, 'params.json'), '{}');
  await writeSafetensors(join(dir, 'consolidated.safetensors'), [
    { name: 'norm.weight', dtype: 'F32', shape: [1], data: new Float32Array(1) },
  ]);
}

function batchOf(columns = expected.input_ids[0]!.length, rows = expected.input_ids.length): VlmBatch {
  const integers = (values: readonly number[][]) => ({
    data: Int32Array.from(values.slice(0, rows).flatMap((row) => row.slice(0, columns))),
    shape: [rows, columns],
  });
  const sizes = expected.image_sizes.slice(0, rows);
  const pixels = new Float32Array(rows * 3 * SIDE * SIDE);
  for (const [n, [height, width]] of sizes.entries()) {
    const values = noise(`pixels.${n}`, 3 * height * width, 2);
    for (let line = 0; line < 3 * height; line++) {
      const [channel, y] = [Math.floor(line / height), line % height];
      pixels.set(values.subarray(line * width, (line + 1) * width), ((n * 3 + channel) * SIDE + y) * SIDE);
    }
  }
  return {
    inputIds: integers(expected.input_ids),
    attentionMask: integers(expected.attention_mask),
    labels: integers(expected.labels),
    pixelValues: { data: pixels, shape: [rows, 3, SIDE, SIDE] },
    imageSizes: { data: Int32Array.from(sizes.flat()), shape: [rows, 2] },
  };
}

const engine = createCpuEngine({ threads: 1 });
let root: string;
let checkpoint: string;
let model: VisionLanguageModel;
let adapter: LoraAdapter;
const batch = batchOf();

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'mistral-small-'));
  checkpoint = join(root, 'published');
  await writeCheckpoint(checkpoint, toDiskName);
  model = await loadModel(checkpoint, { engine });
  adapter = applyLora(model, { r: 3, alpha: 5, dropout: 0, targetModules: [...LAYER_PROJECTIONS] });
  resetAdapter();
});
afterAll(async () => {
  await engine.dispose();
  await rm(root, { recursive: true, force: true });
});

function resetAdapter(): void {
  const flat = new Float32Array(adapter.parameters.size);
  for (const { name, offset, size } of adapter.parameters.parameters) flat.set(noise(name, size, 0.3), offset);
  engine.writeParameters(adapter.parameters, flat);
}

async function accumulate(): Promise<number> {
  engine.zeroGradients(adapter.parameters);
  const options = { labelCount: countLabels(batch), dropoutSeeds: [0], gradientCheckpointing: false };
  return (await accumulateGradients(model, [batch], options))();
}

describe('a small Mistral Small computes what transformers and peft compute', () => {
  it('logits, from either spelling of its tensors', async () => {
    expect(relativeL2(await model.lastLogits(batch), expected.lastLogits.flat())).toBeLessThan(1e-5);
    const other = join(root, 'memory-names');
    await writeCheckpoint(other, (name) => name);
    const bases = await Promise.all([checkpoint, other].map((dir) => loadModel(dir, { engine })));
    const [plain, renamed] = [await bases[0]!.lastLogits(batch), await bases[1]!.lastLogits(batch)];
    expect(renamed).toEqual(plain);
    for (const base of bases) base.dispose();
    const packed = model.pack(batch);
    const all = await model.rowLogits(packed, Int32Array.from(packed.ids.keys()));
    const width = model.config.text.vocabSize;
    const norms = expected.logitNorms.map((_, i) =>
      Math.hypot(...all.subarray(packed.starts[i]! * width, packed.starts[i + 1]! * width)),
    );
    expect(relativeL2(norms, expected.logitNorms)).toBeLessThan(1e-5);
  });

  it('loss, and the gradient of every adapter tensor', async () => {
    expect(Math.abs((await accumulate()) - expected.loss)).toBeLessThan(1e-5);
    const flat = await engine.readGradients(adapter.parameters);
    const { parameters } = adapter.parameters;
    expect(parameters.map(({ name }) => name).sort()).toEqual(Object.keys(expected.gradients).sort());
    for (const { name, offset, size } of parameters) {
      const gradient = flat.subarray(offset, offset + size);
      const { norm, projection } = expected.gradients[name]!;
      const along = noise(name, size, 1).reduce((sum, value, i) => sum + value * gradient[i]!, 0);
      expect([name, Math.abs(Math.hypot(...gradient) / norm - 1) < 1e-4]).toEqual([name, true]);
      expect([name, Math.abs(along - projection) < 1e-4 * norm]).toEqual([name, true]);
    }
  });

  it('an answer, token by token', async () => {
    const { labels: _, ...prompt } = batchOf(18, 1);
    const ids: number[] = [];
    for await (const { id } of generateTokens(model, prompt, { maxNewTokens: expected.answer.length })) ids.push(id);
    expect(ids).toEqual(expected.answer);
  });

  it('the same with the adapter merged into the files, under the names that these have', async () => {
    const outputDir = join(root, 'merged');
    await mergeAdapter({ checkpointDir: checkpoint, adapter, outputDir });
    const [before, after] = await Promise.all([checkpoint, outputDir].map((dir) => ShardedCheckpoint.open(dir)));
    expect([...after!.tensors.keys()]).toEqual([...before!.tensors.keys()]);
    expect([...after!.tensors.keys()]).toContain('language_model.model.layers.1.mlp.down_proj.weight');
    await Promise.all([before!.close(), after!.close()]);
    const merged = await loadModel(outputDir, { engine });
    expect(relativeL2(await merged.lastLogits(batch), expected.lastLogits.flat())).toBeLessThan(1e-5);
    merged.dispose();
  });

  it('three clipped AdamW steps, and what of them is saved carries the names of PEFT', async () => {
    const state = engine.createOptimizerState(adapter.parameters, 'adamw');
    const step = { kind: 'adamw', learningRate: 1e-2, beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const;
    for (const [i, norm] of expected.norms.entries()) {
      expect(Math.abs((await accumulate()) / expected.losses[i]! - 1)).toBeLessThan(1e-4);
      const options = { ...step, weightDecay: 0.1, maxGradNorm: 0.3 };
      expect(Math.abs((await engine.optimizerStep(adapter.parameters, state, options)()) / norm - 1)).toBeLessThan(
        1e-4,
      );
    }
    expect(Math.abs((await accumulate()) / expected.lossAfter - 1)).toBeLessThan(1e-4);
    const dir = join(root, 'adapter');
    await saveAdapter(adapter, dir);
    const config = JSON.parse(await readFile(join(dir, 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ base_model_name_or_path: checkpoint, peft_type: 'LORA', r: 3, lora_alpha: 5 });
    const file = await SafetensorsFile.open(join(dir, 'adapter_model.safetensors'));
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(expected.gradients).sort());
    await file.close();
    resetAdapter();
  });
});
