/** A tiny model, a Hub and a folder for adapters, made anew for each test file. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { VlmBatch } from '../../src/data/types.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { adaptersOf } from '../../src/lora/adapter-slots.js';
import type { FromPretrainedOptions } from '../../src/pretrained/from-pretrained.js';
import { HubServer } from '../servers/hub-server.js';
import { makeAdapter, makeExamples, makeTinyWorld, type TinyWorld } from './tiny-model.js';

export const OWN_TEMPLATE = `${TUTORIAL_TEMPLATE}{# as trained #}`;

export let world: TinyWorld;
export let server: HubServer;
export let batch: VlmBatch;
export let base: Float32Array;
export let dir: string;
export let options: FromPretrainedOptions;
export const silent = { onWarning: (): void => undefined };

/** To be called once in each test file: hooks belong to the file that sets them up. */
export function useAdapterWorld(): void {
  beforeAll(async () => {
    world = await makeTinyWorld();
    server = await HubServer.start();
    batch = await world.collator.collatePrompts(makeExamples(2));
    base = await world.model.lastLogits(batch);
  });
  afterAll(async () => {
    await server.close();
    await world.dispose();
  });
  beforeEach(() => {
    dir = join(world.dir, `adapter-${Math.random().toString(36).slice(2)}`);
    const cacheDir = join(world.dir, 'cache');
    options = { engine: world.engine, endpoint: server.endpoint, cacheDir, token: false, retryDelayMs: 1, ...silent };
  });
  afterEach(() => {
    server.reset();
    for (const adapter of adaptersOf(world.model).values()) adapter.dispose();
  });
}

export const logits = (model = world.model): Promise<Float32Array> => model.lastLogits(batch);

/** Saves a trained adapter, takes it off again, and gives what the model answered with it. */
export async function saved(
  more: { baseModelNameOrPath?: string; chatTemplate?: string; revision?: string } = {},
  to = dir,
): Promise<Float32Array> {
  const adapter = makeAdapter(world.model);
  const trained = await logits();
  await saveAdapter(adapter, to, { ...more, ...silent });
  adapter.dispose();
  expect(await logits()).toEqual(base);
  return trained;
}

export async function readConfig(folder: string): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(folder, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;
}

export async function filesOf(folder: string): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {};
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isFile()) files[entry.name] = await readFile(join(folder, entry.name));
  }
  return files;
}
