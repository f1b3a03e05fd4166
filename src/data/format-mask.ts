/** A mask view for the terminal. */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { displayWidth } from '../messages/display-width.js';
import { usesColor } from '../messages/terminal-color.js';
import { styled, type TextStyle } from '../messages/terminal-style.js';
import { splitText, wrapText } from '../messages/wrap-text.js';
import { beginsTurn, maskSummary, maskTitle, maskWarnings, viewSummary } from './mask-notes.js';
import { type MaskedSample, type MaskImage, type MaskToken, type MaskView, requireMaskView } from './mask-view.js';
/** Options of {@link formatMask}. */
export interface FormatMaskOptions {
  /** Columns of the terminal. Default: those of the standard output, at most 100; 80 where it is no terminal. */
  width?: number | undefined;
  /**
   * Colours; without them learned tokens are underlined. Default: if the standard output is a terminal, unless NO_COLOR
   * is set.
   */
  color?: boolean | undefined;
  /**
   * `text`: as a text, with the cells of images in place. `table`: a line for each token, with its id. Default: `text`.
   */
  layout?: 'text' | 'table' | undefined;
  /**
   * All lines of long texts of which nothing is learned; else of more than 24 the first 12 and the last 6. Default: false.
   */
  full?: boolean | undefined;
}

/** Checks {@link FormatMaskOptions}. */
const formatMaskSchema = lazySchema(() =>
  z.strictObject({
    width: z.int().min(40).max(1000).optional(),
    color: z.boolean().optional(),
    layout: z.enum(['text', 'table']).default('text'),
    full: z.boolean().default(false),
  }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof formatMaskSchema>>, FormatMaskOptions>>;

/** A piece of a line. */
interface Piece {
  readonly text: string;
  readonly isLearned: boolean;
  readonly style?: TextStyle;
}

/**
 * A mask view as text for a terminal: no line is wider than the terminal, and nothing in the samples can control it.
 * @throws ConfigError
 */
export function formatMask(view: MaskView, options: FormatMaskOptions = {}): string {
  requireMaskView(view, 'formatMask');
  const { width, color, layout, full } = parseOptions(formatMaskSchema, options, 'formatMask');
  const columns = width ?? Math.min(100, Math.max(40, process.stdout.columns ?? 80));
  const form = new MaskForm(columns, color ?? usesColor(process.stdout));
  const lines = wrapText(viewSummary(view), columns);
  for (const [i, sample] of view.samples.entries()) {
    lines.push('', ...form.heading(maskTitle(view, i)));
    lines.push(...form.indented(maskSummary(sample)));
    for (const warning of maskWarnings(sample)) lines.push(...form.indented(`! ${warning}`, 'yellow'));
    lines.push(...(layout === 'table' ? form.table(sample) : form.text(sample, full)));
  }
  if (layout === 'text') lines.push('', ...form.legend(view));
  return lines.join('\n');
}

/** Position of the first token of a line, and a space. */
const GUTTER = 7;

/** Lines of which nothing is learned: of more than `LONGEST` in a row these at the beginning and the end are shown. */
const LONGEST = 24;
const HEAD = 12;
const TAIL = 6;

class MaskForm {
  readonly #width: number;
  readonly #color: boolean;

  constructor(width: number, color: boolean) {
    this.#width = width;
    // Without styles in this version of Node the marks have to be there.
    this.#color = color && styled('bold', ' ', true) !== ' ';
  }

  heading(text: string): string[] {
    return wrapText(text, this.#width).map((line) => this.#styled('bold', line));
  }

  indented(text: string, style?: TextStyle): string[] {
    return wrapText(text, this.#width - 2).map((line) => `  ${this.#styled(style, line)}`);
  }

  text({ tokens, images }: MaskedSample, full: boolean): string[] {
    const lines: string[] = [];
    // Lines since the last in which something is learned.
    let quiet: string[] = [];
    const settle = () => {
      const left = quiet.length - HEAD - TAIL;
      if (full || quiet.length <= LONGEST) lines.push(...quiet);
      else {
        const note = `${left} more lines, none learned`;
        lines.push(...quiet.slice(0, HEAD), `${' '.repeat(GUTTER)}${this.#styled('dim', note)}`, ...quiet.slice(-TAIL));
      }
      quiet = [];
    };
    let line: Piece[] = [];
    let used = 0;
    let start = 0;
    const room = this.#width - GUTTER;
    const flush = (position?: number) => {
      if (line.some(({ isLearned }) => isLearned)) {
        settle();
        lines.push(...this.#line(line, position));
      } else if (line.length > 0) quiet.push(...this.#line(line, position));
      line = [];
      used = 0;
    };
    for (let i = 0; i < tokens.length; ) {
      const token = tokens[i]!;
      if (token.cell) {
        flush(start);
        settle();
        const image = images[token.cell.image]!;
        const count = image.rows * (image.columns + 1);
        lines.push(...this.#cells(tokens.slice(i, i + count), image, token.cell.image));
        i += count;
        continue;
      }
      if (beginsTurn(token, tokens[i - 1])) flush(start);
      const count = token.kind === 'padding' ? runLength(tokens, i) : 1;
      const shown = count > 1 ? `${token.text} × ${count}` : shownText(token);
      for (const [n, text] of splitText(shown, room).entries()) {
        const length = displayWidth(text);
        if (line.length > 0 && used + 1 + length > room) flush(start);
        if (line.length === 0) start = n === 0 ? token.position : Number.NaN;
        used += length + (line.length > 0 ? 1 : 0);
        line.push({ text, isLearned: token.isLearned, ...styleOf(token) });
      }
      if (token.kind === 'text' && token.text.endsWith('↵')) flush(start);
      i += count;
    }
    flush(start);
    settle();
    return lines;
  }

  /** A line for each token; of an image a line for each row of cells. */
  table({ tokens }: MaskedSample): string[] {
    const rows: Piece[][] = [];
    const row = (token: MaskToken, position: string, id: string, text: string) => {
      const label = token.isLearned ? 'learned' : token.label === token.id ? 'first' : '-';
      const front = `${position.padStart(11)}  ${id.padStart(7)}  ${label.padEnd(7)}  `;
      for (const [n, chunk] of splitText(text, this.#width - front.length).entries()) {
        const piece = { text: chunk, isLearned: token.isLearned, ...styleOf(token) };
        rows.push([{ text: n === 0 ? front : ' '.repeat(front.length), isLearned: false }, piece]);
      }
    };
    rows.push([{ text: `${'position'.padStart(11)}  ${'id'.padStart(7)}  label    token`, isLearned: false }]);
    for (let i = 0; i < tokens.length; ) {
      const token = tokens[i]!;
      const count = runLength(tokens, i);
      const { cell } = token;
      const last = token.position + count - 1;
      const position = count === 1 ? String(token.position) : `${token.position}-${last}`;
      const place = cell ? `  image ${cell.image + 1}, row ${cell.row}` : '';
      const text = `${shownText(token)}${count > 1 ? ` × ${count}` : ''}${place}`;
      row(token, position, String(token.id), text);
      i += count;
    }
    return rows.map((pieces) => pieces.map((piece) => this.#piece(piece)).join(''));
  }

  legend({ samples }: MaskView): string[] {
    const tokens = samples.flatMap((sample) => sample.tokens);
    if (tokens.length === 0) return [];
    const has = (test: (token: MaskToken) => boolean) => tokens.some(test);
    const parts = [this.#color ? 'green: learned' : '═ below: learned', '│ between tokens', '· space', '↵ line end'];
    if (has(({ text }) => text.includes('\\x'))) parts.push('\\xe6 byte of the character in parentheses');
    if (has(({ cell }) => cell !== undefined)) {
      parts.push('image: each cell is a token, from . dark to █ bright', '┤ [IMG_BREAK]', '┘ [IMG_END]');
      if (!this.#color && has(({ kind, isLearned }) => kind === 'break' && isLearned))
        parts.push('╣ ╝ the same, learned');
    }
    return wrapText(parts.join('; '), this.#width).map((line) => this.#styled('dim', line));
  }

  /** Each row of cells is a line; of images that are too wide a character stands for several cells. */
  #cells(tokens: readonly MaskToken[], image: MaskImage, index: number): string[] {
    const { rows, columns, cellSize, brightness, width, height } = image;
    const room = this.#width - GUTTER - 1;
    const each = Math.ceil(columns / room);
    const repeat = 2 * columns <= room ? 2 : 1;
    const size = `${width} × ${height} pixels, ${columns} × ${rows} cells of ${cellSize} pixels`;
    const several = each > 1 ? `, a character for ${each} cells` : '';
    const lines = wrapText(`image ${index + 1}: ${size}${several}`, this.#width - GUTTER).map((line) => {
      return ' '.repeat(GUTTER) + this.#styled('dim', line);
    });
    for (let row = 0; row < rows; row++) {
      let drawn = '';
      for (let column = 0; column < columns; column += each) {
        const from = row * columns + column;
        const levels = brightness.slice(from, Math.min(from + each, (row + 1) * columns));
        const mean = levels.reduce((sum, level) => sum + level, 0) / levels.length;
        drawn += SHADES[Math.min(SHADES.length - 1, Math.floor((mean * SHADES.length) / 256))]!.repeat(repeat);
      }
      const close = tokens[row * (columns + 1) + columns]!;
      const signs = close.isLearned && !this.#color ? '╣╝' : '┤┘';
      const sign = close.kind === 'end' ? signs[1]! : signs[0]!;
      lines.push(
        this.#gutter(tokens[row * (columns + 1)]!.position) + drawn + (close.isLearned ? this.#learned(sign) : sign),
      );
    }
    return lines;
  }

  #line(pieces: readonly Piece[], position = Number.NaN): string[] {
    const separator = this.#styled('dim', '│');
    const text = this.#gutter(position) + pieces.map((piece) => this.#piece(piece)).join(separator);
    if (this.#color || !pieces.some(({ isLearned }) => isLearned)) return [text];
    const marks = pieces.map((piece) => (piece.isLearned ? '═' : ' ').repeat(displayWidth(piece.text))).join(' ');
    return [text, ' '.repeat(GUTTER) + marks.trimEnd()];
  }

  #gutter(position: number): string {
    const text = Number.isNaN(position) ? '' : String(position);
    return `${this.#styled('dim', text.padStart(GUTTER - 1))} `;
  }

  #piece({ text, isLearned, style }: Piece): string {
    return isLearned ? this.#learned(text) : this.#styled(style, text);
  }

  #learned(text: string): string {
    return this.#styled('bold', this.#styled('green', text));
  }

  #styled(style: TextStyle | undefined, text: string): string {
    return styled(style, text, this.#color);
  }
}

/** From dark to bright, none of them blank: a black cell is a token too. */
const SHADES = ['.', '░', '▒', '▓', '█'];

function styleOf({ kind }: MaskToken): { readonly style?: TextStyle } {
  if (kind === 'padding') return { style: 'dim' };
  return kind === 'text' ? {} : { style: 'cyan' };
}

function shownText({ text, partOf }: MaskToken): string {
  return partOf === undefined ? text : `${text}(${partOf})`;
}

/** Padding, and cells of one row, that follow each other. */
function runLength(tokens: readonly MaskToken[], from: number): number {
  const { kind, cell } = tokens[from]!;
  if (kind !== 'padding' && kind !== 'cell') return 1;
  let end = from + 1;
  while (tokens[end]?.kind === kind && tokens[end]!.cell?.row === cell?.row && tokens[end]!.cell?.image === cell?.image)
    end++;
  return end - from;
}
