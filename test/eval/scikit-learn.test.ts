import { describe, expect, it } from 'vitest';
import { buildReport } from '../../src/eval/build-report.js';
import { calibrationCurve } from '../../src/eval/calibration.js';
import type { EvaluatedSample } from '../../src/eval/evaluation-report.js';
import { normalizeConfusion } from '../../src/eval/metrics.js';
import { argmax, brierScoreLoss, logLoss, softmax, topKAccuracyScore } from '../../src/eval/probabilities.js';
import { scikitLearnCases } from './scikit-learn-cases.js';

const cases = scikitLearnCases();

/** Place in the rows, one after the other, and value of each value that is not 0. */
const sparse = (matrix: readonly (readonly number[])[]): number[] => {
  return matrix.flat().flatMap((value, place) => (value === 0 ? [] : [place, value]));
};

/** Throws where a value differs: an `expect` for each would take a second. */
function expectEqual(name: string, found: number | null | readonly number[], wanted: unknown): void {
  const [ours, theirs] = [[found].flat(), [wanted as number | null | number[]].flat()];
  const isEqual = (value: number | null, i: number) =>
    value === null ? ours[i] === null : Math.abs(ours[i]! - value) <= 1e-9;
  if (ours.length === theirs.length && theirs.every(isEqual)) return;
  expect([name, ours]).toEqual([name, theirs]);
}

describe('200 random classifications', () => {
  it('have every metric of answers as scikit-learn has it', () => {
    expect(cases).toHaveLength(200);
    for (const { inputs, values } of cases) {
      const { classes, truth, answers } = inputs;
      expectEqual('size', [classes, truth.length], [values.classes, values.count]);
      const samples: EvaluatedSample[] = truth.map((expected, i) => {
        return { id: String(i), expected, predicted: answers[i]!, answer: '' };
      });
      const report = buildReport(samples, {
        ...{ classNames: Array.from({ length: classes }, (_, i) => `${i}`), mode: 'free', answerMode: 'exact' },
        ...{ datasetLength: samples.length, seconds: 0 },
      });
      for (const name of [
        ...(['accuracy', 'balancedAccuracy', 'macroPrecision', 'macroRecall', 'macroF1', 'macroF1Occurring'] as const),
        ...(['weightedPrecision', 'weightedRecall', 'weightedF1', 'matthewsCorrcoef', 'cohenKappa'] as const),
      ]) {
        expectEqual(name, report[name], values[name]);
      }
      for (const name of ['precision', 'recall', 'f1', 'support'] as const) {
        expectEqual(
          name,
          report.perClass.map((one) => one[name]),
          values[name],
        );
      }
      expectEqual('confusion', sparse(report.confusion.counts), values.confusion);
      const shares = normalizeConfusion(report.confusion, 'left out');
      expectEqual('confusionByRow', sparse(shares.counts), values.confusionByRow);
      expectEqual('unparsed', sparse([shares.unparsed]), []);
      if (values.confusionByRowCounted) {
        const { counts, unparsed } = normalizeConfusion(report.confusion);
        const withInvalid = counts.map((row, i) => [...row, unparsed[i]!]);
        expectEqual('confusionByRowCounted', sparse(withInvalid), values.confusionByRowCounted);
      }
    }
  });

  it('have every metric of probabilities as scikit-learn has it', () => {
    let binned = 0;
    for (const { inputs, values } of cases) {
      const { truth, scores, bins } = inputs;
      const topK = values.topK as number[];
      expectEqual(
        'topK',
        topK.map((_, i) => topKAccuracyScore(truth, scores, i + 1)),
        topK,
      );
      expectEqual('logLoss', logLoss(truth, scores), values.logLoss);
      expectEqual('brierScoreLoss', brierScoreLoss(truth, scores), values.brierScoreLoss);
      // scikit-learn has no curve of answers that are all right or all wrong.
      if (!values.calibrationAccuracy) continue;
      const best = scores.map(argmax);
      const confidence = scores.map((row, i) => softmax(row)[best[i]!]!);
      const right = best.map((answer, i) => answer === truth[i]);
      const filled = calibrationCurve(confidence, right, bins).bins.filter(({ count }) => count > 0);
      expectEqual(
        'calibrationAccuracy',
        filled.map((bin) => bin.accuracy!),
        values.calibrationAccuracy,
      );
      expectEqual(
        'calibrationConfidence',
        filled.map((bin) => bin.confidence!),
        values.calibrationConfidence,
      );
      binned++;
    }
    expect(binned).toBeGreaterThan(100);
  });
});
