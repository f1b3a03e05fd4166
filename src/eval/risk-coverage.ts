/** Abstention: answers below a confidence are withheld (selective classification, Geifman and El-Yaniv 2017). */
import { ConfigError, DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { requireSamples } from './check-report.js';
import type { EvaluatedSample } from './evaluation-report.js';

/** What a threshold gives. */
export interface RiskCoveragePoint {
  /** Answers with at least this confidence are given, the others withheld. */
  readonly threshold: number;
  /** Answers given. */
  readonly answered: number;
  /** `answered` over all samples. */
  readonly coverage: number;
  /** Share of wrong answers among those given; 0 if none is given. */
  readonly risk: number;
}

/**
 * One point for each confidence that occurs, from the highest threshold to the lowest, at which all answers are given.
 * @throws DataError for a sample without `confidence`, as all are that were not evaluated in mode `scored`
 */
export function riskCoverageCurve(samples: readonly EvaluatedSample[]): RiskCoveragePoint[] {
  requireSamples(samples, 'riskCoverageCurve');
  return curve(samples);
}

/**
 * AURC: the mean of the risk at each sample's confidence as threshold. Smaller is better; with equal confidences it is the
 * error share.
 * @throws DataError for a sample without `confidence`
 */
export function riskCoverageArea(samples: readonly EvaluatedSample[]): number {
  let before = 0;
  let area = 0;
  for (const { answered, risk } of curve(samples)) {
    area += (answered - before) * risk;
    before = answered;
  }
  return samples.length === 0 ? 0 : area / samples.length;
}

/**
 * What is left if answers below a confidence are withheld.
 * @param threshold 0 to 1; those with exactly this confidence are given
 * @throws DataError for a sample without `confidence`; ConfigError for a threshold that is none
 */
export function abstainBelow(samples: readonly EvaluatedSample[], threshold: number): RiskCoveragePoint {
  requireSamples(samples, 'abstainBelow: `samples`');
  requireShare(threshold, 'abstainBelow: `threshold`');
  const given = ranked(samples).filter((one) => one.confidence >= threshold);
  const wrong = given.filter((one) => !one.isRight).length;
  return pointOf(threshold, given.length, wrong, samples.length);
}

/**
 * The lowest threshold at which at most this share of the given answers is wrong, so with most answers given. Chosen and
 * measured on the same samples it looks better than it is: choose it on a validation set.
 * @param risk 0 to 1
 * @returns undefined if even the most confident answers are wrong more often
 * @throws DataError for a sample without `confidence`; ConfigError for a risk that is none
 * @example
 * ```ts
 * const chosen = thresholdForRisk(report.samples, 0.05); // at most 5 % of the given answers wrong
 * if (chosen) console.log(abstainBelow(report.samples, chosen.threshold));
 * ```
 */
export function thresholdForRisk(samples: readonly EvaluatedSample[], risk: number): RiskCoveragePoint | undefined {
  requireSamples(samples, 'thresholdForRisk: `samples`');
  requireShare(risk, 'thresholdForRisk: `risk`');
  return curve(samples).findLast((point) => point.risk <= risk);
}

function curve(samples: readonly EvaluatedSample[]): RiskCoveragePoint[] {
  const points: RiskCoveragePoint[] = [];
  const sorted = ranked(samples);
  let wrong = 0;
  for (const [i, { confidence, isRight }] of sorted.entries()) {
    if (!isRight) wrong++;
    if (confidence !== sorted[i + 1]?.confidence) points.push(pointOf(confidence, i + 1, wrong, samples.length));
  }
  return points;
}

function pointOf(threshold: number, answered: number, wrong: number, count: number): RiskCoveragePoint {
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole);
  return { threshold, answered, coverage: share(answered, count), risk: share(wrong, answered) };
}

function ranked(samples: readonly EvaluatedSample[]): { readonly confidence: number; readonly isRight: boolean }[] {
  const sorted = samples.map(({ id, confidence, predicted, expected }) => {
    if (confidence !== undefined) return { confidence, isRight: predicted === expected };
    throw new DataError(`abstention: sample ${oneLine(id)} has no confidence`, {
      hint: "Evaluate in mode 'scored', which gives the probability of each class.",
      details: { sample: id },
    });
  });
  return sorted.sort((a, b) => b.confidence - a.confidence);
}

function requireShare(value: unknown, what: string): void {
  if (typeof value === 'number' && value >= 0 && value <= 1) return;
  throw new ConfigError(`${what}: expected a number from 0 to 1, got ${describeGiven(value)}`);
}
