import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import { bootstrapIntervals } from '../../src/eval/bootstrap.js';
import {
  accuracyScore,
  averageMetrics,
  type ConfusionMatrix,
  precisionRecallFscoreSupport,
} from '../../src/eval/metrics.js';
import { wilsonInterval } from '../../src/eval/significance.js';
import { MersenneTwister } from '../../src/random.js';
import { drawSamples } from './draw-samples.js';

const NAMES = ['accuracy', 'balancedAccuracy', 'macroF1', 'weightedF1'] as const;

/** 140 samples of 4 classes, one of them rare. */
const matrix: ConfusionMatrix = {
  counts: [
    [50, 5, 3, 0],
    [9, 30, 4, 1],
    [2, 6, 18, 0],
    [1, 0, 2, 3],
  ],
  unparsed: [2, 1, 2, 1],
};

/** One wrong answer of twelve: as skewed as it gets. */
const confusionOfOne: ConfusionMatrix = {
  counts: [
    [11, 1],
    [0, 0],
  ],
  unparsed: [0, 0],
};

describe('bootstrapIntervals', () => {
  it('depend on nothing but the counts and the seed', async () => {
    const once = await bootstrapIntervals(matrix);
    expect(once).toMatchObject({ method: 'bca', confidenceLevel: 0.95, resamples: 2000, seed: 0, stratified: false });
    expect(await bootstrapIntervals(matrix)).toEqual(once);
    const other = await bootstrapIntervals(matrix, { seed: 1 });
    for (const name of NAMES) {
      expect(other[name]).not.toEqual(once[name]);
      expect(Math.abs(other[name].low - once[name].low)).toBeLessThan(0.02);
      expect(once[name].low).toBeLessThan(once[name].high);
    }
    expect(JSON.parse(JSON.stringify(once))).toEqual(once);
  });

  it('of the accuracy come near those that need no resampling', async () => {
    const wilson = wilsonInterval(101, 140);
    for (const method of ['bca', 'percentile'] as const) {
      const { accuracy } = await bootstrapIntervals(matrix, { method });
      expect(Math.abs(accuracy.low - wilson.low)).toBeLessThan(0.015);
      expect(Math.abs(accuracy.high - wilson.high)).toBeLessThan(0.015);
    }
    const { accuracy } = await bootstrapIntervals(matrix, { confidenceLevel: 0.5 });
    const half = wilsonInterval(101, 140, 0.6744897501960817);
    expect(Math.abs(accuracy.low - half.low)).toBeLessThan(0.01);
    expect(Math.abs(accuracy.high - half.high)).toBeLessThan(0.01);
  });

  it('keep the samples of each class if they are stratified', async () => {
    // Class 0 always right, class 1 always wrong: within the classes nothing can change.
    const certain = {
      counts: [
        [30, 0],
        [10, 0],
      ],
      unparsed: [0, 0],
    };
    const stratified = await bootstrapIntervals(certain, { stratified: true, method: 'percentile' });
    expect(stratified.accuracy).toEqual({ low: 0.75, high: 0.75 });
    const free = await bootstrapIntervals(certain, { method: 'percentile' });
    expect(free.accuracy.low).toBeLessThan(0.65);
    expect(free.balancedAccuracy).toEqual({ low: 0.5, high: 0.5 });
  });

  it("are Wilson's where all answers are right, or all wrong", async () => {
    const right = await bootstrapIntervals({
      counts: [
        [7, 0],
        [0, 3],
      ],
      unparsed: [0, 0],
    });
    const wrong = await bootstrapIntervals({
      counts: [
        [0, 7],
        [0, 0],
      ],
      unparsed: [0, 3],
    });
    for (const name of NAMES) {
      expect(right[name]).toEqual(wilsonInterval(10, 10));
      expect(wrong[name]).toEqual(wilsonInterval(0, 10));
    }
  });

  it('refuse what is no option, and end with an abort', async () => {
    const extreme = await bootstrapIntervals(confusionOfOne, { confidenceLevel: 1 - 1e-9 });
    for (const name of NAMES) expect(extreme[name].low).toBeLessThanOrEqual(extreme[name].high);
    await expect(bootstrapIntervals(matrix, { method: 'basic' as 'bca' })).rejects.toThrow(
      /one of "bca", "percentile"/,
    );
    await expect(bootstrapIntervals(matrix, { resamples: 5 })).rejects.toThrow(ConfigError);
    await expect(bootstrapIntervals(matrix, { confidenceLevel: 95 })).rejects.toThrow(/less than 1/);
    await expect(bootstrapIntervals(matrix, {}, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
  });

  it('refuse weighted counts and what is no matrix', async () => {
    const weighted = {
      counts: [
        [1, 0.5],
        [3, 4],
      ],
      unparsed: [0, 0],
    };
    await expect(bootstrapIntervals(weighted)).rejects.toThrow(/expected whole counts/);
    await expect(bootstrapIntervals({ counts: matrix.counts } as never)).rejects.toThrow(/unparsed: \[K\]/);
  });

  // The whole of it, 1,000 simulations in eight settings, is interval-coverage.ts.
  it('hold the true accuracy and macro F1 of 140 samples in about 95 of 100 cases', async () => {
    const shares = matrix.counts.map((row, i) => [...row, matrix.unparsed[i]!].map((count) => count / 140));
    const truth = [accuracyScore(matrix), averageMetrics(precisionRecallFscoreSupport(matrix), 'macro').f1];
    const generator = new MersenneTwister(5);
    const held = [0, 0];
    for (let s = 0; s < 250; s++) {
      const drawn = drawSamples(shares, 140, generator);
      const intervals = await bootstrapIntervals(drawn, { resamples: 250, seed: s });
      for (const [i, { low, high }] of [intervals.accuracy, intervals.macroF1].entries()) {
        if (low <= truth[i]! && truth[i]! <= high) held[i]!++;
      }
    }
    for (const count of held) {
      expect(count / 250).toBeGreaterThan(0.92);
      expect(count / 250).toBeLessThan(0.98);
    }
  });
});
