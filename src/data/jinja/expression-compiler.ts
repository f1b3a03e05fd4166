/** Expressions as functions of a call's variables. */
import type { Arguments, Expression, Filter } from './ast.js';
import { ELEMENT } from './budget.js';
import { JinjaError, unsupported } from './error.js';
import { FILTERS, OTHER_FILTERS } from './filters.js';
import { NO_KWARGS } from './python-arguments.js';
import { getAttribute, getItem } from './python-attributes.js';
import { binary, compare, signed, slice } from './python-operations.js';
import {
  isTrue,
  type Key,
  type Kwargs,
  PyFloat,
  PyTuple,
  toKey,
  toList,
  toText,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';
import { type Activation, callValue } from './runtime.js';
import type { FunctionScope, Ref, Symbols } from './scope.js';
import { TESTS } from './value-tests.js';

export type Evaluate = (activation: Activation) => Value;

export interface Frame {
  readonly symbols: Symbols;
  readonly scope: FunctionScope;
  /** At the top level of the template, where what is set can be seen in blocks. */
  readonly isTop: boolean;
  /** In a branch: a filter that does not exist is an error only where it is used. */
  readonly isSoft: boolean;
  /** Loops of the same function around it. */
  readonly loops: number;
}

/** How a variable is reached from another function's call. */
export function slotReader(ref: Ref, from: FunctionScope): (activation: Activation) => Value | undefined {
  let hops = 0;
  for (let scope = from; scope !== ref.scope; scope = scope.parent!, hops++) {
    if (!scope.parent) throw new JinjaError(`the name '${ref.name}' is not known where it is used`);
  }
  const { slot } = ref;
  if (hops === 0) return (activation) => activation.slots[slot];
  if (hops === 1) return (activation) => activation.up!.slots[slot];
  return (activation) => {
    let at = activation;
    for (let i = 0; i < hops; i++) at = at.up!;
    return at.slots[slot];
  };
}

/** Nodes of what is compiled are counted, as each costs a step. */
export class ExpressionCompiler {
  nodes = 0;

  expression(node: Expression, frame: Frame): Evaluate {
    this.nodes++;
    switch (node.kind) {
      case 'const': {
        const value = node.isFloat ? new PyFloat(node.value as number) : node.value;
        return () => value;
      }
      case 'name':
        return this.#name(node.name, frame);
      case 'tuple':
      case 'list': {
        const items = node.items.map((item) => this.expression(item, frame));
        const isList = node.kind === 'list';
        return (activation) => {
          activation.rendering.budget.spend(ELEMENT * items.length);
          const values = items.map((item) => item(activation));
          return isList ? values : new PyTuple(values);
        };
      }
      case 'dict':
        return this.#dict(node.items, frame);
      case 'if': {
        const soft = { ...frame, isSoft: true };
        const [test, then] = [this.expression(node.test, soft), this.expression(node.yes, soft)];
        const orElse = node.no ? this.expression(node.no, soft) : noElse;
        return (activation) => (isTrue(test(activation)) ? then(activation) : orElse(activation));
      }
      case 'and':
      case 'or': {
        const [left, right] = [this.expression(node.left, frame), this.expression(node.right, frame)];
        const goesOn = node.kind === 'and';
        return (activation) => {
          const value = left(activation);
          return isTrue(value) === goesOn ? right(activation) : value;
        };
      }
      case 'not': {
        const operand = this.expression(node.operand, frame);
        return (activation) => !isTrue(operand(activation));
      }
      case 'negative':
      case 'positive': {
        const operand = this.expression(node.operand, frame);
        const isNegative = node.kind === 'negative';
        return (activation) => signed(isNegative, operand(activation));
      }
      case 'binary': {
        const [left, right] = [this.expression(node.left, frame), this.expression(node.right, frame)];
        const { operator } = node;
        return (activation) => binary(operator, left(activation), right(activation), activation.rendering.budget);
      }
      case 'concat': {
        const items = node.items.map((item) => this.expression(item, frame));
        return (activation) => {
          const { budget } = activation.rendering;
          const values = items.map((item) => item(activation));
          let text = '';
          for (const value of values) {
            text += toText(value, budget);
            budget.expect(text.length);
          }
          return text;
        };
      }
      case 'compare':
        return this.#compare(node, frame);
      case 'attribute': {
        const object = this.expression(node.object, frame);
        const { name } = node;
        return (activation) => getAttribute(object(activation), name, activation.rendering.budget);
      }
      case 'item': {
        const [object, key] = [this.expression(node.object, frame), this.expression(node.key, frame)];
        return (activation) => getItem(object(activation), key(activation), activation.rendering.budget);
      }
      case 'slice': {
        const object = this.expression(node.object, frame);
        const bounds = [node.start, node.stop, node.step].map((bound) => bound && this.expression(bound, frame));
        return (activation) => {
          const value = object(activation);
          return slice(
            value,
            bounds.map((bound) => bound?.(activation)),
            activation.rendering.budget,
          );
        };
      }
      case 'call': {
        const callee = this.expression(node.callee, frame);
        const given = this.arguments(node.arguments, frame);
        return (activation) => {
          const called = callee(activation);
          const [args, kwargs] = given(activation);
          return callValue(called, args, kwargs, activation.rendering.budget);
        };
      }
      case 'filter':
        return this.filter(node, frame, node.operand && this.expression(node.operand, frame));
      case 'test':
        return this.#test(node, frame);
      default:
        throw new JinjaError(`unexpected ${node.kind}`);
    }
  }

  #name(name: string, frame: Frame): Evaluate {
    const read = slotReader(frame.symbols.ref(name), frame.scope);
    return (activation) => {
      const value = read(activation);
      return value === undefined ? new Undefined(`'${name}' is undefined`) : value;
    };
  }

  #dict(items: readonly (readonly [Expression, Expression])[], frame: Frame): Evaluate {
    const pairs = items.map(([key, value]) => [this.expression(key, frame), this.expression(value, frame)] as const);
    return (activation) => {
      activation.rendering.budget.spend(2 * ELEMENT * pairs.length);
      const dict = new Map<Key, Value>();
      for (const [key, value] of pairs) {
        const name = toKey(key(activation));
        dict.set(name, value(activation));
      }
      return dict;
    };
  }

  #compare(node: Extract<Expression, { kind: 'compare' }>, frame: Frame): Evaluate {
    const first = this.expression(node.first, frame);
    const rest = node.rest.map(([operator, operand]) => [operator, this.expression(operand, frame)] as const);
    return (activation) => {
      let left = first(activation);
      for (const [operator, operand] of rest) {
        const right = operand(activation);
        if (!compare(operator, left, right, activation.rendering.budget)) return false;
        left = right;
      }
      return true;
    };
  }

  arguments(node: Arguments, frame: Frame): (activation: Activation) => [readonly Value[], Kwargs] {
    const args = node.args.map((arg) => this.expression(arg, frame));
    const kwargs = node.kwargs.map(([name, value]) => [name, this.expression(value, frame)] as const);
    const rest = node.rest && this.expression(node.rest, frame);
    const keywords = node.keywords && this.expression(node.keywords, frame);
    return (activation) => {
      const values = args.map((arg) => arg(activation));
      if (rest) values.push(...toList(rest(activation), activation.rendering.budget));
      if (!kwargs.length && !keywords) return [values, NO_KWARGS];
      const named = new Map<string, Value>();
      for (const [name, value] of kwargs) named.set(name, value(activation));
      if (keywords) addKeywords(named, keywords(activation));
      return [values, named];
    };
  }

  /** @param operand gives what is filtered: of a block its text */
  filter(node: Filter, frame: Frame, operand: Evaluate | undefined): Evaluate {
    const { name } = node;
    const apply = FILTERS.get(name);
    if (OTHER_FILTERS.has(name)) throw unsupported(`the filter ${name} in line ${node.line}`);
    if (!apply && !frame.isSoft) throw new JinjaError(`No filter named '${name}'. (line ${node.line})`);
    const given = this.arguments(node.arguments, frame);
    if (!operand) throw new JinjaError(`the filter ${name} has nothing to filter`);
    return (activation) => {
      if (!apply) throw new JinjaError(`No filter named '${name}' found.`);
      const value = operand(activation);
      const [args, kwargs] = given(activation);
      activation.rendering.budget.spend(16);
      return apply(value, args, kwargs, activation.rendering);
    };
  }

  #test(node: Extract<Expression, { kind: 'test' }>, frame: Frame): Evaluate {
    const { name } = node;
    const exists = TESTS.has(name) || name === 'filter' || name === 'test';
    if (!exists && !frame.isSoft) throw new JinjaError(`No test named '${name}'. (line ${node.line})`);
    const operand = this.expression(node.operand, frame);
    const given = this.arguments(node.arguments, frame);
    return (activation) => {
      if (!exists) throw new JinjaError(`No test named '${name}' found.`);
      const value = operand(activation);
      const [args, kwargs] = given(activation);
      return activation.rendering.callTest(name, value, args, kwargs);
    };
  }
}

function noElse(): Value {
  return new Undefined('the inline if-expression evaluated to false and no else section was defined.');
}

function addKeywords(named: Map<string, Value>, value: Value): void {
  if (!(value instanceof Map)) throw new JinjaError(`argument after ** must be a mapping, not ${typeName(value)}`);
  for (const [key, item] of value) {
    if (typeof key !== 'string') throw new JinjaError('keywords must be strings');
    if (named.has(key)) throw new JinjaError(`got multiple values for keyword argument '${key}'`);
    named.set(key, item as Value);
  }
}
