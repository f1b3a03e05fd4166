import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  LR_SCHEDULER_TYPES,
  type LrSchedule,
  type LrSchedulerType,
  learningRateFactor,
  scheduleWarnings,
} from '../../src/train/schedule.js';
import { scheduleOf } from '../../src/train/schedule-config.js';
import { parseSftConfig, type SftConfigInput, scheduleRun } from '../../src/train/sft-config.js';

interface Golden {
  readonly type: LrSchedulerType;
  readonly kwargs: Readonly<Record<string, unknown>>;
  readonly warmup: number;
  readonly total: number;
  /** Of a peak of 2e-4. */
  readonly factors: readonly number[];
}

/** Printed by transformers 5.17: test/fixtures/make-schedules.py. */
const path = new URL('../fixtures/schedules.json', import.meta.url);
const { schedules } = JSON.parse(readFileSync(path, 'utf8')) as { schedules: readonly Golden[] };

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());

describe('learningRateFactor', () => {
  it.each(schedules)('$type $kwargs with a warm-up of $warmup is that of transformers', (golden) => {
    const { type, kwargs, warmup, total, factors } = golden;
    const lrSchedulerKwargs = Object.fromEntries(Object.entries(kwargs).map(([name, value]) => [camel(name), value]));
    const input = { lrSchedulerType: type, lrSchedulerKwargs, learningRate: 2e-4, warmupSteps: warmup };
    const config = parseSftConfig(input as SftConfigInput);
    const run = scheduleRun(config, total);
    expect(factors).toHaveLength(total);
    factors.forEach((factor, step) => {
      expect(learningRateFactor(scheduleOf(config), step, run)).toBeCloseTo(factor, 13);
    });
  });

  it('has values of transformers for every schedule', () => {
    expect(new Set(schedules.map(({ type }) => type))).toEqual(new Set(LR_SCHEDULER_TYPES));
  });

  it('starts at the peak without warm-up, and never falls below 0', () => {
    const run = { warmupSteps: 0, totalSteps: 10, learningRate: 1 };
    for (const lrSchedulerType of ['linear', 'cosine', 'constant', 'constant_with_warmup', 'polynomial'] as const) {
      expect(learningRateFactor({ lrSchedulerType }, 0, run)).toBe(1);
    }
    expect(learningRateFactor({ lrSchedulerType: 'linear' }, 11, run)).toBe(0);
    expect(learningRateFactor({ lrSchedulerType: 'cosine' }, 10, run)).toBe(0);
    expect(learningRateFactor({ lrSchedulerType: 'cosine_with_restarts' }, 10, run)).toBe(0);
    expect(learningRateFactor({ lrSchedulerType: 'polynomial' }, 11, run)).toBe(1e-7);
    expect(learningRateFactor({ lrSchedulerType: 'constant' }, 0, { ...run, warmupSteps: 5 })).toBe(1);
  });

  it('warms up from 1 / steps where no other start is told', () => {
    const schedule: LrSchedule = { lrSchedulerType: 'cosine_warmup_with_min_lr', lrSchedulerKwargs: { minLr: 0 } };
    const run = { warmupSteps: 4, totalSteps: 10, learningRate: 1 };
    expect([0, 1, 3].map((step) => learningRateFactor(schedule, step, run))).toEqual([0.25, 0.5, 1]);
    // One step of warm-up has no length to divide by.
    const short = { ...schedule, lrSchedulerKwargs: { minLr: 0, warmupLrRate: 0.5 } } as const;
    expect(learningRateFactor(short, 0, { ...run, warmupSteps: 1 })).toBe(0.5);
  });

  it('stays at the lowest rate after the decay, wherever its wave has ended', () => {
    const kwargs = { numDecaySteps: 4, minLrRatio: 0.1, numCycles: 1 };
    const schedule: LrSchedule = { lrSchedulerType: 'warmup_stable_decay', lrSchedulerKwargs: kwargs };
    const run = { warmupSteps: 2, totalSteps: 10, learningRate: 1 };
    const factors = [8, 9, 10, 11].map((step) => learningRateFactor(schedule, step, run));
    expect(factors).toEqual([expect.closeTo(0.1), expect.closeTo(0.55), 0.1, 0.1]);
  });
});

describe('scheduleWarnings', () => {
  const warnings = (schedule: LrSchedule, warmupSteps: number, totalSteps = 20): string[] =>
    scheduleWarnings(schedule, { warmupSteps, totalSteps, learningRate: 1e-4 });

  it('tells of a warm-up without an effect or an end', () => {
    expect(warnings({ lrSchedulerType: 'constant' }, 0)).toEqual([]);
    expect(warnings({ lrSchedulerType: 'constant' }, 5)).toEqual([expect.stringContaining('"constant_with_warmup"')]);
    expect(warnings({ lrSchedulerType: 'cosine' }, 10)).toEqual([]);
    expect(warnings({ lrSchedulerType: 'cosine' }, 11)).toEqual([
      'the warm-up takes 11 of the 20 steps, more than half of the run',
    ]);
    expect(warnings({ lrSchedulerType: 'cosine' }, 20)[0]).toMatch(
      /20 steps .* warm-up 20: .* never reaches its peak of 0.0001/,
    );
    expect(warnings({ lrSchedulerType: 'linear' }, 0, 1)).toEqual([]);
    expect(warnings({ lrSchedulerType: 'linear' }, 0, 0)).toEqual([]);
  });

  it('tells where the stages of warmup_stable_decay do not add up', () => {
    const stages = (numDecaySteps: number, numStableSteps?: number): LrSchedule => {
      return { lrSchedulerType: 'warmup_stable_decay', lrSchedulerKwargs: { numDecaySteps, numStableSteps } };
    };
    expect(warnings(stages(6), 5)).toEqual([]);
    expect(warnings(stages(6, 9), 5)).toEqual([]);
    expect(warnings(stages(15), 5)).toEqual([]);
    expect(warnings(stages(18), 5)[0]).toMatch(/20 steps, .* together 23: the first 3 steps of the decay are left out/);
    expect(warnings(stages(6, 8), 5)[0]).toMatch(/together 19: the last 1 step run at 0 of the learning rate/);
    expect(warnings(stages(6, 20), 5)[0]).toMatch(/together 31: the last 11 steps of the decay never come/);
  });
});
