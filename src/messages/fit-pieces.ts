/** A line of a terminal that keeps what matters most when it gets narrow. */
import { displayWidth } from './display-width.js';
import { styled, type TextStyle } from './terminal-style.js';
import { splitText } from './wrap-text.js';

/** Part of a line. */
export interface LinePiece {
  readonly text: string;
  /** The lower, the longer it stays; up to 1, longer than a bar. */
  readonly rank: number;
  readonly style?: TextStyle | undefined;
}

const GAP = '  ';
const BAR_MOST = 24;
const BAR_LEAST = 8;

/**
 * The pieces that fit, two spaces between them; the most important one is cut if even that is too wide.
 * @param columns may be infinite
 * @param share of a bar before them, 0 to 1, drawn where at least 8 columns are left for it
 */
export function fitPieces(
  pieces: readonly LinePiece[],
  { columns, share, usesColor }: { columns: number; share?: number | undefined; usesColor: boolean },
): string {
  const widthOf = (kept: readonly LinePiece[]): number =>
    kept.reduce((sum, { text }) => sum + displayWidth(text) + GAP.length, -GAP.length);
  // A bar tells more than all but the most important pieces do.
  const room = share === undefined ? columns : Math.max(columns - BAR_LEAST - 1, 0);
  const byRank = [...pieces].sort((a, b) => a.rank - b.rank);
  let count = pieces.length;
  const essential = byRank.filter(({ rank }) => rank <= 1).length || 1;
  while (count > essential && widthOf(byRank.slice(0, count)) > room) count--;
  while (count > 1 && widthOf(byRank.slice(0, count)) > columns) count--;
  const kept = new Set(byRank.slice(0, count));
  const shown = pieces.filter((piece) => kept.has(piece));
  const left = columns - widthOf(shown);
  const texts = shown.map(({ text, style }) => {
    const cut = left < 0 ? splitText(text, Math.max(1, columns))[0]! : text;
    return styled(style, cut, usesColor);
  });
  const line = texts.join(GAP);
  if (share === undefined || left < BAR_LEAST + 1) return line;
  return `${bar(share, Math.min(BAR_MOST, left - 1), usesColor)} ${line}`;
}

function bar(share: number, width: number, usesColor: boolean): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * width);
  return styled('cyan', '█'.repeat(filled), usesColor) + styled('dim', '░'.repeat(width - filled), usesColor);
}
