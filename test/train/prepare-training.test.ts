import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'prepare-training-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

/** What happens in a run of two steps, in order. @param fails how preparing ends */
async function eventsOf(fails = false): Promise<string[]> {
  const model = linearModel();
  const events: string[] = [];
  model.onWindow = (window) => events.push(`window ${window}`);
  Object.assign(model.engine, {
    *prepareTraining(set: unknown) {
      expect(set).toBe(model.trainable);
      events.push('prepares');
      yield;
      if (fails) throw new Error('broken');
      events.push('has prepared');
    },
  });
  await linearTrainer(model, { outputDir, maxSteps: 2, saveStrategy: 'no' }).train();
  return events;
}

it('prepares the engine once, before the first window is computed', async () => {
  expect(await eventsOf()).toEqual(['prepares', 'has prepared', 'window 0', 'window 1']);
});

it('trains where the engine could not prepare', async () => {
  expect(await eventsOf(true)).toEqual(['prepares', 'window 0', 'window 1']);
});
