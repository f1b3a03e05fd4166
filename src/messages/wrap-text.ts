/** Sentences in lines of a terminal. */
import { displayWidth } from './display-width.js';

/** A text in lines of at most so many columns, broken at spaces, and within words that are longer. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  let used = 0;
  const flush = () => {
    lines.push(line.trimEnd());
    line = '';
    used = 0;
  };
  for (const word of text.match(/ +|[^ ]+/g) ?? []) {
    const length = displayWidth(word);
    if (used > 0 && used + length > width) flush();
    if (used === 0 && lines.length > 0 && word.startsWith(' ')) continue;
    for (const piece of splitText(word, width)) {
      if (used > 0 && used + displayWidth(piece) > width) flush();
      line += piece;
      used += displayWidth(piece);
    }
  }
  if (line.trim() !== '' || lines.length === 0) flush();
  return lines;
}

/** A text in pieces of at most so many columns, cut between characters as one sees them. */
export function splitText(text: string, width: number): string[] {
  if (displayWidth(text) <= width) return [text];
  const pieces: string[] = [];
  let piece = '';
  let used = 0;
  for (const { segment } of new Intl.Segmenter('en', { granularity: 'grapheme' }).segment(text)) {
    const length = displayWidth(segment);
    if (used > 0 && used + length > width) {
      pieces.push(piece);
      piece = '';
      used = 0;
    }
    piece += segment;
    used += length;
  }
  return [...pieces, piece];
}
