import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import {
  accuracyScore,
  averageMetrics,
  balancedAccuracyScore,
  cohenKappaScore,
  confusionMatrix,
  correctCount,
  matthewsCorrcoef,
  normalizeConfusion,
  occurringClasses,
  precisionRecallFscoreSupport,
  sampleCount,
} from '../../src/eval/metrics.js';

const cases = fc.integer({ min: 1, max: 6 }).chain((classCount) =>
  fc.record({
    classCount: fc.constant(classCount),
    pairs: fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: classCount - 1 }),
        fc.option(fc.integer({ min: 0, max: classCount - 1 }), { nil: undefined, freq: 5 }),
      ),
      { maxLength: 60 },
    ),
  }),
);

describe('classification metrics', () => {
  it('agree with counting sample by sample', () => {
    fc.assert(
      fc.property(cases, ({ classCount, pairs }) => {
        const matrix = confusionMatrix(
          pairs.map(([truth]) => truth),
          pairs.map(([, answer]) => answer),
          classCount,
        );
        const right = pairs.filter(([truth, answer]) => truth === answer).length;
        expect(sampleCount(matrix)).toBe(pairs.length);
        expect(correctCount(matrix)).toBe(right);
        expect(accuracyScore(matrix)).toBe(pairs.length ? right / pairs.length : 0);
        const metrics = precisionRecallFscoreSupport(matrix);
        expect(metrics.length).toBe(classCount);
        let f1Sum = 0;
        for (let k = 0; k < classCount; k++) {
          const truePositives = pairs.filter(([truth, answer]) => truth === k && answer === k).length;
          const falsePositives = pairs.filter(([truth, answer]) => truth !== k && answer === k).length;
          const falseNegatives = pairs.filter(([truth, answer]) => truth === k && answer !== k).length;
          const precision = truePositives ? truePositives / (truePositives + falsePositives) : 0;
          const recall = truePositives ? truePositives / (truePositives + falseNegatives) : 0;
          const f1 = precision + recall ? (2 * precision * recall) / (precision + recall) : 0;
          expect(metrics[k]!.support).toBe(truePositives + falseNegatives);
          expect(metrics[k]!.precision).toBeCloseTo(precision, 12);
          expect(metrics[k]!.recall).toBeCloseTo(recall, 12);
          expect(metrics[k]!.f1).toBeCloseTo(f1, 12);
          f1Sum += f1;
        }
        expect(averageMetrics(metrics, 'macro').f1).toBeCloseTo(f1Sum / classCount, 12);
      }),
    );
  });

  it('gives the known figures of a small case', () => {
    // The example of scikit-learn's f1_score: macro F1 0.2666...
    const matrix = confusionMatrix([0, 1, 2, 0, 1, 2], [0, 2, 1, 0, 0, 1], 3);
    expect(matrix).toEqual({
      counts: [
        [2, 0, 0],
        [1, 0, 1],
        [0, 2, 0],
      ],
      unparsed: [0, 0, 0],
    });
    const metrics = precisionRecallFscoreSupport(matrix);
    expect(metrics[0]).toEqual({ precision: 2 / 3, recall: 1, f1: 0.8, support: 2 });
    expect(averageMetrics(metrics, 'macro').f1).toBeCloseTo(0.26666666666666666, 15);
  });

  it('averages over the classes that occur as scikit-learn does by default', () => {
    // sklearn.metrics.f1_score([0, 0, 2, 2, 2], [0, 2, 2, 3, 2], average='macro'): 0.4444444444444444;
    // with labels=[0, 1, 2, 3, 4]: 0.26666666666666666.
    const matrix = confusionMatrix([0, 0, 2, 2, 2], [0, 2, 2, 3, 2], 5);
    const metrics = precisionRecallFscoreSupport(matrix);
    expect(occurringClasses(matrix, metrics)).toEqual([metrics[0], metrics[2], metrics[3]]);
    expect(averageMetrics(occurringClasses(matrix, metrics), 'macro').f1).toBeCloseTo(0.4444444444444444, 15);
    expect(averageMetrics(metrics, 'macro').f1).toBeCloseTo(0.26666666666666666, 15);
  });

  it('counts an answer that is no class as wrong, against recall only', () => {
    const matrix = confusionMatrix([0, 0, 1], [0, undefined, 1], 2);
    expect(matrix.unparsed).toEqual([1, 0]);
    expect(accuracyScore(matrix)).toBeCloseTo(2 / 3, 15);
    expect(precisionRecallFscoreSupport(matrix)[0]).toEqual({ precision: 1, recall: 0.5, f1: 2 / 3, support: 2 });
  });

  it('keeps classes without samples in the mean, as 0', () => {
    expect(averageMetrics(precisionRecallFscoreSupport(confusionMatrix([0], [0], 4)), 'macro').f1).toBe(0.25);
  });

  it('gives shares of each true class, with or without answers that are no class', () => {
    const matrix = confusionMatrix([0, 0, 0, 0, 2], [0, 1, null, undefined, null], 3);
    expect(normalizeConfusion(matrix)).toEqual({
      counts: [
        [0.25, 0.25, 0],
        [0, 0, 0],
        [0, 0, 0],
      ],
      unparsed: [0.5, 0, 1],
    });
    expect(normalizeConfusion(matrix, 'left out')).toEqual({
      counts: [
        [0.5, 0.5, 0],
        [0, 0, 0],
        [0, 0, 0],
      ],
      unparsed: [0, 0, 0],
    });
  });

  it('has 0 and NaN where nothing can be said, as scikit-learn', () => {
    const empty = confusionMatrix([], [], 2);
    expect([accuracyScore(empty), balancedAccuracyScore(empty), matthewsCorrcoef(empty)]).toEqual([0, 0, 0]);
    expect(averageMetrics(precisionRecallFscoreSupport(empty), 'weighted')).toEqual({ precision: 0, recall: 0, f1: 0 });
    expect(cohenKappaScore(empty)).toBeNaN();
    expect(cohenKappaScore(confusionMatrix([1, 1], [1, 1], 2))).toBeNaN();
    expect(matthewsCorrcoef(confusionMatrix([1, 1], [0, 1], 2))).toBe(0);
  });

  it('refuses classes out of range and unequal lengths', () => {
    expect(() => confusionMatrix([2], [0], 2)).toThrow(/got 2 at sample 0/);
    expect(() => confusionMatrix([0], [-1], 2)).toThrow(DataError);
    expect(() => confusionMatrix([0, 1], [0], 2)).toThrow(/2 samples and 1 answers/);
    expect(() => confusionMatrix([0], [0], Number.NaN)).toThrow(/`classCount`/);
  });

  it.each([
    ['another object', {}],
    ['rows alone', [[1]]],
    ['no `unparsed`', { counts: [[1]] }],
    ['an empty `unparsed`', { counts: [[1]], unparsed: [] }],
    ['rows of several lengths', { counts: [[1, 2], [3]], unparsed: [0, 0] }],
    ['negative counts', { counts: [[-1]], unparsed: [0] }],
    ['nothing', undefined],
  ])('refuse %s in place of a confusion matrix', (_, matrix) => {
    for (const metric of [accuracyScore, precisionRecallFscoreSupport, matthewsCorrcoef, normalizeConfusion]) {
      expect(() => metric(matrix as never)).toThrow(/expected \{ counts: \[K\]\[K\], unparsed: \[K\] \}/);
    }
  });

  it('refuse other words than theirs', () => {
    const matrix = confusionMatrix([0, 1], [0, 0], 2);
    expect(() => normalizeConfusion(matrix, 'true' as never)).toThrow(/one of counted, left out, got "true"/);
    const perClass = precisionRecallFscoreSupport(matrix);
    expect(() => averageMetrics(perClass, 'micro' as never)).toThrow(/one of macro, weighted, got "micro"/);
  });
});
