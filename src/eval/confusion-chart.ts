/** The confusion matrix as an image. */
import { z } from 'zod';
import { matrixChart } from '../chart/matrix-chart.js';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { distinctNames } from '../messages/one-line.js';
import { requireText } from '../require-given.js';
import { requireMatrix } from './check-report.js';
import type { EvaluationReport } from './evaluation-report.js';
import { headline } from './format-figures.js';
import { type ConfusionMatrix, normalizeConfusion, sum } from './metrics.js';
import { mostConfused } from './most-confused.js';
/** Options of {@link confusionChart}. */
export interface ConfusionChartOptions {
  /** `'true'`: percent of the samples of each true class, as scikit-learn's `normalize='true'`. Default: counts. */
  normalize?: 'true' | undefined;
}

/** Checks {@link ConfusionChartOptions}. */
const confusionChartSchema = lazySchema(() =>
  z.strictObject({
    normalize: z.literal('true').optional(),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof confusionChartSchema>>, ConfusionChartOptions>>;

/** More classes than this are not drawn: an image of them would be shades without names. */
const MAX_DRAWN_CLASSES = 150;
/** Of so many those are drawn that are confused most, with their numbers. */
const MOST_CONFUSED = 40;

/**
 * The confusion matrix as SVG: rows are true classes, the last column holds answers that are no class, if any. More than
 * 48 classes have shades and no numbers; of more than 150 the 40 with the most wrong answers are drawn, and the subtitle
 * says so.
 */
export function confusionChart(
  report: EvaluationReport,
  title = 'Confusion matrix',
  options: ConfusionChartOptions = {},
): string {
  requireMatrix(report, 'confusionChart');
  requireText(title, 'confusionChart: `title`');
  const { normalize } = parseOptions(confusionChartSchema, options, 'confusionChart');
  const { classNames } = report;
  const matrix = normalize === 'true' ? percentages(report.confusion) : report.confusion;
  const { counts, unparsed } = matrix;
  const isPart = classNames.length > MAX_DRAWN_CLASSES;
  const drawn = isPart ? mostConfused(report.confusion, MOST_CONFUSED) : classNames.map((_, i) => i);
  const shown = distinctNames(classNames);
  const names = drawn.map((i) => shown[i]!);
  const hasUnparsed = report.confusion.unparsed.some((count) => count > 0);
  const rows = drawn.map((r) => {
    const values = drawn.map((c) => counts[r]![c]!);
    const others = isPart ? [sum(counts[r]!) - sum(values)] : [];
    return [...values, ...others, ...(hasUnparsed ? [unparsed[r]!] : [])];
  });
  const part = `the ${names.length} of ${classNames.length.toLocaleString('en')} classes with the most wrong answers`;
  return matrixChart({
    title,
    subtitle: `${headline(report)[0]!}${isPart ? `; ${part}` : ''}${normalize === 'true' ? '; percent of each true class' : ''}`,
    rowLabels: names,
    columnLabels: [...names, ...(isPart ? ['(other classes)'] : []), ...(hasUnparsed ? ['(no class)'] : [])],
    rowTitle: 'true class',
    columnTitle: 'answer',
    values: rows,
  });
}

/** Shares as whole percent. */
function percentages(confusion: ConfusionMatrix): ConfusionMatrix {
  const { counts, unparsed } = normalizeConfusion(confusion);
  const percent = (shares: readonly number[]) => shares.map((share) => Math.round(100 * share));
  return { counts: counts.map(percent), unparsed: percent(unparsed) };
}
