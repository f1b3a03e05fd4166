/** Values as the page writes them. */
import type { Cell } from '../thinned-table.js';

export const NO_VALUE = '–';

/** Four digits that count, without a tail of zeros. */
export function formatNumber(value: Cell | undefined): string {
  if (value === null || value === undefined) return NO_VALUE;
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e7) return value.toExponential(2);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  return String(Number(value.toPrecision(4)));
}

/**
 * Labels of an axis: as many digits as tell neighbours apart.
 * @param values null for a line without a label
 */
export function axisLabels(values: readonly Cell[], isLog: boolean): string[] {
  const known = values.filter((value) => value !== null);
  const most = Math.max(...known.map(Math.abs), 0);
  const gap = known.length > 1 ? Math.abs(known[1]! - known[0]!) : most;
  if (isLog || gap === 0) return values.map((value) => (value === null ? '' : formatNumber(value)));
  // The tolerance is for gaps as 0.1 · 3, whose logarithm falls just below that of 0.3.
  const digits = -Math.floor(Math.log10(gap) + 1e-9);
  const isSmall = most < 1e-3 || most >= 1e7;
  const order = Math.floor(Math.log10(most));
  const label = (value: number): string => {
    if (value === 0) return '0';
    if (isSmall) return `${(value / 10 ** order).toFixed(Math.max(0, digits + order))}e${order}`;
    const places = Math.min(Math.max(0, digits), 20);
    return value.toLocaleString('en-US', { minimumFractionDigits: places, maximumFractionDigits: places });
  };
  return values.map((value) => (value === null ? '' : label(value)));
}

export function formatCount(value: number): string {
  return value.toLocaleString('en-US');
}

export function formatMemory(bytes: Cell | undefined): string {
  if (bytes === null || bytes === undefined) return NO_VALUE;
  const unit = memoryUnit(bytes);
  return `${Number((bytes / unit.bytes).toPrecision(4))} ${unit.name}`;
}

/** The largest unit that the value has at least one of. */
export function memoryUnit(bytes: Cell | undefined): { readonly name: string; readonly bytes: number } {
  const names = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes ?? 1, 1)) / 10), names.length - 1);
  return { name: names[power]!, bytes: 1024 ** power };
}

export function formatPercent(share: Cell | undefined): string {
  return share === null || share === undefined ? NO_VALUE : `${(100 * share).toFixed(0)} %`;
}

/** `42 s`, `3 min 07 s`, `2 h 05 min` */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}
