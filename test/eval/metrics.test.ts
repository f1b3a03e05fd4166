import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DataError } from '../../src/errors.js';
import {
  accuracy,
  confusionMatrix,
  correctCount,
  macroF1,
  mcnemarExact,
  occurringClasses,
  perClassMetrics,
  sampleCount,
  wilsonInterval,
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
        expect(accuracy(matrix)).toBe(pairs.length ? right / pairs.length : 0);
        const metrics = perClassMetrics(matrix);
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
        expect(macroF1(metrics)).toBeCloseTo(f1Sum / classCount, 12);
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
    const metrics = perClassMetrics(matrix);
    expect(metrics[0]).toEqual({ precision: 2 / 3, recall: 1, f1: 0.8, support: 2 });
    expect(macroF1(metrics)).toBeCloseTo(0.26666666666666666, 15);
  });

  it('averages over the classes that occur as scikit-learn does by default', () => {
    // sklearn.metrics.f1_score([0, 0, 2, 2, 2], [0, 2, 2, 3, 2], average='macro'): 0.4444444444444444;
    // with labels=[0, 1, 2, 3, 4]: 0.26666666666666666.
    const matrix = confusionMatrix([0, 0, 2, 2, 2], [0, 2, 2, 3, 2], 5);
    const metrics = perClassMetrics(matrix);
    expect(occurringClasses(matrix, metrics)).toEqual([metrics[0], metrics[2], metrics[3]]);
    expect(macroF1(occurringClasses(matrix, metrics))).toBeCloseTo(0.4444444444444444, 15);
    expect(macroF1(metrics)).toBeCloseTo(0.26666666666666666, 15);
  });

  it('counts an answer that is no class as wrong, against recall only', () => {
    const matrix = confusionMatrix([0, 0, 1], [0, undefined, 1], 2);
    expect(matrix.unparsed).toEqual([1, 0]);
    expect(accuracy(matrix)).toBeCloseTo(2 / 3, 15);
    expect(perClassMetrics(matrix)[0]).toEqual({ precision: 1, recall: 0.5, f1: 2 / 3, support: 2 });
  });

  it('keeps classes without samples in the mean, as 0', () => {
    expect(macroF1(perClassMetrics(confusionMatrix([0], [0], 4)))).toBe(0.25);
  });

  it('refuses classes out of range and unequal lengths', () => {
    expect(() => confusionMatrix([2], [0], 2)).toThrow(/got 2 at sample 0/);
    expect(() => confusionMatrix([0], [-1], 2)).toThrow(DataError);
    expect(() => confusionMatrix([0, 1], [0], 2)).toThrow(/2 samples and 1 answers/);
  });
});

describe('wilsonInterval', () => {
  it('is where the score test just accepts', () => {
    // Wilson's bounds solve (p̂ - p)² = z² p (1 - p) / n.
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true }), (total, share) => {
        const successes = Math.round(total * share);
        const { low, high } = wilsonInterval(successes, total);
        const z = 1.959963984540054;
        for (const p of [low, high])
          expect((successes / total - p) ** 2).toBeCloseTo((z * z * p * (1 - p)) / total, 10);
        expect(low).toBeLessThanOrEqual(successes / total);
        expect(high).toBeGreaterThanOrEqual(successes / total);
      }),
    );
  });

  it('is about 8 points either way for 140 samples', () => {
    const { low, high } = wilsonInterval(70, 140);
    expect(low).toBeCloseTo(0.4183, 4);
    expect(high).toBeCloseTo(0.5817, 4);
    expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  });
});

describe('mcnemarExact', () => {
  it('sums the two tails of a fair coin', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 12 }), (gained, lost) => {
        const n = gained + lost;
        let atLeastAsUneven = 0;
        for (let heads = 0; heads <= n; heads++)
          if (Math.abs(heads - n / 2) >= Math.abs(gained - n / 2)) atLeastAsUneven += binomial(n, heads);
        expect(mcnemarExact(gained, lost)).toBeCloseTo(atLeastAsUneven / 2 ** n, 10);
      }),
    );
  });

  it('does not overflow on many samples', () => {
    expect(mcnemarExact(5000, 5000)).toBe(1);
    expect(mcnemarExact(5200, 4800)).toBeGreaterThan(6e-5);
    expect(mcnemarExact(5200, 4800)).toBeLessThan(7e-5);
  });
});

function binomial(n: number, k: number): number {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return value;
}
