import { describe, expect, it } from 'vitest';
import { ConfigError, DataError } from '../../src/errors.js';
import { buildReport } from '../../src/eval/build-report.js';
import { calibrationCurve } from '../../src/eval/calibration.js';
import { compareSubsets, subsetsMarkdown } from '../../src/eval/compare-subsets.js';
import { errorCost } from '../../src/eval/error-cost.js';
import type { EvaluatedSample } from '../../src/eval/evaluation-report.js';
import { logLoss, softmax, topKAccuracyScore } from '../../src/eval/probabilities.js';
import { compareReports, compareSamples } from '../../src/eval/report.js';
import { abstainBelow, riskCoverageArea, riskCoverageCurve, thresholdForRisk } from '../../src/eval/risk-coverage.js';
import { subsetReport } from '../../src/eval/subset-report.js';

const NAMES = ['healthy', 'hairline', 'broken'];
const reportOf = (samples: EvaluatedSample[], datasetLength = samples.length) =>
  buildReport(samples, { classNames: NAMES, mode: 'free', answerMode: 'exact', datasetLength, seconds: 10 });
const answered = (expected: number, predicted: number | null, id: string, confidence?: number): EvaluatedSample => ({
  ...{ id, expected, predicted, answer: '' },
  ...(confidence === undefined ? {} : { confidence }),
});

describe('calibrationCurve', () => {
  it('puts a confidence on an edge into the lower bin', () => {
    const { bins, expectedCalibrationError, maximumCalibrationError } = calibrationCurve(
      [0, 0.2, 0.2000001, 1],
      [true, false, true, true],
      5,
    );
    expect(bins.map(({ count }) => count)).toEqual([2, 1, 0, 0, 1]);
    expect(bins[0]).toEqual({ low: 0, high: 0.2, count: 2, confidence: 0.1, accuracy: 0.5 });
    expect(bins[2]).toMatchObject({ count: 0, confidence: null, accuracy: null });
    expect(bins[4]!.high).toBe(1);
    expect(expectedCalibrationError).toBeCloseTo((0.8 + 0.7999999 + 0) / 4, 12);
    expect(maximumCalibrationError).toBeCloseTo(0.7999999, 12);
  });

  it('is 0 for nothing, and refuses what is no confidence', () => {
    expect(calibrationCurve([], []).expectedCalibrationError).toBe(0);
    expect(() => calibrationCurve([1.1], [true])).toThrow(/from 0 to 1, got 1\.1 at sample 0/);
    expect(() => calibrationCurve([Number.NaN], [true])).toThrow(DataError);
    expect(() => calibrationCurve([0.5], [])).toThrow(/1 confidences of 0 answers/);
    expect(() => calibrationCurve([0.5], [true], 0)).toThrow(ConfigError);
  });
});

describe('probabilities', () => {
  it('of scores far from 0 are sound', () => {
    expect(softmax([-1000, -1000])).toEqual([0.5, 0.5]);
    expect(softmax([700, -700, 0])[0]).toBe(1);
    expect(softmax([Number.NEGATIVE_INFINITY, 0])).toEqual([0, 1]);
    for (const wrong of [
      [Number.NaN, 1],
      [Infinity, 0],
      [-Infinity, -Infinity],
    ]) {
      expect(() => softmax(wrong)).toThrow(DataError);
    }
    expect(() => topKAccuracyScore([0], [[0, Number.NaN]], 1)).toThrow(/got NaN for class 1 at sample 0/);
    expect(() => topKAccuracyScore([0], [[0, 1]], 0)).toThrow(/`k`: expected a whole number of at least 1/);
    // As in scikit-learn a probability of 0 counts as 2⁻⁵².
    expect(logLoss([1], [[0, -800]])).toBeCloseTo(52 * Math.LN2, 12);
    expect(logLoss([], [])).toBe(0);
    expect(() => logLoss([0], [])).toThrow(/scores of 1 samples, got those of 0/);
    expect(() => logLoss([2], [[0, 0]])).toThrow(/class from 0 to 1 .* got 2/);
  });
});

describe('abstention', () => {
  const samples = [
    answered(0, 0, 'a', 0.5),
    answered(1, 1, 'b', 0.9),
    answered(2, 1, 'c', 0.6),
    answered(0, 0, 'd', 0.6),
    answered(1, 0, 'e', 0.4),
  ];

  it('has a point for each confidence, equal ones together', () => {
    expect(riskCoverageCurve(samples)).toEqual([
      { threshold: 0.9, answered: 1, coverage: 0.2, risk: 0 },
      { threshold: 0.6, answered: 3, coverage: 0.6, risk: 1 / 3 },
      { threshold: 0.5, answered: 4, coverage: 0.8, risk: 0.25 },
      { threshold: 0.4, answered: 5, coverage: 1, risk: 0.4 },
    ]);
    expect(riskCoverageArea(samples)).toBeCloseTo((0 + 2 / 3 + 0.25 + 0.4) / 5, 14);
    expect([riskCoverageCurve([]), riskCoverageArea([])]).toEqual([[], 0]);
  });

  it('gives the answers at a threshold or above', () => {
    expect(abstainBelow(samples, 0.6)).toEqual({ threshold: 0.6, answered: 3, coverage: 0.6, risk: 1 / 3 });
    expect(abstainBelow(samples, 0.95)).toEqual({ threshold: 0.95, answered: 0, coverage: 0, risk: 0 });
    expect(() => abstainBelow(samples, 60)).toThrow(/`threshold`: expected a number from 0 to 1, got 60/);
  });

  it('finds the threshold at which most answers are given for a risk', () => {
    expect(thresholdForRisk(samples, 0.3)).toMatchObject({ threshold: 0.5, answered: 4 });
    expect(thresholdForRisk(samples, 0.1)).toMatchObject({ threshold: 0.9, answered: 1 });
    expect(thresholdForRisk([answered(0, 1, 'x', 0.9)], 0.1)).toBeUndefined();
  });

  it('asks for confidences', () => {
    expect(() => riskCoverageCurve([answered(0, 0, 'x')])).toThrow(/sample x has no confidence\n.*'scored'/);
    expect(() => riskCoverageCurve('no' as never)).toThrow(ConfigError);
  });
});

describe('errorCost', () => {
  const report = reportOf([
    answered(0, 0, 'a'),
    answered(0, 2, 'b'),
    answered(2, 0, 'c'),
    answered(2, 0, 'd'),
    answered(1, null, 'e'),
  ]);
  const COSTS = [
    [0, 1, 2],
    [3, 0, 1],
    [10, 4, -1],
  ];

  it('weighs each answer, those that are no class too', () => {
    expect(errorCost(report, COSTS, 5)).toEqual({ total: 27, mean: 5.4, perClass: [2, 5, 20], invalid: 5 });
    expect(errorCost(report, COSTS, [1, 7, 1])).toMatchObject({ total: 29, invalid: 7 });
    expect(errorCost(subsetReport(report, ['a', 'd']), COSTS)).toMatchObject({ total: 10, mean: 5, invalid: 0 });
  });

  it('does not guess', () => {
    expect(() => errorCost(report, COSTS)).toThrow(/1 answers are no class, and `invalidCost` is missing/);
    expect(() => errorCost(report, COSTS.slice(1), 0)).toThrow(/expected 3 rows, one a class/);
    expect(() => errorCost(report, [[0, 1], ...COSTS.slice(1)], 0)).toThrow(/`costs\[0\]`: expected 3 finite numbers/);
    expect(() => errorCost(report, COSTS, [1, 2])).toThrow(/`invalidCost`: expected 3 finite numbers/);
    expect(() => errorCost(report, COSTS, Number.NaN)).toThrow(ConfigError);
  });
});

describe('a part of the samples', () => {
  const report = reportOf([
    answered(0, 0, 'a', 0.9),
    answered(1, 1, 'b', 0.9),
    answered(2, 1, 'c', 0.9),
    answered(0, null, 'd', 0.9),
  ]);

  it('is reported by ids or by indices, without asking again', () => {
    const part = subsetReport(report, ['d', 'a']);
    expect(part).toMatchObject({
      count: 2,
      datasetLength: 2,
      accuracy: 0.5,
      invalidShare: 0.5,
      seconds: 5,
      mode: 'free',
    });
    expect(part.samples.map(({ id }) => id)).toEqual(['a', 'd']);
    expect(subsetReport(report, [0, 3])).toEqual(part);
    expect(subsetReport(report, new Set(['a', 'd']))).toEqual(part);
    const all = subsetReport(report, [0, 1, 2, 3]);
    expect(all).toEqual(report);
  });

  it('is refused where it is not clear which samples are meant', () => {
    expect(() => subsetReport(report, [])).toThrow(/no sample is selected/);
    expect(() => subsetReport(report, ['a', 'z'])).toThrow(/these samples are not in the report: z\n/);
    expect(() => subsetReport(report, [4, -1, 0.5])).toThrow(/not in the report: 4, -1, 0\.5\n.*0 to 3/);
    expect(() => subsetReport(report, [0, 'a'] as never)).toThrow(/not in the report: 0/);
    expect(() => subsetReport(report, 'a')).toThrow(/expected a list of ids or indices, got "a"/);
    expect(() => subsetReport({ ...report, datasetLength: 9 }, [0])).toThrow(/of which 4 of 9 samples were evaluated/);
    expect(subsetReport({ ...report, datasetLength: 9 }, ['a']).count).toBe(1);
  });

  it('is shown beside all of them, changes in percentage points', () => {
    const lines = compareSubsets(report, { 'leak-free': ['a', 'b'], '=x|': [2] }).split('\n');
    expect(lines[0]).toMatch(/^ +all +leak-free +=x\|$/);
    expect(lines[2]).toMatch(/^samples +4 +2 +1$/);
    expect(lines[3]).toMatch(/^accuracy +50\.0 % +100\.0 % \(\+50\.0 pp\) +0\.0 % \(−50\.0 pp\)$/);
    expect(lines[4]).toMatch(/^95 % interval +15\.0 % to 85\.0 % +34\.2 % to 100\.0 % +0\.0 % to 79\.3 %$/);
    expect(lines.at(-1)).toMatch(/^answers that are no class +25\.0 % +0\.0 % \(−25\.0 pp\) +0\.0 % \(−25\.0 pp\)$/);
    expect(subsetsMarkdown(report, { 'a|b': ['a'] }).split('\n')[0]).toBe('|  | all | a\\|b |');
    expect(() => compareSubsets(report, ['a'] as never)).toThrow(/lists of samples by name/);
  });
});

describe('two reports on the same samples', () => {
  it('pair several samples of one id in their order', () => {
    const before = reportOf([answered(0, 0, 'same'), answered(0, 1, 'same'), answered(1, 1, 'x')]);
    const after = reportOf([answered(0, 0, 'same'), answered(0, 0, 'same'), answered(1, 0, 'x')]);
    expect(compareSamples(before, after)).toMatchObject({
      ...{ paired: 3, gained: 1, lost: 1, pValue: 1, chiSquare: { statistic: 0, pValue: 1 } },
      ...{ accuracyDelta: 0, accuracyDeltaInterval: { low: expect.any(Number), high: expect.any(Number) } },
    });
  });

  it('say where an id has another true class in each: the data differ', () => {
    const before = reportOf([answered(0, 0, 'a'), answered(1, 0, 'b')]);
    const after = reportOf([answered(0, 0, 'a'), answered(0, 0, 'b')]);
    expect(compareSamples(before, after)).toMatchObject({ paired: 1, mismatched: 1 });
    expect(compareReports(before, after)).toMatch(/another true class, left out: 1\. Are these the same samples\?$/);
    expect(compareReports(before, before)).not.toMatch(/left out/);
  });

  it('have changes of all averages', () => {
    const before = reportOf([answered(0, 0, 'a'), answered(0, 0, 'b'), answered(1, 0, 'c')]);
    const after = reportOf([answered(0, 0, 'a'), answered(0, 0, 'b'), answered(1, 1, 'c')]);
    const { balancedAccuracyDelta, weightedF1Delta, macroF1Delta } = compareSamples(before, after);
    expect(balancedAccuracyDelta).toBe(0.5);
    expect(weightedF1Delta).toBeCloseTo(1 - (2 * 0.8) / 3, 14);
    expect(macroF1Delta).toBeCloseTo((2 - 0.8) / 3, 14);
  });
});
