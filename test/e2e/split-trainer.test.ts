/** A run over two engines saves what a run on one does, and each goes on where the other stopped. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { createCpuEngine } from '../../src/engine/cpu/cpu-engine.js';
import type { Engine } from '../../src/engine/engine.js';
import { SplitEngine } from '../../src/engine/split/split-engine.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { SftTrainer } from '../../src/train/sft-trainer.js';
import { makeAdapter, makeDataset, writeTinyModel } from './tiny-model.js';

const MIB = 2 ** 20;
let dir: string;
let checkpoint: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'split-trainer-'));
  checkpoint = join(dir, 'model');
  await writeTinyModel(checkpoint);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const one = (): Engine => createCpuEngine({ threads: 1 });
const two = (): Engine =>
  new SplitEngine([96, 64].map((room) => createCpuEngine({ threads: 1, maxBytes: room * MIB })));

/** The adapter of the last checkpoint. */
async function run(engine: Engine, outputDir: string, resumeFromCheckpoint?: string): Promise<Buffer> {
  const model = await loadModel(checkpoint, { engine });
  makeAdapter(model, 0.1);
  const processor = await loadProcessor(checkpoint);
  const trainer = new SftTrainer({
    model,
    collator: new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! }),
    trainDataset: makeDataset(6),
    config: {
      ...{ outputDir, progress: 'none', maxSteps: 3, perDeviceTrainBatchSize: 2, learningRate: 0.05 },
      ...{ saveStrategy: 'steps', saveSteps: 1, saveTotalLimit: 5, maxGradNorm: 0 },
    },
  });
  await trainer.train(resumeFromCheckpoint === undefined ? {} : { resumeFromCheckpoint });
  await model.dispose();
  await engine.dispose();
  return readFile(join(outputDir, 'checkpoint-3', 'adapter_model.safetensors'));
}

describe('a run over two engines', () => {
  it('saves the adapter of a run on one, and goes on where one stopped', async () => {
    const [ofOne, ofTwo] = [join(dir, 'one'), join(dir, 'two')];
    const straight = await run(one(), ofOne);
    expect((await run(two(), ofTwo)).equals(straight)).toBe(true);
    expect((await run(two(), join(dir, 'three'), join(ofOne, 'checkpoint-1'))).equals(straight)).toBe(true);
    expect((await run(one(), join(dir, 'four'), join(ofTwo, 'checkpoint-2'))).equals(straight)).toBe(true);
  }, 60_000);
});
