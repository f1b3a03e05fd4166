import { describe, expect, it } from 'vitest';
import { type LrSchedulerType, learningRateFactor } from '../../../src/train/schedule.js';

/** Printed by transformers 5.17 with 3 warm-up steps of 10. */
const GOLDEN: Record<Exclude<LrSchedulerType, 'constant'>, number[]> = {
  linear: [
    0, 0.3333333333333333, 0.6666666666666666, 1, 0.8571428571428571, 0.7142857142857143, 0.5714285714285714,
    0.42857142857142855, 0.2857142857142857, 0.14285714285714285,
  ],
  cosine: [
    0, 0.3333333333333333, 0.6666666666666666, 1, 0.9504844339512095, 0.8117449009293668, 0.6112604669781572,
    0.38873953302184283, 0.18825509907063326, 0.04951556604879048,
  ],
  constant_with_warmup: [0, 0.3333333333333333, 0.6666666666666666, 1, 1, 1, 1, 1, 1, 1],
};

describe('learningRateFactor', () => {
  it.each(Object.entries(GOLDEN))('%s is that of transformers', (type, golden) => {
    golden.forEach((factor, step) => {
      expect(learningRateFactor(type as LrSchedulerType, step, 3, 10)).toBeCloseTo(factor, 14);
    });
  });

  it('starts at the peak without warm-up, and never falls below 0', () => {
    for (const type of ['linear', 'cosine', 'constant', 'constant_with_warmup'] as const) {
      expect(learningRateFactor(type, 0, 0, 10)).toBe(1);
    }
    expect(learningRateFactor('linear', 11, 0, 10)).toBe(0);
    expect(learningRateFactor('cosine', 10, 0, 10)).toBe(0);
    expect(learningRateFactor('constant', 0, 5, 10)).toBe(1);
    // A warm-up as long as the run, or longer.
    expect(learningRateFactor('linear', 4, 8, 5)).toBe(0.5);
  });
});
