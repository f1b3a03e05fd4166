/**
 * Python's values as templates have them. None, bool, int, str, list and dict are null, boolean, number, string, array
 * and Map; all others have classes here. Templates reach no JavaScript: nothing is looked up in an object itself.
 */
import { type Budget, ELEMENT, MAX_NESTING } from './budget.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import { formatFloat } from './python-numbers.js';
import { characters, quote, textLength } from './python-text.js';

export type Value =
  | null
  | boolean
  | number
  | string
  | PyFloat
  | readonly Value[]
  | PyDict
  | PyTuple
  | PyRange
  | PyView
  | PyIterator
  | PyFunction
  | PyObject
  | Markup
  | Undefined;

export type Key = string | number | null;
export type PyDict = ReadonlyMap<Key, Value>;
export type Kwargs = ReadonlyMap<string, Value>;

export class PyFloat {
  constructor(readonly value: number) {}
}

export class PyTuple {
  /** @param names of a named tuple: attributes for its first items */
  constructor(
    readonly items: readonly Value[],
    readonly names: readonly string[] = [],
  ) {}
}

export class PyRange {
  readonly length: number;
  constructor(
    readonly start: number,
    readonly stop: number,
    readonly step: number,
  ) {
    this.length = Math.max(0, Math.ceil((stop - start) / step));
  }

  at(index: number): number {
    return this.start + index * this.step;
  }
}

export class PyView {
  constructor(
    readonly kind: 'keys' | 'values' | 'items',
    readonly dict: PyDict,
  ) {}

  *[Symbol.iterator](): Iterator<Value> {
    if (this.kind === 'keys') yield* this.dict.keys();
    else if (this.kind === 'values') yield* this.dict.values();
    else for (const [key, value] of this.dict) yield new PyTuple([key, value]);
  }
}

/** A generator or another iterator: it is used up once. */
export class PyIterator {
  constructor(readonly iterator: Iterator<Value>) {}
}

export class PyFunction {
  constructor(
    readonly name: string,
    readonly call: (args: readonly Value[], kwargs: Kwargs) => Value,
  ) {}
}

/** Anything else that has attributes: a namespace, a loop, a macro. */
export class PyObject {
  /**
   * @param kind as Python prints it
   * @param attribute undefined if there is none of that name
   * @param print what `str` gives; an error if it is absent
   */
  constructor(
    readonly kind: 'Namespace' | 'LoopContext' | 'Macro' | 'Cycler' | 'Joiner' | 'TemplateReference',
    readonly attribute: (name: string) => Value | undefined,
    readonly call?: PyFunction['call'],
    readonly print?: (budget: Budget, depth: number) => string,
  ) {}
}

/** A namespace's attributes can be set. */
export class Namespace extends PyObject {
  constructor(readonly attributes: Map<Key, Value>) {
    super(
      'Namespace',
      (name) => attributes.get(name),
      undefined,
      (budget, depth) => `<Namespace ${repr(attributes, budget, depth)}>`,
    );
  }
}

/** A text that `safe` or `escape` made: it may be printed, but escapes what is joined to it. */
export class Markup {
  constructor(readonly text: string) {}
}

/** A name, an attribute or an element that does not exist: prints as nothing, and raises when it is used otherwise. */
export class Undefined {
  constructor(readonly message: string) {}

  fail(): JinjaError {
    return new JinjaError(this.message);
  }
}

export function typeName(value: Value): string {
  if (value === null) return 'NoneType';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'int';
  if (typeof value === 'string') return 'str';
  if (value instanceof PyFloat) return 'float';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Map) return 'dict';
  if (value instanceof PyTuple) return 'tuple';
  if (value instanceof PyRange) return 'range';
  if (value instanceof PyView) return `dict_${(value as PyView).kind}`;
  if (value instanceof PyIterator) return 'generator';
  if (value instanceof PyFunction) return 'builtin_function_or_method';
  if (value instanceof PyObject) return value.kind;
  return value instanceof Markup ? 'Markup' : 'Undefined';
}

export function isTrue(value: Value): boolean {
  if (typeof value === 'boolean') return value;
  if (value === null || value === '' || value === 0) return false;
  if (typeof value === 'string' || typeof value === 'number') return true;
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  if (value instanceof Undefined) return false;
  if (value instanceof PyFloat) return value.value !== 0;
  if (value instanceof PyTuple) return value.items.length > 0;
  if (value instanceof PyRange) return value.length > 0;
  if (value instanceof PyView) return value.dict.size > 0;
  if (value instanceof Markup) return value.text !== '';
  if (value instanceof PyObject && value.kind === 'LoopContext') return isTrue(value.attribute('length')!);
  return true;
}

export function asNumber(value: Value): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value instanceof PyFloat ? value.value : undefined;
}

export function asInteger(value: Value): number | undefined {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return typeof value === 'number' ? value : undefined;
}

export function asText(value: Value): string | undefined {
  if (typeof value === 'string') return value;
  return value instanceof Markup ? value.text : undefined;
}

export function asItems(value: Value): readonly Value[] | undefined {
  if (Array.isArray(value)) return value;
  return value instanceof PyTuple ? value.items : undefined;
}

export function lengthOf(value: Value): number {
  const items = asItems(value);
  if (items) return items.length;
  const text = asText(value);
  if (text !== undefined) return textLength(text);
  if (value instanceof Map) return value.size;
  if (value instanceof PyRange) return value.length;
  if (value instanceof PyView) return value.dict.size;
  if (value instanceof Undefined) return 0;
  if (value instanceof PyObject && value.kind === 'LoopContext') return value.attribute('length') as number;
  throw new JinjaError(`object of type '${typeName(value)}' has no len()`);
}

export function iterate(value: Value, budget: Budget): Iterator<Value> {
  const items = asItems(value);
  if (items) return items.values();
  const text = asText(value);
  if (text !== undefined) {
    budget.spend(text.length);
    return characters(text).values();
  }
  if (value instanceof Map) return value.keys() as Iterator<Value>;
  if (value instanceof PyRange) return rangeItems(value);
  if (value instanceof PyView) return value[Symbol.iterator]();
  if (value instanceof PyIterator) return value.iterator;
  if (value instanceof Undefined) return [].values();
  if (value instanceof PyObject && value.kind === 'LoopContext') throw unsupported('a loop over `loop`');
  throw new JinjaError(`'${typeName(value)}' object is not iterable`);
}

function* rangeItems(range: PyRange): Iterator<Value> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

export function toList(value: Value, budget: Budget): Value[] {
  const list: Value[] = [];
  const iterator = iterate(value, budget);
  for (let step = iterator.next(); !step.done; step = iterator.next()) {
    budget.spend(ELEMENT);
    list.push(step.value);
  }
  return list;
}

export function toText(value: Value, budget: Budget): string {
  if (typeof value === 'string') return value;
  if (value instanceof Undefined) return '';
  if (value instanceof Markup) return value.text;
  return repr(value, budget, 0);
}

export function repr(value: Value, budget: Budget, depth: number): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') {
    budget.spend(value.length);
    return quote(value);
  }
  if (value instanceof PyFloat) return formatFloat(value.value);
  if (value instanceof Undefined) return 'Undefined';
  if (value instanceof Markup) return `Markup(${quote(value.text)})`;
  if (depth >= MAX_NESTING) throw outOfBounds(`lists and objects lie more than ${MAX_NESTING} deep in one another`);
  const items = asItems(value);
  if (items) {
    budget.spend(ELEMENT * (1 + items.length));
    const text = items.map((item) => repr(item, budget, depth + 1)).join(', ');
    return Array.isArray(value) ? `[${text}]` : `(${text}${items.length === 1 ? ',' : ''})`;
  }
  if (value instanceof Map) {
    budget.spend(ELEMENT * (1 + value.size));
    const pairs = [...(value as PyDict)].map(
      ([key, item]) => `${repr(key, budget, depth + 1)}: ${repr(item, budget, depth + 1)}`,
    );
    return `{${pairs.join(', ')}}`;
  }
  if (value instanceof PyRange) {
    return `range(${value.start}, ${value.stop}${value.step === 1 ? '' : `, ${value.step}`})`;
  }
  if (value instanceof PyView) return `dict_${value.kind}(${repr(toList(value, budget), budget, depth + 1)})`;
  if (value instanceof PyObject && value.print) return value.print(budget, depth + 1);
  throw unsupported(`the printed form of a ${typeName(value)}, which holds an address in Python,`);
}

export function isEqual(a: Value, b: Value, budget: Budget, depth = 0): boolean {
  if (a === b) return true;
  const [left, right] = [asNumber(a), asNumber(b)];
  if (left !== undefined || right !== undefined) return left === right;
  const [text, other] = [asText(a), asText(b)];
  if (text !== undefined || other !== undefined) return text === other;
  if (a instanceof Undefined || b instanceof Undefined) return a instanceof Undefined && b instanceof Undefined;
  if (a === null || b === null) return false;
  if (depth >= MAX_NESTING) throw outOfBounds(`lists and objects lie more than ${MAX_NESTING} deep in one another`);
  const [items, others] = [asItems(a), asItems(b)];
  if (items && others) {
    if (Array.isArray(a) !== Array.isArray(b) || items.length !== others.length) return false;
    budget.spend(items.length);
    return items.every((item, i) => isEqual(item, others[i]!, budget, depth + 1));
  }
  if (a instanceof Map && b instanceof Map) {
    if (a.size !== b.size) return false;
    budget.spend(a.size);
    for (const [key, item] of a as PyDict) {
      const match = b.get(key) as Value | undefined;
      if (match === undefined || !isEqual(item, match, budget, depth + 1)) return false;
    }
    return true;
  }
  if (a instanceof PyRange && b instanceof PyRange) {
    if (a.length !== b.length) return false;
    return a.length === 0 || (a.start === b.start && (a.length === 1 || a.step === b.step));
  }
  if (a instanceof PyView && b instanceof PyView) throw unsupported('a comparison of the views of two dicts');
  if (a instanceof PyFunction && b instanceof PyFunction) throw unsupported('a comparison of two functions');
  return false;
}

export function toKey(value: Value): Key {
  if (typeof value === 'string' || typeof value === 'number' || value === null) return value;
  if (value instanceof Markup) return value.text;
  if (Array.isArray(value) || value instanceof Map) throw new JinjaError(`unhashable type: '${typeName(value)}'`);
  throw unsupported(`a ${typeName(value)} as key of a dict`);
}
