/** The mask view as a section of a page, and as a page of its own. It needs no script: hover and focus show a token. */
import { beginsTurn, maskSummary, maskTitle, maskWarnings, viewSummary } from '../data/mask-notes.js';
import { type MaskedSample, type MaskToken, type MaskView, requireMaskView } from '../data/mask-view.js';
import { type Html, html } from './html.js';
import { imageCells } from './mask-cells.js';
import { MASK_STYLES } from './mask-styles.js';
import { tokenTable } from './mask-table.js';
import { renderPage } from './page.js';

export { MASK_STYLES };

/** Of a stretch in which nothing is learned the tokens between these are folded away if they are more than `FOLDED`. */
const HEAD = 200;
const TAIL = 50;
const FOLDED = 100;

/** All samples of a view, under a heading of level 2. Its page needs `MASK_STYLES`. */
export function maskSection(view: MaskView): Html {
  const { samples } = view;
  return html`<section class="masks"><h2>What is learned</h2>
<p>${viewSummary(view)}.</p>
${legend(samples.flatMap(({ tokens }) => tokens))}
${samples.map((sample, i) => sampleCard(sample, i, maskTitle(view, i)))}
</section>`;
}

/** The text of one HTML file that needs nothing else. @throws ConfigError for what is no mask view */
export function renderMaskPage(view: MaskView): string {
  requireMaskView(view, 'renderMaskPage');
  return renderPage({ title: 'What is learned', body: maskSection(view), styles: [MASK_STYLES] });
}

function legend(tokens: readonly MaskToken[]): Html {
  const has = (test: (token: MaskToken) => boolean) => tokens.some(test);
  return html`<ul class="mask-legend" aria-label="Signs">
<li><mark class="token learned">learned</mark></li>
<li><span class="token">not learned</span></li>
${has(({ kind }) => kind === 'control') && html`<li><span class="token control">control token</span></li>`}
${has(({ isShared }) => isShared) && html`<li><span class="token shared">shared with an earlier sample</span></li>`}
${has(({ cell }) => cell !== undefined) && html`<li>cells of an image: a token each, and one behind each row</li>`}
<li><span class="token">·</span> space</li><li><span class="token">↵</span> line end</li>
${has(({ partOf }) => partOf !== undefined) && html`<li><span class="token">\\xe6</span> a byte of a character</li>`}
</ul>
<p class="quiet">Point at a token, tap it, or move to it with the Tab key: its position and id are shown at the bottom.</p>`;
}

function sampleCard(sample: MaskedSample, index: number, title: string): Html {
  const { tokens } = sample;
  const end = `mask-${index}-end`;
  return html`<article class="card mask-sample">
<h3>${title}</h3>
<p>${maskSummary(sample)}</p>
${maskWarnings(sample).map((line) => html`<p class="warn">${line}</p>`)}
${
  tokens.length > 0 &&
  html`<a class="skip" href="#${end}">Skip the tokens of this sample</a>
${blocks(sample)}
<details id="${end}"><summary>The tokens as a table</summary>${tokenTable(sample, index)}</details>`
}
</article>`;
}

/** Texts and images in the order of their tokens. */
function blocks({ tokens, images }: MaskedSample): Html[] {
  const found: Html[] = [];
  for (let i = 0; i < tokens.length; ) {
    const { cell } = tokens[i]!;
    let end = i + 1;
    while (end < tokens.length && tokens[end]!.cell?.image === cell?.image) end++;
    const part = tokens.slice(i, end);
    found.push(...(cell ? [imageCells(part, images[cell.image]!, cell.image)] : textBlocks(part)));
    i = end;
  }
  return found;
}

function textBlocks(tokens: readonly MaskToken[]): Html[] {
  const found: Html[] = [];
  let open: Html[] = [];
  const close = () => {
    if (open.length > 0) found.push(html`<div class="tokens">${open}</div>`);
    open = [];
  };
  for (let i = 0; i < tokens.length; ) {
    let end = i + 1;
    const { isLearned, kind } = tokens[i]!;
    const isPadding = kind === 'padding';
    while (tokens[end]?.isLearned === isLearned && (tokens[end]!.kind === 'padding') === isPadding) end++;
    const stretch = tokens.slice(i, end);
    const folded = stretch.length - HEAD - TAIL;
    if (isPadding) open.push(mark(tokens[i]!, stretch.length));
    else if (isLearned || folded <= FOLDED) open.push(...marks(stretch));
    else {
      open.push(...marks(stretch.slice(0, HEAD)));
      close();
      const rest = marks(stretch.slice(HEAD, -TAIL));
      found.push(
        html`<details class="tokens"><summary>${folded} further tokens, none of them learned</summary>${rest}</details>`,
      );
      open.push(...marks(stretch.slice(-TAIL)));
    }
    i = end;
  }
  close();
  return found;
}

function marks(tokens: readonly MaskToken[]): Html[] {
  return tokens.map((token, i) => html`${beginsTurn(token, tokens[i - 1]) && html`<br>`}${mark(token, 1)}`);
}

function mark(token: MaskToken, count: number): Html {
  const { text, partOf, position, isLearned, isShared, kind } = token;
  const name = ['token', isLearned && 'learned', isShared && 'shared', kind !== 'text' && kind]
    .filter(Boolean)
    .join(' ');
  const places = count > 1 ? `tokens ${position} to ${position + count - 1}` : `token ${position}`;
  const about = `${places}: ${facts(token).join(', ')}`;
  const shown =
    count > 1 ? `${text} × ${count}` : html`${text}${partOf !== undefined && html`<small>${partOf}</small>`}`;
  const lineEnd = text.endsWith('↵') && kind === 'text' && html`<br>`;
  return isLearned
    ? html`<mark class="${name}" tabindex="0" data-about="${about}">${shown}</mark>${lineEnd}`
    : html`<span class="${name}" tabindex="0" data-about="${about}">${shown}</span>${lineEnd}`;
}

function facts({ id, kind, label, isLearned, isShared, partOf }: MaskToken): string[] {
  const found = [`id ${id}`];
  if (kind === 'control') found.push('control token');
  if (partOf !== undefined) found.push(`bytes of ${partOf}`);
  if (kind === 'padding') found.push('padding');
  else if (isLearned) found.push('learned');
  else found.push(label === id ? 'not learned, as nothing predicts the first token' : 'not learned');
  if (isShared) found.push('shared with an earlier sample');
  return found;
}
