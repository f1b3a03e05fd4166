import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SftExample } from '../../src/data/types.js';
import { CheckpointError, DataError } from '../../src/errors.js';
import { SETTINGS_MAY_CHANGE } from '../../src/train/compare-runs.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'resume-rules-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

/** Sample 5 is too long for `maxLength` 8 at `longestEdge` 64. */
function collator(settings: Readonly<Record<string, unknown>>) {
  const { maxLength, overlong, longestEdge } = settings as {
    maxLength?: number;
    overlong: string;
    longestEdge: number;
  };
  const isTooLong = (id: string) => id === '5' && (maxLength ?? Number.POSITIVE_INFINITY) < 16 && longestEdge > 32;
  return {
    settings,
    collate: async (examples: readonly SftExample[]) => {
      if (overlong === 'error' && examples.some(({ id }) => isTooLong(id!))) throw new DataError('sample 5: 16 tokens');
      return linearCollator.collate(examples.filter(({ id }) => !isTooLong(id!)));
    },
  };
}

const before = { maxLength: 8, overlong: 'error', longestEdge: 64, maskPrompt: true };
function trainer(
  settings: Readonly<Record<string, unknown>>,
  config: SftConfigInput = {},
  more: Partial<SftTrainerOptions> = {},
) {
  const model = linearModel();
  const given: SftConfigInput = { outputDir, seed: 11, dataloaderPrefetch: 0, loggingSteps: 1, ...config };
  return { model, made: linearTrainer(model, given, { collator: collator(settings), ...more }) };
}

describe('a run that an over-long sample stopped', () => {
  it.each([
    ['dropping it', { overlong: 'drop' }, '`collator.overlong` was "error", now "drop"'],
    ['cutting it', { overlong: 'truncateText' }, '`collator.overlong` was "error", now "truncateText"'],
    ['a larger maxLength', { maxLength: 16 }, '`collator.maxLength` was 8, now 16'],
    ['no maxLength', { maxLength: undefined }, '`collator.maxLength` was 8, now not set'],
    ['smaller images', { longestEdge: 32 }, '`collator.longestEdge` was 64, now 32'],
  ])('goes on by %s, to the bits of one that had it from the start', async (_, change, told) => {
    const now = { ...before, ...change };
    await expect(trainer(before).made.train()).rejects.toThrow('sample 5: 16 tokens');
    const { model, made } = trainer(now);
    const warnings: string[] = [];
    for await (const event of made.train({ resumeFromCheckpoint: true })) {
      if (event.type === 'warning') warnings.push(event.message);
    }
    expect(warnings[0]).toBe(
      `step 1: ${told}: the batches from here on are made so, those of the 1 steps before were not`,
    );
    const whole = trainer(now, { outputDir: join(outputDir, 'whole') });
    await whole.made.train();
    expect([...model.values]).toEqual([...whole.model.values]);
    // Unchanged settings are not spoken of.
    const again = trainer(now, { maxSteps: -1 });
    for await (const event of again.made.train({ resumeFromCheckpoint: true })) expect(event.type).not.toBe('warning');
  });

  it('is told the way on for each other difference', async () => {
    await expect(trainer(before).made.train()).rejects.toThrow('sample 5');
    const other = trainer({ ...before, maskPrompt: false }, { learningRate: 1 }, { trainDataset: linearDataset(6) });
    const error = await other.made.train({ resumeFromCheckpoint: true }).result.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    const { hint, details } = error as CheckpointError;
    expect(details.differences).toEqual([
      '`learningRate` was 0.02, now 1',
      '`collator.maskPrompt` was true, now false',
      'the training set had 7 samples, now 6',
    ]);
    expect(hint).toMatch(/`learningRate`, `collator\.maskPrompt`: part of every step so far; set it back/);
    expect(hint).toMatch(/The training set: the order of the samples follows from it.*`overlong: "drop"`/);
    expect(hint).toMatch(/loadAdapter\(checkpoint, model\), then train\(\) without `resumeFromCheckpoint`/);
    for (const name of SETTINGS_MAY_CHANGE) expect(hint).toContain(name);
    expect(hint).toContain('onNonFiniteLoss');
  });
});
