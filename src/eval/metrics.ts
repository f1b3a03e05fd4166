/**
 * Classification metrics after scikit-learn's definitions and names, with `labels` = all given classes and
 * `zero_division` = 0. An answer that is no class (undefined) is wrong: it lowers accuracy and the recall of its class,
 * and counts for no class's precision. It is what scikit-learn computes if all such answers get one further class that
 * `labels` leaves out.
 */
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { requireInteger } from '../require-given.js';

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

/** A confidence interval. */
export interface Interval {
  /** Lower bound. Of a proportion at least 0; exactly 0 where nothing succeeded. */
  readonly low: number;
  /** Upper bound. Of a proportion at most 1; exactly 1 where nothing failed. */
  readonly high: number;
}

/** What all metrics here follow from. K classes; samples may be weighted. */
interface Tallies {
  /** [K] Right answers by class. */
  readonly right: ArrayLike<number>;
  /** [K] Answers that name the class. */
  readonly answered: ArrayLike<number>;
  /** [K] Samples whose true class it is. */
  readonly support: ArrayLike<number>;
  /** Samples. */
  readonly count: number;
}

/**
 * @param expected [N] true class of each sample, 0 .. classCount - 1
 * @param predicted [N] answered class of each sample, undefined or null if the answer is no class
 * @throws DataError if the lengths differ or a class is out of range
 */
export function confusionMatrix(
  expected: ArrayLike<number>,
  predicted: ArrayLike<number | null | undefined>,
  classCount: number,
): ConfusionMatrix {
  requireInteger(classCount, 'confusion matrix: `classCount`', 0);
  if (expected.length !== predicted.length)
    throw new DataError(
      `confusion matrix: expected one answer per sample, got ${expected.length} samples and ${predicted.length} answers`,
    );
  const counts = Array.from({ length: classCount }, () => new Array<number>(classCount).fill(0));
  const unparsed = new Array<number>(classCount).fill(0);
  for (let i = 0; i < expected.length; i++) {
    const truth = expected[i]!;
    const answer = predicted[i] ?? undefined;
    for (const label of [truth, answer])
      if (label !== undefined && !(Number.isInteger(label) && label >= 0 && label < classCount))
        throw new DataError(`confusion matrix: expected classes 0 to ${classCount - 1}, got ${label} at sample ${i}`);
    if (answer === undefined) unparsed[truth]!++;
    else counts[truth]![answer]!++;
  }
  return { counts, unparsed };
}

/**
 * Each count as a share of the samples of its true class; all 0 in the row of a class without samples.
 * @param invalid whether answers that are no class count as samples of the row: `counted` (default) makes shares and
 *   `unparsed` of a row add up to 1; `left out` is scikit-learn's `normalize='true'` with `labels` = the classes, in which
 *   `unparsed` is 0 and the shares alone add up to 1
 */
export function normalizeConfusion(
  matrix: ConfusionMatrix,
  invalid: 'counted' | 'left out' = 'counted',
): ConfusionMatrix {
  requireConfusion(matrix);
  const isCounted = oneOf(invalid, ['counted', 'left out'], 'normalizeConfusion: `invalid`') === 'counted';
  const totals = matrix.counts.map((row, i) => sum(row) + (isCounted ? matrix.unparsed[i]! : 0));
  return {
    counts: matrix.counts.map((row, i) => row.map((count) => ratio(count, totals[i]!))),
    unparsed: matrix.unparsed.map((count, i) => (isCounted ? ratio(count, totals[i]!) : 0)),
  };
}

/** @internal */
export function talliesOf(matrix: ConfusionMatrix): Tallies {
  requireConfusion(matrix);
  const { counts, unparsed } = matrix;
  const support = counts.map((row, i) => sum(row) + unparsed[i]!);
  const answered = new Array<number>(counts.length).fill(0);
  for (const row of counts) for (const [i, count] of row.entries()) answered[i]! += count;
  return { right: counts.map((row, i) => row[i]!), answered, support, count: sum(support) };
}

export function sampleCount(matrix: ConfusionMatrix): number {
  return talliesOf(matrix).count;
}

/** Right answers in the matrix. */
export function correctCount(matrix: ConfusionMatrix): number {
  return sum(matrix.counts.map((row, i) => row[i]!));
}

/** Right answers over all samples; 0 for no samples. */
export function accuracyScore(matrix: ConfusionMatrix): number {
  return accuracyOf(talliesOf(matrix));
}

/** Mean recall over the classes that have samples; 0 for no samples. */
export function balancedAccuracyScore(matrix: ConfusionMatrix): number {
  return balancedAccuracyOf(talliesOf(matrix));
}

/** Precision, recall, F1 and support of every class, in class order. */
export function precisionRecallFscoreSupport(matrix: ConfusionMatrix): ClassMetrics[] {
  const { right, answered, support } = talliesOf(matrix);
  return matrix.counts.map((_, i) => ({
    precision: ratio(right[i]!, answered[i]!),
    recall: ratio(right[i]!, support[i]!),
    f1: ratio(2 * right[i]!, answered[i]! + support[i]!),
    support: support[i]!,
  }));
}

/** The classes that occur in truth or answers: over these scikit-learn averages by default (`labels=None`). */
export function occurringClasses(matrix: ConfusionMatrix, perClass: readonly ClassMetrics[]): ClassMetrics[] {
  const { answered } = talliesOf(matrix);
  return perClass.filter((one, i) => one.support > 0 || answered[i]! > 0);
}

/**
 * Precision, recall and F1 over classes: their mean (`macro`), or weighted by the samples of each (`weighted`).
 * @returns 0 for no classes, or no samples
 */
export function averageMetrics(
  perClass: readonly ClassMetrics[],
  average: 'macro' | 'weighted',
): Omit<ClassMetrics, 'support'> {
  const isMacro = oneOf(average, ['macro', 'weighted'], 'averageMetrics: `average`') === 'macro';
  const weights = perClass.map((one) => (isMacro ? 1 : one.support));
  const mean = (values: readonly number[]) => ratio(sum(values.map((value, i) => value * weights[i]!)), sum(weights));
  return {
    precision: mean(perClass.map((one) => one.precision)),
    recall: mean(perClass.map((one) => one.recall)),
    f1: mean(perClass.map((one) => one.f1)),
  };
}

/**
 * Matthews' correlation coefficient of truth and answer for K classes (Gorodkin 2004), -1 to 1. Answers that are no class
 * count as one class more.
 * @returns 0 where it is undefined: all truths, or all answers, are of one class
 */
export function matthewsCorrcoef(matrix: ConfusionMatrix): number {
  const { right, answered, support, count } = talliesOf(matrix);
  const invalid = sum(matrix.unparsed);
  const together = sum(matrix.counts.map((_, i) => answered[i]! * support[i]!));
  const squares = (of: ArrayLike<number>) => sum(Array.from(of, (value) => value * value));
  const covariance = sum(Array.from(right)) * count - together;
  const spread = (count ** 2 - squares(answered) - invalid ** 2) * (count ** 2 - squares(support));
  return spread === 0 ? 0 : covariance / Math.sqrt(spread);
}

/**
 * Cohen's kappa of truth and answer, at most 1. Answers that are no class count as one class more.
 * @returns NaN where it is undefined: no samples, or all truths and answers of one class
 */
export function cohenKappaScore(matrix: ConfusionMatrix): number {
  const { answered, support, count } = talliesOf(matrix);
  const byChance = sum(matrix.counts.map((_, i) => answered[i]! * support[i]!)) / count;
  return 1 - (count - correctCount(matrix)) / (count - byChance);
}

/** @internal */
export function accuracyOf({ right, count }: Tallies): number {
  let all = 0;
  for (let i = 0; i < right.length; i++) all += right[i]!;
  return ratio(all, count);
}

/** @internal */
export function balancedAccuracyOf({ right, support }: Tallies): number {
  let recalls = 0;
  let classes = 0;
  for (let i = 0; i < right.length; i++) {
    if (support[i] === 0) continue;
    recalls += right[i]! / support[i]!;
    classes++;
  }
  return ratio(recalls, classes);
}

/** @internal */
export function macroF1Of({ right, answered, support }: Tallies): number {
  let all = 0;
  for (let i = 0; i < right.length; i++) all += ratio(2 * right[i]!, answered[i]! + support[i]!);
  return ratio(all, right.length);
}

/** @internal */
export function weightedF1Of({ right, answered, support, count }: Tallies): number {
  let all = 0;
  for (let i = 0; i < right.length; i++) all += support[i]! * ratio(2 * right[i]!, answered[i]! + support[i]!);
  return ratio(all, count);
}

export function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function ratio(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** @throws ConfigError for what is no confusion matrix: of missing counts every metric would be NaN */
function requireConfusion(matrix: unknown): asserts matrix is ConfusionMatrix {
  const { counts, unparsed } = isObject(matrix) ? matrix : {};
  const isRow = (row: unknown) =>
    Array.isArray(row) && row.length === (counts as unknown[]).length && Array.from(row).every((one) => one >= 0);
  if (Array.isArray(counts) && [...counts, unparsed].every(isRow)) return;
  throw new ConfigError(
    `confusion matrix: expected { counts: [K][K], unparsed: [K] } of K classes, got ${describeGiven(matrix)}`,
    { hint: 'confusionMatrix(expected, predicted, classCount) makes one; that of a report is `report.confusion`.' },
  );
}

function oneOf<T extends string>(value: T, known: readonly T[], what: string): T {
  if (known.includes(value)) return value;
  throw new ConfigError(`${what}: expected one of ${known.join(', ')}, got ${describeGiven(value)}`);
}
