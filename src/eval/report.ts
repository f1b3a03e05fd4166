/** An evaluation report as text, Markdown, JSON and an image, and two reports side by side. */
import { matrixChart } from '../chart/matrix-chart.js';
import { requirePath } from '../config.js';
import { DataError } from '../errors.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { distinctNames, oneLine } from '../messages/one-line.js';
import { requireText } from '../require-given.js';
import { requireMatrix, requireReport } from './check-report.js';
import type { EvaluationReport } from './evaluator.js';
import { macroF1, mcnemarExact, occurringClasses, sum } from './metrics.js';
import { type Alignment, markdownTable, textTable } from './text-table.js';

/** What two reports on the same samples say about each other. */
interface ReportComparison {
  /** after - before */
  readonly accuracyDelta: number;
  readonly macroF1Delta: number;
  /** Samples answered in both reports, matched by id. */
  readonly paired: number;
  /** Of the paired samples, those that only `after` got right. */
  readonly gained: number;
  /** Of the paired samples, those that only `before` got right. */
  readonly lost: number;
  /** McNemar's exact test on the paired samples; small means that chance alone hardly gives such a difference. */
  readonly pValue: number;
}

const METRICS_ALIGN: readonly Alignment[] = ['left', 'right', 'right', 'right', 'right'];

/** A table for the terminal: the headline figures, then every class. */
export function formatReport(report: EvaluationReport): string {
  requireReport(report, 'formatReport');
  const seconds = report.seconds > 0 ? `, ${report.seconds.toFixed(1)} s` : '';
  return `${headline(report).join('\n')}${seconds}\n\n${textTable(...classTable(report), METRICS_ALIGN)}`;
}

/** The same for a model card: Markdown in which class names are text, whatever they look like. */
export function reportMarkdown(report: EvaluationReport): string {
  requireReport(report, 'reportMarkdown');
  return `${headline(report).join('. ')}.\n\n${markdownTable(...classTable(report), METRICS_ALIGN)}`;
}

/** JSON with two spaces of indent; `JSON.parse` gives the report back. */
export function reportJson(report: EvaluationReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/** Writes the JSON; the file appears whole or not at all. */
export async function writeReport(report: EvaluationReport, path: string): Promise<void> {
  requireReport(report, 'writeReport');
  requirePath(path, 'writeReport: `path`');
  await writeNamedFile(path, reportJson(report), 'writeReport');
}

/** More classes than this are not drawn: an image of them would be shades without names. */
const MAX_DRAWN_CLASSES = 150;
/** Of so many those are drawn that are confused most, with their numbers. */
const MOST_CONFUSED = 40;

/**
 * The confusion matrix as SVG: rows are true classes, the last column holds answers that are no class, if any. More than
 * 48 classes have shades and no numbers; of more than 150 the 40 with the most wrong answers are drawn, and the subtitle
 * says so.
 */
export function confusionChart(report: EvaluationReport, title = 'Confusion matrix'): string {
  requireMatrix(report, 'confusionChart');
  requireText(title, 'confusionChart: `title`');
  const { classNames } = report;
  const { counts, unparsed } = report.confusion;
  const isPart = classNames.length > MAX_DRAWN_CLASSES;
  const drawn = isPart ? mostConfused(report) : classNames.map((_, i) => i);
  const shown = distinctNames(classNames);
  const names = drawn.map((i) => shown[i]!);
  const hasUnparsed = unparsed.some((count) => count > 0);
  const rows = drawn.map((r) => {
    const values = drawn.map((c) => counts[r]![c]!);
    const others = isPart ? [sum(counts[r]!) - sum(values)] : [];
    return [...values, ...others, ...(hasUnparsed ? [unparsed[r]!] : [])];
  });
  const part = `the ${names.length} of ${classNames.length.toLocaleString('en')} classes with the most wrong answers`;
  return matrixChart({
    title,
    subtitle: `${headline(report)[0]!}${isPart ? `; ${part}` : ''}`,
    rowLabels: names,
    columnLabels: [...names, ...(isPart ? ['(other classes)'] : []), ...(hasUnparsed ? ['(no class)'] : [])],
    rowTitle: 'true class',
    columnTitle: 'answer',
    values: rows,
  });
}

/** Indices of the classes that were most often answered wrongly, or given as a wrong answer, in the order of classes. */
function mostConfused({ confusion: { counts, unparsed } }: EvaluationReport): number[] {
  const wrong = counts.map((row, i) => sum(row) - row[i]! + unparsed[i]!);
  for (const [r, row] of counts.entries()) {
    for (const [c, count] of row.entries()) if (r !== c) wrong[c]! += count;
  }
  const ranked = wrong.map((_, i) => i).sort((a, b) => wrong[b]! - wrong[a]! || a - b);
  return ranked.slice(0, MOST_CONFUSED).sort((a, b) => a - b);
}

/** @throws DataError if the reports do not have the same classes in the same order */
export function compareSamples(before: EvaluationReport, after: EvaluationReport): ReportComparison {
  requireReport(before, 'compareSamples: `before`');
  requireReport(after, 'compareSamples: `after`');
  if (before.classNames.join('\0') !== after.classNames.join('\0'))
    throw new DataError(
      `comparison: expected reports on the same classes, got ${listed(before.classNames)} and ${listed(after.classNames)}`,
    );
  const earlier = new Map(before.samples.map((one) => [one.id, one]));
  let paired = 0;
  let gained = 0;
  let lost = 0;
  for (const one of after.samples) {
    const other = earlier.get(one.id);
    if (!other || other.expected !== one.expected) continue;
    paired++;
    const isRight = one.predicted === one.expected;
    const wasRight = other.predicted === other.expected;
    if (isRight && !wasRight) gained++;
    if (wasRight && !isRight) lost++;
  }
  return {
    accuracyDelta: after.accuracy - before.accuracy,
    macroF1Delta: after.macroF1 - before.macroF1,
    paired,
    gained,
    lost,
    pValue: mcnemarExact(gained, lost),
  };
}

function listed(names: readonly string[]): string {
  const more = names.length > 20 ? `, … ${names.length} in all` : '';
  return `[${names.slice(0, 20).map(oneLine).join(', ')}${more}]`;
}

/** Both reports side by side with differences, for the terminal. */
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

function headline(report: EvaluationReport): string[] {
  const { low, high } = report.accuracyInterval;
  const unparsed = sum(report.confusion.unparsed);
  const part = report.count < report.datasetLength ? ` (of ${report.datasetLength})` : '';
  const occurring = occurringClasses(report.confusion, report.perClass);
  const ofOccurring =
    occurring.length < report.perClass.length
      ? ` (${macroF1(occurring).toFixed(3)} over the ${occurring.length} of ${report.perClass.length} classes that occur)`
      : '';
  return [
    `Accuracy ${percent(report.accuracy)} (95 % interval ${percent(low)} to ${percent(high)}), macro F1 ${report.macroF1.toFixed(3)}${ofOccurring}`,
    `${report.correct} of ${report.count} samples${part} right, ${unparsed} ${unparsed === 1 ? 'answer that is' : 'answers that are'} no class name`,
  ];
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

function comparisonTable(before: EvaluationReport, after: EvaluationReport): [string[], string[][], Alignment[]] {
  const row = (name: string, a: number, b: number, format: (value: number) => string) => [
    name,
    format(a),
    format(b),
    signed(b - a, format),
  ];
  const fixed = (value: number) => value.toFixed(3);
  const names = distinctNames(after.perClass.map(({ name }) => name));
  const unparsed = (report: EvaluationReport) => sum(report.confusion.unparsed);
  const rows = [
    row('accuracy', before.accuracy, after.accuracy, percent),
    row('macro F1', before.macroF1, after.macroF1, fixed),
    row('answers that are no class', unparsed(before), unparsed(after), String),
    ...after.perClass.map((one, i) => row(`F1 ${names[i]}`, before.perClass[i]!.f1, one.f1, fixed)),
  ];
  return [['', 'before', 'after', 'change'], rows, ['left', 'right', 'right', 'right']];
}

function pairedLine(before: EvaluationReport, after: EvaluationReport): string {
  const { paired, gained, lost, pValue } = compareSamples(before, after);
  if (paired === 0) return 'The reports share no samples, so the difference cannot be tested.';
  const p = pValue < 0.001 ? 'p < 0.001' : `p = ${pValue.toFixed(3)}`;
  return `Of ${paired} samples in both, ${gained} became right and ${lost} became wrong (McNemar's exact test: ${p}).`;
}

function percent(value: number): string {
  return `${(value * 100).toFixed(1)} %`;
}

/** With a sign unless it shows as zero. */
function signed(value: number, format: (value: number) => string): string {
  const text = format(Math.abs(value));
  if (!/[1-9]/.test(text)) return text;
  return `${value > 0 ? '+' : '−'}${text}`;
}
