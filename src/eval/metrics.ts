/**
 * Classification metrics after scikit-learn's definitions, with `labels` = all given classes and `zero_division` = 0.
 * An answer that is no class (undefined) is wrong: it lowers accuracy and the recall of its class, and counts for no
 * class's precision.
 */
import { DataError } from '../errors.js';

/** Counts of truth against answer. K classes. */
export interface ConfusionMatrix {
  /** [K][K]: row = true class, column = answered class. */
  readonly counts: readonly (readonly number[])[];
  /** Answers that are no class, by true class [K]. */
  readonly unparsed: readonly number[];
}

/** How well one class is told from the others. */
export interface ClassMetrics {
  /** Of the answers that name this class, the share that is right; 0 if there are none. */
  readonly precision: number;
  /** Of the samples of this class, the share that is found; 0 if there are none. */
  readonly recall: number;
  /** Harmonic mean of precision and recall; 0 if both are 0. */
  readonly f1: number;
  /** Samples whose true class this is. */
  readonly support: number;
}

/** A confidence interval of a proportion. */
export interface Interval {
  /** At least 0; exactly 0 where nothing succeeded. */
  readonly low: number;
  /** At most 1; exactly 1 where nothing failed. */
  readonly high: number;
}

/**
 * @param expected [N] true class of each sample, 0 .. classCount - 1
 * @param predicted [N] answered class of each sample, undefined if the answer is no class
 * @throws DataError if the lengths differ or a class is out of range
 */
export function confusionMatrix(
  expected: ArrayLike<number>,
  predicted: ArrayLike<number | undefined>,
  classCount: number,
): ConfusionMatrix {
  if (expected.length !== predicted.length)
    throw new DataError(
      `confusion matrix: expected one answer per sample, got ${expected.length} samples and ${predicted.length} answers`,
    );
  const counts = Array.from({ length: classCount }, () => new Array<number>(classCount).fill(0));
  const unparsed = new Array<number>(classCount).fill(0);
  for (let i = 0; i < expected.length; i++) {
    const truth = expected[i]!;
    const answer = predicted[i];
    for (const label of [truth, answer])
      if (label !== undefined && !(Number.isInteger(label) && label >= 0 && label < classCount))
        throw new DataError(`confusion matrix: expected classes 0 to ${classCount - 1}, got ${label} at sample ${i}`);
    if (answer === undefined) unparsed[truth]!++;
    else counts[truth]![answer]!++;
  }
  return { counts, unparsed };
}

export function sampleCount(matrix: ConfusionMatrix): number {
  return sum(matrix.unparsed) + sum(matrix.counts.map(sum));
}

/** Right answers in the matrix. */
export function correctCount(matrix: ConfusionMatrix): number {
  return sum(matrix.counts.map((row, i) => row[i]!));
}

/** Right answers over all samples; 0 for no samples. */
export function accuracy(matrix: ConfusionMatrix): number {
  return ratio(correctCount(matrix), sampleCount(matrix));
}

/** Precision, recall, F1 and support of every class, in class order. */
export function perClassMetrics(matrix: ConfusionMatrix): ClassMetrics[] {
  return matrix.counts.map((row, i) => {
    const right = row[i]!;
    const support = sum(row) + matrix.unparsed[i]!;
    const answered = sum(matrix.counts.map((other) => other[i]!));
    return {
      precision: ratio(right, answered),
      recall: ratio(right, support),
      f1: ratio(2 * right, answered + support),
      support,
    };
  });
}

/** The classes that occur in truth or answers: over these scikit-learn averages by default (`labels=None`). */
export function occurringClasses(matrix: ConfusionMatrix, perClass: readonly ClassMetrics[]): ClassMetrics[] {
  return perClass.filter((one, i) => one.support > 0 || matrix.counts.some((row) => row[i]! > 0));
}

/** The unweighted mean of F1 over these classes (scikit-learn's `average='macro'` with them as `labels`). */
export function macroF1(perClass: readonly ClassMetrics[]): number {
  return ratio(sum(perClass.map((one) => one.f1)), perClass.length);
}

const Z_95 = 1.959963984540054;

/**
 * Wilson's score interval of a proportion (Wilson 1927), sensible for few samples and near 0 and 1.
 * @param z standard normal quantile; the default gives 95 %
 * @returns 0 to 1 for no samples
 */
export function wilsonInterval(successes: number, total: number, z: number = Z_95): Interval {
  if (total === 0) return { low: 0, high: 1 };
  const p = successes / total;
  const centre = p + (z * z) / (2 * total);
  const spread = z * Math.sqrt((p * (1 - p)) / total + (z * z) / (4 * total * total));
  const scale = 1 + (z * z) / total;
  return {
    low: successes === 0 ? 0 : (centre - spread) / scale,
    high: successes === total ? 1 : (centre + spread) / scale,
  };
}

/**
 * McNemar's exact test: how likely is a split at least this uneven if both models were equally good? Two-sided
 * binomial test on the samples that just one of them got right.
 * @param gained samples that only the second model got right
 * @param lost samples that only the first model got right
 */
export function mcnemarExact(gained: number, lost: number): number {
  const n = gained + lost;
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let i = 0; i <= Math.min(gained, lost); i++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((n - i) / (i + 1));
  }
  return Math.min(1, 2 * tail);
}

export function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
