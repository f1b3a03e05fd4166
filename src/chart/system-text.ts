/**
 * Text in scripts that the stroke font does not have: it is left to the fonts of the machine, which also order and join
 * the letters of Arabic, Hebrew and the scripts of India. Whoever shows the SVG draws it; see drawable-text.ts for what
 * happens before we draw one ourselves.
 */
import { escapeXml, format } from './svg-values.js';

type TextAnchor = 'start' | 'middle' | 'end';
export type TextWeight = 'regular' | 'bold';

export interface TextOptions {
  /** Em size in SVG units; capitals are 0.7 of it. Default 14. */
  readonly size?: number;
  /** Which point of the line is at x. Default 'start'. */
  readonly anchor?: TextAnchor;
  /** What is at y: the baseline, or the middle of the capitals. Default 'baseline'. */
  readonly align?: 'baseline' | 'middle';
  /** Degrees, clockwise, about (x, y). Default 0. */
  readonly rotate?: number;
  /** Default '#1f2933'. */
  readonly colour?: string;
  /** Default 'regular'. */
  readonly weight?: TextWeight;
}

export interface Line extends TextOptions {
  readonly x: number;
  readonly y: number;
  /** That the layout has kept free. */
  readonly width: number;
}

export function systemText(
  x: number,
  y: number,
  width: number,
  content: string,
  options: Required<TextOptions>,
): string {
  const { size, anchor, align, rotate, colour, weight } = options;
  const line: Line = { x, y, width, size, anchor, align, rotate, colour, weight };
  const turn = rotate ? ` rotate(${format(rotate)})` : '';
  const down = align === 'middle' ? ` translate(0 ${format(size * 0.35)})` : '';
  return (
    `<text data-line="${escapeXml(JSON.stringify(line))}" transform="translate(${format(x)} ${format(y)})${turn}${down}" ` +
    `font-family="sans-serif" font-size="${format(size)}" font-weight="${weight === 'bold' ? 700 : 400}" ` +
    `text-anchor="${anchor}" fill="${colour}">${escapeXml(content)}</text>`
  );
}

/** Width in ems of what a font will make of a line, on the generous side. */
export function estimateWidth(content: string): number {
  let ems = 0;
  for (const character of content) {
    if (/[\p{M}\p{Cf}\p{Cc}]/u.test(character)) continue;
    const isWide =
      /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Extended_Pictographic}\u3000-\u303f\uff01-\uff60]/u;
    ems +=
      isWide.test(character) && character > '\u00ff'
        ? 1
        : /\p{Lu}|[mwMWшщжюЖШЩЮ@%]/u.test(character)
          ? 0.78
          : /[\s.,:;'!|ijlI()[\]-]/.test(character)
            ? 0.4
            : 0.63;
  }
  return ems;
}
