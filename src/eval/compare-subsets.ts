/** Figures of all samples and of parts of them side by side, such as a test split with and without leaked images. */
import { ConfigError } from '../errors.js';
import { describeGiven, isObject } from '../messages/given-kind.js';
import { tableCell } from '../messages/one-line.js';
import { requireReport } from './check-report.js';
import type { EvaluationReport } from './evaluation-report.js';
import { between, decimals, percent, points, signed } from './format-figures.js';
import { type SampleSelection, subsetReport } from './subset-report.js';
import { type Alignment, markdownTable, textTable } from './text-table.js';

/** Parts of the samples by name. */
export type Subsets = Readonly<Record<string, SampleSelection>>;

/**
 * A table for the terminal with a column for all samples and one for each part; the change to all samples is in percentage
 * points (pp). Macro F1 is over the classes that occur in the part.
 * @throws DataError as `subsetReport`
 * @example
 * ```ts
 * const firstHalf = report.samples.slice(0, report.samples.length / 2).map(({ id }) => id);
 * console.log(compareSubsets(report, { 'first half': firstHalf }));
 * ```
 */
export function compareSubsets(report: EvaluationReport, subsets: Subsets): string {
  return textTable(...table(report, subsets, 'compareSubsets'));
}

/** The same for a model card. */
export function subsetsMarkdown(report: EvaluationReport, subsets: Subsets): string {
  return markdownTable(...table(report, subsets, 'subsetsMarkdown'));
}

function table(report: EvaluationReport, subsets: unknown, what: string): [string[], string[][], Alignment[]] {
  requireReport(report, what);
  if (!isObject(subsets) || Array.isArray(subsets)) {
    throw new ConfigError(`${what}: expected lists of samples by name, got ${describeGiven(subsets)}`, {
      hint: `Write ${what}(report, { 'leak-free': ids }).`,
    });
  }
  const parts = Object.entries(subsets as Subsets);
  // Counted anew, as reports of older versions lack some figures.
  const whole = subsetReport(
    report,
    report.samples.map((one) => one.id),
  );
  const all = [whole, ...parts.map(([, selection]) => subsetReport(report, selection))];
  const row = (
    name: string,
    value: (of: EvaluationReport) => number,
    format: (value: number) => string,
    change?: (value: number) => string,
  ) => [
    name,
    ...all.map((one, i) => {
      const text = format(value(one));
      return i > 0 && change ? `${text} (${signed(value(one) - value(whole), change)})` : text;
    }),
  ];
  const rows = [
    row('samples', (one) => one.count, String),
    row('accuracy', (one) => one.accuracy, percent, points),
    ['95 % interval', ...all.map((one) => between(one.accuracyInterval, percent))],
    row('balanced accuracy', (one) => one.balancedAccuracy, percent, points),
    row('macro F1, classes that occur', (one) => one.macroF1Occurring, decimals, decimals),
    row('weighted F1', (one) => one.weightedF1, decimals, decimals),
    row('answers that are no class', (one) => one.invalidShare, percent, points),
  ];
  const names = ['all', ...parts.map(([name]) => tableCell(name))];
  return [['', ...names], rows, ['left', ...names.map(() => 'right' as const)]];
}
