/** Figures and names as a report writes them. */

import { cutText } from '../messages/cut-text.js';
import { oneLine, printable } from '../messages/one-line.js';

/** With a space that does not end a line. */
export function percent(share: number | null | undefined, digits = 1): string {
  if (share === null || share === undefined || !Number.isFinite(share)) return '–';
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}

export function fixed(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const text = Math.abs(value) < 1e5 ? value.toFixed(digits) : value.toExponential(2);
  return text.replace(/^-(0\.?0*$)?/, (_, zero?: string) => zero ?? '−');
}

/** A difference with its sign, unless it shows as zero. */
export function signed(text: string, value: number): string {
  if (!Number.isFinite(value)) return '–';
  const plain = text.replace(/^-/, '');
  return /[1-9]/.test(plain) ? `${value > 0 ? '+' : '−'}${plain}` : plain;
}

/** The change of a share, in percentage points. */
export function points(before: number, after: number): string {
  const change = 100 * (after - before);
  return signed(change.toFixed(1), change);
}

/** `3 mistakes`, `1 mistake`; of regular words alone. */
export function counted(count: number, word: string): string {
  return `${count.toLocaleString('en-US')} ${word}${count === 1 ? '' : 's'}`;
}

/** Seconds as `42 s`, `3 min 07 s`, `2 h 05 min`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Longest answer that is shown in full. */
const MAX_ANSWER = 300;

/** An answer of a model: any text, of any length. */
export function shownAnswer(text: string): string {
  const short = cutText(text, MAX_ANSWER);
  return printable(short);
}

/** The end of a path says which file it is. */
export function fileName(id: string): string {
  return oneLine(id.slice(Math.max(id.lastIndexOf('/'), id.lastIndexOf('\\')) + 1) || id);
}

/** A value of a configuration in one line. */
export function shownSetting(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'not set');
  return text.length > 500 ? `${oneLine(text.slice(0, 500))}…` : oneLine(text);
}
