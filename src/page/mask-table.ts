/** The tokens of a sample as a table: a line each, of an image one for the cells of each row. */
import type { MaskedSample, MaskToken } from '../data/mask-view.js';
import { type Html, html } from './html.js';

export function tokenTable({ tokens }: MaskedSample, index: number): Html {
  const lines: Html[] = [];
  for (let i = 0; i < tokens.length; ) {
    const token = tokens[i]!;
    let end = i + 1;
    while (isSame(token, tokens[end])) end++;
    lines.push(line(token, end - i));
    i = end;
  }
  return html`<div class="scroll mask-table" tabindex="0" role="region" aria-label="Tokens of sample ${index + 1}"><table>
<thead><tr><th scope="col" class="number">Position</th><th scope="col" class="number">Id</th><th scope="col" class="number">Label</th><th scope="col">Token</th><th scope="col">Place</th></tr></thead>
<tbody>${lines}</tbody></table></div>`;
}

function isSame({ kind, cell }: MaskToken, other: MaskToken | undefined): boolean {
  if (kind !== other?.kind || (kind !== 'padding' && kind !== 'cell')) return false;
  return cell?.image === other.cell?.image && cell?.row === other.cell?.row;
}

function line({ position, id, label, text, isLearned, kind, cell, partOf }: MaskToken, count: number): Html {
  const positions = count > 1 ? `${position}–${position + count - 1}` : String(position);
  const shown = count > 1 ? `${text} × ${count}` : text;
  const place = cell
    ? `image ${cell.image + 1}, row ${cell.row}`
    : partOf !== undefined
      ? `bytes of ${partOf}`
      : kind === 'text'
        ? ''
        : kind;
  const token = isLearned
    ? html`<mark class="token learned">${shown}</mark>`
    : html`<span class="token">${shown}</span>`;
  return html`<tr><td class="number">${positions}</td><td class="number">${id}</td><td class="number">${label}</td><td>${token}</td><td>${place}</td></tr>`;
}
