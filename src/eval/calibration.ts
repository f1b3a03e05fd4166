/** Whether confidence is what it says: of the answers given with 80 %, are 80 % right? */
import { DataError } from '../errors.js';
import { requireInteger } from '../require-given.js';

/** Answers whose confidence lies in one range. */
export interface CalibrationBin {
  /** Above this, in the first bin from it on. */
  readonly low: number;
  /** Up to and with this. */
  readonly high: number;
  /** Samples in it. */
  readonly count: number;
  /** Their mean confidence; null without samples. */
  readonly confidence: number | null;
  /** Share of right answers among them; null without samples. */
  readonly accuracy: number | null;
}

/** A reliability diagram, and its distance from the diagonal. */
export interface Calibration {
  /** From low to high confidence, empty ones included. */
  readonly bins: readonly CalibrationBin[];
  /** ECE: mean of |accuracy - confidence| over the bins, weighted by their samples. */
  readonly expectedCalibrationError: number;
  /** The largest |accuracy - confidence| of a bin that has samples. */
  readonly maximumCalibrationError: number;
}

/**
 * Answers in bins of equal width in confidence: accuracy and confidence of the bins that have samples are scikit-learn's
 * `calibration_curve(isRight, confidence, strategy='uniform')`.
 * @param confidence [N] 0 to 1
 * @param isRight [N]
 * @param binCount default 10
 * @throws DataError for confidences that are none; ConfigError for a count that is none
 */
export function calibrationCurve(
  confidence: readonly number[],
  isRight: readonly boolean[],
  binCount = 10,
): Calibration {
  requireInteger(binCount, 'calibrationCurve: `binCount`', 1, 10_000);
  if (confidence.length !== isRight.length) {
    throw new DataError(`calibrationCurve: got ${confidence.length} confidences of ${isRight.length} answers`);
  }
  // The edges of NumPy's linspace: a value on an edge must fall to the same side.
  const edges = Array.from({ length: binCount + 1 }, (_, i) => (i === binCount ? 1 : i * (1 / binCount)));
  const sums = edges.slice(1).map(() => ({ count: 0, right: 0, confidence: 0 }));
  for (const [i, value] of confidence.entries()) {
    if (!(value >= 0 && value <= 1)) {
      throw new DataError(`calibrationCurve: expected confidences from 0 to 1, got ${value} at sample ${i}`);
    }
    if (typeof isRight[i] !== 'boolean') {
      throw new DataError(`calibrationCurve: \`isRight\`: expected true or false, got ${isRight[i]} at sample ${i}`);
    }
    let bin = Math.min(binCount - 1, Math.floor(value * binCount));
    while (bin > 0 && value <= edges[bin]!) bin--;
    while (bin < binCount - 1 && value > edges[bin + 1]!) bin++;
    const into = sums[bin]!;
    into.count++;
    into.confidence += value;
    if (isRight[i]) into.right++;
  }
  let expected = 0;
  let maximum = 0;
  const bins = sums.map(({ count, right, confidence: total }, i) => {
    const gap = count === 0 ? 0 : Math.abs(right - total) / count;
    expected += (gap * count) / confidence.length;
    maximum = Math.max(maximum, gap);
    const shares =
      count === 0 ? { confidence: null, accuracy: null } : { confidence: total / count, accuracy: right / count };
    return { low: edges[i]!, high: edges[i + 1]!, count, ...shares };
  });
  return { bins, expectedCalibrationError: expected || 0, maximumCalibrationError: maximum };
}
