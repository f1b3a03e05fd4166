/** An engine whose device is gone: nothing on it can be read, so what was saved before is what there is. */
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { EngineError } from '../../src/errors.js';
import { follow, warningsOf } from './follow.js';
import { linearModel, linearTrainer } from './linear-model.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lost-device-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('ends the run with its own error, once, and leaves the last checkpoint to resume from', async () => {
  const model = linearModel();
  const lost = new EngineError('the GPU was lost: its driver was reset', { hint: 'resume' });
  model.onWindow = (window) => {
    if (window !== 3) return;
    const gone = (): never => {
      throw lost;
    };
    Object.assign(model.engine, { readParameters: gone, readOptimizerState: gone, zeroGradients: gone, read: gone });
    throw lost;
  };
  const config = { outputDir: folder, saveSteps: 1, loggingSteps: 1 };
  const { events, error } = await follow(linearTrainer(model, config).train());
  expect(error).toBe(lost);
  expect(warningsOf(events).filter((line) => line.includes('cannot save'))).toEqual([]);
  const saved = (await readdir(folder)).filter((name) => /^checkpoint-\d+$/.test(name)).sort();
  expect(saved.length).toBeGreaterThan(0);
  const again = await follow(linearTrainer(linearModel(), config).train({ resumeFromCheckpoint: true }));
  expect(again.error).toBeUndefined();
  expect(again.events.at(-1)).toMatchObject({ output: { globalStep: 6 } });
});
