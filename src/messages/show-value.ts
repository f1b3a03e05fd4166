/** What a file or a caller gave, as messages quote it: short, on one line, whatever it is. */

import { cutText, startOf } from './cut-text.js';
import { printable } from './one-line.js';

const MAX_LENGTH = 120;
const MAX_DEPTH = 3;
const MAX_ITEMS = 8;

/**
 * As JSON.stringify for values that are short; others are cut with an ellipsis. `nothing` for undefined, and the class
 * of what is not plain data.
 */
export function showValue(value: unknown): string {
  const text = printable(write(value, 0));
  return cutText(text, MAX_LENGTH);
}

function write(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(startOf(value, MAX_LENGTH));
  if (value === undefined) return 'nothing';
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return showFunction(value);
  if (typeof value !== 'object' || value === null) return String(value);
  const isList = Array.isArray(value);
  const name = isList ? undefined : className(value);
  // Its elements may be millions, and its fields are no one's business.
  if (ArrayBuffer.isView(value)) return `${name ?? 'an array'}(${(value as Uint8Array).length ?? value.byteLength})`;
  if (name !== undefined) return `${/^[AEIO]/.test(name) ? 'an' : 'a'} ${name === 'Promise' ? 'promise' : name}`;
  const [open, close] = isList ? '[]' : '{}';
  const keys = isList ? [] : Object.keys(value);
  const length = isList ? value.length : keys.length;
  if (length === 0) return `${open}${close}`;
  if (depth === MAX_DEPTH) return `${open}…${close}`;
  const shown = Array.from({ length: Math.min(length, MAX_ITEMS) }, (_, i) => {
    if (isList) return write(value[i], depth + 1);
    return `${write(keys[i], depth)}:${write((value as Record<string, unknown>)[keys[i]!], depth + 1)}`;
  });
  return `${open}${shown.join(',')}${length > MAX_ITEMS ? ',…' : ''}${close}`;
}

function className(value: object): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === null || Object.getPrototypeOf(prototype) === null) return undefined;
  const name: unknown = (prototype as { readonly constructor?: { readonly name?: unknown } }).constructor?.name;
  return typeof name === 'string' && name !== '' ? name : 'value of a class without a name';
}

function showFunction({ name, prototype }: { readonly name: string; readonly prototype?: unknown }): string {
  const isClass = typeof prototype === 'object' && prototype !== null && /^[A-Z]/.test(name);
  return isClass ? `the class ${name}` : 'a function';
}
