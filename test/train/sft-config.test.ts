import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import type { LrSchedulerType } from '../../src/train/schedule.js';
import {
  optimizerKind,
  parseSftConfig,
  RESUME_MAY_CHANGE,
  resolveSteps,
  type SftConfigInput,
  sftConfigSchema,
} from '../../src/train/sft-config.js';

function faultsOf(input: unknown): string {
  try {
    parseSftConfig(input as SftConfigInput);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error('no fault was found');
}

describe('parseSftConfig', () => {
  it('fills in the defaults of Trainer and TRL', () => {
    expect(parseSftConfig()).toMatchObject({
      numTrainEpochs: 3,
      maxSteps: -1,
      perDeviceTrainBatchSize: 8,
      gradientAccumulationSteps: 1,
      learningRate: 2e-5,
      adamBeta2: 0.999,
      maxGradNorm: 1,
      lrSchedulerType: 'linear',
      seed: 42,
      gradientCheckpointing: 'auto',
      autoMicroBatch: false,
      optim: 'adamw',
    });
  });

  it('knows the optimizer names of transformers', () => {
    for (const optim of ['adamw', 'adamw_torch', 'adamw_torch_fused'] as const) {
      expect(optimizerKind(parseSftConfig({ optim }))).toBe('adamw');
    }
    for (const optim of ['adamw_8bit', 'adamw_bnb_8bit', 'paged_adamw_8bit'] as const) {
      expect(optimizerKind(parseSftConfig({ optim }))).toBe('adamw8bit');
    }
  });

  it('lists every fault at once and suggests names', () => {
    const message = faultsOf({
      learningRat: 1e-4,
      maxSteps: 0,
      perDeviceTrainBatchSize: 1.5,
      loggingSteps: 2.5,
      adamBeta1: 1,
    });
    for (const part of [
      'did you mean `learningRate`',
      '`maxSteps`',
      '`perDeviceTrainBatchSize`',
      '`loggingSteps`',
      '`adamBeta1`',
    ]) {
      expect(message).toContain(part);
    }
  });

  it('says what becomes of options that transformers has for several processes', () => {
    expect(faultsOf({ ddpTimeout: 7200 })).toContain(
      'a rank that lives is waited for, at the sum of a step for 1800 s',
    );
    expect(faultsOf({ ddp_backend: 'nccl' })).toContain('NCCL sums the gradients');
  });

  it('takes true, false and auto for checkpointing, and a budget in bytes', () => {
    for (const gradientCheckpointing of [true, false, 'auto'] as const) {
      expect(parseSftConfig({ gradientCheckpointing })).toMatchObject({ gradientCheckpointing });
    }
    expect(faultsOf({ gradientCheckpointing: 'always' })).toContain('`gradientCheckpointing`');
    expect(faultsOf({ memoryBudget: 0 })).toContain('`memoryBudget`');
    expect(parseSftConfig({ memoryBudget: 40 * 2 ** 30 }).memoryBudget).toBe(40 * 2 ** 30);
  });

  it('refuses two warm-ups', () => {
    expect(faultsOf({ warmupSteps: 5, warmupRatio: 0.1 })).toContain('`warmupRatio`');
    expect(parseSftConfig({ warmupSteps: 25 }).warmupSteps).toBe(25);
  });

  it('refuses what asks for evaluations or checkpoints that do not come', () => {
    const faults = faultsOf({
      loadBestModelAtEnd: true,
      saveStrategy: 'best',
      earlyStoppingPatience: 3,
      onNonFiniteLoss: 'ignore',
    });
    // A wrong value comes first; the rest is looked at when all values are right.
    expect(faults).toContain('`onNonFiniteLoss`');
    const others = faultsOf({ loadBestModelAtEnd: true, saveStrategy: 'best', earlyStoppingPatience: 3 });
    for (const name of ['loadBestModelAtEnd', 'saveStrategy', 'earlyStoppingPatience']) {
      expect(others).toContain(`\`${name}\`: `);
    }
    expect(faultsOf({ evalStrategy: 'epoch', loadBestModelAtEnd: true, saveStrategy: 'no' })).toContain('checkpoints');
    expect(faultsOf({ earlyStoppingThreshold: 0.1 })).toContain('`earlyStoppingPatience`');
  });

  it.each([
    [{ lrSchedulerType: 'cosin' }, 'there is no schedule "cosin"; did you mean "cosine"?'],
    [{ lrSchedulerType: 'cosineWithMinLr' }, 'did you mean "cosine_with_min_lr"?'],
    [{ lrSchedulerType: 'wsd' }, 'did you mean "warmup_stable_decay"?'],
    [{ lrSchedulerType: 'reduce_lr_on_plateau' }, '"reduce_lr_on_plateau", which steers by results, is not offered'],
    [{ lrSchedulerType: 'greedy' }, '"greedy", which steers by results, is not offered; known: linear, cosine,'],
    [
      { lrSchedulerKwargs: { numCycles: 2 } },
      '`lrSchedulerKwargs.numCycles`: unknown setting of "linear", which has no',
    ],
    [{ lrSchedulerKwargs: { num_cycles: 2 } }, 'settings; it is one of "cosine", "cosine_with_restarts"'],
    [{ lrSchedulerKwargs: 5 }, '`lrSchedulerKwargs`: an object of settings'],
    [{ lrSchedulerType: 'cosine', lrSchedulerKwargs: { num_cycles: 2 } }, 'did you mean `numCycles`?'],
    [
      { lrSchedulerType: 'cosine', lrSchedulerKwargs: { minLr: 0 } },
      'unknown setting of "cosine", which has numCycles',
    ],
    [
      { lrSchedulerType: 'cosine', lrSchedulerKwargs: { numCycles: '2' } },
      '`lrSchedulerKwargs.numCycles`: a number, got "2"',
    ],
    [
      { lrSchedulerType: 'cosine_with_restarts', lrSchedulerKwargs: { numCycles: 1.5 } },
      'a whole number of cycles, got 1.5',
    ],
    [
      { lrSchedulerType: 'cosine_with_min_lr' },
      '"cosine_with_min_lr" needs one of `minLr` (a learning rate) and `minLrRate`',
    ],
    [
      { lrSchedulerType: 'cosine_with_min_lr', lrSchedulerKwargs: { minLr: 0, minLrRate: 0 } },
      '`lrSchedulerKwargs.minLrRate`: given beside `minLr`',
    ],
    [
      { lrSchedulerType: 'cosine_warmup_with_min_lr', lrSchedulerKwargs: { minLr: 0.1 } },
      '`lrSchedulerKwargs.minLr`: 0.1 is above `learningRate`, which is 0.00002',
    ],
    [
      { lrSchedulerType: 'cosine_with_min_lr', lrSchedulerKwargs: { minLrRate: 2 } },
      'a share of `learningRate`, 0 to 1, got 2',
    ],
    [
      { lrSchedulerType: 'warmup_stable_decay' },
      '"warmup_stable_decay" needs `numDecaySteps`: a whole number of steps',
    ],
    [
      { lrSchedulerType: 'warmup_stable_decay', lrSchedulerKwargs: { numDecaySteps: 5, decayType: 'sqrt' } },
      '`lrSchedulerKwargs.decayType`: one of "linear", "cosine", "1-sqrt", got "sqrt"',
    ],
    [{ lrSchedulerType: 'polynomial', learningRate: 1e-8 }, '1e-7, its default, must be below `learningRate`'],
    [{ lrSchedulerType: 'inverse_sqrt', lrSchedulerKwargs: { timescale: 0 } }, 'a number of steps, above 0, got 0'],
    [{ optim: 'adam' }, 'there is no "adam"; "adamw" with `weightDecay: 0` is the same'],
    [{ labelSmoothingFactor: 1 }, '`labelSmoothingFactor`'],
    [{ neftuneNoiseAlpha: -5 }, '`neftuneNoiseAlpha`'],
    [{ loraplusLrRatio: 0 }, '`loraplusLrRatio`: a ratio above 0'],
    [{ evalDelay: 3 }, '`evalDelay`: needs evaluations'],
  ])('tells what is wrong with %j', (input, message) => {
    expect(faultsOf(input)).toContain(message);
  });

  it('has one form for settings that mean the same', () => {
    const settings = (lrSchedulerKwargs: object): string => {
      const input = { lrSchedulerType: 'cosine_with_min_lr', lrSchedulerKwargs } as SftConfigInput;
      return JSON.stringify(parseSftConfig(input).lrSchedulerKwargs);
    };
    expect(settings({ numCycles: 1, minLr: 0, minLrRate: undefined })).toBe(settings({ minLr: 0, numCycles: 1 }));
    expect(parseSftConfig({ lrSchedulerKwargs: {} }).lrSchedulerKwargs).toBeUndefined();
  });

  it('has types that know the settings of a schedule', () => {
    const name = 'cosine' as LrSchedulerType;
    const several: SftConfigInput[] = [
      { lrSchedulerType: name, maxSteps: 5 },
      { lrSchedulerType: 'warmup_stable_decay', lrSchedulerKwargs: { numDecaySteps: 5, decayType: '1-sqrt' } },
      { lrSchedulerKwargs: {} },
    ];
    // @ts-expect-error: linear has none
    several.push({ lrSchedulerType: 'linear', lrSchedulerKwargs: { numCycles: 1 } });
    // @ts-expect-error: numDecaySteps is needed
    several.push({ lrSchedulerType: 'warmup_stable_decay', lrSchedulerKwargs: { minLrRatio: 0.1 } });
    // @ts-expect-error: not without a schedule
    several.push({ lrSchedulerKwargs: { numCycles: 1 } });
    const isRight = several.map((input) => {
      try {
        return parseSftConfig(input) !== undefined;
      } catch {
        return false;
      }
    });
    expect(isRight).toEqual([true, true, true, false, false, false]);
  });

  it('lets a resume change only what no step depends on', () => {
    const { shape } = sftConfigSchema();
    const fixed = (Object.keys(shape) as (keyof typeof shape)[]).filter((name) => !RESUME_MAY_CHANGE.has(name));
    expect(fixed.sort()).toEqual([
      ...['adamBeta1', 'adamBeta2', 'adamEpsilon', 'dataSeed', 'dataloaderDropLast', 'gradientAccumulationSteps'],
      ...['labelSmoothingFactor', 'learningRate', 'loraplusLrRatio', 'lrSchedulerKwargs', 'lrSchedulerType'],
      ...['maxGradNorm', 'maxSteps', 'neftuneNoiseAlpha', 'numTrainEpochs', 'optim'],
      ...['perDeviceTrainBatchSize', 'precision', 'seed', 'sharePrefix', 'warmupRatio', 'warmupSteps', 'weightDecay'],
    ]);
  });

  it('resolves shares of all steps upwards', () => {
    expect(resolveSteps(0.1, 124)).toBe(13);
    expect(resolveSteps(10, 124)).toBe(10);
    expect(resolveSteps(0, 124)).toBe(0);
  });
});
