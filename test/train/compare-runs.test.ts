import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IndexedDataset } from '../../src/data/dataset.js';
import type { SftExample } from '../../src/data/types.js';
import { CheckpointError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'compare-'));
});
afterEach(() => rm(folder, { recursive: true }));

const SAVED = { saveStrategy: 'steps', saveSteps: 1, maxSteps: 3 } as const;

/** One step of the run, as a stop leaves it. */
async function begin(config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}, model: object = {}) {
  const trainer = linearTrainer(Object.assign(linearModel(), model), { outputDir: folder, ...SAVED, ...config }, more);
  await trainer.train();
}

/** Warnings of the run from its first step on, or its error. */
async function resume(config: SftConfigInput = {}, more: Partial<SftTrainerOptions> = {}, model: object = {}) {
  const warnings: string[] = [];
  const trainer = linearTrainer(Object.assign(linearModel(), model), { outputDir: folder, ...SAVED, ...config }, more);
  const run = trainer.train({ resumeFromCheckpoint: join(folder, 'checkpoint-1') });
  for await (const event of run as AsyncIterable<TrainingEvent>) {
    if (event.type === 'warning') warnings.push(event.message);
  }
  await run;
  return warnings
    .map((line) => line.replace(/^step \d+: /, ''))
    .filter((line) => !/^there|holds checkpoints/.test(line));
}

async function refused(attempt: Promise<unknown>): Promise<readonly string[]> {
  const error = await attempt.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  return (error as CheckpointError).details['differences'] as string[];
}

import { reseal } from './reseal.js';

describe('the images of a resumed run', () => {
  it('must hold what they held', async () => {
    const path = join(folder, 'x.png');
    await writeFile(path, 'before');
    const plain = linearDataset(7);
    const trainDataset = new IndexedDataset(7, async (i): Promise<SftExample> => {
      return { ...(await plain.get(i)), images: i === 4 ? [path] : [] };
    });
    await begin({}, { trainDataset });
    expect(await resume({}, { trainDataset })).toEqual([]);
    await writeFile(path, 'after');
    expect(await refused(resume({}, { trainDataset }))).toEqual([
      'the training set has image files with other contents than before (or another `bitDepth`), in sample 4',
    ]);
  });
});

describe('another evaluation set', () => {
  const evaluated = { evalStrategy: 'steps', evalSteps: 1 } as const;
  const judged = { ...evaluated, loadBestModelAtEnd: true } as const;

  it('is refused where it tells the best model', async () => {
    await begin(judged, { evalDataset: linearDataset(3) });
    expect(await resume(judged, { evalDataset: linearDataset(3) })).toEqual([]);
    expect(await refused(resume(judged, { evalDataset: linearDataset(3, 1) }))).toEqual([
      'the evaluation set, which decides the best model, has other texts or image files than before, in the samples 0, 1, 2',
    ]);
    expect(await refused(resume(judged, { evalDataset: linearDataset(4) }))).toEqual([
      'the evaluation set, which decides the best model, had 3 samples, now 4',
    ]);
  });

  it('is refused where it tells when to stop', async () => {
    const early = { ...evaluated, earlyStoppingPatience: 9 };
    await begin(early, { evalDataset: linearDataset(3) });
    expect(await refused(resume(early, { evalDataset: linearDataset(4) }))).toHaveLength(1);
  });

  it('is a warning where it decides nothing', async () => {
    await begin(evaluated, { evalDataset: linearDataset(3) });
    expect(await resume(evaluated, { evalDataset: linearDataset(3) })).toEqual([]);
    expect(await resume(evaluated, { evalDataset: linearDataset(4) })).toEqual([
      'the evaluation set had 3 samples, now 4: losses of evaluations before and after cannot be compared',
    ]);
    expect(await resume()).toEqual(['until here the run was evaluated, on 3 samples; from here it is not']);
  });

  it('is a warning where there was none, unless the checkpoint is older than that is known', async () => {
    await begin();
    const more = { evalDataset: linearDataset(3) };
    expect(await resume(evaluated, more)).toEqual([
      'until here the run was not evaluated; from here it is, on 3 samples',
    ]);
    const file = join(folder, 'checkpoint-1', 'trainer-state.json');
    const state = JSON.parse(await readFile(file, 'utf8')) as { dataset: Record<string, unknown> };
    delete state.dataset['texts'];
    await writeFile(file, JSON.stringify(state));
    await reseal(join(folder, 'checkpoint-1'));
    expect(await resume(evaluated, more)).toEqual([]);
  });
});

describe('another base model or tokenizer', () => {
  const base = { config: 'c', language: 'l', vision: 'v', projector: 'p', other: 'o' };

  it('is refused, by parts and by name', async () => {
    await begin({}, {}, { baseModel: base, nameOrPath: 'a/instruct' });
    expect(await resume({}, {}, { baseModel: base, nameOrPath: '/moved/instruct' })).toEqual([]);
    const other = { ...base, language: 'x', other: 'y' };
    expect(await refused(resume({}, {}, { baseModel: other, nameOrPath: 'a/base' }))).toEqual([
      'the base model was another, "a/instruct", now "a/base": it differs in weights of the language model, weights of the output head',
    ]);
    expect(await refused(resume({}, {}, { baseModel: { ...base, config: 'x' } }))).toEqual([
      'the base model was another, "a/instruct", now one without a name: it differs in config.json',
    ]);
    const tokenizer = (tokenizerDigest: string) => ({ collator: { ...linearCollator, tokenizerDigest } });
    // Not known then.
    expect(await resume({}, tokenizer('a'), { baseModel: base })).toEqual([]);
    await begin({}, tokenizer('a'));
    expect(await resume({}, tokenizer('a'))).toEqual([]);
    expect(await refused(resume({}, tokenizer('b')))).toEqual([
      'the tokenizer was another: it gives other tokens or other ids',
    ]);
  });

  it('is not looked for where one of the two is not known', async () => {
    await begin();
    expect(await resume({}, {}, { baseModel: base })).toEqual([]);
    await begin({}, {}, { baseModel: base });
    expect(await resume()).toEqual([]);
  });
});
