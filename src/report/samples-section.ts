/** The samples themselves: mistakes first, each with its image and its answers; what became right; and all answers. */
import type { EvaluatedSample } from '../eval/evaluation-report.js';
import { oneLine } from '../messages/one-line.js';
import { type Html, html } from '../page/html.js';
import { counted, fileName, percent, shownAnswer } from './figures.js';
import { correctedOf, mistakesOf, type PairedSample } from './paired-samples.js';
import type { ReportImage } from './report-parts.js';
import { type ReportSection, scrolled, section } from './section.js';

/** What sections of samples share. */
export interface SampleView {
  readonly pairs: readonly PairedSample[];
  /** As they are shown: one for each class, no two alike. */
  readonly names: readonly string[];
  readonly images: ReadonlyMap<string, ReportImage>;
  /** There is an earlier evaluation. */
  readonly isPair: boolean;
}

/** Cards that are open at first: whole rows where five are beside each other. */
const FIRST_MISTAKES = 10;
const FIRST_CORRECTED = 5;
/** Cards of mistakes; all answers are in the table. */
export const MAX_MISTAKES = 240;
export const MAX_CORRECTED = 36;
const MAX_ROWS = 2000;

export function mistakesSection(view: SampleView): ReportSection {
  const mistakes = mistakesOf(view.pairs);
  if (mistakes.length === 0) {
    return section(
      'mistakes',
      'Mistakes',
      html`<p class="good">${`None: all ${view.pairs.length} answers are right.`}</p>`,
    );
  }
  const invalid = mistakes.filter(({ sample }) => sample.predicted === null).length;
  const lost = mistakes.filter(({ wasRight }) => wasRight === true).length;
  const hasConfidence = mistakes.some(({ sample }) => sample.confidence !== undefined);
  const sentence = [
    `${mistakes.length.toLocaleString('en-US')} of ${counted(view.pairs.length, 'answer')} are wrong`,
    ...(view.isPair ? [`${lost === 0 ? 'none' : lost} of them ${lost > 1 ? 'were' : 'was'} right before`] : []),
    ...(invalid > 0 ? [`${invalid} ${invalid === 1 ? 'is' : 'are'} no class`] : []),
  ];
  const order = hasConfidence
    ? 'The most confident come first; the share behind an answer is its confidence.'
    : lost > 0
      ? 'Those that were right before come first.'
      : '';
  return section('mistakes', 'Mistakes', [
    html`<p>${`${sentence.join('; ')}. ${order}`}</p>`,
    filters(view, mistakes, lost, invalid),
    cards(view, mistakes, FIRST_MISTAKES, MAX_MISTAKES, 'mistakes'),
  ]);
}

export function correctedSection(view: SampleView): ReportSection | undefined {
  const corrected = correctedOf(view.pairs);
  if (corrected.length === 0) return undefined;
  return section('corrected', 'Became right', [
    html`<p>${`${counted(corrected.length, 'answer')} ${corrected.length === 1 ? 'was' : 'were'} wrong before and ${corrected.length === 1 ? 'is' : 'are'} right now.`}</p>`,
    cards(view, corrected, FIRST_CORRECTED, MAX_CORRECTED, 'of these'),
  ]);
}

export function answersSection(view: SampleView): ReportSection {
  const { pairs, names, isPair } = view;
  const hasConfidence = pairs.some(({ sample }) => sample.confidence !== undefined);
  const shown = pairs.slice(0, MAX_ROWS);
  const rows = shown.map(({ sample, before, isRight, wasRight }) => {
    const was = isPair && html`<td>${before ? answer(before, names, wasRight === true) : '–'}</td>`;
    const confidence = hasConfidence && html`<td class="number">${percent(sample.confidence)}</td>`;
    return html`<tr><th scope="row">${oneLine(sample.id)}</th><td>${names[sample.expected]}</td>${was}<td>${answer(sample, names, isRight)}</td>${confidence}</tr>`;
  });
  const heads = ['Sample', 'True class', ...(isPair ? ['Before', 'After'] : ['Answer'])];
  const table = html`<table class="answers"><thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}${hasConfidence && html`<th scope="col" class="number">Confidence</th>`}</tr></thead><tbody>${rows}</tbody></table>`;
  const more = pairs.length - shown.length;
  return section('answers', 'All answers', [
    html`<details><summary>${counted(shown.length, 'sample')}</summary>${scrolled('All answers', table, true)}</details>`,
    more > 0 && html`<p class="quiet">${`${more.toLocaleString('en-US')} more are left out of this page.`}</p>`,
  ]);
}

/** An answer in a table: whether it is right shows without colours too. */
function answer(sample: EvaluatedSample, names: readonly string[], isRight: boolean): Html {
  const text = sample.predicted === null ? `no class: ${shownAnswer(sample.answer)}` : names[sample.predicted]!;
  return html`<span class="${isRight ? 'good' : 'bad'}"><span aria-hidden="true">${isRight ? '✓' : '✗'}</span><span class="hidden">${isRight ? 'right:' : 'wrong:'}</span> <bdi>${text}</bdi></span>`;
}

function filters(
  { names, isPair }: SampleView,
  mistakes: readonly PairedSample[],
  lost: number,
  invalid: number,
): Html {
  const kinds = [
    ...(isPair && lost > 0 ? [['lost', `right before (${lost})`]] : []),
    ...(isPair && lost < mistakes.length ? [['kept', `wrong before too (${mistakes.length - lost})`]] : []),
    ...(invalid > 0 ? [['invalid', `no class (${invalid})`]] : []),
  ];
  const counts = new Map<number, number>();
  for (const { sample } of mistakes) counts.set(sample.expected, (counts.get(sample.expected) ?? 0) + 1);
  const classes = [...counts]
    .sort(([a], [b]) => a - b)
    .map(([label, count]) => [String(label), `${names[label]} (${count})`]);
  const choice = (name: string, label: string, options: readonly string[][]): Html =>
    html`<label>${label} <select data-filter="${name}"><option value="">all</option>${options.map(([value, text]) => html`<option value="${value}">${text}</option>`)}</select></label>`;
  return html`<div class="filters on-screen">${kinds.length > 0 && choice('kind', 'Kind', kinds)}${classes.length > 1 && choice('label', 'True class', classes)}<span class="quiet" role="status"></span></div>`;
}

function cards(view: SampleView, samples: readonly PairedSample[], open: number, most: number, what: string): Html {
  const shown = samples.slice(0, most);
  const [first, rest] = [shown.slice(0, open), shown.slice(open)];
  const without = shown.filter(({ sample }) => !view.images.has(sample.id)).length;
  const notes = [
    ...(samples.length > shown.length
      ? [`${samples.length - shown.length} more are in the table of all answers only.`]
      : []),
    ...(view.images.size > 0 && without > 0 ? [`${without} of those shown are without an image.`] : []),
  ];
  return html`<div class="cards samples">${first.map((one) => card(view, one))}</div>${
    rest.length > 0 &&
    html`<details class="more"><summary>${`${rest.length} more ${what}`}</summary><div class="cards samples">${rest.map((one) => card(view, one))}</div></details>`
  }${notes.length > 0 && html`<p class="quiet">${notes.join(' ')}</p>`}`;
}

function card({ names, images, isPair }: SampleView, { sample, before, isRight, wasRight }: PairedSample): Html {
  const image = images.get(sample.id);
  const kinds = [...(wasRight === true ? ['lost'] : ['kept']), ...(sample.predicted === null ? ['invalid'] : [])];
  const answerRow = (title: string, one: EvaluatedSample, isGood: boolean): Html => {
    const mark = html`<dt>${title}</dt><dd>${answer(one, names, isGood)}${one.confidence !== undefined && html` <span class="quiet">${percent(one.confidence, 0)}</span>`}</dd>`;
    const saysMore = one.predicted !== null && one.answer.trim() !== '' && one.answer.trim() !== names[one.predicted];
    return html`${mark}${saysMore && html`<dd class="quiet said">“<bdi>${shownAnswer(one.answer)}</bdi>”</dd>`}`;
  };
  return html`<article class="card" data-label="${sample.expected}" data-kind="${kinds.join(' ')}">
${
  image
    ? html`<img src="${image.uri}" alt="${`Image of sample ${fileName(sample.id)}, true class ${names[sample.expected]}`}" decoding="async">`
    : images.size > 0 && html`<p class="no-image quiet">no image here</p>`
}
<dl><dt>True</dt><dd><bdi>${names[sample.expected]}</bdi></dd>${isPair && before && answerRow('Before', before, wasRight === true)}${answerRow(isPair ? 'After' : 'Answer', sample, isRight)}</dl>
<p class="quiet id" title="${oneLine(sample.id)}">${fileName(sample.id)}</p>
</article>`;
}

export const SAMPLE_STYLES = `
.cards.samples { grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); margin-top: 0.75rem; }
.samples .card { padding: 0.5rem 0.75rem; display: flex; flex-direction: column; }
.samples img, .samples .no-image { display: block; width: 100%; height: 11rem; object-fit: contain; background: #000; border-radius: 0.25rem; }
.samples .no-image { display: grid; place-items: center; margin: 0; background: var(--mark); color: var(--text); }
.samples dl { margin: 0.5rem 0 0; display: grid; grid-template-columns: max-content 1fr; gap: 0 0.6rem; }
.samples dt { color: var(--quiet); }
.samples dd { margin: 0; grid-column: 2; min-width: 0; }
.samples .said { font-size: 0.875rem; max-height: 6rem; overflow-y: auto; }
.samples .id { margin: auto 0 0; padding-top: 0.25rem; font-size: 0.8125rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.filters { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: center; }
.filters label { display: inline-flex; gap: 0.4rem; align-items: center; max-width: 100%; }
.filters select { max-width: min(20rem, 60vw); min-height: 2rem; }
.answers th[scope="row"] { font-weight: normal; }
@media (max-width: 40rem) {
  .cards.samples { gap: 0.5rem; }
  .samples .card { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: 0 0.75rem; align-items: start; }
  .samples .card:not(:has(img, .no-image)) { display: block; }
  .samples img, .samples .no-image { height: 7rem; grid-row: span 2; }
  .samples dl { margin: 0; gap: 0 0.4rem; font-size: 0.875rem; }
  .samples .id { grid-column: 2; }
}
@media print { .samples img { height: 10rem; } .cards.samples { grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 0.5rem; } }
`;

/** Hides the cards that are not asked for. */
export const SAMPLE_PROGRAM = `
(() => {
  'use strict';
  const filters = document.querySelector('.filters');
  if (filters === null) return;
  const section = filters.closest('section');
  const cards = [...section.querySelectorAll('.card')];
  const choices = [...filters.querySelectorAll('select')];
  const status = filters.querySelector('[role="status"]');
  filters.addEventListener('change', () => {
    let shown = 0;
    for (const card of cards) {
      const fits = ({ dataset, value }) => value === '' || card.dataset[dataset.filter].split(' ').includes(value);
      card.hidden = !choices.every(fits);
      if (!card.hidden) shown++;
    }
    const isChosen = choices.some(({ value }) => value !== '');
    status.textContent = isChosen ? shown + ' of ' + cards.length + ' shown' : '';
    for (const more of section.querySelectorAll('details.more')) if (isChosen) more.open = true;
  });
})();
`;
