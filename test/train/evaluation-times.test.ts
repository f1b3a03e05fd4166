import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SftExample } from '../../src/data/types.js';
import type { Deferred } from '../../src/engine/engine.js';
import { ConfigError, DataError, TrainingError } from '../../src/errors.js';
import type { TrainingEvent } from '../../src/train/events.js';
import { Progress } from '../../src/train/progress.js';
import type { SftConfigInput } from '../../src/train/sft-config.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';
import { warningsOf } from './follow.js';
import { type LinearModel, linearCollator, linearDataset, linearModel, linearTrainer } from './linear-model.js';

let outputDir: string;
beforeEach(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'evaluation-times-'));
});
afterEach(() => rm(outputDir, { recursive: true }));

/** Seven samples make two steps an epoch; three epochs if nothing else is said. */
async function eventsOf(
  config: SftConfigInput,
  { model = linearModel(), ...more }: Partial<SftTrainerOptions> & { model?: LinearModel } = {},
  resumeFromCheckpoint?: string,
): Promise<TrainingEvent[]> {
  const base = { outputDir, loggingSteps: 100, ...config } as SftConfigInput;
  const trainer = linearTrainer(model, base, { evalDataset: linearDataset(3, 20), ...more });
  const events: TrainingEvent[] = [];
  for await (const event of trainer.train({ resumeFromCheckpoint })) events.push(event);
  return events;
}

/** `evaluate 2`, `save 3`: what happened after which step, in order. */
function courseOf(events: readonly TrainingEvent[]): string[] {
  return events.flatMap((event) =>
    event.type === 'evaluate' || event.type === 'save' ? [`${event.type} ${event.step}`] : [],
  );
}

/** What transformers 5.17 does after the last of steps: DefaultFlowCallback and the two calls of its loop. */
describe('evaluating and saving', () => {
  it.each<[string, SftConfigInput, string[]]>([
    [
      'by steps, both: the evaluation first, and both at the end',
      { evalStrategy: 'steps', evalSteps: 4, saveStrategy: 'steps', saveSteps: 4, maxSteps: 5 },
      ['evaluate 4', 'save 4', 'evaluate 5', 'save 5'],
    ],
    [
      'by steps, once where the last step is due anyway',
      { evalStrategy: 'steps', evalSteps: 2, saveStrategy: 'steps', saveSteps: 4, maxSteps: 4 },
      ['evaluate 2', 'evaluate 4', 'save 4'],
    ],
    [
      'by epochs, both: the evaluation first, and both at the end within an epoch',
      { evalStrategy: 'epoch', saveStrategy: 'epoch', maxSteps: 3 },
      ['evaluate 2', 'save 2', 'evaluate 3', 'save 3'],
    ],
    [
      'a save by steps goes before an evaluation by epochs',
      { evalStrategy: 'epoch', saveStrategy: 'steps', saveSteps: 2, maxSteps: 5 },
      ['save 2', 'evaluate 2', 'save 4', 'evaluate 4', 'save 5', 'evaluate 5'],
    ],
    [
      'an evaluation by steps goes before a save by epochs',
      { evalStrategy: 'steps', evalSteps: 2, saveStrategy: 'epoch', maxSteps: 4 },
      ['evaluate 2', 'save 2', 'evaluate 4', 'save 4'],
    ],
    [
      'no save at the end without a strategy',
      { evalStrategy: 'epoch', saveStrategy: 'no', maxSteps: 2 },
      ['evaluate 2'],
    ],
    [
      'none before a delay of steps',
      { evalStrategy: 'steps', evalSteps: 1, evalDelay: 3, saveStrategy: 'no', maxSteps: 5 },
      ['evaluate 3', 'evaluate 4', 'evaluate 5'],
    ],
    [
      'none before a delay of epochs, nor at the end',
      { evalStrategy: 'epoch', evalDelay: 2, saveStrategy: 'no', maxSteps: 5 },
      ['evaluate 4', 'evaluate 5'],
    ],
    ['a delay beyond the end', { evalStrategy: 'epoch', evalDelay: 2, saveStrategy: 'no', maxSteps: 3 }, []],
    [
      'on start as well',
      { evalStrategy: 'epoch', evalOnStart: true, saveStrategy: 'no', maxSteps: 2 },
      ['evaluate 0', 'evaluate 2'],
    ],
    ['on start alone', { evalOnStart: true, saveStrategy: 'no', maxSteps: 2 }, ['evaluate 0']],
  ])('%s', async (_, config, course) => {
    expect(courseOf(await eventsOf(config))).toEqual(course);
  });

  it('on start is neither the best nor counted by the patience', async () => {
    const losses = [1, 5, 4, 6, 7];
    const computeMetrics = () => ({ own: losses.shift()! });
    const config: SftConfigInput = {
      ...{ evalOnStart: true, evalStrategy: 'steps', evalSteps: 1, saveStrategy: 'best', maxSteps: 9 },
      ...{ metricForBestModel: 'own', greaterIsBetter: false, earlyStoppingPatience: 2 },
    };
    const events = await eventsOf(config, { computeMetrics });
    expect(courseOf(events)).toEqual([
      ...['evaluate 0', 'evaluate 1', 'save 1', 'evaluate 2', 'save 2', 'evaluate 3', 'evaluate 4'],
    ]);
    expect(events.at(-1)).toMatchObject({ output: { best: { step: 2, value: 4 } } });
  });

  it('on start comes once: not in a resumed run', async () => {
    const config: SftConfigInput = { evalOnStart: true, saveSteps: 2, maxSteps: 4 };
    const whole = await eventsOf(config);
    expect(courseOf(whole)).toEqual(['evaluate 0', 'save 2', 'save 4']);
    const resumed = await eventsOf(config, {}, join(outputDir, 'checkpoint-2'));
    expect(courseOf(resumed)).toEqual(['save 4']);
    const { logHistory } = (resumed.at(-1) as Extract<TrainingEvent, { type: 'end' }>).output;
    // Of a run within one interval the end is logged.
    expect(logHistory.map(({ step }) => step)).toEqual([0, 4]);
  });

  it('a resume from a save before its evaluation evaluates first, and does not save again', async () => {
    const config: SftConfigInput = { evalStrategy: 'epoch', saveStrategy: 'steps', saveSteps: 2, maxSteps: 4 };
    const whole = await eventsOf(config);
    const resumed = await eventsOf(config, {}, join(outputDir, 'checkpoint-2'));
    expect(courseOf(resumed)).toEqual(['evaluate 2', 'save 4', 'evaluate 4']);
    const lossesOf = (events: readonly TrainingEvent[]) =>
      events.flatMap((event) => (event.type === 'evaluate' ? [[event.step, event.evalLoss]] : []));
    expect(lossesOf(resumed)).toEqual(lossesOf(whole));
  });

  it('a best evaluation after the save of its step is in the checkpoint', async () => {
    const config: SftConfigInput = {
      ...{ evalStrategy: 'epoch', saveStrategy: 'steps', saveSteps: 2, maxSteps: 4 },
      ...{ loadBestModelAtEnd: true, saveTotalLimit: 1 },
    };
    const values = [1, 2];
    const events = await eventsOf(
      { ...config, metricForBestModel: 'own', greaterIsBetter: false },
      { computeMetrics: () => ({ own: values.shift()! }) },
    );
    expect(courseOf(events)).toEqual(['save 2', 'evaluate 2', 'save 2', 'save 4', 'evaluate 4']);
    expect(events.find(({ type }) => type === 'loadBest')).toMatchObject({ step: 2, value: 1 });
  });

  it('tells of a delay that nothing survives, and of evaluations without a set', async () => {
    const delaysOf = async (config: SftConfigInput): Promise<string[]> =>
      warningsOf(await eventsOf({ saveStrategy: 'no', ...config }));
    expect(await delaysOf({ evalStrategy: 'steps', evalDelay: 4, maxSteps: 3 })).toEqual([
      'step 0: the run has 3 steps and `evalDelay` is 4: nothing is ever evaluated',
    ]);
    expect(await delaysOf({ evalStrategy: 'epoch', evalDelay: 2, maxSteps: 3 })).toEqual([
      'step 0: the run has 1.5 epochs and `evalDelay` is 2: nothing is ever evaluated',
    ]);
    expect(await delaysOf({ evalStrategy: 'epoch', evalDelay: 1, maxSteps: 2 })).toEqual([]);
    expect(() => linearTrainer(linearModel(), { evalOnStart: true })).toThrow(ConfigError);
    expect(() => linearTrainer(linearModel(), { evalOnStart: true })).toThrow(
      '`evalOnStart` is true, but the evaluation set is missing or empty',
    );
  });
});

describe('options of a step', () => {
  it('hands smoothing and noise on to the model, smoothing to evaluations too', async () => {
    const model = linearModel();
    const lossSteps = model.lossSteps.bind(model);
    const seen: unknown[] = [];
    model.lossSteps = (tape, packed, scale, options) => {
      seen.push([packed.rowKeys !== undefined, options.labelSmoothing, options.neftuneNoiseAlpha]);
      return lossSteps(tape, packed, scale, options);
    };
    const config = { labelSmoothingFactor: 0.1, neftuneNoiseAlpha: 5 };
    await eventsOf({ ...config, evalStrategy: 'steps', evalSteps: 1, saveStrategy: 'no', maxSteps: 1 }, { model });
    // The window's two micro-batches, and the evaluation.
    expect(seen).toEqual([
      [true, 0.1, 5],
      [true, 0.1, 5],
      [false, 0.1, undefined],
    ]);
  });

  it('gives B the rate of LoRA+, logs that of A, and leaves a ratio of 1 alone', async () => {
    const factorsOf = async (loraplusLrRatio: number) => {
      const model = linearModel();
      const events = await eventsOf({ loraplusLrRatio, saveStrategy: 'no', maxSteps: 1, loggingSteps: 1 }, { model });
      return [model.steps[0]!.learningRateFactors, events.find(({ type }) => type === 'log')] as const;
    };
    const [factors, log] = await factorsOf(16);
    expect(factors).toEqual([1, 16]);
    expect(log).toMatchObject({ learningRate: 0.02 });
    expect((await factorsOf(1))[0]).toBeUndefined();
    const model = linearModel();
    const [a] = model.trainable.parameters;
    const plain = { ...model, trainable: { parameters: [{ ...a!, name: 'lora_Bias' }], size: 2 } };
    expect(() => linearTrainer(plain, { loraplusLrRatio: 2 })).toThrow(
      '`loraplusLrRatio` is 2, but no trainable parameter is a lora_B',
    );
  });

  it('gives the rates to the adapter that is active when the run begins', async () => {
    const model = linearModel();
    const later = model.trainable;
    const [a, b] = later.parameters;
    const config: SftConfigInput = { loraplusLrRatio: 16, saveStrategy: 'no', maxSteps: 1, progress: 'none' };
    Object.assign(model, { trainable: { parameters: [b], size: 1 } });
    const trainer = linearTrainer(model, { outputDir, ...config });
    Object.assign(model, { trainable: { parameters: [a, b], size: 3 } });
    await trainer.train();
    expect(model.steps[0]!.learningRateFactors).toEqual([1, 16]);
    // Nothing is left under way by a model that has nothing to train any more.
    Object.defineProperty(model, 'trainable', {
      get: () => {
        throw new TrainingError('nothing to train');
      },
    });
    for (let i = 0; i < 2; i++) await expect(trainer.train().result).rejects.toThrow('nothing to train');
  });

  it('tells of another adapter that becomes active within a run, and keeps what was learned', async () => {
    const model = linearModel();
    const { trainable } = model;
    model.onWindow = (window) => {
      if (window === 1) Object.assign(model, { trainable: { ...trainable } });
    };
    await expect(eventsOf({ maxSteps: 4 }, { model })).rejects.toThrow(
      'step 2: another adapter became active while this run was training',
    );
    const resumed = await eventsOf({ maxSteps: 4 }, {}, join(outputDir, 'checkpoint-1'));
    expect(courseOf(resumed)).toEqual(['save 4']);
  });

  it('of a step that was stopped before it was told is logged and evaluated all the same, then or by a resume', async () => {
    const config: SftConfigInput = {
      maxSteps: 4,
      loggingSteps: 2,
      evalStrategy: 'steps',
      evalSteps: 2,
      saveSteps: 100,
    };
    const whole = linearModel();
    const expected = courseOf(await eventsOf({ ...config, outputDir: join(outputDir, 'whole') }, { model: whole }));
    const model = linearModel();
    const controller = new AbortController();
    const { optimizerStep } = model.engine;
    (model.engine as { optimizerStep: typeof optimizerStep }).optimizerStep = (...given) => {
      const norm = optimizerStep(...given) as Deferred<number>;
      if (model.steps.length !== 2) return norm;
      return async () => {
        controller.abort(new Error('enough'));
        // Longer than a run that was told to stop waits for the engine.
        await new Promise((resolve) => setTimeout(resolve, 1_200));
        return norm();
      };
    };
    const parts = { evalDataset: linearDataset(3, 20) };
    const run = linearTrainer(model, { outputDir, ...config }, parts).train({ signal: controller.signal });
    await expect(run).rejects.toThrow('enough');
    const again = linearModel();
    const resumed = linearTrainer(again, { outputDir, ...config }, parts).train({ resumeFromCheckpoint: true });
    const events: TrainingEvent[] = [];
    for await (const event of resumed) events.push(event);
    expect(courseOf(events)).toEqual(expected);
    const { logHistory } = await resumed;
    const kinds = logHistory.map((entry) => `${'loss' in entry ? 'log' : 'evaluate'} ${entry.step}`);
    expect(kinds).toEqual(['log 2', 'evaluate 2', 'log 4', 'evaluate 4']);
    expect(again.values).toEqual(whole.values);
  });

  it('measures no other adapter than the one that is trained, at the last step too', async () => {
    const model = linearModel();
    const { trainable } = model;
    const other = { ...trainable };
    const config: SftConfigInput = { maxSteps: 2, loggingSteps: 2, evalStrategy: 'steps', evalSteps: 2, outputDir };
    const events: string[] = [];
    const run = linearTrainer(model, config, { evalDataset: linearDataset(3, 20) }).train();
    const loop = async () => {
      for await (const event of run) {
        events.push(event.type);
        if (event.type === 'log') Object.assign(model, { trainable: other });
      }
    };
    await expect(loop()).rejects.toThrow('step 2: another adapter became active while this run was training');
    expect(events).not.toContain('evaluate');
    // Nothing is lost: it is evaluated when it is resumed.
    expect(courseOf(await eventsOf(config, {}, join(outputDir, 'checkpoint-2')))).toContain('evaluate 2');
  });

  it('follows a schedule with settings, and a resume refuses another', async () => {
    const model = linearModel();
    const config: SftConfigInput = {
      ...{ maxSteps: 4, saveSteps: 2, learningRate: 0.02, warmupSteps: 1 },
      ...{ lrSchedulerType: 'cosine_with_min_lr', lrSchedulerKwargs: { minLr: 0.01 } },
    };
    await eventsOf(config, { model });
    const rates = model.steps.map(({ learningRate }) => learningRate);
    [0, 0.02, 0.0175, 0.0125].forEach((rate, step) => {
      expect(rates[step]).toBeCloseTo(rate, 12);
    });
    const other = { ...config, lrSchedulerKwargs: { minLr: 0.005 } } as SftConfigInput;
    await expect(eventsOf(other, {}, join(outputDir, 'checkpoint-2'))).rejects.toThrow(
      '`lrSchedulerKwargs` was {"minLr":0.01}, now {"minLr":0.005}',
    );
  });

  it('knows a warm-up by its older name again in a resume', async () => {
    const config: SftConfigInput = { maxSteps: 4, saveSteps: 2 };
    await eventsOf({ ...config, warmupRatio: 0.5 });
    const checkpoint = join(outputDir, 'checkpoint-2');
    const resumed = await eventsOf({ ...config, warmupSteps: 0.5 }, {}, checkpoint);
    expect(courseOf(resumed)).toEqual(['save 4']);
    await expect(eventsOf({ ...config, warmupSteps: 0.25 }, {}, checkpoint)).rejects.toThrow(
      '`warmupSteps` was 0.5, now 0.25',
    );
  });

  it('looks at the evaluation set before the first step', async () => {
    const inspected: string[] = [];
    const inspect = ({ id }: SftExample) => {
      inspected.push(id!);
      if (inspected.length > 7) throw new DataError('malformed');
      return { labels: 1, openAnswers: 0, endTokens: [], spelledTokens: {}, leftOut: [] };
    };
    const model = linearModel();
    const more = { model, collator: { ...linearCollator, inspect } };
    await expect(eventsOf({ evalStrategy: 'epoch', maxSteps: 1 }, more)).rejects.toThrow(
      'sample 0 of the evaluation set: malformed',
    );
    expect(model.steps).toHaveLength(0);
    inspected.length = 0;
    await eventsOf({ saveStrategy: 'no', maxSteps: 1 }, more);
    expect(inspected).toHaveLength(7);
  });

  it('tells of settings without an effect at the start', async () => {
    const events = await eventsOf({ lrSchedulerType: 'constant', warmupRatio: 0.5, saveStrategy: 'no', maxSteps: 2 });
    expect(warningsOf(events)).toEqual([
      'step 0: `warmupSteps` has no effect with "constant"; "constant_with_warmup" has a warm-up',
      'step 0: `warmupRatio` is the older name: write `warmupSteps: 0.5`, a share below 1',
    ]);
  });
});

it('an evaluation outside of a run shows how far it is, then that its metrics are computed, and is gone', async () => {
  const shown: string[] = [];
  vi.spyOn(Progress.prototype, 'evaluating').mockImplementation((done, total) => void shown.push(`${done}/${total}`));
  vi.spyOn(Progress.prototype, 'measuring').mockImplementation(() => void shown.push('metrics'));
  vi.spyOn(Progress.prototype, 'clear').mockImplementation(() => void shown.push('gone'));
  const parts = { evalDataset: linearDataset(3, 20), computeMetrics: () => ({ accuracy: 1 }) };
  const trainer = linearTrainer(linearModel(), { outputDir, perDeviceEvalBatchSize: 2 }, parts);
  await trainer.evaluate();
  expect(shown).toEqual(['0/3', '2/3', '3/3', 'metrics', 'gone']);
  vi.restoreAllMocks();
});
