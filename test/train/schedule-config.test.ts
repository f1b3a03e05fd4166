import { describe, expect, it } from 'vitest';
import { LR_SCHEDULER_TYPES, type LrSchedulerType } from '../../src/train/schedule.js';
import { scheduleFaults, scheduleNameFault } from '../../src/train/schedule-config.js';

/** As "name: message" of every fault. */
function faults(lrSchedulerType: LrSchedulerType, lrSchedulerKwargs?: object, learningRate = 1e-3): string[] {
  return scheduleFaults({ lrSchedulerType, lrSchedulerKwargs, learningRate }).map(
    ({ path, message }) => `${path.join('.')}: ${message}`,
  );
}

describe('the name of a schedule', () => {
  it('is left to the general message where it is no text', () => {
    expect(scheduleNameFault(3)).toBeUndefined();
    expect(scheduleNameFault(['wsd'])).toBeUndefined();
  });

  it('that is like no other is answered with all of them', () => {
    expect(scheduleNameFault('exponential')).toBe(
      `there is no schedule "exponential"; known: ${LR_SCHEDULER_TYPES.join(', ')}`,
    );
  });
});

describe('the settings of a schedule', () => {
  it.each<[LrSchedulerType, object, string]>([
    ['cosine', { numCycles: 0 }, 'numCycles: above 0, got 0'],
    ['cosine_with_restarts', { numCycles: 0 }, 'numCycles: a whole number of cycles, at least 1, got 0'],
    ['polynomial', { lrEnd: -1 }, 'lrEnd: a learning rate, not below 0, got -1'],
    ['polynomial', { power: 0 }, 'power: above 0, got 0'],
    ['cosine_with_min_lr', { minLr: -1 }, 'minLr: a learning rate, not below 0, got -1'],
    ['cosine_with_min_lr', { minLrRate: -0.5 }, 'minLrRate: a share of `learningRate`, 0 to 1, got -0.5'],
    ['warmup_stable_decay', { numDecaySteps: 0 }, 'numDecaySteps: a whole number of steps, at least 1, got 0'],
    [
      'warmup_stable_decay',
      { numDecaySteps: 1, numStableSteps: -1 },
      'numStableSteps: a whole number of steps, got -1',
    ],
  ])('have their ranges: %s %j', (type, kwargs, message) => {
    expect(faults(type, kwargs)).toEqual([`lrSchedulerKwargs.${message}`]);
  });

  it('that are needed are named, once, on the settings themselves', () => {
    expect(faults('warmup_stable_decay')).toEqual([
      'lrSchedulerKwargs: "warmup_stable_decay" needs `numDecaySteps`: a whole number of steps',
    ]);
    expect(faults('cosine_with_min_lr')).toEqual([
      'lrSchedulerKwargs: "cosine_with_min_lr" needs one of `minLr` (a learning rate) and `minLrRate` (a share of `learningRate`)',
    ]);
    // A setting that is wrong in itself is not reported as missing besides.
    expect(faults('cosine_with_min_lr', { minLr: 'low' })).toEqual(['lrSchedulerKwargs.minLr: a number, got "low"']);
  });

  it('of another schedule are told with those that have them', () => {
    expect(faults('cosine_with_min_lr', { minLrRate: 0, power: 2 })).toEqual([
      'lrSchedulerKwargs.power: unknown setting of "cosine_with_min_lr", which has numCycles, minLr, minLrRate; it is one of "polynomial"',
    ]);
    expect(faults('linear', { num__cycles: 2 })[0]).toContain('it is one of "cosine", "cosine_with_restarts"');
    expect(faults('linear', { colour: 'red' })).toEqual([
      'lrSchedulerKwargs.colour: unknown setting of "linear", which has no settings',
    ]);
  });

  it('do not let a rate rise where it should fall', () => {
    expect(faults('cosine_with_min_lr', { minLr: 1e-3 })).toEqual([]);
    expect(faults('cosine_with_min_lr', { minLr: 2e-3 })).toEqual([
      'lrSchedulerKwargs.minLr: 0.002 is above `learningRate`, which is 0.001',
    ]);
    const meaningless = 'lrSchedulerKwargs.minLr: has no meaning with a `learningRate` of 0; write `minLrRate`';
    expect(faults('cosine_with_min_lr', { minLr: 0 }, 0)).toEqual([meaningless]);
    expect(faults('cosine_with_min_lr', { minLrRate: 0 }, 0)).toEqual([]);
    expect(faults('polynomial', { lrEnd: 1e-3 })).toEqual([
      'lrSchedulerKwargs.lrEnd: 0.001 must be below `learningRate`, which is 0.001',
    ]);
    expect(faults('polynomial', {}, 1e-7)).toEqual([
      'lrSchedulerKwargs.lrEnd: 1e-7, its default, must be below `learningRate`, which is 1e-7',
    ]);
    expect(faults('linear', {}, 0)).toEqual([]);
  });
});
