/** Every class: how much of it is found, before and after. */
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { type Html, html } from '../page/html.js';
import { fixed, percent, points } from './figures.js';
import { type ReportSection, scrolled, section } from './section.js';

/** @param names as they are shown, one for each class */
export function classSection(
  before: EvaluationReport | undefined,
  after: EvaluationReport | undefined,
  names: readonly string[],
): ReportSection {
  const report = (after ?? before)!;
  const earlier = before && after ? before : undefined;
  const rows = report.perClass.map(({ support, precision, recall, f1 }, label) => {
    const was = earlier?.perClass[label]?.recall;
    const cell = (text: string | number, value: number): Html =>
      html`<td class="number" data-value="${value}">${text}</td>`;
    return html`<tr><th scope="row"><bdi>${names[label]}</bdi></th>${cell(support, support)}${was !== undefined && cell(percent(was), was)}<td class="number" data-value="${recall}">${bar(recall, was)}${percent(recall)}</td>${
      was !== undefined && cell(points(was, recall), recall - was)
    }${cell(percent(precision), precision)}${cell(fixed(f1), f1)}</tr>`;
  });
  const heads = [
    'Samples',
    ...(earlier ? ['Recall before', 'Recall after', 'Change, pp'] : ['Recall']),
    'Precision',
    'F1',
  ];
  const head = (text: string, name: string): Html =>
    html`<th scope="col" class="${name}"><button type="button">${text}<span class="arrow" aria-hidden="true"></span></button></th>`;
  return section('classes', 'Classes', [
    html`<p class="quiet on-screen">A heading sorts the table. Recall is the share of a class that is found; precision the share of right ones among the answers that name it.${earlier && ' The mark in a bar is the recall before.'}</p>`,
    scrolled(
      'Classes',
      html`<table class="sortable"><thead><tr>${head('Class', '')}${heads.map((text) => head(text, 'number'))}</tr></thead><tbody>${rows}</tbody></table>`,
      names.length > 30,
    ),
  ]);
}

function bar(value: number, before: number | undefined): Html {
  return html`<span class="share-bar" aria-hidden="true"><span style="width: ${(100 * value).toFixed(1)}%"></span>${
    before !== undefined && html`<i style="left: ${(100 * before).toFixed(1)}%"></i>`
  }</span>`;
}

export const CLASS_STYLES = `
.sortable thead { position: sticky; top: 0; z-index: 2; background: var(--page); }
.sortable th button { border: 0; padding: 0.2rem; background: none; color: inherit; font-weight: 600; cursor: pointer; text-align: inherit; }
.sortable th .arrow::after { content: ' ↕'; color: var(--quiet); }
.sortable th[aria-sort="ascending"] .arrow::after { content: ' ↑'; }
.sortable th[aria-sort="descending"] .arrow::after { content: ' ↓'; }
.sortable tbody th { font-weight: normal; max-width: 20rem; }
.share-bar { float: left; position: relative; width: 5rem; height: 0.75rem; margin: 0.4rem 0.75rem 0 0;
  background: var(--mark); border: 1px solid var(--edge); border-radius: 2px; print-color-adjust: exact; }
.share-bar span { position: absolute; inset: 0 auto 0 0; background: var(--series-1); print-color-adjust: exact; }
.share-bar i { position: absolute; top: -3px; bottom: -3px; width: 3px; margin-left: -1px; background: var(--text); box-shadow: 0 0 0 1px var(--page); print-color-adjust: exact; }
.tall { max-height: 34rem; overflow: auto; }
@media (max-width: 40rem) { .share-bar, .sortable th:not([aria-sort]) .arrow { display: none; } .sortable th button { padding: 0.2rem 0; min-width: 1.5rem; min-height: 1.5rem; } }
@media print { .tall { max-height: none; } .sortable th .arrow { display: none; } .sortable thead { position: static; } }
`;

export const SORT_PROGRAM = `
(() => {
  'use strict';
  for (const table of document.querySelectorAll('table.sortable')) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    const collator = new Intl.Collator(undefined, { numeric: true });
    heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const isDown = head.getAttribute('aria-sort') === 'ascending';
      for (const other of heads) other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', isDown ? 'descending' : 'ascending');
      const compare = (a, b) => {
        const [first, second] = [a.cells[column], b.cells[column]];
        return first.dataset.value === undefined
          ? collator.compare(first.textContent, second.textContent)
          : Number(first.dataset.value) - Number(second.dataset.value);
      };
      const rows = [...body.rows].sort(compare);
      body.append(...(isDown ? rows.reverse() : rows));
    }));
  }
})();
`;
