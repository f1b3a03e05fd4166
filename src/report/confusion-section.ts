/** What is taken for what: matrices before and after side by side, and the pairs that are confused most. */
import type { EvaluationReport } from '../eval/evaluation-report.js';
import type { ConfusionMatrix } from '../eval/metrics.js';
import { mostConfused } from '../eval/most-confused.js';
import { type Html, html } from '../page/html.js';
import { matrixChoice, matrixTable } from '../page/matrix-table.js';
import { percent } from './figures.js';
import { type ReportSection, scrolled, section } from './section.js';

/** Of more classes, so many are shown: those with the most wrong answers. */
const MAX_CLASSES = 40;
/** Matrices of more classes than these do not fit beside each other. */
const SIDE_BY_SIDE = 12;
const MAX_PAIRS = 20;

/** @param names as they are shown, one for each class */
export function confusionSection(
  before: EvaluationReport | undefined,
  after: EvaluationReport | undefined,
  names: readonly string[],
): ReportSection {
  const last = (after ?? before)!;
  const both = [
    ...(before ? [{ title: 'Before training', report: before }] : []),
    ...(after ? [{ title: 'After training', report: after }] : []),
  ];
  const isPart = names.length > MAX_CLASSES;
  const shown = isPart ? mostConfused(last.confusion, MAX_CLASSES) : names.map((_, i) => i);
  const matrices = both.map(({ title, report }) => matrix(title, report.confusion, shown, names));
  const isWide = shown.length > SIDE_BY_SIDE;
  return section('confusion', 'Confusion', [
    isPart &&
      html`<p>${`The ${shown.length} of ${names.length} classes with the most wrong answers${both.length > 1 ? ' after training' : ''}; answers of other classes are counted in one column.`}</p>`,
    matrixChoice(),
    html`<div class="${isWide ? 'matrices wide' : 'matrices'}">${matrices}</div>`,
    pairList(before && after ? before : undefined, last, names),
  ]);
}

function matrix(
  title: string,
  { counts, unparsed }: ConfusionMatrix,
  shown: readonly number[],
  names: readonly string[],
): Html {
  const isPart = shown.length < names.length;
  const hasUnparsed = unparsed.some((count) => count > 0);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const values = shown.map((r) => {
    const row = shown.map((c) => counts[r]![c]!);
    return [...row, ...(isPart ? [sum(counts[r]!) - sum(row)] : []), ...(hasUnparsed ? [unparsed[r]!] : [])];
  });
  const rowNames = shown.map((label) => names[label]!);
  return matrixTable({
    caption: title,
    rowTitle: 'true class',
    columnTitle: 'answer',
    rowNames,
    columnNames: [...rowNames, ...(isPart ? ['(other classes)'] : []), ...(hasUnparsed ? ['(no class)'] : [])],
    values,
  });
}

function pairList(
  before: EvaluationReport | undefined,
  { confusion, perClass }: EvaluationReport,
  names: readonly string[],
): Html | undefined {
  const pairs = confusion.counts.flatMap((row, r) =>
    [...row, confusion.unparsed[r]!].flatMap((count, c) => (r !== c && count > 0 ? [{ r, c, count }] : [])),
  );
  if (pairs.length === 0) return undefined;
  const top = pairs.sort((a, b) => b.count - a.count || a.r - b.r).slice(0, MAX_PAIRS);
  const earlier = (r: number, c: number): number => before!.confusion.counts[r]![c] ?? before!.confusion.unparsed[r]!;
  const rows = top.map(
    ({ r, c, count }) =>
      html`<tr><th scope="row"><bdi>${names[r]}</bdi></th><td><bdi>${names[c] ?? '(no class)'}</bdi></td>${before && html`<td class="number">${earlier(r, c)}</td>`}<td class="number">${count}</td><td class="number">${percent(count / perClass[r]!.support)}</td></tr>`,
  );
  const more = pairs.length - top.length;
  return html`<h3>Most frequent mistakes</h3>${scrolled(
    'Most frequent mistakes',
    html`<table><thead><tr><th scope="col">True class</th><th scope="col">Answered as</th>${before && html`<th scope="col" class="number">Before</th>`}<th scope="col" class="number">${before ? 'After' : 'Samples'}</th><th scope="col" class="number">Share of the class</th></tr></thead><tbody>${rows}</tbody></table>`,
  )}${more > 0 && html`<p class="quiet">${`${more} pairs that are rarer are left out.`}</p>`}`;
}
