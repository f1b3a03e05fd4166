/** What all charts share: the frame, the palette, shapes, ticks and the legend. */
import { measureText, text } from './font.js';
import { escapeXml, format } from './svg-values.js';

/** Okabe and Ito's palette without its yellow and black: told apart in every common kind of colour blindness. */
export const PALETTE = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9'] as const;

export const COLOURS = {
  background: '#ffffff',
  ink: '#1f2933',
  muted: '#5f6b7a',
  grid: '#e3e8ee',
  axis: '#9aa5b1',
} as const;

const TITLE_SIZE = 22;
export const LABEL_SIZE = 15;
export const SMALL_SIZE = 13;

/** The colour of the i-th series; they repeat after six. */
export function seriesColour(i: number): string {
  return PALETTE[i % PALETTE.length]!;
}

/** The document. `title` is also given as text to screen readers. */
export function svgDocument(width: number, height: number, title: string, body: readonly string[]): string {
  const size = `width="${Math.ceil(width)}" height="${Math.ceil(height)}"`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} viewBox="0 0 ${Math.ceil(width)} ${Math.ceil(height)}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    rect(0, 0, Math.ceil(width), Math.ceil(height), COLOURS.background),
    ...body.filter(Boolean),
    '</svg>',
  ].join('\n');
}

export function rect(x: number, y: number, width: number, height: number, fill: string, radius = 0): string {
  const round = radius > 0 ? ` rx="${format(radius)}"` : '';
  return `<rect x="${format(x)}" y="${format(y)}" width="${format(width)}" height="${format(height)}" fill="${fill}"${round}/>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, colour: string, width = 1): string {
  return `<path d="M${format(x1)} ${format(y1)}L${format(x2)} ${format(y2)}" stroke="${colour}" stroke-width="${width}" fill="none"/>`;
}

/** Title and, if given, a smaller line below it; returns the y where the rest may begin. */
export function heading(x: number, title: string, subtitle?: string): { parts: string[]; bottom: number } {
  const parts = [text(x, 42, title, { size: TITLE_SIZE, weight: 'bold' })];
  if (!subtitle) return { parts, bottom: 62 };
  parts.push(text(x, 68, subtitle, { size: LABEL_SIZE, colour: COLOURS.muted }));
  return { parts, bottom: 88 };
}

/** Swatches and names in rows from (x, y) on, within `width`; returns the y below. */
export function legend(
  x: number,
  y: number,
  width: number,
  names: readonly string[],
): { parts: string[]; bottom: number } {
  const parts: string[] = [];
  let cursor = x;
  let middle = y + 10;
  for (const [i, name] of names.entries()) {
    const needed = 20 + measureText(name, LABEL_SIZE);
    if (cursor > x && cursor + needed > x + width) {
      cursor = x;
      middle += 24;
    }
    parts.push(rect(cursor, middle - 6, 13, 13, seriesColour(i), 3));
    parts.push(text(cursor + 20, middle, name, { size: LABEL_SIZE, align: 'middle', colour: COLOURS.ink }));
    cursor += needed + 26;
  }
  return { parts, bottom: middle + 20 };
}

/**
 * Round numbers (1, 2 or 5 times a power of ten) that cover low to high with about `count` steps. The first is at most
 * `low`, the last at least `high`.
 */
export function niceTicks(low: number, high: number, count = 5): number[] {
  if (!(high > low)) {
    const spread = Math.abs(low) || 1;
    return niceTicks(low - spread / 2, low + spread / 2, count);
  }
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= raw * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Ticks for a logarithmic axis: powers of ten, with 2 and 5 between if there are few, covering low to high. */
export function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  const factors = decades > 4 ? [1] : [1, 2, 5];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)) + 1; power++)
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  const first = ticks.findLastIndex((tick) => tick <= low * (1 + 1e-9));
  const last = ticks.findIndex((tick) => tick >= high * (1 - 1e-9));
  return last > first ? ticks.slice(first, last + 1) : ticks.slice(first, first + 2);
}

/** A number as a tick shows it: `0.05`, `1500`, `25k`, `2e-4`. */
export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e9 || size < 1e-3) return value.toExponential(3).replace(/\.?0*e\+?/, 'e');
  if (size >= 1e6) return `${trimmed(value / 1e6)}M`;
  if (size >= 1e4) return `${trimmed(value / 1e3)}k`;
  return trimmed(value);
}

function trimmed(value: number): string {
  return String(Number(value.toPrecision(6)));
}
