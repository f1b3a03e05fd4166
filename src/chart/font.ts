/**
 * A small stroke font, so that images have text on machines without fonts: a bare server has none, and an SVG
 * `<text>` element would then come out empty.
 *
 * Glyphs are drawn on a grid: baseline y = 0, x-height 10, capitals and figures 14, descenders 4 below; the em is 20.
 * A glyph is its width and its strokes as SVG path data, where only `M` and `V` are absolute, so that a whole line
 * becomes one path by moving the x of every `M`.
 * Text in other scripts is left to the machine's fonts; see system-text.ts.
 */
import { format } from './svg-values.js';
import { estimateWidth, systemText, type TextOptions, type TextWeight } from './system-text.js';

const EM = 20;
/** Capital height over size. */
const CAP_HEIGHT = 14 / EM;

type Glyph = readonly [width: number, strokes: string];

const BOWL = 'M0-5a4 5 0 1 1 8 0a4 5 0 1 1-8 0';

const GLYPHS: Readonly<Record<string, Glyph>> = {
  ' ': [2.2, ''],
  '!': [0, 'M0-14v9.4M0-.3h.01'],
  '"': [3.4, 'M0-14v4M3.4-14v4'],
  '#': [9, 'M3-13l-1.6 12M7.6-13l-1.6 12M.6-9h8.4M0-5h8.4'],
  $: [8, 'M7.6-10.6q-.9-2-3.7-2q-3.6 0-3.6 2.7q0 2.2 3.7 2.9t4 3.2q0 3-4 3q-3 0-4-2.2M4-14.6v16.2'],
  '%': [12, 'M10.5-14l-9 14M0-11.2a2.5 2.8 0 1 1 5 0a2.5 2.8 0 1 1-5 0M7-2.8a2.5 2.8 0 1 1 5 0a2.5 2.8 0 1 1-5 0'],
  '&': [
    10.4,
    'M10.4 0l-7.6-8.6q-1.2-1.4-1.2-2.6a2.8 2.8 0 0 1 5.6 0q0 1.7-2.6 3.1q-4.6 2.3-4.6 4.7q0 3.4 3.9 3.4q4.5 0 5.9-6',
  ],
  "'": [0, 'M0-14v4'],
  '(': [3, 'M3-15.4q-3 3.4-3 8.7t3 8.7'],
  ')': [3, 'M0-15.4q3 3.4 3 8.7t-3 8.7'],
  '*': [6.4, 'M3.2-14v7.2M.1-12.2l6.2 3.6M6.3-12.2l-6.2 3.6'],
  '+': [8, 'M4-10v8M0-6h8'],
  ',': [1, 'M.9-.4l-1.1 3'],
  '-': [5, 'M0-5.6h5'],
  '.': [0, 'M0-.3h.01'],
  '/': [6, 'M6-15l-6 16.6'],
  '0': [8, 'M0-7c0-9.3 8-9.3 8 0s-8 9.3-8 0z'],
  '1': [8, 'M1.2-11.2l3.4-2.8V0M1.2 0h6.6'],
  '2': [8, 'M.3-10.6q.5-3.4 3.7-3.4q3.6 0 3.6 3.5q0 2-2.2 4.4l-5.4 6.1h8'],
  '3': [8, 'M.3-11.4q.8-2.6 3.6-2.6a3.3 3.3 0 0 1 0 6.6h-1.3h1.5a3.7 3.7 0 0 1 0 7.4q-3.1 0-4.1-2.8'],
  '4': [8, 'M6 0v-14l-6 10h8.4'],
  '5': [8, 'M7.2-14h-6l-.7 6.4q1.3-1.2 3.3-1.2a4.2 4.4 0 0 1 0 8.8q-3 0-3.8-2.6'],
  '6': [8, 'M6.4-14q-6.4 2.6-6.4 9.6M0-4.4a4 4.4 0 1 1 8 0a4 4.4 0 1 1-8 0'],
  '7': [8, 'M0-14h8l-5 14'],
  '8': [8, 'M.6-10.6a3.4 3.4 0 1 1 6.8 0a3.4 3.4 0 1 1-6.8 0M0-3.6a4 3.6 0 1 1 8 0a4 3.6 0 1 1-8 0'],
  '9': [8, 'M1.6 0q6.4-2.6 6.4-9.6M0-9.6a4 4.4 0 1 1 8 0a4 4.4 0 1 1-8 0'],
  ':': [0, 'M0-8.6h.01M0-.3h.01'],
  ';': [1, 'M.9-8.6h.01M.9-.4l-1.1 3'],
  '<': [7.4, 'M7.4-10l-7.4 4l7.4 4'],
  '=': [8, 'M0-8h8M0-4h8'],
  '>': [7.4, 'M0-10l7.4 4l-7.4 4'],
  '?': [6.8, 'M0-11.2q.6-2.8 3.4-2.8q3.4 0 3.4 3q0 1.7-1.8 3.1q-1.7 1.3-1.7 3.3M3.3-.3h.01'],
  '@': [14, 'M9.8-9v4.4q0 2 1.9 2t2.3-3.4a7 7.3 0 1 0-3.6 6.6M4.2-5.9a2.8 3.1 0 1 1 5.6 0a2.8 3.1 0 1 1-5.6 0'],
  A: [10.4, 'M0 0l5.2-14l5.2 14M1.8-4.7h6.8'],
  B: [8.6, 'M0-7.4h4.8a3.3 3.3 0 0 0 0-6.6h-4.8V0h4.9a3.7 3.7 0 0 0 0-7.4'],
  C: [9.6, 'M9.6-10.9q-1.2-3.1-4.5-3.1c-6.8 0-6.8 14 0 14q3.3 0 4.5-3.1'],
  D: [9.4, 'M0-14V0h3.4c8 0 8-14 0-14z'],
  E: [7.6, 'M7.6-14h-7.6V0h7.6M0-7.3h6.6'],
  F: [7.4, 'M7.4-14h-7.4V0M0-7h6.4'],
  G: [10, 'M9.6-11q-1.2-3-4.5-3c-6.8 0-6.8 14 0 14q4.9 0 4.9-4.6v-1.9h-4.4'],
  H: [9.4, 'M0-14V0M9.4-14V0M0-7.2h9.4'],
  I: [0, 'M0-14V0'],
  J: [6, 'M6-14v10.2q0 3.8-3.2 3.8q-2.3 0-2.8-2'],
  K: [8.8, 'M0-14V0M8.4-14l-8.4 9M3.3-8.5l5.5 8.5'],
  L: [7, 'M0-14V0h7'],
  M: [11.6, 'M0 0v-14l5.8 9.6l5.8-9.6V0'],
  N: [9.4, 'M0 0v-14l9.4 14v-14'],
  O: [11, 'M0-7c0-9.4 11-9.4 11 0s-11 9.4-11 0z'],
  P: [8.4, 'M0 0v-14h4.6a3.8 3.8 0 0 1 0 7.6h-4.6'],
  Q: [11, 'M0-7c0-9.4 11-9.4 11 0s-11 9.4-11 0zM6.6-3.4l4.2 4.6'],
  R: [8.8, 'M0 0v-14h4.6a3.7 3.7 0 0 1 0 7.4h-4.6M4.8-6.6l4 6.6'],
  S: [8.4, 'M8-11.3q-.9-2.7-3.9-2.7q-3.7 0-3.7 3.3q0 2.6 3.9 3.4q4.1.9 4.1 3.8q0 3.5-4.1 3.5q-3.4 0-4.3-2.9'],
  T: [9.6, 'M0-14h9.6M4.8-14V0'],
  U: [9.2, 'M0-14v9.2q0 4.8 4.6 4.8t4.6-4.8v-9.2'],
  V: [10, 'M0-14l5 14l5-14'],
  W: [14.4, 'M0-14l3.6 14l3.6-13l3.6 13l3.6-14'],
  X: [9.2, 'M.2-14l8.8 14M9-14l-8.8 14'],
  Y: [9.4, 'M0-14l4.7 7.4l4.7-7.4M4.7-6.6V0'],
  Z: [8.8, 'M.2-14h8.4l-8.6 14h8.8'],
  '[': [3, 'M3-15.4h-3v17.4h3'],
  '\\': [6, 'M0-15l6 16.6'],
  ']': [3, 'M0-15.4h3v17.4h-3'],
  '^': [7, 'M0-9l3.5-5l3.5 5'],
  _: [8, 'M0 2h8'],
  '`': [2.4, 'M0-14.2l2.4 2.6'],
  a: [7.4, 'M.5-8q.8-2 3.2-2q3.7 0 3.7 3.6V0M7.4-5.7h-4q-3.4 0-3.4 2.9q0 2.8 3.1 2.8q4.3 0 4.3-4.6'],
  b: [8, `M0-14V0${BOWL}`],
  c: [7.4, 'M7.4-7.9q-1-2.1-3.5-2.1c-5.2 0-5.2 10 0 10q2.5 0 3.5-2.1'],
  d: [8, `M8-14V0${BOWL}`],
  e: [8, 'M0-5.2h7.9q0-4.8-3.9-4.8a4 5 0 0 0 0 10q2.7 0 3.6-2.1'],
  f: [5, 'M5.4-13.9q-3.4-.7-3.4 3V0M0-9.8h5'],
  g: [8, `M8-10v9.8q0 4.2-4 4.2q-2.6 0-3.6-1.7${BOWL}`],
  h: [7.8, 'M0-14V0M0-6q0-4 3.9-4t3.9 4V0'],
  i: [0, 'M0-10V0'],
  j: [2.4, 'M2.4-10v11.2q0 2.8-2.6 2.8'],
  k: [7.2, 'M0-14V0M6.8-10l-6.8 6.4M2.6-6l4.8 6'],
  l: [1.8, 'M0-14v11.6q0 2.4 2.2 2.4'],
  m: [13, 'M0-10V0M0-6.2q0-3.8 3.25-3.8t3.25 3.8V0M6.5-6.2q0-3.8 3.25-3.8t3.25 3.8V0'],
  n: [7.8, 'M0-10V0M0-6q0-4 3.9-4t3.9 4V0'],
  o: [8.2, 'M0-5c0-6.7 8.2-6.7 8.2 0s-8.2 6.7-8.2 0z'],
  p: [8, `M0-10v14${BOWL}`],
  q: [8, `M8-10v14${BOWL}`],
  r: [4.6, 'M0-10V0M0-5.8q0-4.2 4.6-4'],
  s: [6.8, 'M6.4-8.1q-.8-1.9-3.1-1.9q-2.9 0-2.9 2.4q0 1.9 3 2.4q3.4.6 3.4 2.7q0 2.5-3.3 2.5q-2.7 0-3.5-2.1'],
  t: [5, 'M2-13v10.2q0 3.1 3.2 2.7M0-9.8h5'],
  u: [7.8, 'M0-10v6q0 4 3.9 4t3.9-4M7.8-10V0'],
  v: [8, 'M0-10l4 10l4-10'],
  w: [12, 'M0-10l3 10l3-9.4l3 9.4l3-10'],
  x: [7.4, 'M.1-10l7.2 10M7.3-10l-7.2 10'],
  y: [8, 'M0-10l4.1 9.6M8-10l-4.8 11.6q-1 2.4-3.2 2.2'],
  z: [7, 'M.2-10h6.6l-6.8 10h7.2'],
  '{': [4, 'M4-15.4q-2.4 0-2.4 2.6v3.8q0 2.4-1.6 2.4q1.6 0 1.6 2.4v3.6q0 2.6 2.4 2.6'],
  '|': [0, 'M0-15.4v17.6'],
  '}': [4, 'M0-15.4q2.4 0 2.4 2.6v3.8q0 2.4 1.6 2.4q-1.6 0-1.6 2.4v3.6q0 2.6-2.4 2.6'],
  '~': [8, 'M0-5q.6-2 2.2-2q1 0 1.9.9t1.9.9q1.5 0 2-2'],
};

/** Accents over (or under) a letter of the given width, by combining mark. */
const ACCENTS: Readonly<Record<string, string>> = {
  '\u0300': 'M-1.6-2.6l2.4 2',
  '\u0301': 'M1.6-2.6l-2.4 2',
  '\u0302': 'M-2.2-.6l2.2-2.2l2.2 2.2',
  '\u0303': 'M-2.6-1q.6-1.6 1.6-1.6t2 .8t1.6-.8',
  '\u0308': 'M-2-1.6h.01M2-1.6h.01',
  '\u030a': 'M-1.5-2a1.5 1.5 0 1 1 3 0a1.5 1.5 0 1 1-3 0',
  '\u030c': 'M-2.2-2.8l2.2 2.2l2.2-2.2',
};

const REPLACEMENTS: Readonly<Record<string, string>> = {
  '‘': "'",
  '’': "'",
  '“': '"',
  '”': '"',
  '„': '"',
  '–': '-',
  '—': '-',
  '−': '-',
  '…': '...',
  '×': 'x',
  '·': '.',
  ß: 'ss',
  '\t': ' ',
  '\n': ' ',
  '\r': ' ',
  '\u00a0': ' ',
};

/** Space on each side of a glyph: less where its outline is round, least where it leans or is open. */
const SIDE = { straight: 1.9, round: 1.45, open: 0.9 } as const;
/** Stroke widths on the grid; wider strokes take as much more space. */
const STROKE: Readonly<Record<TextWeight, number>> = { regular: 1.65, bold: 2.35 };
const ROUND_LEFT = new Set('acdegoqsCGOQS02356890@&$(<');
const ROUND_RIGHT = new Set('beopsBDOQS0235689@$)>');
const OPEN_LEFT = new Set("AJTVWXYZfjtvwxyz147/\\^~*+=-_)]}'");
const OPEN_RIGHT = new Set("AFKLPTVWXYZcfkrtvwxyz47/\\^~*+=-_([{'");

/**
 * One line of text as an SVG path element; an empty string for blank text. Text in other scripts than Latin becomes a
 * text element, which needs a font where it is drawn.
 */
export function text(x: number, y: number, content: string, options: TextOptions = {}): string {
  const all = { ...DEFAULTS, ...options };
  if (!hasStrokes(content)) return systemText(x, y, measureText(content, all.size, all.weight), content, all);
  const { size, anchor, align, rotate, colour, weight } = all;
  const { path, width } = layOut(content, weight);
  if (path === '') return '';
  const dx = anchor === 'start' ? 0 : anchor === 'middle' ? -width / 2 : -width;
  const dy = align === 'middle' ? (CAP_HEIGHT * EM) / 2 : 0;
  const scale = size / EM;
  const place = [
    `translate(${format(x)} ${format(y)})`,
    rotate ? `rotate(${format(rotate)})` : '',
    `scale(${format(scale)})`,
    dx || dy ? `translate(${format(dx)} ${format(dy)})` : '',
  ];
  const stroke = `stroke="${colour}" stroke-width="${STROKE[weight]}"`;
  return `<path fill="none" ${stroke} stroke-linecap="round" stroke-linejoin="round" transform="${place.filter(Boolean).join(' ')}" d="${path}"/>`;
}

const DEFAULTS: Required<TextOptions> = {
  size: 14,
  anchor: 'start',
  align: 'baseline',
  rotate: 0,
  colour: '#1f2933',
  weight: 'regular',
};

/** Width of a line in SVG units; of scripts that need a font, an estimate. */
export function measureText(content: string, size = 14, weight: TextWeight = 'regular'): number {
  if (!hasStrokes(content)) return estimateWidth(content) * size * (weight === 'bold' ? 1.08 : 1);
  return (layOut(content, weight).width * size) / EM;
}

/** Longer texts are cut before they are measured: no line is wide enough for more. */
const MAX_LETTERS = 600;

/** The text, or its beginning with an ellipsis, so that it is at most `width` wide. */
export function fitText(content: string, width: number, size = 14): string {
  if (content.length <= 4 * MAX_LETTERS && measureText(content, size) <= width) return content;
  const letters = [...content.slice(0, 2 * MAX_LETTERS)].slice(0, MAX_LETTERS);
  const cut = (count: number) => `${letters.slice(0, count).join('').trimEnd()}...`;
  let [fits, tooMany] = [0, letters.length + 1];
  while (tooMany - fits > 1) {
    const count = (fits + tooMany) >> 1;
    if (measureText(cut(count), size) <= width) fits = count;
    else tooMany = count;
  }
  return cut(fits);
}

/** Words, and where one is wider than a line and of a script without spaces, its characters. */
function wordsOf(paragraph: string, width: number, size: number): string[] {
  const words = paragraph
    .slice(0, 40 * MAX_LETTERS)
    .split(/\s+/)
    .filter(Boolean);
  return words.flatMap((word) =>
    /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u.test(word) &&
    measureText(word, size) > width
      ? [...word].map((character, i) => (i === 0 ? character : `\0${character}`))
      : [word],
  );
}

/** Breaks text at spaces into lines of at most `width`; the last of `maxLines` is shortened if there is more. */
export function wrapText(content: string, width: number, size = 14, maxLines = Infinity): string[] {
  const lines: string[] = [];
  for (const paragraph of content.split('\n')) {
    if (lines.length > maxLines) break;
    let line = '';
    for (const word of wordsOf(paragraph, width, size)) {
      // A zero stands where a word goes on.
      const longer = word.startsWith('\0') ? line + word.slice(1) : line ? `${line} ${word}` : word;
      if (line && measureText(longer, size) > width) {
        lines.push(line);
        line = word.replace('\0', '');
        if (lines.length > maxLines) break;
      } else {
        line = longer;
      }
    }
    lines.push(line);
  }
  const kept = lines.length > maxLines ? [...lines.slice(0, maxLines - 1), lines.slice(maxLines - 1).join(' ')] : lines;
  return kept.map((line) => fitText(line, width, size));
}

/** Letters and marks apart, with plain ones in place of quotation marks, dashes and the like. */
function lettersOf(content: string): string[] {
  return [...content.normalize('NFD')].flatMap((one) => [
    ...(Object.hasOwn(REPLACEMENTS, one) ? REPLACEMENTS[one]! : one),
  ]);
}

function isKnown(character: string): boolean {
  return Object.hasOwn(GLYPHS, character) || /[\p{M}\p{Cc}\p{Cf}\p{Cs}]/u.test(character);
}

export function hasStrokes(content: string): boolean {
  return lettersOf(content).every(isKnown);
}

/** The path of a line that starts at the origin, in grid units, and how wide it is. */
function layOut(content: string, weight: TextWeight): { path: string; width: number } {
  let path = '';
  let cursor = 0;
  const tracking = STROKE[weight] - STROKE.regular;
  let centre = 0;
  let top = -10;
  const characters = lettersOf(content);
  for (const [i, character] of characters.entries()) {
    const accent = ACCENTS[character];
    if (accent !== undefined) {
      path += move(accent, centre, top - 1.8);
      continue;
    }
    if (!Object.hasOwn(GLYPHS, character)) continue;
    const [width, strokes] = GLYPHS[character]!;
    const isDotted = (character === 'i' || character === 'j') && !ACCENTS[characters[i + 1] ?? ''];
    const left = cursor + side(character, ROUND_LEFT, OPEN_LEFT);
    path += move(isDotted ? `${strokes}${dot(width)}` : strokes, left, 0);
    centre = left + width / 2;
    top = /[a-z]/.test(character) ? -10 : -14;
    cursor = left + width + side(character, ROUND_RIGHT, OPEN_RIGHT) + tracking;
  }
  return { path, width: cursor };
}

function side(character: string, round: ReadonlySet<string>, open: ReadonlySet<string>): number {
  return round.has(character) ? SIDE.round : open.has(character) ? SIDE.open : SIDE.straight;
}

function dot(x: number): string {
  return `M${x}-13.6h.01`;
}

/** Moves strokes, in which only the coordinates of `M` (and `V`, when dy is 0) are absolute. */
function move(strokes: string, dx: number, dy: number): string {
  return strokes.replace(
    /M(-?\d*\.?\d+) ?(-?\d*\.?\d+)/g,
    (_, x: string, y: string) => `M${format(Number(x) + dx)} ${format(Number(y) + dy)}`,
  );
}
