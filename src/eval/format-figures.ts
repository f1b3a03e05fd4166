/** Figures as reports show them. */
import type { EvaluationReport } from './evaluation-report.js';
import { averageMetrics, type Interval, occurringClasses, sum } from './metrics.js';

/** The first lines of every report: accuracy with its interval, and what was counted. */
export function headline(report: EvaluationReport): string[] {
  const { low, high } = report.accuracyInterval;
  const unparsed = sum(report.confusion.unparsed);
  const part = report.count < report.datasetLength ? ` (of ${report.datasetLength})` : '';
  const occurring = occurringClasses(report.confusion, report.perClass);
  const ofOccurring =
    occurring.length < report.perClass.length
      ? ` (${averageMetrics(occurring, 'macro').f1.toFixed(3)} over the ${occurring.length} of ${report.perClass.length} classes that occur)`
      : '';
  return [
    `Accuracy ${percent(report.accuracy)} (95 % interval ${percent(low)} to ${percent(high)}), macro F1 ${report.macroF1.toFixed(3)}${ofOccurring}`,
    `${report.correct} of ${report.count} samples${part} right, ${unparsed} ${unparsed === 1 ? 'answer that is' : 'answers that are'} no class name`,
  ];
}

/** A share, such as `70.0 %`. */
export function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

/** A difference of shares, without its sign: percentage points. */
export function points(value: number): string {
  return `${(value * 100).toFixed(1)} pp`;
}

export function decimals(value: number): string {
  return value.toFixed(3);
}

/** With a sign unless it shows as zero. */
export function signed(value: number, format: (value: number) => string): string {
  const text = format(Math.abs(value));
  if (!/[1-9]/.test(text)) return text;
  return `${value > 0 ? '+' : '−'}${text}`;
}

export function between({ low, high }: Interval, format: (value: number) => string): string {
  return `${format(low)} to ${format(high)}`;
}
