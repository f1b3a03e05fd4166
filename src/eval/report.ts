/** An evaluation report as text, Markdown and JSON, and two reports side by side. */
import { requirePath } from '../config.js';
import { DataError } from '../errors.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { distinctNames, oneLine } from '../messages/one-line.js';
import { requireReport } from './check-report.js';
import type { EvaluatedSample, EvaluationReport } from './evaluation-report.js';
import { between, decimals, headline, percent, points, signed } from './format-figures.js';
import {
  balancedAccuracyScore,
  type ConfusionMatrix,
  type Interval,
  macroF1Of,
  sum,
  talliesOf,
  weightedF1Of,
} from './metrics.js';
import { type ChiSquareTest, mcnemarChiSquare, mcnemarExact, pairedDifferenceInterval } from './significance.js';
import { type Alignment, markdownTable, textTable } from './text-table.js';

/** What two reports on the same samples say about each other. */
export interface ReportComparison {
  /** after - before */
  readonly accuracyDelta: number;
  readonly balancedAccuracyDelta: number;
  readonly macroF1Delta: number;
  readonly weightedF1Delta: number;
  /** Samples answered in both reports, matched by id; of several with one id the first with the first, and so on. */
  readonly paired: number;
  /** Samples with an id of both reports but another true class in each, which are not paired: other data, or other ids. */
  readonly mismatched: number;
  /** Of the paired samples, those that only `after` got right. */
  readonly gained: number;
  /** Of the paired samples, those that only `before` got right. */
  readonly lost: number;
  /** McNemar's exact test on the paired samples; small means that chance alone hardly gives such a difference. */
  readonly pValue: number;
  /** McNemar's chi-square test with continuity correction: the same question, approximately. */
  readonly chiSquare: ChiSquareTest;
  /** 95 % interval of the change of accuracy on the paired samples, -1 to 1. */
  readonly accuracyDeltaInterval: Interval;
}

const METRICS_ALIGN: readonly Alignment[] = ['left', 'right', 'right', 'right', 'right'];

/**
 * Tables for the terminal: the headline figures, every class, then the other metrics with their intervals.
 * @example
 * ```ts
 * console.log(formatReport(report)); // 80 columns
 * ```
 */
export function formatReport(report: EvaluationReport): string {
  requireReport(report, 'formatReport');
  const seconds = report.seconds > 0 ? `, ${report.seconds.toFixed(1)} s` : '';
  const tables = [textTable(...classTable(report), METRICS_ALIGN), textTable(...metricTable(report))];
  return `${headline(report).join('\n')}${seconds}\n\n${tables.join('\n\n')}`;
}

/** The same for a model card: Markdown in which class names are text, whatever they look like. */
export function reportMarkdown(report: EvaluationReport): string {
  requireReport(report, 'reportMarkdown');
  const tables = [markdownTable(...classTable(report), METRICS_ALIGN), markdownTable(...metricTable(report))];
  return `${headline(report).join('. ')}.\n\n${tables.join('\n\n')}`;
}

/** JSON with two spaces of indent; `JSON.parse` gives the report back. */
export function reportJson(report: EvaluationReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/**
 * Writes the JSON; the file appears whole or not at all.
 * @example
 * ```ts
 * await writeReport(report, 'report.json');
 * ```
 */
export async function writeReport(report: EvaluationReport, path: string): Promise<void> {
  requireReport(report, 'writeReport');
  requirePath(path, 'writeReport: `path`');
  await writeNamedFile(path, reportJson(report), 'writeReport');
}

/** @throws DataError if the reports do not have the same classes in the same order */
export function compareSamples(before: EvaluationReport, after: EvaluationReport): ReportComparison {
  requireReport(before, 'compareSamples: `before`');
  requireReport(after, 'compareSamples: `after`');
  if (before.classNames.join('\0') !== after.classNames.join('\0'))
    throw new DataError(
      `comparison: expected reports on the same classes, got ${listed(before.classNames)} and ${listed(after.classNames)}`,
    );
  const earlier = new Map<string, EvaluatedSample[]>();
  for (const one of before.samples) {
    const same = earlier.get(one.id);
    if (same) same.push(one);
    else earlier.set(one.id, [one]);
  }
  const seen = new Map<string, number>();
  let paired = 0;
  let mismatched = 0;
  let gained = 0;
  let lost = 0;
  for (const one of after.samples) {
    const place = seen.get(one.id) ?? 0;
    seen.set(one.id, place + 1);
    const other = earlier.get(one.id)?.[place];
    if (!other) continue;
    if (other.expected !== one.expected) {
      mismatched++;
      continue;
    }
    paired++;
    const isRight = one.predicted === one.expected;
    const wasRight = other.predicted === other.expected;
    if (isRight && !wasRight) gained++;
    if (wasRight && !isRight) lost++;
  }
  const delta = (metric: (confusion: ConfusionMatrix) => number) => metric(after.confusion) - metric(before.confusion);
  return {
    accuracyDelta: after.accuracy - before.accuracy,
    balancedAccuracyDelta: delta(balancedAccuracyScore),
    macroF1Delta: after.macroF1 - before.macroF1,
    weightedF1Delta: delta(weightedF1),
    paired,
    mismatched,
    gained,
    lost,
    pValue: mcnemarExact(gained, lost),
    chiSquare: mcnemarChiSquare(gained, lost),
    accuracyDeltaInterval: pairedDifferenceInterval(gained, lost, paired),
  };
}

function listed(names: readonly string[]): string {
  const more = names.length > 20 ? `, … ${names.length} in all` : '';
  return `[${names.slice(0, 20).map(oneLine).join(', ')}${more}]`;
}

/**
 * Both reports side by side with differences, for the terminal.
 * @example
 * ```ts
 * console.log(compareReports(before, after)); // what changed, and whether chance explains it
 * ```
 */
export function compareReports(before: EvaluationReport, after: EvaluationReport): string {
  requireReport(before, 'compareReports: `before`');
  requireReport(after, 'compareReports: `after`');
  return `${textTable(...comparisonTable(before, after))}\n\n${pairedLine(before, after)}`;
}

/** The same for a model card. */
export function comparisonMarkdown(before: EvaluationReport, after: EvaluationReport): string {
  requireReport(before, 'comparisonMarkdown: `before`');
  requireReport(after, 'comparisonMarkdown: `after`');
  return `${markdownTable(...comparisonTable(before, after))}\n\n${pairedLine(before, after)}`;
}

function classTable(report: EvaluationReport): [string[], string[][]] {
  const names = distinctNames(report.perClass.map(({ name }) => name));
  const rows = report.perClass.map((one, i) => [
    names[i]!,
    one.precision.toFixed(3),
    one.recall.toFixed(3),
    one.f1.toFixed(3),
    String(one.support),
  ]);
  return [['class', 'precision', 'recall', 'F1', 'support'], rows];
}

/** Computed from the counts, which reports of all versions have. */
const weightedF1 = (confusion: ConfusionMatrix): number => weightedF1Of(talliesOf(confusion));

/** Metrics beside the accuracy of the headline, with their bootstrap intervals if the report has them. */
function metricTable(report: EvaluationReport): [string[], string[][], Alignment[]] {
  const { confusion, intervals, probabilities } = report;
  const row = (name: string, value: number, format: (value: number) => string, interval?: Interval) => {
    return [name, format(value), ...(intervals ? [interval ? between(interval, format) : ''] : [])];
  };
  const rows = [
    row('balanced accuracy', balancedAccuracyScore(confusion), percent, intervals?.balancedAccuracy),
    row('macro F1', macroF1Of(talliesOf(confusion)), decimals, intervals?.macroF1),
    row('weighted F1', weightedF1(confusion), decimals, intervals?.weightedF1),
  ];
  if (probabilities) {
    for (const [i, share] of probabilities.topKAccuracy.entries()) {
      if (i > 0) rows.push(row(`top-${i + 1} accuracy`, share, percent));
    }
    rows.push(
      row('log loss', probabilities.logLoss, decimals),
      row('Brier score', probabilities.brierScoreLoss, decimals),
      row('calibration error (ECE)', probabilities.expectedCalibrationError, percent),
    );
  }
  const level = intervals ? [`${Number((100 * intervals.confidenceLevel).toPrecision(4))} % bootstrap interval`] : [];
  return [['metric', 'value', ...level], rows, ['left', 'right', 'right']];
}

function comparisonTable(before: EvaluationReport, after: EvaluationReport): [string[], string[][], Alignment[]] {
  const row = (name: string, a: number, b: number, format: (value: number) => string, change = format) => [
    name,
    format(a),
    format(b),
    signed(b - a, change),
  ];
  const of = (metric: (confusion: ConfusionMatrix) => number) =>
    [metric(before.confusion), metric(after.confusion)] as const;
  const names = distinctNames(after.perClass.map(({ name }) => name));
  const rows = [
    row('accuracy', before.accuracy, after.accuracy, percent, points),
    row('balanced accuracy', ...of(balancedAccuracyScore), percent, points),
    row('macro F1', before.macroF1, after.macroF1, decimals),
    row('weighted F1', ...of(weightedF1), decimals),
    row('answers that are no class', ...of(({ unparsed }) => sum(unparsed)), String),
    ...after.perClass.map((one, i) => row(`F1 ${names[i]}`, before.perClass[i]!.f1, one.f1, decimals)),
  ];
  return [['', 'before', 'after', 'change'], rows, ['left', 'right', 'right', 'right']];
}

function pairedLine(before: EvaluationReport, after: EvaluationReport): string {
  const { paired, mismatched, gained, lost, pValue, accuracyDeltaInterval } = compareSamples(before, after);
  const others =
    mismatched > 0 ? `\nIds in both with another true class, left out: ${mismatched}. Are these the same samples?` : '';
  if (paired === 0) return `The reports share no samples, so the difference cannot be tested.${others}`;
  const p = pValue < 0.001 ? 'p < 0.001' : `p = ${pValue.toFixed(3)}`;
  const { low, high } = accuracyDeltaInterval;
  const change = `${signed((gained - lost) / paired, points)}, 95 % interval ${signed(low, points)} to ${signed(high, points)}`;
  return (
    `Of ${paired} samples in both, ${gained} became right and ${lost} became wrong (McNemar's exact test: ${p}).\n` +
    `On them accuracy changed by ${change} (pp: percentage points).${others}`
  );
}
