/** What chance alone may do: intervals of shares, and tests of two models on the same samples. */
import { ConfigError } from '../errors.js';
import { requireInteger } from '../require-given.js';
import type { Interval } from './metrics.js';
import { erfc, normalQuantile } from './normal-distribution.js';

const Z_95 = 1.959963984540054;

/**
 * Wilson's score interval of a proportion (Wilson 1927), sensible for few samples and near 0 and 1.
 * @param z standard normal quantile; the default gives 95 %
 * @returns 0 to 1 for no samples
 * @throws ConfigError for more successes than samples
 */
export function wilsonInterval(successes: number, total: number, z: number = Z_95): Interval {
  if (!(successes >= 0 && successes <= total)) {
    throw new ConfigError(`wilsonInterval: expected 0 to ${total} successes of ${total} samples, got ${successes}`);
  }
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

/** @internal Two-sided quantile of a confidence level: 1.96 for 0.95. */
export function zOfLevel(confidenceLevel: number): number {
  return confidenceLevel === 0.95 ? Z_95 : -normalQuantile((1 - confidenceLevel) / 2);
}

/**
 * McNemar's exact test: how likely is a split at least this uneven if both models were equally good? Two-sided
 * binomial test on the samples that just one of them got right.
 * @param gained samples that only the second model got right
 * @param lost samples that only the first model got right
 * @returns p-value
 */
export function mcnemarExact(gained: number, lost: number): number {
  requireChanges(gained, lost, 'mcnemarExact');
  const n = gained + lost;
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let i = 0; i <= Math.min(gained, lost); i++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((n - i) / (i + 1));
  }
  return Math.min(1, 2 * tail);
}

/** A test statistic, and how likely chance alone gives one at least as large. */
export interface ChiSquareTest {
  /** Chi-square with one degree of freedom. */
  readonly statistic: number;
  readonly pValue: number;
}

/**
 * McNemar's chi-square test with Edwards' continuity correction: (max(0, |gained - lost| - 1))² / (gained + lost), with one
 * degree of freedom. An approximation of {@link mcnemarExact} for at least some 25 samples that changed.
 * @param correction false: without the correction, (gained - lost)² / (gained + lost)
 * @returns statistic 0 and p-value 1 if nothing changed
 */
export function mcnemarChiSquare(gained: number, lost: number, correction = true): ChiSquareTest {
  requireChanges(gained, lost, 'mcnemarChiSquare');
  const difference = Math.max(0, Math.abs(gained - lost) - (correction ? 1 : 0));
  const statistic = gained + lost === 0 ? 0 : difference ** 2 / (gained + lost);
  return { statistic, pValue: erfc(Math.sqrt(statistic / 2)) };
}

/**
 * Interval of the difference of two shares on the same samples, after Agresti and Min (2005): Wald's, with half a sample
 * added to each of the four cells.
 * @param gained samples that only the second model got right
 * @param lost samples that only the first model got right
 * @param total samples in both
 */
export function pairedDifferenceInterval(gained: number, lost: number, total: number, z: number = Z_95): Interval {
  requireChanges(gained, lost, 'pairedDifferenceInterval');
  requireInteger(total, 'pairedDifferenceInterval: `total`', gained + lost);
  const n = total + 2;
  const difference = (gained - lost) / n;
  const spread = (z * Math.sqrt((gained + lost + 1) / n - difference ** 2)) / Math.sqrt(n);
  return { low: Math.max(-1, difference - spread), high: Math.min(1, difference + spread) };
}

/** @throws ConfigError: of other counts the tests would give some value without a word */
function requireChanges(gained: number, lost: number, what: string): void {
  requireInteger(gained, `${what}: \`gained\``, 0);
  requireInteger(lost, `${what}: \`lost\``, 0);
}
