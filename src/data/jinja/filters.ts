/** Jinja's filters on texts and single values; those on sequences lie in sequence-filters.ts. */
import type { Budget } from './budget.js';
import { JinjaError, OperandError, outOfBounds, unsupported } from './error.js';
import { bind, integerOf, textOf } from './python-arguments.js';
import { attributeOf } from './python-attributes.js';
import { percentFormat } from './python-format.js';
import { toJson } from './python-json.js';
import { checkInteger, parseFloatText, parseInteger, roundFloat, roundInteger } from './python-numbers.js';
import { escapeHtml } from './python-operations.js';
import { centered, replaceText } from './python-str.js';
import { capitalize, characters, splitLines, strip, textLength } from './python-text.js';
import {
  asNumber,
  asText,
  isTrue,
  lengthOf,
  Markup,
  PyFloat,
  PyTuple,
  toText,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';
import { type FilterFunction, SEQUENCE_FILTERS, withoutArguments } from './sequence-filters.js';

const MAX_INDENT = 16;

/** The text to change; what `safe` gave would stay safe, and that is not supported. */
function soft(value: Value, name: string, budget: Budget): string {
  if (value instanceof Markup) throw unsupported(`the filter ${name} after \`safe\` or \`escape\``);
  const text = toText(value, budget);
  budget.expect(text.length);
  return text;
}

const changing = (name: string, change: (text: string) => string): FilterFunction =>
  withoutArguments(name, (value, budget) => {
    if (value instanceof Markup) return new Markup(change(soft(value.text, name, budget)));
    return change(soft(value, name, budget));
  });

/** jinja2's own way: a word starts behind white space, a hyphen or an opening bracket. */
function title(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: Python's white space has some
  const words = text.split(/([-\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000({[<]+)/);
  return words
    .map((item) => {
      if (item === '') return '';
      const first = String.fromCodePoint(item.codePointAt(0)!);
      const rest = item.slice(first.length);
      if (rest.includes('Σ')) throw unsupported('the lower case of a sigma within a word');
      return first.toUpperCase() + rest.toLowerCase();
    })
    .join('');
}

const defaulting: FilterFunction = (value, args, kwargs) => {
  const [fallback, forFalse] = bind('default', ['default_value', 'boolean'], args, kwargs);
  const isReplaced = value instanceof Undefined || (forFalse !== undefined && isTrue(forFalse) && !isTrue(value));
  if (!isReplaced) return value;
  return fallback === undefined ? '' : fallback;
};

const length = withoutArguments('len', lengthOf);

const indent: FilterFunction = (value, args, kwargs, { budget }) => {
  const [width = 4, first = false, blank = false] = bind('indent', ['width', 'first', 'blank'], args, kwargs);
  if (value instanceof Undefined) throw value.fail();
  if (value instanceof Markup) throw unsupported('the filter indent after `safe` or `escape`');
  const text = textOf(value, 'indent');
  const given = asText(width);
  const spaces = given?.length ?? integerOf(width, 'indent');
  if (spaces > MAX_INDENT) throw outOfBounds(`indent by ${spaces} spaces, at most ${MAX_INDENT} are allowed`);
  const indention = given ?? ' '.repeat(Math.max(0, spaces));
  const lines = splitLines(`${text}\n`);
  budget.expect(text.length + (lines.length + 1) * (indention.length + 1));
  const rest = lines.slice(1).map((line) => (line || isTrue(blank) ? indention + line : line));
  return (isTrue(first) ? indention : '') + [lines[0]!, ...rest].join('\n');
};

const int: FilterFunction = (value, args, kwargs) => {
  const [fallback = 0, base = 10] = bind('int', ['default', 'base'], args, kwargs);
  if (value instanceof Undefined) throw value.fail();
  const text = asText(value);
  const number = asNumber(value);
  if (text !== undefined) {
    const parsed = parseInteger(text, integerOf(base, 'int'));
    if (parsed !== undefined) return parsed;
    const float = parseFloatText(text);
    if (float === undefined || Number.isNaN(float)) return fallback;
    if (!Number.isFinite(float)) throw unsupported('the integer of an infinity');
    return checkInteger(Math.trunc(float));
  }
  if (number === undefined) return fallback;
  if (Number.isNaN(number)) return fallback;
  if (!Number.isFinite(number)) throw new JinjaError('cannot convert float infinity to integer');
  return checkInteger(Math.trunc(number));
};

const float: FilterFunction = (value, args, kwargs) => {
  const [fallback = new PyFloat(0)] = bind('float', ['default'], args, kwargs);
  if (value instanceof Undefined) throw value.fail();
  const text = asText(value);
  const number = text === undefined ? asNumber(value) : parseFloatText(text);
  return number === undefined ? fallback : new PyFloat(number);
};

const round: FilterFunction = (value, args, kwargs) => {
  const [digits = 0, method = 'common'] = bind('round', ['precision', 'method'], args, kwargs);
  if (method !== 'common' && method !== 'ceil' && method !== 'floor') {
    throw new JinjaError('method must be common, ceil or floor');
  }
  if (value instanceof Undefined) throw value.fail();
  const number = asNumber(value);
  if (number === undefined) throw new JinjaError(`type ${typeName(value)} doesn't define __round__ method`);
  if (method === 'common') {
    if (digits === null) {
      return value instanceof PyFloat ? checkInteger(Number(roundFloat(number, 0))) : number;
    }
    const decimals = integerOf(digits, 'round');
    return value instanceof PyFloat ? new PyFloat(roundFloat(number, decimals)) : roundInteger(number, decimals);
  }
  const decimals = integerOf(digits, 'round');
  if (decimals < 0) throw unsupported('rounding up or down to tens');
  if (decimals > 15 || !Number.isSafeInteger(Math.trunc(number * 10 ** decimals)))
    throw unsupported('rounding so large a number');
  const scaled = number * 10 ** decimals;
  return new PyFloat((method === 'ceil' ? Math.ceil(scaled) + 0 : Math.floor(scaled)) / 10 ** decimals);
};

const truncate: FilterFunction = (value, args, kwargs, { budget }) => {
  const names = ['length', 'killwords', 'end', 'leeway'];
  const [length = 255, killwords = false, end = '...', leeway = null] = bind('truncate', names, args, kwargs);
  if (value instanceof Undefined) return value;
  if (value instanceof Markup) throw unsupported('the filter truncate after `safe` or `escape`');
  const mark = textOf(end, 'truncate');
  const limit = integerOf(length, 'truncate');
  const slack = leeway === null ? 5 : integerOf(leeway, 'truncate');
  if (limit < textLength(mark) || slack < 0) throw new JinjaError('truncate: expected length >= the end, leeway >= 0');
  if (lengthOf(value) <= limit + slack) return value;
  if (typeof value !== 'string') throw unsupported(`the filter truncate of a ${typeName(value)}`);
  const text = value;
  const chars = characters(text);
  budget.expect(text.length);
  const kept = chars.slice(0, limit - textLength(mark)).join('');
  if (isTrue(killwords)) return kept + mark;
  const space = kept.lastIndexOf(' ');
  return (space < 0 ? kept : kept.slice(0, space)) + mark;
};

const TEXT_FILTERS: Readonly<Record<string, FilterFunction>> = {
  upper: changing('upper', (text) => text.toUpperCase()),
  lower: changing('lower', (text) => text.toLowerCase()),
  title: withoutArguments('title', (value, budget) => title(toText(value, budget))),
  capitalize: changing('capitalize', capitalize),
  wordcount: withoutArguments(
    'wordcount',
    (value, budget) => toText(value, budget).match(/[\p{L}\p{N}_]+/gu)?.length ?? 0,
  ),
  string: withoutArguments('string', (value, budget) => (value instanceof Markup ? value : toText(value, budget))),
  safe: withoutArguments('safe', (value, budget) => new Markup(toText(value, budget))),
  escape: withoutArguments('escape', (value, budget) =>
    value instanceof Markup ? value : escapeHtml(toText(value, budget), budget),
  ),
  forceescape: withoutArguments('forceescape', (value, budget) => escapeHtml(toText(value, budget), budget)),
  trim: (value, args, kwargs, { budget }) => {
    const [chars = null] = bind('trim', ['chars'], args, kwargs);
    if (value instanceof Markup && chars === null) return new Markup(strip(value.text));
    const text = soft(value, 'trim', budget);
    return chars === null ? strip(text) : strip(text, textOf(chars, 'strip'));
  },
  replace: (value, args, kwargs, { budget }) => {
    const [from, to, count = null] = bind('replace', ['!old', '!new', 'count'], args, kwargs);
    const times = count === null ? -1 : integerOf(count, 'replace');
    return replaceText(toText(value, budget), toText(from!, budget), toText(to!, budget), times, budget);
  },
  center: (value, args, kwargs, { budget }) => {
    const [width = 80] = bind('center', ['width'], args, kwargs);
    const text = soft(value, 'center', budget);
    const missing = integerOf(width, 'center') - textLength(text);
    if (missing > 10_000) throw outOfBounds(`a text padded by ${missing} characters`);
    return missing <= 0 ? text : centered(text, missing, ' ');
  },
  format: (value, args, kwargs, { budget }) => {
    if (args.length && kwargs.size)
      throw new JinjaError("can't handle positional and keyword arguments at the same time");
    return percentFormat(soft(value, 'format', budget), kwargs.size ? kwargs : new PyTuple(args), budget);
  },
  tojson: (value, args, kwargs, { budget }) => {
    const names = ['ensure_ascii', 'indent', 'separators', 'sort_keys'];
    const [isAscii = false, indent = null, separators = null, sortKeys = false] = bind('tojson', names, args, kwargs);
    return toJson(value, { isAscii, indent, separators, sortKeys }, budget);
  },
  abs: withoutArguments('abs', (value) => {
    if (value instanceof Undefined) throw value.fail();
    const number = asNumber(value);
    if (number === undefined) {
      throw new OperandError(`bad operand type for abs(): '${typeName(value)}'`, [typeName(value)]);
    }
    return value instanceof PyFloat ? new PyFloat(Math.abs(number)) : Math.abs(number);
  }),
  attr: (value, args, kwargs, { budget }) => {
    const [name] = bind('attr', ['!name'], args, kwargs);
    if (value instanceof Undefined) throw value.fail();
    if (typeof name !== 'string') throw unsupported('the filter attr with no str');
    const attribute = attributeOf(value, name, budget);
    return attribute === undefined ? new Undefined(`'${typeName(value)}' has no attribute '${name}'`) : attribute;
  },
  default: defaulting,
  d: defaulting,
  length,
  count: length,
  indent,
  int,
  float,
  round,
  truncate,
};

export const FILTERS: ReadonlyMap<string, FilterFunction> = new Map([
  ...Object.entries(TEXT_FILTERS),
  ['e', TEXT_FILTERS['escape']!],
  ...Object.entries(SEQUENCE_FILTERS),
]);

/** Filters of jinja2 that no chat template needs: chance, HTML and wrapping. */
export const OTHER_FILTERS: ReadonlySet<string> = new Set(
  'filesizeformat pprint random striptags urlencode urlize wordwrap xmlattr'.split(' '),
);

export const FILTER_NAMES: ReadonlySet<string> = new Set([...FILTERS.keys(), ...OTHER_FILTERS]);
