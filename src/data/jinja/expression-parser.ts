/** Jinja's expressions, with jinja2's grammar: which operator binds how, and where a tuple ends. */
import type { Arguments, BinaryOperator, CompareOperator, Expression } from './ast.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import type { Token, TokenType } from './lexer.js';

/** Deeper than any template; Python gives up at about this depth as well. */
const MAX_DEPTH = 60;
const NO_ARGUMENTS: Arguments = { args: [], kwargs: [], rest: undefined, keywords: undefined };
const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=']);

/** The tokens in their order, with an expression's parts to be read from them. */
export class ExpressionParser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  get current(): Token {
    return this.#tokens[this.#at]!;
  }

  get following(): Token {
    return this.#tokens[this.#at + 1] ?? this.current;
  }

  next(): Token {
    const token = this.current;
    if (this.#at < this.#tokens.length - 1) this.#at++;
    return token;
  }

  is(type: TokenType, value?: string): boolean {
    const token = this.current;
    return token.type === type && (value === undefined || token.value === value);
  }

  skipIf(type: TokenType, value: string): boolean {
    if (!this.is(type, value)) return false;
    this.next();
    return true;
  }

  expect(type: TokenType, value?: string): Token {
    if (!this.is(type, value)) throw this.fail(`expected ${value ?? type}, got ${this.#describe()}`);
    return this.next();
  }

  fail(why: string): JinjaError {
    return new JinjaError(`${why} (line ${this.current.line})`);
  }

  #describe(): string {
    const { type, value } = this.current;
    return type === 'end' ? `the end of the ${value}` : type === 'eof' ? 'the end of the template' : `'${value}'`;
  }

  expression(withConditional = true): Expression {
    if (++this.#depth > MAX_DEPTH) throw outOfBounds(`its expressions lie more than ${MAX_DEPTH} deep in one another`);
    const expression = withConditional ? this.#conditional() : this.#or();
    this.#depth--;
    return expression;
  }

  #conditional(): Expression {
    let node = this.#or();
    while (this.skipIf('name', 'if')) {
      const test = this.#or();
      const orElse = this.skipIf('name', 'else') ? this.expression() : undefined;
      node = { kind: 'if', test, yes: node, no: orElse };
    }
    return node;
  }

  #or(): Expression {
    let left = this.#and();
    while (this.skipIf('name', 'or')) left = { kind: 'or', left, right: this.#and() };
    return left;
  }

  #and(): Expression {
    let left = this.#not();
    while (this.skipIf('name', 'and')) left = { kind: 'and', left, right: this.#not() };
    return left;
  }

  #not(): Expression {
    if (!this.is('name', 'not')) return this.#compare();
    this.next();
    return this.#nested(() => ({ kind: 'not', operand: this.#not() }));
  }

  #nested(parse: () => Expression): Expression {
    if (++this.#depth > MAX_DEPTH) throw outOfBounds(`its expressions lie more than ${MAX_DEPTH} deep in one another`);
    const expression = parse();
    this.#depth--;
    return expression;
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: (readonly [CompareOperator, Expression])[] = [];
    for (;;) {
      if (this.current.type === 'op' && COMPARISONS.has(this.current.value)) {
        rest.push([this.next().value as CompareOperator, this.#sum()]);
      } else if (this.skipIf('name', 'in')) rest.push(['in', this.#sum()]);
      else if (this.is('name', 'not') && this.following.type === 'name' && this.following.value === 'in') {
        this.next();
        this.next();
        rest.push(['not in', this.#sum()]);
      } else break;
    }
    return rest.length ? { kind: 'compare', first, rest } : first;
  }

  #leftToRight(operators: readonly BinaryOperator[], operand: () => Expression): Expression {
    let left = operand();
    while (this.current.type === 'op' && operators.includes(this.current.value as BinaryOperator)) {
      const operator = this.next().value as BinaryOperator;
      left = { kind: 'binary', operator, left, right: operand() };
    }
    return left;
  }

  #sum(): Expression {
    return this.#leftToRight(['+', '-'], () => this.#concat());
  }

  #concat(): Expression {
    const items = [this.#product()];
    while (this.skipIf('op', '~')) items.push(this.#product());
    return items.length === 1 ? items[0]! : { kind: 'concat', items };
  }

  #product(): Expression {
    return this.#leftToRight(['*', '/', '//', '%'], () => this.#leftToRight(['**'], () => this.#unary(true)));
  }

  #unary(withFilter: boolean): Expression {
    let node: Expression;
    if (this.is('op', '-') || this.is('op', '+')) {
      const kind = this.next().value === '-' ? 'negative' : 'positive';
      node = this.#nested(() => ({ kind, operand: this.#unary(false) }));
    } else node = this.primary();
    node = this.#postfix(node);
    return withFilter ? this.#filters(node) : node;
  }

  primary(withNamespace = false): Expression {
    const token = this.current;
    if (token.type === 'name') return this.#name(withNamespace);
    if (token.type === 'string') {
      let value = '';
      while (this.current.type === 'string') value += this.next().value;
      return { kind: 'const', value };
    }
    if (token.type === 'integer' || token.type === 'float') {
      this.next();
      const isFloat = token.type === 'float';
      const value = Number(isFloat || !/^0+$/.test(token.value) ? token.value : '0');
      if (!isFloat && !Number.isSafeInteger(value)) throw unsupported('integers beyond 2 ** 53');
      return { kind: 'const', value, isFloat };
    }
    if (token.type === 'op') {
      if (token.value === '[') return this.#list();
      if (token.value === '{') return this.#dict();
      if (token.value === '(') {
        this.next();
        const node = this.tuple({ isExplicit: true });
        this.expect('op', ')');
        return node;
      }
    }
    throw this.fail(`unexpected ${this.#describe()}`);
  }

  #name(withNamespace: boolean): Expression {
    const { value: name, line } = this.next();
    if (name === 'true' || name === 'True') return { kind: 'const', value: true };
    if (name === 'false' || name === 'False') return { kind: 'const', value: false };
    if (name === 'none' || name === 'None') return { kind: 'const', value: null };
    if (!withNamespace || !this.skipIf('op', '.')) return { kind: 'name', name, line };
    return { kind: 'namespace', name, attribute: this.expect('name').value, line };
  }

  /** An expression, or several with commas between them, which make a tuple. */
  tuple({ simplified = false, conditional = true, isExplicit = false, withNamespace = false, endAt = '' }): Expression {
    const { line } = this.current;
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length) this.expect('op', ',');
      if (this.is('end') || this.is('op', ')') || (endAt && this.is('name', endAt))) break;
      items.push(simplified ? this.primary(withNamespace) : this.expression(conditional));
      if (!this.is('op', ',')) break;
      isTuple = true;
    }
    if (!isTuple && items.length) return items[0]!;
    if (!isTuple && !isExplicit) throw this.fail(`expected an expression, got ${this.#describe()}`);
    return { kind: 'tuple', items, line };
  }

  #list(): Expression {
    const { line } = this.next();
    const items: Expression[] = [];
    while (!this.is('op', ']')) {
      if (items.length) this.expect('op', ',');
      if (this.is('op', ']')) break;
      items.push(this.expression());
    }
    this.next();
    return { kind: 'list', items, line };
  }

  #dict(): Expression {
    this.next();
    const items: [Expression, Expression][] = [];
    while (!this.is('op', '}')) {
      if (items.length) this.expect('op', ',');
      if (this.is('op', '}')) break;
      const key = this.expression();
      this.expect('op', ':');
      items.push([key, this.expression()]);
    }
    this.next();
    return { kind: 'dict', items };
  }

  #postfix(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (this.is('op', '.')) node = this.#attribute(node);
      else if (this.is('op', '[')) node = this.#subscript(node);
      else if (this.is('op', '(')) node = { kind: 'call', callee: node, arguments: this.callArguments() };
      else return node;
    }
  }

  #filters(start: Expression): Expression {
    let node = start;
    for (;;) {
      if (this.skipIf('op', '|')) node = this.filter(node);
      else if (this.is('name', 'is')) node = this.#test(node);
      else if (this.is('op', '(')) node = { kind: 'call', callee: node, arguments: this.callArguments() };
      else return node;
    }
  }

  #attribute(object: Expression): Expression {
    this.next();
    const token = this.next();
    if (token.type === 'name') return { kind: 'attribute', object, name: token.value };
    if (token.type !== 'integer') throw this.fail('expected name or number');
    return { kind: 'item', object, key: { kind: 'const', value: Number(token.value) } };
  }

  #subscript(object: Expression): Expression {
    const { line } = this.next();
    const items: Expression[] = [];
    let slice: Expression | undefined;
    while (!this.is('op', ']')) {
      if (slice) throw unsupported('a slice among other subscripts');
      if (items.length) this.expect('op', ',');
      const part = this.#subscribed(object);
      if (part.isSlice) slice = part.node;
      else items.push(part.node);
    }
    this.next();
    if (slice) {
      if (items.length) throw unsupported('a slice among other subscripts');
      return slice;
    }
    return { kind: 'item', object, key: items.length === 1 ? items[0]! : { kind: 'tuple', items, line } };
  }

  #subscribed(object: Expression): { readonly node: Expression; readonly isSlice: boolean } {
    let start: Expression | undefined;
    if (!this.is('op', ':')) {
      start = this.expression();
      if (!this.is('op', ':')) return { node: start, isSlice: false };
    }
    this.next();
    const ends = (): boolean => this.is('op', ':') || this.is('op', ']') || this.is('op', ',');
    const stop = ends() ? undefined : this.expression();
    let step: Expression | undefined;
    if (this.skipIf('op', ':')) step = this.is('op', ']') || this.is('op', ',') ? undefined : this.expression();
    return { node: { kind: 'slice', object, start, stop, step }, isSlice: true };
  }

  callArguments(): Arguments {
    this.expect('op', '(');
    const args: Expression[] = [];
    const kwargs: [string, Expression][] = [];
    let rest: Expression | undefined;
    let keywords: Expression | undefined;
    const ensure = (valid: boolean): void => {
      if (!valid) throw this.fail('invalid syntax for function call expression');
    };
    for (let isFirst = true; !this.is('op', ')'); isFirst = false) {
      if (!isFirst) {
        this.expect('op', ',');
        if (this.is('op', ')')) break;
      }
      if (this.is('op', '*')) {
        ensure(!rest && !keywords);
        this.next();
        rest = this.expression();
      } else if (this.is('op', '**')) {
        ensure(!keywords);
        this.next();
        keywords = this.expression();
      } else if (this.is('name') && this.following.type === 'op' && this.following.value === '=') {
        ensure(!keywords);
        const key = this.next().value;
        this.next();
        if (kwargs.some(([name]) => name === key)) throw this.fail(`keyword argument repeated: ${key}`);
        kwargs.push([key, this.expression()]);
      } else {
        ensure(!rest && !keywords && kwargs.length === 0);
        args.push(this.expression());
      }
    }
    this.next();
    return { args, kwargs, rest, keywords };
  }

  filter(operand: Expression | undefined): Extract<Expression, { kind: 'filter' }> {
    const { line } = this.current;
    const name = this.#dottedName();
    const args = this.is('op', '(') ? this.callArguments() : NO_ARGUMENTS;
    return { kind: 'filter', operand, name, arguments: args, line };
  }

  #dottedName(): string {
    let name = this.expect('name').value;
    while (this.skipIf('op', '.')) name += `.${this.expect('name').value}`;
    return name;
  }

  #test(operand: Expression): Expression {
    const { line } = this.next();
    const isNegated = this.skipIf('name', 'not');
    const name = this.#dottedName();
    let args = NO_ARGUMENTS;
    if (this.is('op', '(')) args = this.callArguments();
    else if (this.#startsArgument()) {
      if (this.is('name', 'is')) throw this.fail('You cannot chain multiple tests with is');
      args = { ...NO_ARGUMENTS, args: [this.#postfix(this.primary())] };
    }
    const test: Expression = { kind: 'test', operand, name, arguments: args, line };
    return isNegated ? { kind: 'not', operand: test } : test;
  }

  #startsArgument(): boolean {
    const { type, value } = this.current;
    if (type === 'name') return value !== 'else' && value !== 'or' && value !== 'and';
    return (
      type === 'string' || type === 'integer' || type === 'float' || (type === 'op' && (value === '[' || value === '{'))
    );
  }
}
