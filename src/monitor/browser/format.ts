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
