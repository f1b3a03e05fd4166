/** Matrices of counts as tables: rows are shaded by the share of their row, and can be shown as that. */
import { Html, html } from './html.js';

interface MatrixTable {
  readonly caption: string;
  readonly rowTitle: string;
  readonly columnTitle: string;
  readonly rowNames: readonly string[];
  /** Those of the rows come first, in the same order: what lies on the diagonal is right. */
  readonly columnNames: readonly string[];
  /** [rows][columns] counts. */
  readonly values: readonly (readonly number[])[];
}

/** Shades of a cell; 0 is none. */
const SHADES = 8;
/** Characters of a name. */
const MAX_NAME = 24;
/** Wider matrices are mostly zeros, which would hide the rest. */
const MANY_COLUMNS = 16;

export function matrixTable({ caption, rowTitle, columnTitle, rowNames, columnNames, values }: MatrixTable): Html {
  const short = shortNames(rowNames);
  const head = columnNames.map(
    (name, c) => html`<th scope="col" ${full(name, short[c])}><span>${short[c] ?? name}</span></th>`,
  );
  const zero = columnNames.length > MANY_COLUMNS ? '·' : '0';
  const rows = rowNames.map((name, r) => {
    const row = values[r]!;
    const total = row.reduce((a, b) => a + b, 0);
    // Thousands of cells: as short as they may be.
    const cells = row.map((count, c) => {
      const shade = total === 0 ? 0 : Math.ceil((count / total) * SHADES);
      const name = shade === 0 ? '' : ` class="${r === c ? 'g' : 'b'}${shade}"`;
      return `<td${name}>${count === 0 ? zero : count}</td>`;
    });
    return html`<tr data-total="${total}"><th scope="row" ${full(name, short[r])}>${short[r]}</th>${new Html(cells.join(''))}</tr>`;
  });
  return html`<figure class="matrix">
<figcaption>${caption}</figcaption>
<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<thead><tr><th class="corner"><span class="quiet">${rowTitle}&nbsp;↓<br>${columnTitle}&nbsp;→</span></th>${head}</tr></thead>
<tbody>${rows}</tbody>
</table></div>
</figure>`;
}

/** Names beside a matrix. Long ones lose the words that all begin or end with, and then their middle, unless two would be alike. */
function shortNames(names: readonly string[]): string[] {
  if (names.every((name) => [...name].length <= MAX_NAME)) return [...names];
  const start =
    names.length > 1
      ? commonWords(
          names,
          (a, b) => a.startsWith(b),
          (words, n) => words.slice(0, n),
        )
      : '';
  const end =
    names.length > 1
      ? commonWords(
          names,
          (a, b) => a.endsWith(b),
          (words, n) => words.slice(-n),
        )
      : '';
  const short = names.map((name) => {
    if (name.length <= start.length + end.length) return ends(name);
    const own = ends(name.slice(start.length, name.length - end.length).trim());
    return `${start && '…'}${own}${end && '…'}`;
  });
  const isAlike = (name: string): boolean => short.indexOf(name) !== short.lastIndexOf(name);
  return short.map((name, i) => (isAlike(name) ? names[i]! : name));
}

/** The most words, with the spaces between, that all names have at one end. */
function commonWords(
  names: readonly string[],
  has: (name: string, part: string) => boolean,
  take: (words: readonly string[], count: number) => readonly string[],
): string {
  const words = names[0]!.split(/(?<=\s)/);
  let found = '';
  for (let count = 1; count < words.length; count++) {
    const part = take(words, count).join('');
    if (!names.every((name) => has(name, part))) break;
    found = part;
  }
  return found;
}

/** A long name by its ends: names of classes often begin alike. */
function ends(name: string): string {
  const characters = [...name];
  if (characters.length <= MAX_NAME) return name;
  return `${characters.slice(0, MAX_NAME / 2 - 1).join('')}…${characters.slice(-MAX_NAME / 2).join('')}`;
}

function full(name: string, short: string | undefined): Html | undefined {
  return short !== undefined && short !== name ? html`title="${name}" aria-label="${name}"` : undefined;
}

/** The choice between counts and shares, for all matrices of a page. */
export function matrixChoice(): Html {
  return html`<fieldset class="matrix-choice on-screen"><legend>Cells show</legend>
<label><input type="radio" name="matrix-cells" value="count" checked> counts</label>
<label><input type="radio" name="matrix-cells" value="share"> share of the row, %</label></fieldset>`;
}

const shades = (name: string, color: string): string =>
  Array.from({ length: SHADES }, (_, i) => {
    const part = Math.round(8 + (i * 34) / (SHADES - 1));
    return `.matrix td.${name}${i + 1} { background: color-mix(in srgb, var(--${color}) ${part}%, var(--page)); color: var(--text); }`;
  }).join('\n');

export const MATRIX_STYLES = `
.matrices { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(34rem, 100%), 1fr)); }
.matrices.wide { grid-template-columns: minmax(0, 1fr); }
.matrix { min-width: 0; }
.matrix figcaption { font-weight: 600; }
.matrix table { font-size: 0.875rem; }
.matrix td { min-width: 2rem; padding: 0.2rem; text-align: center; color: var(--quiet); font-variant-numeric: tabular-nums;
  border: 1px solid var(--line); }
.matrix thead th { vertical-align: bottom; padding: 0.25rem 0.1rem; font-weight: normal; }
.matrix thead th:not(.corner) span { display: inline-block; writing-mode: vertical-rl; max-height: 12rem; overflow: hidden;
  white-space: nowrap; text-overflow: ellipsis; }
.matrix .corner { max-width: 9rem; }
.matrix .scroll tbody th[scope="row"] { min-width: 6.5rem; max-width: 13rem; padding: 0.2rem 0.4rem 0.2rem 0; font-weight: normal;
  line-height: 1.2; overflow-wrap: anywhere; }
.wide .matrix table { font-size: 0.8125rem; }
.wide .matrix td { min-width: 1.5rem; padding: 0.2rem 0; }
.matrix-choice { border: 0; margin: 0 0 0.75rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.matrix-choice legend { float: left; margin-right: 1rem; }
${shades('g', 'good')}
${shades('b', 'bad')}
@media (max-width: 40rem) { .matrix .scroll tbody th[scope="row"], .matrix .corner { max-width: 6.5rem; } }
@media print { .matrix td { print-color-adjust: exact; } }
`;

/** Writes the cells anew when another way is chosen. */
export const MATRIX_PROGRAM = `
(() => {
  'use strict';
  const rows = [...document.querySelectorAll('.matrix tbody tr')].map((row) => {
    const cells = [...row.querySelectorAll('td')];
    const texts = cells.map((cell) => cell.textContent);
    return { cells, total: Number(row.dataset.total), texts };
  });
  addEventListener('change', ({ target }) => {
    if (target.name !== 'matrix-cells') return;
    for (const { cells, texts, total } of rows) {
      texts.forEach((text, i) => {
        const count = Number(text);
        cells[i].textContent = target.value === 'count' || !(count > 0) ? text : Math.round((100 * count) / total);
      });
    }
  });
})();
`;
