/** An image of a mask view with its cells over it, each a token. */
import type { MaskImage, MaskToken } from '../data/mask-view.js';
import { type Html, html } from './html.js';

/** Side of a cell on the page in pixels, if there is room: no image is higher than `MAX_HEIGHT`. */
const CELL = 24;
const MAX_HEIGHT = 840;

/** @param tokens of the image, in their order */
export function imageCells(tokens: readonly MaskToken[], image: MaskImage, index: number): Html {
  const { width, height, rows, columns, cellSize, uri } = image;
  const first = tokens[0]!.position;
  const last = first + tokens.length - 1;
  const side = Math.min(CELL, Math.floor(MAX_HEIGHT / rows));
  const size = `${width} × ${height} pixels, ${columns} × ${rows} cells of ${cellSize} pixels`;
  const name = `Image ${index + 1}: ${size}, tokens ${first} to ${last}`;
  const lines = Array.from({ length: rows }, (_, row) => cellRow(tokens, image, row));
  // The counters of the style sheet number tokens, rows and columns: a cell needs no text of its own.
  const style = `--id: "${tokens[0]!.id}"; --width: ${columns * side}px; --ratio: ${columns} / ${rows}; counter-reset: mask-token ${first - 1} mask-row -1`;
  return html`<figure class="mask-image"><figcaption>${name}</figcaption>
<div class="mask-cells" style="${style}">${uri !== undefined && html`<img src="${uri}" alt="">`}<div class="mask-grid">${lines}</div></div></figure>`;
}

function cellRow(tokens: readonly MaskToken[], { columns, brightness, uri }: MaskImage, row: number): Html {
  const start = row * (columns + 1);
  const own = tokens.slice(start, start + columns);
  const close = tokens[start + columns]!;
  const { position, id, text } = own[0]!;
  const learned = close.isLearned ? `${close.text} is learned` : 'not learned';
  const about =
    `tokens ${position} to ${close.position}: row ${row}, ${columns} × ${text} (id ${id}) and ${close.text} ` +
    `(id ${close.id}), ${learned}`;
  const cells = own.map((_, column) =>
    // Without the image the brightness of its cells stands for it.
    uri === undefined ? html`<i style="--level: ${brightness[row * columns + column]!}"></i>` : CELL_MARK,
  );
  const end = html`<b${close.isLearned && html` class="learned"`} data-about="${`token ${close.position}: ${close.text}, id ${close.id}, ${close.isLearned ? 'learned' : 'not learned'}`}"></b>`;
  return html`<div class="mask-row" role="img" tabindex="0" aria-label="${about}">${cells}${end}</div>`;
}

const CELL_MARK = html`<i></i>`;
