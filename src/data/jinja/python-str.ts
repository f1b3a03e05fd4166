/** The methods of Python's `str`. */
import { type Budget, ELEMENT } from './budget.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import { bind, integerOf, textOf } from './python-arguments.js';
import {
  capitalize,
  characters,
  isPlain,
  split,
  splitLines,
  strip,
  stripEnd,
  stripStart,
  textLength,
  titleCase,
} from './python-text.js';
import { iterate, type Kwargs, PyTuple, typeName, type Value } from './python-values.js';

type Method = (text: string, args: readonly Value[], kwargs: Kwargs, budget: Budget) => Value;

const MAX_WIDTH = 10_000;

const plain =
  (change: (text: string) => Value): Method =>
  (text, args, kwargs, budget) => {
    bind('str method', [], args, kwargs);
    budget.spend(text.length);
    return change(text);
  };

const stripping =
  (change: (text: string, chars?: string) => string): Method =>
  (text, args, kwargs) => {
    const [chars] = bind('strip', ['/chars'], args, kwargs);
    return chars === undefined || chars === null ? change(text) : change(text, textOf(chars, 'strip'));
  };

const splitting =
  (fromEnd: boolean): Method =>
  (text, args, kwargs, budget) => {
    const [separator, max] = bind('split', ['sep', 'maxsplit'], args, kwargs);
    const by = separator === undefined || separator === null ? undefined : textOf(separator, 'split');
    if (by === '') throw new JinjaError('empty separator');
    budget.spend(text.length);
    const parts = split(text, by, max === undefined ? -1 : integerOf(max, 'split'), fromEnd);
    budget.spend(ELEMENT * parts.length);
    return parts;
  };

const partitioning =
  (fromEnd: boolean): Method =>
  (text, args, kwargs) => {
    const [value] = bind('partition', ['/!sep'], args, kwargs);
    const separator = textOf(value!, 'partition');
    if (separator === '') throw new JinjaError('empty separator');
    const at = fromEnd ? text.lastIndexOf(separator) : text.indexOf(separator);
    if (at < 0) return new PyTuple(fromEnd ? ['', '', text] : [text, '', '']);
    return new PyTuple([text.slice(0, at), separator, text.slice(at + separator.length)]);
  };

/** Positions in code units, of the part of a text that `start` and `end` leave. */
function range(text: string, start: Value | undefined, end: Value | undefined): [string, number, boolean] {
  if ((start === undefined || start === null) && (end === undefined || end === null)) return [text, 0, true];
  if (!isPlain(text)) throw unsupported('positions in a text with characters beyond the basic plane');
  const clamp = (value: Value | undefined, fallback: number): number => {
    if (value === undefined || value === null) return fallback;
    const index = integerOf(value, 'find');
    return index < 0 ? Math.max(0, index + text.length) : index;
  };
  const from = clamp(start, 0);
  const to = Math.min(clamp(end, text.length), text.length);
  return [text.slice(from, Math.max(from, to)), from, from <= to];
}

const affix =
  (name: string, test: (text: string, part: string) => boolean): Method =>
  (text, args, kwargs) => {
    const [part, start, end] = bind(name, ['/!prefix', '/start', '/end'], args, kwargs);
    const [within, , isInside] = range(text, start, end);
    const items = part instanceof PyTuple ? part.items : [part!];
    return items.map((item) => textOf(item, name)).some((item) => isInside && test(within, item));
  };

const finding =
  (name: string, fromEnd: boolean, mustFind: boolean): Method =>
  (text, args, kwargs, budget) => {
    const [part, start, end] = bind(name, ['/!sub', '/start', '/end'], args, kwargs);
    const [within, offset, isInside] = range(text, start, end);
    const wanted = textOf(part!, name);
    budget.spend(text.length / 4);
    const at = !isInside ? -1 : fromEnd ? within.lastIndexOf(wanted) : within.indexOf(wanted);
    if (at < 0 && mustFind) throw new JinjaError('substring not found');
    return at < 0 ? -1 : offset + textLength(within.slice(0, at));
  };

/** `replace`, which asks beforehand how long the result can be. */
export function replaceText(text: string, from: string, to: string, count: number, budget: Budget): string {
  if (from === '') {
    const chars = characters(text);
    const times = Math.min(count < 0 ? Number.POSITIVE_INFINITY : count, chars.length + 1);
    budget.expect(text.length + times * to.length);
    let result = '';
    chars.forEach((char, i) => {
      result += (i < times ? to : '') + char;
    });
    return result + (times > chars.length ? to : '');
  }
  if (to.length > from.length) {
    budget.expect(text.length + (text.length / from.length) * (to.length - from.length));
  } else budget.expect(text.length);
  if (count < 0) return text.replaceAll(from, () => to);
  return split(text, from, count, false).join(to);
}

const aligned =
  (place: (text: string, missing: number, fill: string) => string): Method =>
  (text, args, kwargs, budget) => {
    const [width, fill] = bind('center', ['/!width', '/fillchar'], args, kwargs);
    const char = fill === undefined ? ' ' : textOf(fill, 'center');
    if (textLength(char) !== 1) throw new JinjaError('The fill character must be exactly one character long');
    const missing = integerOf(width!, 'center') - textLength(text);
    if (missing > MAX_WIDTH) throw outOfBounds(`a text padded by ${missing} characters`);
    if (missing <= 0) return text;
    budget.expect(text.length + missing);
    return place(text, missing, char);
  };

/** As `str.center`: where the margin is odd, the width decides which side has more. */
export function centered(text: string, missing: number, fill: string): string {
  const width = textLength(text) + missing;
  const left = Math.floor(missing / 2) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

const every = (pattern: RegExp): Method =>
  plain((text) => {
    if (/[^\0-\x7f\p{L}\p{M}\p{P}\p{Z}\p{S}\p{Nd}\p{C}]/u.test(text)) throw unsupported('a test of unusual digits');
    return pattern.test(text);
  });

const join: Method = (text, args, kwargs, budget) => {
  const [iterable] = bind('join', ['/!iterable'], args, kwargs);
  const parts: string[] = [];
  const iterator = iterate(iterable!, budget);
  for (let step = iterator.next(); !step.done; step = iterator.next()) {
    if (typeof step.value !== 'string') {
      throw new JinjaError(`sequence item ${parts.length}: expected str instance, ${typeName(step.value)} found`);
    }
    budget.expect(step.value.length + text.length);
    parts.push(step.value);
  }
  budget.expect(parts.reduce((sum, part) => sum + part.length + text.length, 0));
  return parts.join(text);
};

export const STR_METHODS: ReadonlyMap<string, Method> = new Map(
  Object.entries({
    upper: plain((text) => text.toUpperCase()),
    lower: plain((text) => text.toLowerCase()),
    title: plain(titleCase),
    capitalize: plain(capitalize),
    strip: stripping(strip),
    lstrip: stripping(stripStart),
    rstrip: stripping(stripEnd),
    split: splitting(false),
    rsplit: splitting(true),
    partition: partitioning(false),
    rpartition: partitioning(true),
    startswith: affix('startswith', (text, part) => text.startsWith(part)),
    endswith: affix('endswith', (text, part) => text.endsWith(part)),
    find: finding('find', false, false),
    rfind: finding('rfind', true, false),
    index: finding('index', false, true),
    rindex: finding('rindex', true, true),
    ljust: aligned((text, missing, fill) => text + fill.repeat(missing)),
    rjust: aligned((text, missing, fill) => fill.repeat(missing) + text),
    center: aligned(centered),
    isdigit: every(/^\p{Nd}+$/u),
    isdecimal: every(/^\p{Nd}+$/u),
    isalpha: every(/^\p{L}+$/u),
    isalnum: every(/^[\p{L}\p{Nd}]+$/u),
    isascii: plain((text) => /^[\0-\x7f]*$/.test(text)),
    isspace: plain((text) => text !== '' && strip(text) === ''),
    isupper: plain(isUpper),
    islower: plain(isLower),
    isidentifier: plain((text) => /^[\p{XID_Start}_][\p{XID_Continue}]*$/u.test(text)),
    join,
    count: (text, args, kwargs, budget) => {
      const [part, start, end] = bind('count', ['/!sub', '/start', '/end'], args, kwargs);
      const [within, , isInside] = range(text, start, end);
      const wanted = textOf(part!, 'count');
      budget.spend(text.length);
      if (!isInside) return 0;
      return wanted === '' ? textLength(within) + 1 : within.split(wanted).length - 1;
    },
    replace: (text, args, kwargs, budget) => {
      const [from, to, count] = bind('replace', ['/!old', '/!new', '/count'], args, kwargs);
      const times = count === undefined ? -1 : integerOf(count, 'replace');
      return replaceText(text, textOf(from!, 'replace'), textOf(to!, 'replace'), times, budget);
    },
    splitlines: (text, args, kwargs, budget) => {
      const [keepEnds] = bind('splitlines', ['keepends'], args, kwargs);
      const lines = splitLines(text, keepEnds !== undefined && integerOf(keepEnds, 'splitlines') !== 0);
      budget.spend(text.length + ELEMENT * lines.length);
      return lines;
    },
    removeprefix: (text, args, kwargs) => {
      const prefix = textOf(bind('removeprefix', ['/!prefix'], args, kwargs)[0]!, 'removeprefix');
      return text.startsWith(prefix) ? text.slice(prefix.length) : text;
    },
    removesuffix: (text, args, kwargs) => {
      const suffix = textOf(bind('removesuffix', ['/!suffix'], args, kwargs)[0]!, 'removesuffix');
      return suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text;
    },
    zfill: (text, args, kwargs, budget) => {
      const width = integerOf(bind('zfill', ['/!width'], args, kwargs)[0]!, 'zfill');
      const missing = width - textLength(text);
      if (missing > MAX_WIDTH) throw outOfBounds(`a text padded by ${missing} characters`);
      if (missing <= 0) return text;
      budget.expect(text.length + missing);
      const sign = /^[-+]/.test(text) ? text[0]! : '';
      return sign + '0'.repeat(missing) + text.slice(sign.length);
    },
  } satisfies Record<string, Method>),
);

export const OTHER_STR_METHODS: ReadonlySet<string> = new Set(
  'casefold encode expandtabs format_map isnumeric isprintable istitle maketrans swapcase translate'.split(' '),
);

export function isUpper(text: string): boolean {
  return /\p{Uppercase}/u.test(text) && !/\p{Lowercase}|\p{Lt}/u.test(text);
}

export function isLower(text: string): boolean {
  return /\p{Lowercase}/u.test(text) && !/\p{Uppercase}|\p{Lt}/u.test(text);
}
