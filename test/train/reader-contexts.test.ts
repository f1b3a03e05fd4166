/** In a file of its own: the first loops of a process are those that are read here. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { exclusively } from '../../src/engine/computation.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'contexts-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

const pause = () => new Promise((resolve) => setTimeout(resolve, 60));

/** A run whose best step is the first. */
function judged() {
  const model = linearModel();
  let evaluations = 0;
  const config: SftConfigInput = {
    ...{ outputDir, loggingSteps: 100, saveStrategy: 'best', evalStrategy: 'steps', evalSteps: 1 },
    ...{ loadBestModelAtEnd: true, metricForBestModel: 'own', maxSteps: 4 },
  };
  const parts = { evalDataset: linearDataset(3, 20), computeMetrics: () => ({ own: -evaluations++ }) };
  return { model, run: linearTrainer(model, config, parts).train() };
}

it('the best parameters are not loaded while another reader is at work on the step at which one left', async () => {
  const { model, run } = judged();
  const looked: boolean[] = [];
  const other = (async () => {
    for await (const event of run) {
      if (event.type !== 'evaluate') continue;
      const before = [...model.values];
      await pause();
      looked.push(String(before) === String([...model.values]));
    }
  })();
  const steps: number[] = [];
  for await (const event of run) {
    if (event.type === 'evaluate') steps.push(event.step);
    if (event.type === 'evaluate' && event.step === 3) break;
  }
  await other;
  expect([steps, looked]).toEqual([
    [1, 2, 3],
    [true, true, true],
  ]);
  expect((await run).best?.step).toBe(1);
});

it('nor within a computation of somebody else', async () => {
  const { model, run } = judged();
  const values: number[][] = [];
  for await (const event of run) {
    if (event.type !== 'evaluate') continue;
    values[event.step] = [...model.values];
    if (event.step < 4) continue;
    void exclusively(model.engine, undefined, async () => {
      await pause();
      values[5] = [...model.values];
    });
  }
  expect(values[5]).toEqual(values[4]);
  expect([...model.values]).toEqual(values[1]);
});
