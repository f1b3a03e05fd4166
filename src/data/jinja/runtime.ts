/** What a rendering has at hand: its variables, its output, and the objects that loops and macros are in a template. */
import type { Budget } from './budget.js';
import { JinjaError } from './error.js';
import {
  asItems,
  asText,
  isEqual,
  iterate,
  type Kwargs,
  lengthOf,
  Namespace,
  type PyDict,
  PyFunction,
  PyObject,
  PyRange,
  PyTuple,
  PyView,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';
import type { FunctionScope, Ref } from './scope.js';
import type { FilterContext } from './sequence-filters.js';

export interface Output {
  text: string;
}

/** The names that a template can see: those it set at its top level, and what it was given. */
export interface Context {
  readonly vars: Map<string, Value>;
  readonly given: ReadonlyMap<string, Value>;
}

export interface Rendering extends FilterContext {
  readonly budget: Budget;
  readonly root: Output;
  /** Where in the output lies what `{% generation %}` encloses. */
  readonly generation: (readonly [number, number])[];
}

/** A function's variables during one call of it; undefined for one that has no value. */
export class Activation {
  readonly slots: (Value | undefined)[];

  constructor(
    scope: FunctionScope,
    readonly rendering: Rendering,
    readonly context: Context,
    readonly up?: Activation,
  ) {
    rendering.budget.spend(8 * scope.size);
    this.slots = new Array<Value | undefined>(scope.size).fill(undefined);
  }

  resolve(name: string): Value | undefined {
    const value = this.context.vars.get(name);
    return value !== undefined ? value : this.context.given.get(name);
  }
}

export function callValue(callee: Value, args: readonly Value[], kwargs: Kwargs, budget: Budget): Value {
  budget.spend(32 + 8 * args.length);
  if (callee instanceof PyFunction) return callee.call(args, kwargs);
  if (callee instanceof Undefined) throw callee.fail();
  if (callee instanceof PyObject && callee.call) return callee.call(args, kwargs);
  throw new JinjaError(`'${typeName(callee)}' object is not callable`);
}

export function unpack(value: Value, count: number, budget: Budget): readonly Value[] {
  const items = asItems(value) ?? [];
  if (!asItems(value)) {
    const iterator = iterate(value, budget);
    const list = items as Value[];
    for (let step = iterator.next(); !step.done && list.length <= count; step = iterator.next()) list.push(step.value);
  }
  if (items.length > count) throw new JinjaError(`too many values to unpack (expected ${count})`);
  if (items.length < count)
    throw new JinjaError(`not enough values to unpack (expected ${count}, got ${items.length})`);
  return items;
}

export class LoopState {
  readonly object: PyObject;
  index0 = -1;
  #iterator: Iterator<Value>;
  #length: number | undefined;
  #after: Value | undefined;
  #current: Value | undefined;
  #before: Value | undefined;
  #changed: Value | undefined;

  constructor(
    readonly iterable: Value,
    readonly budget: Budget,
    depth: number,
    recurse?: (iterable: Value) => Value,
  ) {
    this.#iterator = iterate(iterable, budget);
    const attribute = (name: string): Value | undefined => {
      switch (name) {
        case 'index0':
          return this.index0;
        case 'index':
          return this.index0 + 1;
        case 'length':
          return this.#count();
        case 'revindex0':
          return this.#count() - this.index0 - 1;
        case 'revindex':
          return this.#count() - this.index0;
        case 'first':
          return this.index0 === 0;
        case 'last':
          return this.#peek() === undefined;
        case 'previtem':
          return this.index0 === 0 ? new Undefined('there is no previous item') : this.#before;
        case 'nextitem': {
          const after = this.#peek();
          return after === undefined ? new Undefined('there is no next item') : after;
        }
        case 'depth':
          return depth + 1;
        case 'depth0':
          return depth;
        case 'cycle':
          return new PyFunction('cycle', (args, kwargs) => {
            if (kwargs.size || args.length === 0) throw new JinjaError('no items for cycling given');
            return args[this.index0 % args.length]!;
          });
        case 'changed':
          return new PyFunction('changed', (args) => this.#hasChanged(new PyTuple(args)));
        default:
          return undefined;
      }
    };
    const call = (args: readonly Value[]): Value => {
      if (!recurse) throw new JinjaError("The loop must have the 'recursive' marker to be called recursively.");
      if (args.length !== 1) throw new JinjaError('loop() takes one argument');
      return recurse(args[0]!);
    };
    const print = (): string => `<LoopContext ${this.index0 + 1}/${this.#count()}>`;
    this.object = new PyObject('LoopContext', attribute, call, print);
  }

  next(): Value | undefined {
    let value = this.#after;
    if (value !== undefined) this.#after = undefined;
    else {
      const step = this.#iterator.next();
      if (step.done) return undefined;
      value = step.value;
    }
    this.index0++;
    this.#before = this.#current;
    this.#current = value;
    return value;
  }

  #peek(): Value | undefined {
    if (this.#after !== undefined) return this.#after;
    const step = this.#iterator.next();
    if (!step.done) this.#after = step.value;
    return this.#after;
  }

  #count(): number {
    if (this.#length !== undefined) return this.#length;
    const { iterable } = this;
    const isSized = asText(iterable) !== undefined || asItems(iterable) || iterable instanceof Map;
    if (isSized || iterable instanceof PyRange || iterable instanceof PyView || iterable instanceof Undefined) {
      this.#length = lengthOf(iterable);
    } else {
      const rest: Value[] = [];
      for (let step = this.#iterator.next(); !step.done; step = this.#iterator.next()) {
        this.budget.spend(16);
        rest.push(step.value);
      }
      this.#iterator = rest.values();
      this.#length = rest.length + this.index0 + 1 + (this.#after === undefined ? 0 : 1);
    }
    return this.#length;
  }

  #hasChanged(value: Value): boolean {
    if (this.#changed !== undefined && isEqual(this.#changed, value, this.budget)) return false;
    this.#changed = value;
    return true;
  }
}

export interface MacroShape {
  readonly name: string | undefined;
  readonly params: readonly string[];
  readonly caller: Ref | undefined;
  readonly kwargs: Ref | undefined;
  readonly varargs: Ref | undefined;
  readonly slots: readonly Ref[];
}

export function bindMacro(
  shape: MacroShape,
  slots: (Value | undefined)[],
  args: readonly Value[],
  given: Kwargs,
): void {
  const kwargs = new Map<string, Value>(given);
  const label = `macro '${shape.name ?? 'None'}'`;
  const hasExplicitCaller = shape.params.includes('caller');
  shape.params.forEach((name, i) => {
    if (i < args.length) slots[shape.slots[i]!.slot] = args[i]!;
    else {
      slots[shape.slots[i]!.slot] = kwargs.get(name);
      kwargs.delete(name);
    }
  });
  if (shape.caller && !hasExplicitCaller) {
    const caller = kwargs.get('caller') ?? null;
    kwargs.delete('caller');
    slots[shape.caller.slot] = caller ?? new Undefined('No caller defined');
  }
  if (shape.kwargs) slots[shape.kwargs.slot] = kwargs as PyDict;
  else if (kwargs.size) throw new JinjaError(`${label} takes no keyword argument '${[...kwargs.keys()][0]}'`);
  if (shape.varargs) slots[shape.varargs.slot] = new PyTuple(args.slice(shape.params.length));
  else if (args.length > shape.params.length) {
    throw new JinjaError(`${label} takes not more than ${shape.params.length} argument(s)`);
  }
}

export function macroObject(shape: MacroShape, call: PyFunction['call'], name: string | undefined): PyObject {
  const attributes = new Map<string, Value>([
    ['name', name ?? null],
    ['arguments', new PyTuple(shape.params)],
    ['catch_kwargs', shape.kwargs !== undefined],
    ['catch_varargs', shape.varargs !== undefined],
    ['caller', shape.caller !== undefined],
    ['explicit_caller', shape.params.includes('caller')],
  ]);
  const print = (): string => `<Macro ${name === undefined ? 'anonymous' : `'${name}'`}>`;
  return new PyObject('Macro', (key) => attributes.get(key), call, print);
}

export function checkNamespace(value: Value | undefined): asserts value is Namespace {
  if (!(value instanceof Namespace)) throw new JinjaError('cannot assign attribute on non-namespace object');
}
