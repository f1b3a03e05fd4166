/** What a file or a caller gave, as messages quote it: short, on one line, whatever it is. */

const MAX_LENGTH = 120;
const MAX_DEPTH = 3;
const MAX_ITEMS = 8;

/** As JSON.stringify for values that are short; others are cut with an ellipsis. `nothing` for undefined. */
export function showValue(value: unknown): string {
  const text = write(value, 0);
  return text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
}

function write(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.length > MAX_LENGTH ? value.slice(0, MAX_LENGTH) : value);
  if (value === undefined) return 'nothing';
  if (typeof value !== 'object' || value === null) return String(value);
  const isList = Array.isArray(value);
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
