import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SftExample } from '../../src/data/types.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import { follow } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'window-feed-'));
});
afterEach(() => rm(outputDir, { recursive: true, force: true }));

/** Six steps of two micro-batches, and how many of these were asked of the collator so far. */
function counted(model: LinearModel, dataloaderPrefetch: number) {
  const asked = { count: 0, onCollate: (): void => undefined };
  const collator = {
    collate: (examples: readonly SftExample[]) => {
      asked.count++;
      asked.onCollate();
      return linearCollator.collate(examples);
    },
  };
  const config = { outputDir, saveStrategy: 'no', seed: 11, maxSteps: 6, dataloaderPrefetch } as const;
  const trainer = linearTrainer(model, config as SftConfigInput, { collator, trainDataset: linearDataset(24) });
  return { asked, train: () => follow(trainer.train()) };
}

describe('the windows of one process', () => {
  it('are read while the passes of the one before are being queued', async () => {
    const model = linearModel();
    const { asked, train } = counted(model, 1);
    // Held until the next window, to its last micro-batch, is being read: what is prefetched alone ends before that.
    model.onWindow = async (window) => {
      const whole = Math.min(12, 2 * (window + 2));
      await new Promise<void>((resolve) => {
        asked.onCollate = () => void (asked.count >= whole && resolve());
        asked.onCollate();
      });
    };
    const { events, error } = await train();
    expect(error).toBeUndefined();
    expect(asked.count).toBe(12);
    expect(events.at(-1)).toMatchObject({ type: 'end', step: 6 });
  });

  it('are read when their step begins where nothing is to be read ahead', async () => {
    const model = linearModel();
    const { asked, train } = counted(model, 0);
    const counts: number[] = [];
    model.onWindow = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      counts.push(asked.count);
    };
    const { error } = await train();
    expect(error).toBeUndefined();
    expect(counts).toEqual([2, 4, 6, 8, 10, 12]);
  });
});
