/** Jinja's tests: the names after `is`. */
import type { Budget } from './budget.js';
import { JinjaError, unsupported } from './error.js';
import { bind, NO_KWARGS } from './python-arguments.js';
import { binary, compare, contains } from './python-operations.js';
import { isLower, isUpper } from './python-str.js';
import {
  asItems,
  asNumber,
  asText,
  isEqual,
  type Kwargs,
  Markup,
  PyFloat,
  PyFunction,
  PyIterator,
  PyObject,
  PyRange,
  PyView,
  toText,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';

type Test = (value: Value, args: readonly Value[], kwargs: Kwargs, budget: Budget) => boolean;

const unary =
  (test: (value: Value, budget: Budget) => boolean): Test =>
  (value, args, kwargs, budget) => {
    bind('test', [], args, kwargs);
    return test(value, budget);
  };

const binaryTest =
  (name: string, test: (value: Value, other: Value, budget: Budget) => boolean): Test =>
  (value, args, kwargs, budget) =>
    test(value, bind('test', [`!${name}`], args, kwargs)[0]!, budget);

const modulo = (value: Value, by: Value, budget: Budget): Value => binary('%', value, by, budget);

function isSame(a: Value, b: Value): boolean {
  if (a instanceof Undefined || b instanceof Undefined) {
    if (a instanceof Undefined && b instanceof Undefined) throw unsupported('sameas of undefined values');
    return false;
  }
  if (typeof a !== typeof b) return false;
  // Whether equal texts and large numbers are one object depends on the Python implementation.
  const isShared = typeof a === 'boolean' || a === null || (typeof a === 'number' && a >= -5 && a <= 256);
  if (a === b && isShared) return true;
  if (a instanceof PyFunction && b instanceof PyFunction) throw unsupported('sameas of functions');
  if (a === b || (a instanceof PyFloat && b instanceof PyFloat && a.value === b.value)) {
    if (typeof a === 'object' && !(a instanceof PyFloat) && !(a instanceof Markup)) return true;
    throw unsupported(`sameas of equal values of type ${typeName(a)}`);
  }
  const [items, others] = [asItems(a), asItems(b)];
  if (items?.length === 0 && others?.length === 0 && !Array.isArray(a)) throw unsupported('sameas of tuples');
  return false;
}

const equals = binaryTest('other', (value, other, budget) => isEqual(value, other, budget));
const differs = binaryTest('other', (value, other, budget) => !isEqual(value, other, budget));
const order = (operator: '<' | '<=' | '>' | '>='): Test =>
  binaryTest('other', (value, other, budget) => compare(operator, value, other, budget));

function isIterable(value: Value): boolean {
  if (asText(value) !== undefined || asItems(value) || value instanceof Map || value instanceof Undefined) return true;
  return (
    value instanceof PyRange ||
    value instanceof PyView ||
    value instanceof PyIterator ||
    (value instanceof PyObject && value.kind === 'LoopContext')
  );
}

const ENTRIES: Readonly<Record<string, Test>> = {
  odd: unary((value, budget) => isEqual(modulo(value, 2, budget), 1, budget)),
  even: unary((value, budget) => isEqual(modulo(value, 2, budget), 0, budget)),
  divisibleby: binaryTest('num', (value, other, budget) => isEqual(modulo(value, other, budget), 0, budget)),
  defined: unary((value) => !(value instanceof Undefined)),
  undefined: unary((value) => value instanceof Undefined),
  none: unary((value) => value === null),
  boolean: unary((value) => typeof value === 'boolean'),
  false: unary((value) => value === false),
  true: unary((value) => value === true),
  integer: unary((value) => typeof value === 'number'),
  float: unary((value) => value instanceof PyFloat),
  number: unary((value) => asNumber(value) !== undefined),
  string: unary((value) => asText(value) !== undefined),
  mapping: unary((value) => value instanceof Map),
  sequence: unary(
    (value) =>
      asText(value) !== undefined ||
      asItems(value) !== undefined ||
      value instanceof Map ||
      value instanceof PyRange ||
      value instanceof Undefined,
  ),
  iterable: unary(isIterable),
  callable: unary((value) => {
    if (value instanceof PyFunction || value instanceof Undefined) return true;
    return value instanceof PyObject && value.call !== undefined;
  }),
  lower: unary((value, budget) => isLower(toText(value, budget))),
  upper: unary((value, budget) => isUpper(toText(value, budget))),
  escaped: unary((value) => value instanceof Markup),
  sameas: binaryTest('other', isSame),
  in: binaryTest('seq', (value, other, budget) => contains(other, value, budget)),
  '==': equals,
  eq: equals,
  equalto: equals,
  '!=': differs,
  ne: differs,
  '>': order('>'),
  gt: order('>'),
  greaterthan: order('>'),
  '>=': order('>='),
  ge: order('>='),
  '<': order('<'),
  lt: order('<'),
  lessthan: order('<'),
  '<=': order('<='),
  le: order('<='),
};

export const TESTS: ReadonlyMap<string, Test> = new Map(Object.entries(ENTRIES));

export function callTest(
  name: Value,
  value: Value,
  args: readonly Value[],
  kwargs: Kwargs,
  budget: Budget,
  filters: ReadonlySet<string>,
): boolean {
  if (name === 'filter' || name === 'test') {
    bind('test', [], args, kwargs);
    if (typeof value !== 'string') throw unsupported(`the test ${name} of a ${typeName(value)}`);
    return name === 'filter' ? filters.has(value) : value === 'filter' || value === 'test' || TESTS.has(value);
  }
  const test = typeof name === 'string' ? TESTS.get(name) : undefined;
  if (!test) throw new JinjaError(`No test named '${toText(name, budget)}'.`);
  budget.spend(16);
  return test(value, args, kwargs ?? NO_KWARGS, budget);
}
