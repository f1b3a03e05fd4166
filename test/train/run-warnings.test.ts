/** What few samples and steps do to the settings of a run, said at its start. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LogEntry, TrainingEvent } from '../../src/train/events.js';
import { runWarnings } from '../../src/train/run-warnings.js';
import { Sampler } from '../../src/train/sampler.js';
import { parseSftConfig, type SftConfigInput } from '../../src/train/sft-config.js';
import { linearDataset, linearModel, linearTrainer } from './linear-model.js';

interface Sets {
  readonly length?: number;
  readonly evalLength?: number;
  readonly evaluatesTraining?: boolean;
}

function warnings(given: SftConfigInput, { length = 100, evalLength = 50, evaluatesTraining = false }: Sets = {}) {
  const config = parseSftConfig(given);
  const sampler = new Sampler({
    ...{ length, batchSize: config.perDeviceTrainBatchSize, dropLast: config.dataloaderDropLast, seed: config.seed },
    ...{ numTrainEpochs: config.numTrainEpochs, maxSteps: config.maxSteps },
    gradientAccumulationSteps: config.gradientAccumulationSteps,
  });
  return [false, true].map((isResumed) =>
    runWarnings({ config, given, sampler, evalLength, evaluatesTraining }, isResumed),
  );
}

const ONCE = 'once, at the end';

describe('a run says at its start', () => {
  it.each<[SftConfigInput, Sets, string[]]>([
    [{}, {}, []],
    // 13 steps an epoch, of 8 samples each.
    [{ numTrainEpochs: 1, loggingSteps: 13, saveSteps: 13 }, {}, []],
    [
      { numTrainEpochs: 1, loggingSteps: 14 },
      {},
      [`the run has 13 steps and \`loggingSteps\` is 14: it is logged ${ONCE}`],
    ],
    [
      { numTrainEpochs: 1, saveSteps: 14 },
      {},
      [`the run has 13 steps and \`saveSteps\` is 14: a checkpoint is written ${ONCE}`],
    ],
    [
      { numTrainEpochs: 1, evalStrategy: 'steps', evalSteps: 14 },
      {},
      [`the run has 13 steps and \`evalSteps\` is 14: the evaluation set is measured ${ONCE}`],
    ],
    // A delay beyond the end says it all.
    [
      { maxSteps: 3, evalStrategy: 'steps', evalSteps: 14, evalDelay: 5 },
      {},
      ['the run has 3 steps and `evalDelay` is 5: nothing is ever evaluated'],
    ],
    [
      { learningRate: 2 },
      {},
      ['`learningRate` is 2: LoRA is trained with 1e-5 to 1e-3, e.g. 2e-4; so high it diverges'],
    ],
    // What nobody has written is no mistake.
    [{ maxSteps: 2, evalStrategy: 'steps' }, {}, []],
    [{ maxSteps: 3, saveSteps: 0.9, loggingSteps: 0.1 }, {}, []],
    [{ saveStrategy: 'epoch', saveSteps: 3 }, {}, ['`saveSteps` has no effect: `saveStrategy` is "epoch"']],
    [{ evalSteps: 3 }, {}, ['`evalSteps` has no effect: `evalStrategy` is "no"']],
    [{ maxSteps: 20, numTrainEpochs: 2 }, {}, ['`maxSteps` of 20 goes before `numTrainEpochs`, which has no effect']],
    [{ maxSteps: -1, numTrainEpochs: 2 }, {}, []],
    [{ saveStrategy: 'no', saveTotalLimit: 2 }, {}, ['`saveTotalLimit` has no effect: `saveStrategy` is "no"']],
    [{ maxSkippedSteps: 3 }, {}, ['`maxSkippedSteps` has no effect: `onNonFiniteLoss` is "stop"']],
    [{ maxSkippedSteps: 3, onNonFiniteLoss: 'skip' }, {}, []],
    [{ metricForBestModel: 'accuracy' }, {}, ['`metricForBestModel` has no effect: `evalStrategy` is "no"']],
    [{ greaterIsBetter: true, evalStrategy: 'epoch' }, {}, ['`greaterIsBetter` has no effect: no best step is chosen']],
    [{ metricForBestModel: 'accuracy', greaterIsBetter: true, evalStrategy: 'epoch' }, {}, []],
    [{ warmupRatio: 0.1 }, {}, ['`warmupRatio` is the older name: write `warmupSteps: 0.1`, a share below 1']],
  ])('of intervals: %j, %j', (given, sets, expected) => {
    expect(warnings(given, sets)[0]).toEqual(expected);
  });

  it.each<[SftConfigInput, Sets, string[]]>([
    [{}, { length: 5 }, ['an epoch is one step: there are 5 training samples, and `perDeviceTrainBatchSize` is 8']],
    [{}, { length: 8 }, ['an epoch is one step: there are 8 training samples, and `perDeviceTrainBatchSize` is 8']],
    [
      { perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 },
      { length: 7 },
      ['an epoch is one step: there are 7 training samples, and a step takes 4 micro-batches of 2'],
    ],
    [{ perDeviceTrainBatchSize: 2, gradientAccumulationSteps: 4 }, { length: 9 }, []],
    [
      { dataloaderDropLast: true },
      { length: 15 },
      [
        'an epoch is one step: there are 15 training samples, and `perDeviceTrainBatchSize` is 8',
        '`dataloaderDropLast` leaves out 7 of the 15 samples in each epoch',
      ],
    ],
    // The first step of a warm-up has rate 0.
    [{ maxSteps: 4, warmupSteps: 0.1 }, {}, ['the learning rate is 0 in 1 of the 4 steps: nothing is learned there']],
    [{ maxSteps: 5, warmupSteps: 0.1 }, {}, []],
    [
      { dataloaderDropLast: true },
      { length: 23 },
      ['`dataloaderDropLast` leaves out 7 of the 23 samples in each epoch'],
    ],
    [{ dataloaderDropLast: true }, { length: 79 }, []],
    [{ dataloaderDropLast: false }, { length: 23 }, []],
  ])('of batches: %j, %j', (given, sets, expected) => {
    expect(warnings(given, sets)[0]).toEqual(expected);
  });

  it.each<[SftConfigInput, Sets, string[]]>([
    [{ learningRate: 0 }, {}, ['the learning rate is 0 in all 39 steps: nothing is learned']],
    [
      { maxSteps: 1, warmupSteps: 5 },
      {},
      ['the learning rate is 0 in the only step, which the warm-up takes: nothing is learned'],
    ],
    [{ maxSteps: 1 }, {}, []],
    [{ maxSteps: 8, warmupSteps: 5 }, {}, ['the warm-up takes 5 of the 8 steps, more than half of the run']],
    [{ maxSteps: 8, warmupSteps: 4 }, {}, []],
    [{ maxSteps: 8, warmupSteps: 0.5 }, {}, []],
  ])('of learning rates, again when it is resumed: %j', (given, sets, expected) => {
    expect(warnings(given, sets)).toEqual([expected, expected]);
  });

  it.each<[SftConfigInput, Sets, string[]]>([
    [
      { evalStrategy: 'epoch' },
      { evalLength: 9 },
      ['the evaluation set has 9 samples: its loss says little about other data'],
    ],
    [
      { evalOnStart: true },
      { evalLength: 1 },
      ['the evaluation set has 1 sample: its loss says little about other data'],
    ],
    [{ evalStrategy: 'epoch' }, { evalLength: 10 }, []],
    // It is there for `trainer.evaluate()`.
    [{}, { evalLength: 1, evaluatesTraining: true }, []],
    [
      { evalStrategy: 'epoch' },
      { evalLength: 3, evaluatesTraining: true },
      ['the evaluation set is the training set: its loss says nothing about other data'],
    ],
    [
      { evalStrategy: 'epoch', earlyStoppingPatience: 2 },
      {},
      ['the run has 3 evaluations and `earlyStoppingPatience` is 2: it never stops early'],
    ],
    [{ evalStrategy: 'epoch', earlyStoppingPatience: 1 }, {}, []],
    // Of 39 steps those at 10, 20, 30 and the end.
    [
      { evalStrategy: 'steps', evalSteps: 10, earlyStoppingPatience: 3 },
      {},
      ['the run has 4 evaluations and `earlyStoppingPatience` is 3: it never stops early'],
    ],
    [{ evalStrategy: 'steps', evalSteps: 10, earlyStoppingPatience: 2 }, {}, []],
    [
      { evalStrategy: 'steps', evalSteps: 10, evalDelay: 20, earlyStoppingPatience: 2 },
      {},
      ['the run has 3 evaluations and `earlyStoppingPatience` is 2: it never stops early'],
    ],
  ])('of evaluations: %j, %j', (given, sets, expected) => {
    expect(warnings(given, sets)).toEqual([expected, []]);
  });
});

describe('a run that is shorter than its intervals', () => {
  let outputDir: string;
  beforeEach(async () => {
    outputDir = await mkdtemp(join(tmpdir(), 'short-run-'));
  });
  afterEach(() => rm(outputDir, { recursive: true }));

  const events = async (config: SftConfigInput, resumeFromCheckpoint = false): Promise<TrainingEvent[]> => {
    const evalDataset = linearDataset(3, 20);
    const whole = { outputDir, perDeviceTrainBatchSize: 8, gradientAccumulationSteps: 1, ...config };
    const trainer = linearTrainer(linearModel(), whole, { evalDataset, trainDataset: linearDataset(6) });
    const all: TrainingEvent[] = [];
    for await (const event of trainer.train({ resumeFromCheckpoint })) all.push(event);
    return all;
  };
  const logs = (all: readonly TrainingEvent[]) => all.flatMap((event) => (event.type === 'log' ? [event.step] : []));
  const messages = (all: readonly TrainingEvent[]) =>
    all.flatMap((event) => (event.type === 'warning' ? [event.message] : []));

  it('logs its end, with the mean of all steps, and says so where an interval was written', async () => {
    const all = await events({ perDeviceTrainBatchSize: 2, numTrainEpochs: 1, loggingSteps: 100 });
    expect(messages(all)).toEqual([`step 0: the run has 3 steps and \`loggingSteps\` is 100: it is logged ${ONCE}`]);
    const steps = all.flatMap((event) => (event.type === 'step' ? [event.loss] : []));
    const { output } = all.at(-1) as Extract<TrainingEvent, { type: 'end' }>;
    expect(output.logHistory).toHaveLength(1);
    expect((output.logHistory[0] as LogEntry).loss).toBeCloseTo((steps[0]! + steps[1]! + steps[2]!) / 3, 12);
    expect([output.firstLoss, output.lastLoss]).toEqual([steps[0], steps[2]]);
  });

  it('logs its end beside its first step, and one that is resumed at the end logs nothing twice', async () => {
    const config = { perDeviceTrainBatchSize: 2, numTrainEpochs: 1, loggingFirstStep: true };
    expect(logs(await events(config))).toEqual([1, 3]);
    const again = await events(config, true);
    expect([logs(again), messages(again)]).toEqual([[], []]);
    const { output } = again.at(-1) as Extract<TrainingEvent, { type: 'end' }>;
    expect(output.logHistory.map(({ step }) => step)).toEqual([1, 3]);
    expect([output.firstLoss, output.lastLoss, output.samples]).toEqual([undefined, undefined, 0]);
  });

  it('says what it does not reach', async () => {
    const all = await events({ maxSteps: 2, evalStrategy: 'steps', evalSteps: 9, saveSteps: 9 });
    expect(messages(all)).toEqual([
      'step 0: an epoch is one step: there are 6 training samples, and `perDeviceTrainBatchSize` is 8',
      `step 0: the run has 2 steps and \`evalSteps\` is 9: the evaluation set is measured ${ONCE}`,
      `step 0: the run has 2 steps and \`saveSteps\` is 9: a checkpoint is written ${ONCE}`,
      'step 0: the evaluation set has 3 samples: its loss says little about other data',
    ]);
  });
});
