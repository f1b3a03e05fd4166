/** Python's `json.dumps`, as transformers' filter `tojson` calls it. */
import { type Budget, ELEMENT, MAX_NESTING } from './budget.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import { formatFloat } from './python-numbers.js';
import { compareText } from './python-text.js';
import {
  asInteger,
  asItems,
  asText,
  isTrue,
  type Key,
  type PyDict,
  PyFloat,
  typeName,
  type Value,
} from './python-values.js';

const MAX_INDENT = 16;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
const SPECIAL = /["\\\u0000-\u001f]/g;
const NOT_PRINTABLE_ASCII = /[^ -~]/g;
const SHORT: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\f': '\\f',
  '\b': '\\b',
};

function unicodeEscape(char: string): string {
  return SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

interface JsonOptions {
  readonly isAscii: Value;
  readonly indent: Value;
  readonly separators: Value;
  readonly sortKeys: Value;
}

export function toJson(value: Value, options: JsonOptions, budget: Budget): string {
  const isAscii = isTrue(options.isAscii);
  const sortsKeys = isTrue(options.sortKeys);
  const indent = indentOf(options.indent);
  let [between, colon] = [indent === undefined ? ', ' : ',', ': '];
  if (options.separators !== null) {
    const parts = asItems(options.separators)?.map(asText);
    if (parts?.length !== 2 || parts[0] === undefined || parts[1] === undefined) {
      throw new JinjaError('tojson: separators must be two texts');
    }
    [between, colon] = parts as [string, string];
  }
  const text = (content: string): string => {
    budget.spend(content.length);
    const escaped = content.replace(SPECIAL, unicodeEscape);
    return `"${isAscii ? escaped.replace(NOT_PRINTABLE_ASCII, unicodeEscape) : escaped}"`;
  };
  const enclose = (open: string, parts: string[], close: string, depth: number): string => {
    if (parts.length === 0) return open + close;
    const size = parts.reduce((sum, part) => sum + part.length + between.length, 2);
    const lineEnd = indent === undefined ? '' : `\n${indent.repeat(depth + 1)}`;
    budget.expect(size + parts.length * lineEnd.length);
    const end = indent === undefined ? '' : `\n${indent.repeat(depth)}`;
    return open + lineEnd + parts.join(between + lineEnd) + end + close;
  };
  const write = (item: Value, depth: number): string => {
    if (item === null) return 'null';
    if (typeof item === 'boolean' || typeof item === 'number') return String(item);
    if (item instanceof PyFloat) return jsonFloat(item.value);
    const content = asText(item);
    if (content !== undefined) return text(content);
    if (depth >= MAX_NESTING) throw outOfBounds(`lists and objects lie more than ${MAX_NESTING} deep in one another`);
    const items = asItems(item);
    if (items) {
      budget.spend(ELEMENT * items.length);
      return enclose(
        '[',
        items.map((element) => write(element, depth + 1)),
        ']',
        depth,
      );
    }
    if (!(item instanceof Map)) throw new JinjaError(`Object of type ${typeName(item)} is not JSON serializable`);
    budget.spend(ELEMENT * item.size);
    let entries = [...(item as PyDict)];
    if (sortsKeys) entries = sortedEntries(entries);
    const pairs = entries.map(
      ([key, element]) => text(key === null ? 'null' : String(key)) + colon + write(element, depth + 1),
    );
    return enclose('{', pairs, '}', depth);
  };
  return write(value, 0);
}

function sortedEntries(entries: [Key, Value][]): [Key, Value][] {
  if (entries.length > 1 && new Set(entries.map(([key]) => typeof key)).size > 1) {
    throw new JinjaError('tojson: keys of different types cannot be sorted');
  }
  if (entries.length > 1 && entries[0]![0] === null) throw new JinjaError('tojson: None cannot be sorted');
  return entries.sort(([a], [b]) => (typeof a === 'string' ? compareText(a, b as string) : Number(a) - Number(b)));
}

function indentOf(value: Value): string | undefined {
  if (value === null) return undefined;
  const content = asText(value);
  const spaces = asInteger(value);
  if (content === undefined && spaces === undefined) throw unsupported(`tojson with a ${typeName(value)} as indent`);
  const width = content?.length ?? spaces!;
  if (width > MAX_INDENT) throw outOfBounds(`tojson by ${width} spaces, at most ${MAX_INDENT} are allowed`);
  return content ?? ' '.repeat(Math.max(0, width));
}

function jsonFloat(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value < 0 ? '-Infinity' : 'Infinity';
  return formatFloat(value);
}
