import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SampleInspection } from '../../src/data/sample-inspection.js';
import type { SftExample } from '../../src/data/types.js';
import { ConfigError, DataError, TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { warningsOf } from './follow.js';
import { linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'nothing-learned-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

async function follow(config: SftConfigInput, more: Partial<SftTrainerOptions>, model = linearModel()) {
  const events: TrainingEvent[] = [];
  let error: unknown;
  try {
    const run = linearTrainer(model, { outputDir, loggingSteps: 1, seed: 11, ...config }, more).train();
    for await (const event of run) events.push(event);
  } catch (reason) {
    error = reason;
  }
  const warnings = warningsOf(events);
  return { events, warnings, error: error as TrainingError, model };
}

/** Drops all samples that the run comes to, or of some epochs alone. */
const dropping = (isDropped: (id: string) => boolean) => ({
  collate: (examples: readonly SftExample[]) => linearCollator.collate(examples.filter(({ id }) => !isDropped(id!))),
});
const unreadable = {
  collate: async (examples: readonly SftExample[]) => ({
    ...(await linearCollator.collate([])),
    skipped: examples.map(({ id }) => ({ sampleId: id!, reason: 'ENOENT' })),
  }),
};

describe('an evaluation', () => {
  it('says once that samples are left out of it, and counts them in no rate', async () => {
    const isDropped = (id: string): boolean => id === '8';
    const evalDataset = [...'789'].map((id) => ({ id, messages: [{ role: 'user' as const, content: '' }] }));
    const collator = {
      collate: async (examples: readonly SftExample[]) => {
        const kept = examples.filter(({ id }) => !isDropped(id!));
        const samples = kept.map(({ id }) => linearDataset(1, Number(id)).get(0));
        const batch = await linearCollator.collate((await Promise.all(samples)) as SftExample[]);
        return { ...batch, sampleIds: kept.map(({ id }) => id!) };
      },
    };
    const config = { evalStrategy: 'epoch', numTrainEpochs: 2, saveStrategy: 'no' } as const;
    const { warnings, events } = await follow(config, { collator, evalDataset });
    expect(warnings.filter((line) => line.includes('left out'))).toEqual([
      expect.stringMatching(/evaluation: the collator left out 1 of the 3 samples, as `overlong: "drop"` does/),
    ]);
    for (const event of events) {
      if (event.type !== 'evaluate') continue;
      expect(event.evalSamplesPerSecond * event.evalRuntime).toBeCloseTo(2, 6);
    }
  });
});

describe('a run that learns nothing', () => {
  it('fails at the end of its first epoch where the collator drops every sample', async () => {
    const { error, model, events } = await follow({}, { collator: dropping(() => true) });
    expect(error).toBeInstanceOf(TrainingError);
    expect(error.message).toMatch(
      /^nothing was learned, up to step 2 of the run: the collator dropped all samples of 2 steps\n.*`maxLength`/,
    );
    expect(error.details).toMatchObject({ step: 2, droppedSteps: 2, unreadableSteps: 0, notFiniteSteps: 0 });
    expect(model.steps).toHaveLength(0);
    expect(events.some(({ type }) => type === 'end')).toBe(false);
    // There is nothing that a checkpoint would keep.
    expect(await readdir(outputDir)).toEqual(['train-log.jsonl']);
  });

  it('fails at its end where that comes before the end of the epoch', async () => {
    const { error } = await follow({ maxSteps: 1 }, { collator: dropping(() => true) });
    expect(error.message).toContain(
      'nothing was learned, up to step 1 of the run: the collator dropped all samples of 1',
    );
    const images = await follow({ maxSteps: 2 }, { collator: unreadable });
    expect(images.error.message).toMatch(
      /nothing was learned, up to step 2 of the run: no sample of 2 steps can be read/,
    );
    expect(images.warnings.at(-1)).toBe('step 2: none of its samples is left; nothing was learned');
  });

  it('fails where every step was left out for its loss', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const model = linearModel({ lossScale: () => value });
      const config: SftConfigInput = { onNonFiniteLoss: 'skip', maxSteps: 2 };
      const { error } = await follow(config, {}, model);
      expect(error).toBeInstanceOf(TrainingError);
      expect(error.message).toContain('the loss or gradient norm of 2 steps was not finite');
      expect([...model.values]).toEqual([...linearModel().values]);
    }
  });

  it('tells all reasons of one that had several', async () => {
    let step = 0;
    const model = linearModel({ lossScale: () => Number.NaN });
    const collator = {
      collate: async (examples: readonly SftExample[]) =>
        step++ < 2 ? linearCollator.collate([]) : linearCollator.collate(examples),
    };
    const { error } = await follow({ onNonFiniteLoss: 'skip', dataloaderPrefetch: 0 }, { collator }, model);
    expect(error.message).toMatch(/dropped all samples of 1 step; the loss or gradient norm of 1 step was not finite/);
  });

  it('is not one that learned of a single step', async () => {
    const { error, events } = await follow({}, { collator: dropping((id) => id !== '4') });
    expect(error).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ type: 'end', output: { globalStep: 6 } });
    // Nor one that goes on from a step that did.
    await rm(join(outputDir, 'checkpoint-6'), { recursive: true });
    await follow({ saveSteps: 2, maxSteps: 6 }, {});
    await rm(join(outputDir, 'checkpoint-6'), { recursive: true });
    const rest = linearTrainer(
      linearModel(),
      { outputDir, loggingSteps: 1, seed: 11, saveSteps: 2, maxSteps: 6 },
      {
        collator: dropping(() => true),
      },
    );
    expect((await rest.train({ resumeFromCheckpoint: true })).globalStep).toBe(6);
  });

  it('fails before it begins where the text alone shows it', async () => {
    const fine: SampleInspection = { labels: 2, openAnswers: 0, endTokens: [], spelledTokens: {}, leftOut: [] };
    const long = (isDropped: boolean, isLong: (id: string) => boolean) => ({
      ...linearCollator,
      inspect: ({ id }: SftExample): SampleInspection => ({
        ...fine,
        ...(isLong(id!) && { tooLong: { length: 40 + Number(id), maxLength: 16, isDropped } }),
      }),
    });
    const once: SftConfigInput = { maxSteps: 1, saveStrategy: 'no' };
    const all = await follow({}, { collator: long(true, () => true) });
    expect(all.error).toBeInstanceOf(DataError);
    expect(all.error.message).toMatch(
      /^all 7 samples of the training set are longer than `maxLength`.* at least 46 tokens/,
    );
    expect(all.events).toEqual([]);
    const some = await follow(once, { collator: long(true, (id) => id > '4') });
    expect(some.warnings).toEqual([
      'step 0: 2 of 7 samples are longer than maxLength 16 and are dropped (first: 5), by their text alone',
    ]);
    const stop = await follow(once, { collator: long(false, (id) => id > '4') });
    expect(stop.warnings).toEqual([expect.stringContaining('maxLength 16 and stop the run when it comes to them')]);
    // An evaluation set comes to all of its samples.
    const evaluated: SftConfigInput = { ...once, evalStrategy: 'steps', evalSteps: 1 };
    const evalDataset = Array.from({ length: 2 }, (_, i): SftExample => ({ messages: [], id: String(i + 10) }));
    const isEval = (id: string) => Number(id) >= 10;
    const measured = await follow(evaluated, { evalDataset, collator: long(false, isEval) });
    expect(measured.error.message).toMatch(
      /^sample 10 of the evaluation set: 50 tokens by its text alone; maxLength is 16/,
    );
    const none = await follow(evaluated, { evalDataset, collator: long(true, isEval) });
    expect(none.error.message).toMatch(/^all 2 samples of the evaluation set are longer than `maxLength`/);
    expect(none.events).toEqual([]);
  });

  it('fails at the first evaluation where all of its samples are dropped, with the work saved', async () => {
    const collator = dropping((id) => Number(id) >= 20);
    const evalDataset = Array.from({ length: 2 }, (_, i): SftExample => ({ messages: [], id: String(i + 20) }));
    const { error } = await follow({ evalStrategy: 'steps', evalSteps: 2 }, { evalDataset, collator });
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toContain('no token of the 2 evaluation samples carries a label');
    expect(await readdir(outputDir)).toContain('checkpoint-2');
  });
});

describe('a run of any length', () => {
  it('begins at once: nothing is made for all of its steps', async () => {
    for (const config of [{ maxSteps: 1e9 }, { maxSteps: 2 ** 52 }, { numTrainEpochs: 1e12 }] as SftConfigInput[]) {
      const trainer = linearTrainer(linearModel(), { outputDir, saveStrategy: 'no', evalStrategy: 'no', ...config });
      expect(trainer.totalSteps).toBeGreaterThan(9e8);
      const run = trainer.train();
      for await (const event of run) if (event.type === 'step' && event.step === 3) break;
      expect(await run).toMatchObject({ stopped: true, globalStep: 3 });
    }
  });

  it('is refused where its steps cannot be counted', () => {
    const make = (numTrainEpochs: number) => linearTrainer(linearModel(), { outputDir, numTrainEpochs });
    expect(() => make(1e300)).toThrow(ConfigError);
    expect(() => make(2 ** 53)).toThrow(/`numTrainEpochs` of 9007199254740992 are 18014398509481984 optimizer steps/);
  });
});

describe('metricForBestModel', () => {
  const evalDataset = linearDataset(3);
  const evaluated: SftConfigInput = { evalStrategy: 'steps', evalSteps: 2, maxSteps: 4, loadBestModelAtEnd: true };

  it.each([
    ['evalLoss', 'evalLoss'],
    ['eval_loss', 'evalLoss'],
    ['loss', 'evalLoss'],
    ['accuracy', 'accuracy'],
    ['eval_accuracy', 'eval_accuracy'],
  ])('may be written %s', async (metricForBestModel, metric) => {
    const computeMetrics = () => ({ accuracy: 0.5 });
    const { error, events } = await follow({ ...evaluated, metricForBestModel }, { evalDataset, computeMetrics });
    expect(error).toBeUndefined();
    expect(events.at(-1)).toMatchObject({ output: { best: { metric } } });
  });

  it('that is missing is named before the run without computeMetrics, and else at the first evaluation, with no work lost', async () => {
    const given = { ...evaluated, metricForBestModel: 'acuracy' };
    expect((await follow(given, { evalDataset })).error.message).toContain('but evaluations have the loss alone');
    const computeMetrics = () => ({ accuracy: 0.5 });
    const { error } = await follow(given, { evalDataset, computeMetrics });
    expect(error.message).toContain('the evaluation has no "acuracy"; it has evalLoss, accuracy');
    expect(await readdir(outputDir)).toContain('checkpoint-2');
    // The name can be set right, and the run goes on with this evaluation.
    const right = linearTrainer(
      linearModel(),
      { outputDir, loggingSteps: 1, seed: 11, ...evaluated, metricForBestModel: 'accuracy' },
      { evalDataset, computeMetrics },
    );
    const { best, logHistory } = await right.train({ resumeFromCheckpoint: true });
    expect(best).toMatchObject({ metric: 'accuracy', step: 2 });
    expect(logHistory.filter((entry) => 'evalLoss' in entry).map(({ step }) => step)).toEqual([2, 4]);
  });
});
