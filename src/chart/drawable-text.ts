/**
 * Looks, before an SVG is rendered here, whether the machine has fonts for the texts that the stroke font does not have,
 * and writes them in Latin letters, with a warning, if not.
 */

import { loadSharp } from '../data/load-sharp.js';
import { oneLine } from '../messages/one-line.js';
import { fitText, measureText, text } from './font.js';
import { escapeXml, unescapeXml } from './svg-values.js';
import type { Line } from './system-text.js';
import { transliterate } from './transliterate.js';

/** Characters that are looked at in one go; more of them are taken for granted. */
const MAX_PROBED = 400;
const PROBE_SIZE = 40;
const PROBE_CELL = 80;
const PROBE_COLUMNS = 20;
/** A code point that no version of Unicode assigns, and so no font draws. */
const UNASSIGNED = '\u0378';

/** Of the size and of the width that a text was laid out with. */
const SMALLEST = 0.6;
const OVERHANG = 2.2;

const ELEMENT = /<text data-line="([^"]*)"[^>]*>([^<]*)<\/text>/g;

/** Whether each character has a glyph in a font of this machine; kept for the life of the process. */
const known = new Map<string, boolean>();
let hasWarned = false;

export async function drawableText(
  svg: string,
  hasFont: (characters: readonly string[]) => Promise<readonly boolean[]> = probeFonts,
  warn: (line: string) => void = (line) => process.emitWarning(line, 'ChartWarning'),
): Promise<string> {
  const wanted = new Set<string>();
  for (const [, , content] of svg.matchAll(ELEMENT))
    for (const character of unescapeXml(content!)) if (isProbed(character)) wanted.add(character);
  if (wanted.size === 0) return svg;
  const asked = [...wanted].slice(0, MAX_PROBED);
  const answers = await hasFont(asked);
  const missing = new Set(asked.filter((_, i) => !answers[i]));
  if (missing.size === 0) return svg;
  const names: string[] = [];
  const drawn = svg.replace(ELEMENT, (element, line: string, content: string) => {
    const name = unescapeXml(content);
    if (![...name].some((character) => missing.has(character))) return element;
    names.push(name);
    return latinLine(name, JSON.parse(unescapeXml(line)) as Line);
  });
  if (!hasWarned || hasFont !== probeFonts) {
    hasWarned = true;
    warn(
      `no font of this machine has the characters of ${names.length} texts (e.g. "${oneLine(names[0]!)}"): they are ` +
        'drawn in Latin letters or as code points. Install a font for them, e.g. fonts-noto and fonts-noto-cjk on Debian ' +
        'and Ubuntu',
    );
  }
  return drawn;
}

/** Smaller if need be, and cut off where it would reach too far into its neighbours. */
function latinLine(name: string, { x, y, width, ...options }: Line): string {
  const latin = transliterate(name);
  const wanted = options.size ?? 14;
  const size = Math.max(SMALLEST * wanted, Math.min(wanted, (wanted * width) / measureText(latin, wanted)));
  return text(x, y, fitText(latin, OVERHANG * width, size), { ...options, size });
}

/** Marks and joiners have no look of their own; ASCII needs no other font, and where there is none at all nothing has. */
function isProbed(character: string): boolean {
  return character > '\u007f' && !/[\p{M}\p{Cf}\p{Cc}\p{Zs}]/u.test(character);
}

async function probeFonts(characters: readonly string[]): Promise<readonly boolean[]> {
  const unseen = characters.filter((character) => !known.has(character));
  if (unseen.length > 0) {
    const boxes = await inkOf([UNASSIGNED, ...unseen]);
    const blank = boxes[0]!;
    for (const [i, character] of unseen.entries()) {
      const box = boxes[i + 1]!;
      // The sign for a missing glyph is a frame, of one size for all; of no font at all, nothing.
      const isMissing =
        box.width === 0 || (box.isFramed && box.width === blank.width && box.height === blank.height && blank.isFramed);
      known.set(character, !isMissing);
    }
  }
  return characters.map((character) => known.get(character)!);
}

interface Ink {
  readonly width: number;
  readonly height: number;
  /** All four sides of its box are lines. */
  readonly isFramed: boolean;
}

async function inkOf(characters: readonly string[]): Promise<Ink[]> {
  const width = PROBE_COLUMNS * PROBE_CELL;
  const height = Math.ceil(characters.length / PROBE_COLUMNS) * PROBE_CELL;
  const place = (i: number) => [(i % PROBE_COLUMNS) * PROBE_CELL, Math.floor(i / PROBE_COLUMNS) * PROBE_CELL] as const;
  const parts = characters.map((character, i) => {
    const [x, y] = place(i);
    return `<text x="${x + 12}" y="${y + 55}" font-family="sans-serif" font-size="${PROBE_SIZE}">${escapeXml(character)}</text>`;
  });
  const page = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#fff"/>${parts.join('')}</svg>`;
  const sharp = await loadSharp();
  const { data, info } = await sharp(Buffer.from(page), { density: 72 })
    .toColourspace('b-w')
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  const isInk = (x: number, y: number) => data[(y * info.width + x) * info.channels]! < 128;
  return characters.map((_, i) => measureInk(place(i), isInk));
}

function measureInk([left, top]: readonly [number, number], isInk: (x: number, y: number) => boolean): Ink {
  let [x1, x2, y1, y2] = [Infinity, -1, Infinity, -1];
  for (let y = top; y < top + PROBE_CELL; y++) {
    for (let x = left; x < left + PROBE_CELL; x++) {
      if (!isInk(x, y)) continue;
      x1 = Math.min(x1, x);
      x2 = Math.max(x2, x);
      y1 = Math.min(y1, y);
      y2 = Math.max(y2, y);
    }
  }
  if (x2 < 0) return { width: 0, height: 0, isFramed: false };
  let isFramed = true;
  for (let x = x1; x <= x2; x++) isFramed &&= isInk(x, y1) && isInk(x, y2);
  for (let y = y1; y <= y2; y++) isFramed &&= isInk(x1, y) && isInk(x2, y);
  return { width: x2 - x1 + 1, height: y2 - y1 + 1, isFramed };
}
