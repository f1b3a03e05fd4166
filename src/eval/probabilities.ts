/** Metrics of the probabilities of classes, after scikit-learn's definitions. N samples, K classes. */
import { DataError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { requireInteger } from '../require-given.js';

/** Scores of the classes for each sample [N][K]: natural-log probabilities, up to a constant a sample. */
export type ClassScores = readonly (readonly number[])[];

/**
 * [K] Probabilities of one sample's classes among each other: their sum is 1.
 * @throws DataError for NaN, +∞, and where no score is above -∞
 */
export function softmax(scores: readonly number[]): number[] {
  const most = scores[argmax(scores)]!;
  const shares = scores.map((score) => Math.exp(score - most));
  const total = shares.reduce((a, b) => a + b, 0);
  // The largest alone has a share of 1.
  if (!(total >= 1)) {
    throw new DataError(`expected natural-log probabilities of classes, got ${showValue(scores)}`);
  }
  return shares.map((share) => share / total);
}

/** Class with the highest score; the first of several. */
export function argmax(scores: readonly number[]): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i]! > scores[best]!) best = i;
  return best;
}

/**
 * Share of samples whose true class is among the k with the highest scores. Of equal scores the later class goes before,
 * of two classes the first, as in scikit-learn: with ties `k = 1` may differ from the accuracy.
 * @throws DataError for lengths or classes that do not match, and for NaN; ConfigError for a `k` below 1
 */
export function topKAccuracyScore(expected: readonly number[], scores: ClassScores, k: number): number {
  requireInteger(k, 'topKAccuracyScore: `k`', 1);
  return mean(expected, scores, (truth, row) => {
    const own = row[truth]!;
    let before = 0;
    for (let i = 0; i < row.length; i++)
      if (row[i]! > own || (row[i] === own && (row.length === 2 ? i < truth : i > truth))) before++;
    return before < k ? 1 : 0;
  });
}

/** Mean of -ln p of the true classes, in nats. Probabilities are kept at least 2⁻⁵² away from 0 and 1, as in scikit-learn. */
export function logLoss(expected: readonly number[], scores: ClassScores): number {
  return mean(expected, scores, (truth, row) => {
    return -Math.log(Math.min(Math.max(softmax(row)[truth]!, Number.EPSILON), 1 - Number.EPSILON));
  });
}

/**
 * Mean squared distance between probabilities and truth, summed over the classes (Brier 1950): 0 to 2. Of two classes it
 * is halved, the square for one of them, as scikit-learn's `scale_by_half='auto'` has it.
 */
export function brierScoreLoss(expected: readonly number[], scores: ClassScores): number {
  return mean(expected, scores, (truth, row) => {
    const squares = softmax(row).map((share, i) => (share - (i === truth ? 1 : 0)) ** 2);
    return squares.reduce((a, b) => a + b, 0) / (row.length === 2 ? 2 : 1);
  });
}

function mean(
  expected: readonly number[],
  scores: ClassScores,
  of: (truth: number, row: readonly number[]) => number,
): number {
  if (expected.length !== scores.length) {
    throw new DataError(`expected scores of ${expected.length} samples, got those of ${scores.length}`);
  }
  const flat = scores.findIndex((row) => typeof row?.length !== 'number');
  if (flat >= 0) {
    throw new DataError(
      `expected scores [N][K], a row for each sample, got ${showValue(scores[flat])} at sample ${flat}`,
    );
  }
  const classCount = scores[0]?.length ?? 0;
  let total = 0;
  for (const [i, row] of scores.entries()) {
    const truth = expected[i]!;
    if (row.length !== classCount || !(Number.isInteger(truth) && truth >= 0 && truth < classCount)) {
      throw new DataError(
        `expected a class from 0 to ${classCount - 1} with ${classCount} scores, got ${truth} with ${row.length} at sample ${i}`,
      );
    }
    const at = row.findIndex(Number.isNaN);
    if (at >= 0) throw new DataError(`expected log-probabilities, got NaN for class ${at} at sample ${i}`);
    total += of(truth, row);
  }
  return expected.length === 0 ? 0 : total / expected.length;
}
