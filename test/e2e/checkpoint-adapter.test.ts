import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CheckpointError } from '../../src/errors.js';
import { loadAdapter, saveAdapter } from '../../src/lora/adapter-file.js';
import type { LoraAdapter } from '../../src/lora/apply-lora.js';
import { mergeAdapter } from '../../src/lora/merge-adapter.js';
import { fromPretrained } from '../../src/pretrained/from-pretrained.js';
import { pushToHub } from '../../src/publish/push-to-hub.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { SftTrainer, type SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, makeTinyWorld, type TinyWorld } from './tiny-model.js';

let world: TinyWorld;
let outputDir: string;
let adapter: LoraAdapter;
/** Logits after each step, and the parameters there. */
const logits: Float32Array[] = [];
const batch = async () => {
  const { collator } = world;
  const dataset = makeDataset(3, 9);
  return collator.collate([await dataset.get(0), await dataset.get(1), await dataset.get(2)]);
};

function trainer(more: Partial<SftTrainerOptions> = {}, config: SftTrainerOptions['config'] = {}): SftTrainer {
  const { model, collator } = world;
  return new SftTrainer({
    ...{ model, collator, trainDataset: makeDataset(6), evalDataset: makeDataset(2, 11) },
    ...more,
    config: {
      ...{ outputDir, progress: 'none', maxSteps: 3, perDeviceTrainBatchSize: 2, learningRate: 0.05 },
      ...{ evalStrategy: 'steps', evalSteps: 1, saveSteps: 1, metricForBestModel: 'score' },
      ...config,
    },
  });
}

const scored = (scores: number[]): Partial<SftTrainerOptions> => {
  const left = [...scores];
  return {
    computeMetrics: async () => {
      logits.push(await world.model.lastLogits(await batch()));
      return { score: left.shift()! };
    },
  };
};

/** What the files of a checkpoint compute when they are put onto a model without an adapter. */
async function logitsOf(checkpoint: string): Promise<Float32Array> {
  adapter.disable();
  const { engine, linearModules } = world.model;
  const copy = await loadAdapter(checkpoint, { engine, linearModules }, { onWarning: () => undefined });
  try {
    return await world.model.lastLogits(await batch());
  } finally {
    copy.dispose();
    adapter.enable();
  }
}

beforeAll(async () => {
  world = await makeTinyWorld();
  adapter = makeAdapter(world.model);
  outputDir = join(world.dir, 'run');
  await trainer(scored([0.1, 0.9, 0.5])).train();
}, 120_000);
afterAll(() => world?.dispose());

describe('a checkpoint of a trainer that was given no `saveAdapter`', () => {
  it('is an adapter that loadAdapter reads, of its own step and with the template of training', async () => {
    for (const step of [1, 2, 3]) {
      const path = join(outputDir, `checkpoint-${step}`);
      expect((await readdir(path)).sort()).toEqual([
        'adapter_config.json',
        'adapter_model.safetensors',
        'chat_template.jinja',
        'checkpoint.sha256',
        'trainer-state.json',
        'training-state.safetensors',
      ]);
      expect(await logitsOf(path)).toEqual(logits[step - 1]);
      const template = await readFile(join(path, 'chat_template.jinja'), 'utf8');
      expect(template).toBe(world.processor.chatTemplate!.source);
    }
  });

  it('is one for fromPretrained and mergeAdapter too', async () => {
    const path = join(outputDir, 'checkpoint-2');
    const { engine } = world;
    const { model, adapter: loaded } = await fromPretrained(path, { engine });
    expect(await model.lastLogits(await batch())).toEqual(logits[1]);
    loaded!.dispose();
    await model.dispose();
    const merged = join(world.dir, 'merged');
    await mergeAdapter({ checkpointDir: world.checkpoint, adapterDir: path, outputDir: merged });
    expect(await readdir(merged)).toContain('model.safetensors');
  });

  it('is written when a run is stopped, for the best step alone, and without the disk when it has room again', async () => {
    const stopped = join(world.dir, 'stopped');
    const controller = new AbortController();
    const run = trainer(scored([0.2, 0.1, 0]), { outputDir: stopped, saveStrategy: 'best' });
    const seen: TrainingEvent[] = [];
    const failed = (async () => {
      for await (const event of run.train({ signal: controller.signal })) {
        seen.push(event);
        if (event.type === 'evaluate' && event.step === 2) controller.abort();
      }
    })();
    await expect(failed).rejects.toThrow();
    const names = (await readdir(stopped)).filter((name) => name.startsWith('checkpoint')).sort();
    expect(names.length).toBeGreaterThan(1);
    for (const name of names) await logitsOf(join(stopped, name));
    expect(await logitsOf(join(stopped, 'checkpoint-1'))).toEqual(logits.at(-2));
  });

  it('keeps what a function of the user writes, and gets the adapter besides', async () => {
    const own = join(world.dir, 'own');
    const more = { saveAdapter: (dir: string) => writeFile(join(dir, 'README.md'), 'mine') };
    await trainer({ ...more, ...scored([1, 1, 1]) }, { outputDir: own, maxSteps: 1 }).train();
    const path = join(own, 'checkpoint-1');
    expect(await readFile(join(path, 'README.md'), 'utf8')).toBe('mine');
    expect(await logitsOf(path)).toEqual(logits.at(-1));
    const full = {
      saveAdapter: (dir: string) => saveAdapter(adapter, dir, { baseModelNameOrPath: 'owner/base' }),
    };
    await trainer({ ...full, ...scored([1, 1, 1]) }, { outputDir: own, maxSteps: 1 }).train();
    const config = JSON.parse(await readFile(join(path, 'adapter_config.json'), 'utf8'));
    expect(config.base_model_name_or_path).toBe('owner/base');
    expect(await readdir(path)).not.toContain('chat_template.jinja');
  });
});

describe('an adapter in a checkpoint whose bits were turned over', () => {
  let path: string;
  beforeAll(async () => {
    path = join(world.dir, 'flipped');
    await cp(join(outputDir, 'checkpoint-2'), path, { recursive: true });
    const file = join(path, 'adapter_model.safetensors');
    const bytes = await readFile(file);
    bytes[bytes.length - 9]! ^= 1;
    await writeFile(file, bytes);
  });

  it.each<[string, () => Promise<unknown>]>([
    ['loadAdapter', () => logitsOf(path)],
    ['fromPretrained', () => fromPretrained(path, { engine: world.engine })],
    [
      'mergeAdapter',
      () => mergeAdapter({ checkpointDir: world.checkpoint, adapterDir: path, outputDir: join(world.dir, 'never') }),
    ],
    ['pushToHub', () => pushToHub(path, 'owner/name', { token: 'hf_x', modelCard: { baseModel: 'owner/base' } })],
  ])('is refused by %s', async (_, use) => {
    const error = await use().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(/flipped is damaged: adapter_model\.safetensors has the SHA-256/);
  });

  it.each(['adapter_config.json', 'chat_template.jinja'])('is refused for another %s', async (name) => {
    const changed = join(world.dir, `changed-${name}`);
    await cp(join(outputDir, 'checkpoint-2'), changed, { recursive: true });
    await writeFile(join(changed, name), `${await readFile(join(changed, name), 'utf8')} `);
    await expect(logitsOf(changed)).rejects.toThrow(`${name} has the SHA-256`);
    await rm(join(changed, 'checkpoint.sha256'));
    await logitsOf(changed);
  });

  it('is sound again where an adapter is saved in its place', async () => {
    await saveAdapter(adapter, path, { onWarning: () => undefined });
    await logitsOf(path);
  });
});
