/** What a plan reads by name: folders, files of conversations, the configuration of a checkpoint. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, DataError } from '../../src/errors.js';
import { plan, type TrainingPlanOptions } from '../../src/plan/plan.js';
import type { TrainingPlan } from '../../src/plan/training-plan.js';
import { writeTinyModel } from '../e2e/tiny-model.js';

let dir: string;
let model: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plan-sources-'));
  model = join(dir, 'model');
  await writeTinyModel(model);
  for (const path of ['xrays/broken/train', 'xrays/healthy/train', 'tests/broken/test', 'tests/healthy/test']) {
    const folder = join(dir, path);
    await mkdir(folder, { recursive: true });
    await sharp({ create: { width: 40, height: 30, channels: 3, background: '#808080' } })
      .png()
      .toFile(join(folder, '1.png'));
  }
  const conversation = {
    messages: [
      { role: 'user', content: 'left?' },
      { role: 'assistant', content: 'right' },
    ],
  };
  await writeFile(join(dir, 'train.jsonl'), `${JSON.stringify(conversation)}\n`);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const told = (trainDataset: string, options: Partial<TrainingPlanOptions> = {}): Promise<TrainingPlan> =>
  plan({ model, trainDataset: join(dir, trainDataset), cards: ['h200'], formats: ['bf16'], ...options });

describe('a plan by names', () => {
  it('asks for each image of a folder with the prompt, or says that it made one', async () => {
    const plain = await told('xrays');
    expect(plain.data).toMatchObject({ samples: 2, images: 2 });
    expect(plain.notes[0]).toContain('no prompt was given');
    const short = await told('xrays', { prompt: 'left?' });
    expect(short.notes.join()).not.toContain('no prompt was given');
    expect(short.data.tokens).toBeLessThan(plain.data.tokens);
    expect(short.data.imageTokens).toBe(plain.data.imageTokens);
  });

  it('reads a file of conversations, which have prompts of their own', async () => {
    expect((await told('train.jsonl')).data).toMatchObject({ samples: 1, images: 0, trainedSamples: 1 });
    await expect(told('train.jsonl', { prompt: 'left?' })).rejects.toThrow(/`prompt` has no effect/);
  });

  it('refuses what holds no training images, and what is no data set', async () => {
    await expect(told('tests')).rejects.toThrow(DataError);
    await expect(told('tests')).rejects.toThrow(/there are no training images/);
    await expect(told('nowhere')).rejects.toThrow(/there is no file or folder/);
    const call = told('x', { trainDataset: 5 as never });
    await expect(call).rejects.toThrow(/expected a data set, a list of samples or a name, got 5/);
  });

  it('leaves longer samples out where a length is given, and takes the template that is asked for', async () => {
    const cut = await told('xrays', { maxLength: 5 });
    expect(cut.data).toMatchObject({ samples: 2, trainedSamples: 0 });
    const tutorial = await told('xrays', { chatTemplate: 'tutorial', prompt: 'left?' });
    expect(tutorial.data.trainedSamples).toBe(2);
  });
});

describe('the model of a plan', () => {
  const changed = async (name: string, change: (config: Record<string, unknown>) => string | undefined) => {
    const folder = join(dir, name);
    await mkdir(folder);
    const config = JSON.parse(await readFile(join(model, 'config.json'), 'utf8')) as Record<string, unknown>;
    const text = change(config);
    if (text !== undefined) await writeFile(join(folder, 'config.json'), text);
    return folder;
  };

  it('is tied where the checkpoint has no head of its own, by its index before its flag', async () => {
    const flag = (tie: boolean) => (config: Record<string, unknown>) =>
      JSON.stringify({ ...config, tie_word_embeddings: tie });
    const parameters = async (folder: string): Promise<number> =>
      (await told('train.jsonl', { model: folder, processor: model })).parameters;
    const tied = await parameters(await changed('tied', flag(true)));
    const untied = await parameters(await changed('untied', flag(false)));
    expect(untied).toBeGreaterThan(tied);
    const indexed = await changed('indexed', flag(true));
    const index = { weight_map: { 'lm_head.weight': 'model.safetensors' } };
    await writeFile(join(indexed, 'model.safetensors.index.json'), JSON.stringify(index));
    expect(await parameters(indexed)).toBe(untied);
  });

  it('needs a configuration that can be read', async () => {
    const damaged = await changed('damaged', () => '{');
    const error = await told('train.jsonl', { model: damaged, processor: model }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toMatch(
      /config\.json cannot be read: .*hint: Give a folder with the config/s,
    );
  });
});
