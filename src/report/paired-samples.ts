/** The answers of two evaluations side by side, in the order in which they are worth a look. */
import type { EvaluatedSample, EvaluationReport } from '../eval/evaluation-report.js';

/** One sample with its answers. */
export interface PairedSample {
  readonly sample: EvaluatedSample;
  /** The answer of the earlier evaluation, if it has the sample. */
  readonly before: EvaluatedSample | undefined;
  readonly isRight: boolean;
  readonly wasRight: boolean | undefined;
}

/** In data set order. @param before an earlier evaluation with the same classes */
export function pairSamples(report: EvaluationReport, before: EvaluationReport | undefined): PairedSample[] {
  // Of several samples with one id the first belongs to the first, and so on.
  const earlier = new Map<string, EvaluatedSample[]>();
  for (const sample of before?.samples ?? []) {
    const same = earlier.get(sample.id);
    if (same) same.push(sample);
    else earlier.set(sample.id, [sample]);
  }
  const seen = new Map<string, number>();
  return report.samples.map((sample) => {
    const place = seen.get(sample.id) ?? 0;
    seen.set(sample.id, place + 1);
    const found = earlier.get(sample.id)?.[place];
    const other = found?.expected === sample.expected ? found : undefined;
    return {
      sample,
      before: other,
      isRight: sample.predicted === sample.expected,
      wasRight: other && other.predicted === other.expected,
    };
  });
}

/** Wrong answers: the most confident first; those without a confidence behind, and what was right before ahead of the rest. */
export function mistakesOf(pairs: readonly PairedSample[]): PairedSample[] {
  return pairs.filter(({ isRight }) => !isRight).sort(byConfidence);
}

/** What was wrong before and is right now: the most confident first; without confidences of all classes in turn. */
export function correctedOf(pairs: readonly PairedSample[]): PairedSample[] {
  const corrected = pairs.filter(({ isRight, wasRight }) => isRight && wasRight === false);
  if (corrected.some(({ sample }) => sample.confidence !== undefined)) return corrected.sort(byConfidence);
  const counts = new Map<number, number>();
  const ranked = corrected.map((pair) => {
    const rank = counts.get(pair.sample.expected) ?? 0;
    counts.set(pair.sample.expected, rank + 1);
    return { pair, rank };
  });
  return ranked
    .sort((a, b) => a.rank - b.rank || a.pair.sample.expected - b.pair.sample.expected)
    .map(({ pair }) => pair);
}

function byConfidence(a: PairedSample, b: PairedSample): number {
  const [first, second] = [a, b].map(({ sample, wasRight }) => (sample.confidence ?? -1) + (wasRight ? 1e-9 : 0));
  return second! - first!;
}
