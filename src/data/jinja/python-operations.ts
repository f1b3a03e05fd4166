/** Python's operators on the values of templates. */
import type { BinaryOperator, CompareOperator } from './ast.js';
import { type Budget, ELEMENT, MAX_NESTING } from './budget.js';
import { JinjaError, OperandError, outOfBounds, unsupported } from './error.js';
import { percentFormat } from './python-format.js';
import { checkInteger } from './python-numbers.js';
import { characters, compareText, isPlain } from './python-text.js';
import {
  asInteger,
  asItems,
  asNumber,
  asText,
  isEqual,
  iterate,
  Markup,
  type PyDict,
  PyFloat,
  PyFunction,
  PyObject,
  PyRange,
  PyTuple,
  PyView,
  toKey,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';

export function binary(operator: BinaryOperator, a: Value, b: Value, budget: Budget): Value {
  if (typeof a === 'number' && typeof b === 'number') return integers(operator, a, b);
  if (a instanceof Undefined) throw a.fail();
  if (b instanceof Undefined && !(operator === '%' && typeof a === 'string')) throw b.fail();
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) {
    if (!(a instanceof PyFloat) && !(b instanceof PyFloat)) return integers(operator, left, right);
    return new PyFloat(floats(operator, left, right));
  }
  if (a instanceof Markup || b instanceof Markup) return withMarkup(operator, a, b, budget);
  if (operator === '%' && typeof a === 'string') return percentFormat(a, b, budget);
  if (operator === '+') {
    if (typeof a === 'string' && typeof b === 'string') {
      budget.expect(a.length + b.length);
      return a + b;
    }
    const [items, others] = [asItems(a), asItems(b)];
    if (items && others && Array.isArray(a) === Array.isArray(b)) {
      budget.spend(ELEMENT * (items.length + others.length));
      return Array.isArray(a) ? [...items, ...others] : new PyTuple([...items, ...others]);
    }
  } else if (operator === '*') {
    const repeated = repeat(a, asInteger(b), budget) ?? repeat(b, asInteger(a), budget);
    if (repeated !== undefined) return repeated;
  }
  if (operator === '-' && a instanceof PyView && b instanceof PyView) throw unsupported('a difference of dict views');
  const types = [typeName(a), typeName(b)];
  throw new OperandError(`unsupported operand type(s) for ${operator}: '${types[0]}' and '${types[1]}'`, types);
}

/** What is safe escapes what is joined to it. */
function withMarkup(operator: BinaryOperator, a: Value, b: Value, budget: Budget): Value {
  if (operator !== '+') throw unsupported(`${operator} with what \`safe\` or \`escape\` gave`);
  const [left, right] = [a, b].map((part) => (typeof part === 'string' ? escapeHtml(part, budget).text : asText(part)));
  if (left === undefined || right === undefined) {
    const type = typeName(left === undefined ? a : b);
    throw new OperandError(`can only concatenate str to str, not ${type}`, [type]);
  }
  budget.expect(left.length + right.length);
  return new Markup(left + right);
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '>': '&gt;',
  '<': '&lt;',
  "'": '&#39;',
  '"': '&#34;',
};

export function escapeHtml(text: string, budget: Budget): Markup {
  budget.expect(text.length * 5);
  return new Markup(text.replace(/[&><'"]/g, (char) => ESCAPES[char]!));
}

function repeat(value: Value, count: number | undefined, budget: Budget): Value | undefined {
  if (count === undefined) return undefined;
  const times = Math.max(0, count);
  if (typeof value === 'string') {
    budget.expect(value.length * times);
    return value.repeat(value === '' ? 0 : times);
  }
  const items = asItems(value);
  if (!items) return undefined;
  budget.spend(ELEMENT * items.length * times);
  const list = items.length === 0 ? [] : Array.from({ length: times }, () => items).flat();
  return Array.isArray(value) ? list : new PyTuple(list);
}

function integers(operator: BinaryOperator, a: number, b: number): Value {
  switch (operator) {
    case '+':
      return checkInteger(a + b);
    case '-':
      return checkInteger(a - b);
    case '*':
      return checkInteger(a * b);
    case '**':
      return power(a, b);
    default:
      if (b === 0) throw new JinjaError(operator === '/' ? 'division by zero' : 'integer division or modulo by zero');
  }
  if (operator === '/') return new PyFloat(a / b);
  const rest = ((a % b) + b) % b;
  return checkInteger(operator === '%' ? rest : (a - rest) / b);
}

function power(a: number, b: number): Value {
  if (b >= 0) {
    if (Math.abs(a) <= 1) return b === 0 ? 1 : b % 2 === 0 ? a * a : a;
    if (b > 53) throw unsupported('integers beyond 2 ** 53');
    return checkInteger(Number(BigInt(a) ** BigInt(b)));
  }
  if (a === 0) throw new JinjaError('0.0 cannot be raised to a negative power');
  throw unsupported('a power of a float or with a negative exponent');
}

function floats(operator: BinaryOperator, a: number, b: number): number {
  switch (operator) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    case '**':
      throw unsupported('a power of a float or with a negative exponent');
    default:
      if (b === 0) throw new JinjaError(operator === '%' ? 'float modulo' : 'float division by zero');
  }
  if (operator === '/') return a / b;
  let rest = a % b;
  let quotient = (a - rest) / b;
  if (rest !== 0) {
    if (b < 0 !== rest < 0) {
      rest += b;
      quotient -= 1;
    }
  } else rest = b < 0 ? -0 : 0;
  if (operator === '%') return rest;
  if (quotient === 0) return Object.is(a / b, -0) || a / b < 0 ? -0 : 0;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

export function signed(isNegative: boolean, value: Value): Value {
  if (value instanceof Undefined) throw value.fail();
  const number = asNumber(value);
  if (number === undefined) {
    const type = typeName(value);
    throw new OperandError(`bad operand type for unary ${isNegative ? '-' : '+'}: '${type}'`, [type]);
  }
  if (value instanceof PyFloat) return new PyFloat(isNegative ? -number : number);
  return isNegative && number !== 0 ? -number : number;
}

export function compare(operator: CompareOperator, a: Value, b: Value, budget: Budget): boolean {
  switch (operator) {
    case '==':
      return isEqual(a, b, budget);
    case '!=':
      return !isEqual(a, b, budget);
    case 'in':
      return contains(b, a, budget);
    case 'not in':
      return !contains(b, a, budget);
    default: {
      const order = orderOf(operator, a, b, budget);
      if (Number.isNaN(order)) return false;
      if (operator === '<') return order < 0;
      if (operator === '>') return order > 0;
      return operator === '<=' ? order <= 0 : order >= 0;
    }
  }
}

/** Negative, zero or positive; NaN where nothing is less. */
export function orderOf(operator: string, a: Value, b: Value, budget: Budget, depth = 0): number {
  if (a instanceof Undefined) throw a.fail();
  if (b instanceof Undefined) throw b.fail();
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined && right !== undefined) return left === right ? 0 : left - right;
  const [text, other] = [asText(a), asText(b)];
  if (text !== undefined && other !== undefined) {
    budget.spend(Math.min(text.length, other.length) / 8);
    return compareText(text, other);
  }
  const [items, others] = [asItems(a), asItems(b)];
  if (items && others && Array.isArray(a) === Array.isArray(b)) {
    if (depth >= MAX_NESTING) throw outOfBounds(`lists lie more than ${MAX_NESTING} deep in one another`);
    budget.spend(Math.min(items.length, others.length));
    for (let i = 0; i < items.length && i < others.length; i++) {
      if (!isEqual(items[i]!, others[i]!, budget)) return orderOf(operator, items[i]!, others[i]!, budget, depth + 1);
    }
    return items.length - others.length;
  }
  if (a instanceof PyView && b instanceof PyView) throw unsupported('a comparison of the views of two dicts');
  throw new JinjaError(`'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

export function contains(container: Value, item: Value, budget: Budget): boolean {
  const text = asText(container);
  if (text !== undefined) {
    const part = asText(item);
    if (part === undefined) {
      throw new JinjaError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    }
    budget.spend(text.length / 4);
    // Half of a pair of code units is no part of it in Python.
    if (!isPlain(part) && part.length === 1) throw unsupported('a lone surrogate');
    return text.includes(part);
  }
  if (container instanceof Map) return item instanceof Undefined ? false : container.has(toKey(numberKey(item)));
  if (container instanceof PyView && container.kind === 'keys') return contains(container.dict, item, budget);
  const items = asItems(container);
  if (items) {
    for (const element of items) {
      budget.spend(2);
      if (isEqual(element, item, budget)) return true;
    }
    return false;
  }
  const iterator = iterate(container, budget);
  for (let step = iterator.next(); !step.done; step = iterator.next()) {
    budget.spend(2);
    if (isEqual(step.value, item, budget)) return true;
  }
  return false;
}

/** A bool or a whole float is the same key as its integer. */
function numberKey(value: Value): Value {
  if (typeof value === 'boolean') return Number(value);
  return value instanceof PyFloat && Number.isSafeInteger(value.value) ? value.value : value;
}

/** `object[key]`; undefined where Python raises a TypeError or a LookupError. */
export function subscript(object: Value, key: Value): Value | undefined {
  if (object instanceof Map) {
    if (key instanceof Undefined || Array.isArray(key) || key instanceof Map) return undefined;
    if (key instanceof PyTuple || key instanceof PyFunction || key instanceof PyObject) return undefined;
    const plain = numberKey(key);
    return plain instanceof PyFloat || (typeof plain === 'object' && plain !== null && !(plain instanceof Markup))
      ? undefined
      : ((object as PyDict).get(toKey(plain)) as Value | undefined);
  }
  const index = asInteger(key);
  if (index === undefined) return undefined;
  const items = asItems(object);
  if (items) return items[index < 0 ? index + items.length : index];
  const text = asText(object);
  if (text !== undefined) {
    const all = isPlain(text) ? text : characters(text);
    const char = all[index < 0 ? index + all.length : index];
    return char !== undefined && object instanceof Markup ? new Markup(char) : char;
  }
  if (object instanceof PyRange) {
    const at = index < 0 ? index + object.length : index;
    return at >= 0 && at < object.length ? object.at(at) : undefined;
  }
  return undefined;
}

export function slice(object: Value, bounds: readonly (Value | undefined)[], budget: Budget): Value {
  if (object instanceof Undefined) throw object.fail();
  const text = asText(object);
  const items = asItems(object);
  if (text === undefined && !items && !(object instanceof PyRange)) {
    // An error in Python, except of a constant, which is then undefined.
    throw unsupported(`a slice of a ${typeName(object)}`);
  }
  const [start, stop, step] = bounds.map((bound) => {
    if (bound === undefined || bound === null) return undefined;
    const index = asInteger(bound);
    if (index !== undefined) return index;
    throw new JinjaError('slice indices must be integers or None or have an __index__ method');
  });
  if (step === 0) throw new JinjaError('slice step cannot be zero');
  const sequence = text !== undefined ? (isPlain(text) ? text : characters(text)) : (items ?? (object as PyRange));
  const { length } = sequence;
  const by = step ?? 1;
  const clamp = (index: number | undefined, fallback: number): number => {
    if (index === undefined) return fallback;
    const at = index < 0 ? index + length : index;
    return by > 0 ? Math.min(Math.max(at, 0), length) : Math.min(Math.max(at, -1), length - 1);
  };
  const from = clamp(start, by > 0 ? 0 : length - 1);
  const to = clamp(stop, by > 0 ? length : -1);
  if (text !== undefined) {
    budget.spend(text.length / 4);
    let result = '';
    if (by === 1 && typeof sequence === 'string') result = sequence.slice(from, Math.max(from, to));
    else {
      for (let i = from; by > 0 ? i < to : i > to; i += by) result += (sequence as readonly string[])[i]!;
    }
    return object instanceof Markup ? new Markup(result) : result;
  }
  if (object instanceof PyRange) {
    return new PyRange(object.at(from), object.at(to), object.step * by);
  }
  const result: Value[] = [];
  for (let i = from; by > 0 ? i < to : i > to; i += by) result.push(items![i]!);
  budget.spend(ELEMENT * result.length);
  return Array.isArray(object) ? result : new PyTuple(result);
}

export function sorted(
  items: readonly Value[],
  key: (item: Value) => Value,
  isReversed: boolean,
  budget: Budget,
): Value[] {
  budget.spend(ELEMENT * items.length * (1 + Math.ceil(Math.log2(items.length + 1))));
  const keyed = items.map((item) => [key(item), item] as const);
  const order = (a: readonly [Value, Value], b: readonly [Value, Value]): number => {
    const difference = orderOf('<', a[0], b[0], budget);
    if (Number.isNaN(difference)) throw unsupported('sorting NaN');
    return isReversed ? -difference : difference;
  };
  if (keyed.length === 1) return [...items];
  return keyed.sort(order).map(([, item]) => item);
}
