/** Jinja's filters on sequences. Those that are generators in Python are iterators here: they can be used up once. */
import { type Budget, ELEMENT } from './budget.js';
import { JinjaError, unsupported } from './error.js';
import { bind, integerOf } from './python-arguments.js';
import { getItem } from './python-attributes.js';
import { binary, orderOf, sorted } from './python-operations.js';
import { characters } from './python-text.js';
import {
  asItems,
  asNumber,
  asText,
  isEqual,
  isTrue,
  iterate,
  type Kwargs,
  Markup,
  type PyDict,
  PyFloat,
  PyIterator,
  PyObject,
  PyRange,
  PyTuple,
  PyView,
  toList,
  toText,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';

/** What filters and tests need from the rendering. */
export interface FilterContext {
  readonly budget: Budget;
  readonly callFilter: (name: Value, value: Value, args: readonly Value[], kwargs: Kwargs) => Value;
  readonly callTest: (name: Value, value: Value, args: readonly Value[], kwargs: Kwargs) => boolean;
}

export type FilterFunction = (value: Value, args: readonly Value[], kwargs: Kwargs, context: FilterContext) => Value;

export const withoutArguments =
  (name: string, apply: (value: Value, budget: Budget) => Value): FilterFunction =>
  (value, args, kwargs, { budget }) => {
    bind(name, [], args, kwargs);
    return apply(value, budget);
  };

type Getter = (item: Value) => Value;

function attributeParts(attribute: Value): Value[] {
  if (attribute === null) return [];
  if (typeof attribute !== 'string') return [attribute];
  return attribute.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

function getter(attribute: Value, budget: Budget, ignoresCase = false, fallback: Value = null): Getter {
  const parts = attributeParts(attribute);
  return (item) => {
    let value = item;
    for (const part of parts) {
      budget.spend(8);
      value = getItem(value, part, budget);
      if (fallback !== null && value instanceof Undefined) value = fallback;
    }
    return ignoresCase ? lowerCase(value) : value;
  };
}

function lowerCase(value: Value): Value {
  if (value instanceof Markup) throw unsupported('sorting what `safe` or `escape` gave');
  return typeof value === 'string' ? value.toLowerCase() : value;
}

function multiGetter(attribute: Value, budget: Budget, ignoresCase: boolean): Getter {
  const names = typeof attribute === 'string' ? attribute.split(',') : [attribute];
  const getters = names.map((name) => getter(name, budget, ignoresCase));
  return (item) => getters.map((get) => get(item));
}

function iteratorOf(generate: () => Iterator<Value>): PyIterator {
  return new PyIterator(generate());
}

function* each(value: Value, budget: Budget): Generator<Value> {
  const iterator = iterate(value, budget);
  for (let step = iterator.next(); !step.done; step = iterator.next()) {
    budget.spend(ELEMENT);
    yield step.value;
  }
}

const selecting =
  (wanted: boolean, byAttribute: boolean): FilterFunction =>
  (value, args, kwargs, { budget, callTest }) =>
    iteratorOf(function* () {
      if (!isTrue(value)) return;
      if (byAttribute && args.length === 0) throw new JinjaError('Missing parameter for attribute name');
      const get = byAttribute ? getter(args[0]!, budget) : (item: Value) => item;
      const [test, ...rest] = args.slice(byAttribute ? 1 : 0);
      for (const item of each(value, budget)) {
        const tested = get(item);
        if ((test === undefined ? isTrue(tested) : callTest(test, tested, rest, kwargs)) === wanted) yield item;
      }
    });

const map: FilterFunction = (value, args, kwargs, context) =>
  iteratorOf(function* () {
    if (!isTrue(value)) return;
    const apply = mapped(args, kwargs, context);
    for (const item of each(value, context.budget)) yield apply(item);
  });

function mapped(args: readonly Value[], kwargs: Kwargs, { budget, callFilter }: FilterContext): Getter {
  if (args.length === 0 && kwargs.has('attribute')) {
    const [attribute, fallback = null] = bind('map', ['!attribute', 'default'], [], kwargs);
    return getter(attribute!, budget, false, fallback);
  }
  const [name, ...rest] = args;
  if (name === undefined) throw new JinjaError('map requires a filter argument');
  return (item) => callFilter(name, item, rest, kwargs);
}

const extreme =
  (name: string, operator: '<' | '>'): FilterFunction =>
  (value, args, kwargs, { budget }) => {
    const [sensitive = false, attribute = null] = bind(name, ['case_sensitive', 'attribute'], args, kwargs);
    const key = getter(attribute, budget, !isTrue(sensitive));
    let best: readonly [Value, Value] | undefined;
    for (const item of each(value, budget)) {
      const entry = [key(item), item] as const;
      if (best) {
        const order = orderOf(operator, entry[0], best[0], budget);
        if (operator === '<' ? order < 0 : order > 0) best = entry;
      } else best = entry;
    }
    return best ? best[1] : new Undefined('No aggregated item, sequence was empty.');
  };

/** What is equal for a set: an int, a bool and a float of one value are. */
function hashKey(value: Value, budget: Budget): string {
  const text = asText(value);
  if (text !== undefined) return `s${text}`;
  const number = asNumber(value);
  if (number !== undefined) return `n${number === 0 ? 0 : number}`;
  if (value === null) return 'none';
  if (value instanceof Undefined) return 'undefined';
  if (value instanceof PyTuple) {
    budget.spend(ELEMENT * (1 + value.items.length));
    const parts = value.items.map((item) => hashKey(item, budget));
    const key = `t${parts.map((part) => `${part.length}:${part}`).join('')}`;
    budget.expect(key.length);
    return key;
  }
  if (Array.isArray(value) || value instanceof Map) throw new JinjaError(`unhashable type: '${typeName(value)}'`);
  throw unsupported(`a ${typeName(value)} in a set`);
}

const groupby: FilterFunction = (value, args, kwargs, { budget }) => {
  const names = ['!attribute', 'default', 'case_sensitive'];
  const [attribute, fallback = null, sensitive = false] = bind('groupby', names, args, kwargs);
  const key = getter(attribute!, budget, !isTrue(sensitive), fallback);
  const original = getter(attribute!, budget, false, fallback);
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sorted(toList(value, budget), key, false, budget)) {
    const name = key(item);
    const last = groups.at(-1);
    if (last && isEqual(last.key, name, budget)) last.items.push(item);
    else groups.push({ key: name, items: [item] });
  }
  return groups.map(({ key: name, items }) => {
    return new PyTuple([isTrue(sensitive) ? name : original(items[0]!), items], ['grouper', 'list']);
  });
};

const sum: FilterFunction = (value, args, kwargs, { budget }) => {
  const [attribute = null, start = 0] = bind('sum', ['attribute', 'start'], args, kwargs);
  if (asText(start) !== undefined) throw new JinjaError("sum() can't sum strings [use ''.join(seq) instead]");
  const get = getter(attribute, budget);
  let total = start;
  for (const item of each(value, budget)) {
    const next = get(item);
    // Newer Pythons add floats with a compensation, older ones do not.
    if (total instanceof PyFloat && next instanceof PyFloat && !Number.isInteger(total.value * 4 + next.value * 4)) {
      throw unsupported('a sum of several floats');
    }
    total = binary('+', total, next, budget);
  }
  return total;
};

const reverse = withoutArguments('reverse', (value, budget) => {
  if (value instanceof Markup) throw unsupported('the filter reverse after `safe` or `escape`');
  if (typeof value === 'string') {
    budget.expect(value.length);
    return [...characters(value)].reverse().join('');
  }
  if (value instanceof PyObject || value === null || asNumber(value) !== undefined) {
    throw new JinjaError('argument must be iterable');
  }
  const items = toList(value, budget).reverse();
  return value instanceof PyIterator ? items : new PyIterator(items.values());
});

const batch: FilterFunction = (value, args, kwargs, { budget }) => {
  const [count, fill = null] = bind('batch', ['!linecount', 'fill_with'], args, kwargs);
  return iteratorOf(function* () {
    let items: Value[] = [];
    for (const item of each(value, budget)) {
      if (isEqual(items.length, count!, budget)) {
        yield items;
        items = [];
      }
      items.push(item);
    }
    if (items.length === 0) return;
    if (fill !== null && orderOf('<', items.length, count!, budget) < 0) {
      const missing = integerOf(count!, 'batch') - items.length;
      budget.spend(ELEMENT * missing);
      items.push(...Array.from({ length: missing }, () => fill));
    }
    yield items;
  });
};

const slice: FilterFunction = (value, args, kwargs, { budget }) => {
  const [given, fill = null] = bind('slice', ['!slices', 'fill_with'], args, kwargs);
  return iteratorOf(function* () {
    const items = toList(value, budget);
    const count = integerOf(given!, 'slice');
    if (count === 0) throw new JinjaError('integer division or modulo by zero');
    if (count < 0) return;
    const each = Math.floor(items.length / count);
    const withExtra = items.length % count;
    for (let i = 0, start = 0; i < count; i++) {
      const end = start + each + (i < withExtra ? 1 : 0);
      budget.spend(ELEMENT * (1 + end - start));
      yield [...items.slice(start, end), ...(fill !== null && i >= withExtra ? [fill] : [])];
      start = end;
    }
  });
};

export const SEQUENCE_FILTERS: Readonly<Record<string, FilterFunction>> = {
  select: selecting(true, false),
  reject: selecting(false, false),
  selectattr: selecting(true, true),
  rejectattr: selecting(false, true),
  map,
  min: extreme('min', '<'),
  max: extreme('max', '>'),
  groupby,
  sum,
  reverse,
  batch,
  slice,
  join: (value, args, kwargs, { budget }) => {
    const [separator = '', attribute = null] = bind('join', ['d', 'attribute'], args, kwargs);
    const get = attribute === null ? undefined : getter(attribute, budget);
    const by = toText(separator, budget);
    let result = '';
    let isFirst = true;
    for (const item of each(value, budget)) {
      const text = toText(get ? get(item) : item, budget);
      budget.expect(result.length + by.length + text.length);
      result += isFirst ? text : by + text;
      isFirst = false;
    }
    return result;
  },
  list: withoutArguments('list', toList),
  items: withoutArguments('items', (value) =>
    iteratorOf(function* () {
      if (value instanceof Undefined) return;
      if (!(value instanceof Map)) throw new JinjaError('Can only get item pairs from a mapping.');
      yield* new PyView('items', value as PyDict);
    }),
  ),
  first: withoutArguments('first', (value, budget) => {
    const step = iterate(value, budget).next();
    return step.done ? new Undefined('No first item, sequence was empty.') : step.value;
  }),
  last: withoutArguments('last', (value, budget) => {
    const isReversible =
      asText(value) !== undefined || asItems(value) || value instanceof Map || value instanceof Undefined;
    if (!isReversible && !(value instanceof PyRange) && !(value instanceof PyView)) {
      throw new JinjaError(`'${typeName(value)}' object is not reversible`);
    }
    const items = toList(value, budget);
    return items.length === 0 ? new Undefined('No last item, sequence was empty.') : items.at(-1)!;
  }),
  sort: (value, args, kwargs, { budget }) => {
    const names = ['reverse', 'case_sensitive', 'attribute'];
    const [isReversed = false, sensitive = false, attribute = null] = bind('sort', names, args, kwargs);
    const key = multiGetter(attribute, budget, !isTrue(sensitive));
    return sorted(toList(value, budget), key, isTrue(isReversed), budget);
  },
  dictsort: (value, args, kwargs, { budget }) => {
    const names = ['case_sensitive', 'by', 'reverse'];
    const [sensitive = false, by = 'key', isReversed = false] = bind('dictsort', names, args, kwargs);
    if (by !== 'key' && by !== 'value') throw new JinjaError('You can only sort by either "key" or "value"');
    if (value instanceof Undefined) throw value.fail();
    if (!(value instanceof Map)) throw new JinjaError(`'${typeName(value)}' object has no attribute 'items'`);
    const pairs = toList(new PyView('items', value as PyDict), budget);
    const key = (pair: Value): Value => {
      const part = (pair as PyTuple).items[by === 'key' ? 0 : 1]!;
      return isTrue(sensitive) ? part : lowerCase(part);
    };
    return sorted(pairs, key, isTrue(isReversed), budget);
  },
  unique: (value, args, kwargs, { budget }) => {
    const [sensitive = false, attribute = null] = bind('unique', ['case_sensitive', 'attribute'], args, kwargs);
    const key = getter(attribute, budget, !isTrue(sensitive));
    return iteratorOf(function* () {
      const seen = new Set<string>();
      for (const item of each(value, budget)) {
        const hash = hashKey(key(item), budget);
        if (seen.has(hash)) continue;
        seen.add(hash);
        yield item;
      }
    });
  },
};
