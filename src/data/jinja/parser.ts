/** Jinja's statements: the tags that jinja2 has with transformers' settings, each with its body. */
import type { Expression, If, Signature, Statement } from './ast.js';
import { outOfBounds, unsupported } from './error.js';
import { ExpressionParser } from './expression-parser.js';
import { tokenize } from './lexer.js';

/** Python has at most 100 levels of indentation, and 20 loops in one another. */
const MAX_BLOCKS = 80;

/** @throws JinjaError where jinja2 finds a syntax error; TextError for tags that are not supported */
export function parseTemplate(source: string): Statement[] {
  return new Parser(tokenize(source)).template();
}

class Parser extends ExpressionParser {
  #depth = 0;

  template(): Statement[] {
    return this.#body([]);
  }

  /** Statements up to a tag of one of these names, which is then the current token; all if there are none. */
  #body(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    let items: (string | Expression)[] = [];
    const flush = (): void => {
      if (items.length) body.push({ kind: 'output', items });
      items = [];
    };
    while (!this.is('eof')) {
      if (this.is('data')) items.push(this.next().value);
      else if (this.is('begin', 'variable')) {
        this.next();
        items.push(this.tuple({}));
        this.expect('end', 'variable');
      } else {
        flush();
        this.expect('begin', 'block');
        if (this.is('name') && ends.includes(this.current.value)) return body;
        body.push(this.#statement());
        this.expect('end', 'block');
      }
    }
    flush();
    if (ends.length) throw this.fail(`the template ends where ${ends.join(' or ')} is missing`);
    return body;
  }

  /** The rest of a tag that opens a block, and the block up to a tag of one of these names. */
  #block(...ends: string[]): Statement[] {
    if (++this.#depth > MAX_BLOCKS) throw outOfBounds(`its blocks lie more than ${MAX_BLOCKS} deep in one another`);
    this.skipIf('op', ':');
    this.expect('end', 'block');
    const body = this.#body(ends);
    this.#depth--;
    return body;
  }

  #closedBlock(end: string): Statement[] {
    const body = this.#block(end);
    this.next();
    return body;
  }

  #statement(): Statement {
    if (!this.is('name')) throw this.fail('tag name expected');
    const { value: tag, line } = this.current;
    switch (tag) {
      case 'for':
        return this.#for();
      case 'if':
        return this.#if();
      case 'set':
        return this.#set();
      case 'with':
        return this.#with();
      case 'macro': {
        this.next();
        const name = this.#newName();
        return { kind: 'macro', name, signature: this.#signature(), body: this.#closedBlock('endmacro') };
      }
      case 'call':
        return this.#call();
      case 'filter': {
        this.next();
        const filter = this.#filterChain(this.filter(undefined));
        return { kind: 'filter block', filter, body: this.#closedBlock('endfilter') };
      }
      case 'generation':
        this.next();
        return { kind: 'generation', body: this.#closedBlock('endgeneration') };
      case 'block':
        return this.#namedBlock();
      case 'print': {
        this.next();
        const items: Expression[] = [];
        while (!this.is('end', 'block')) {
          if (items.length) this.expect('op', ',');
          items.push(this.expression());
        }
        return { kind: 'output', items };
      }
      case 'break':
      case 'continue':
        this.next();
        return { kind: tag, line };
      case 'extends':
      case 'include':
      case 'import':
      case 'from':
      case 'autoescape':
        throw unsupported(`the tag ${tag} in line ${line}`);
      default:
        throw this.fail(`Encountered unknown tag '${tag}'`);
    }
  }

  #filterChain<T extends Extract<Expression, { kind: 'filter' }> | undefined>(start: T): T {
    let node = start;
    while (this.skipIf('op', '|')) node = this.filter(node) as T;
    return node;
  }

  #target(endAt = '', withNamespace = false): Expression {
    const target = this.tuple({ simplified: true, endAt, withNamespace });
    this.#checkTarget(target);
    return target;
  }

  #checkTarget(target: Expression, isInTuple = false): void {
    if (target.kind === 'tuple') for (const item of target.items) this.#checkTarget(item, true);
    else if (target.kind === 'namespace') {
      if (isInTuple) throw unsupported('an attribute of a namespace among several targets of set');
    } else if (target.kind !== 'name') throw this.fail(`can't assign to '${target.kind}'`);
  }

  #for(): Statement {
    const { line } = this.next();
    const target = this.#target('in');
    this.expect('name', 'in');
    const iterable = this.tuple({ conditional: false, endAt: 'recursive' });
    const test = this.skipIf('name', 'if') ? this.expression() : undefined;
    const isRecursive = this.skipIf('name', 'recursive');
    const body = this.#block('endfor', 'else');
    const orElse = this.next().value === 'else' ? this.#closedBlock('endfor') : [];
    return { kind: 'for', target, iterable, test, isRecursive, body, orElse, line };
  }

  #if(): If {
    const branch = (): Omit<If, 'elifs' | 'orElse'> => {
      this.next();
      const test = this.tuple({ conditional: false });
      return { kind: 'if', test, body: this.#block('elif', 'else', 'endif') };
    };
    const first = branch();
    const elifs: If[] = [];
    while (this.is('name', 'elif')) elifs.push({ ...branch(), elifs: [], orElse: [] });
    const orElse = this.next().value === 'else' ? this.#closedBlock('endif') : [];
    return { ...first, elifs, orElse };
  }

  #set(): Statement {
    this.next();
    const target = this.#target('', true);
    if (this.skipIf('op', '=')) return { kind: 'set', target, value: this.tuple({}) };
    const filter = this.is('op', '|')
      ? this.#filterChain<ReturnType<typeof this.filter> | undefined>(undefined)
      : undefined;
    return { kind: 'set block', target, filter, body: this.#closedBlock('endset') };
  }

  #with(): Statement {
    this.next();
    const targets: Expression[] = [];
    const values: Expression[] = [];
    while (!this.is('end', 'block')) {
      if (targets.length) this.expect('op', ',');
      targets.push(this.#target());
      this.expect('op', '=');
      values.push(this.expression());
    }
    return { kind: 'with', targets, values, body: this.#closedBlock('endwith') };
  }

  #call(): Statement {
    this.next();
    const signature = this.is('op', '(') ? this.#signature() : { params: [], defaults: [] };
    const call = this.expression();
    if (call.kind !== 'call') throw this.fail('expected call');
    return { kind: 'call block', signature, call, body: this.#closedBlock('endcall') };
  }

  #signature(): Signature {
    this.expect('op', '(');
    const params: string[] = [];
    const defaults: Expression[] = [];
    while (!this.is('op', ')')) {
      if (params.length) this.expect('op', ',');
      const param = this.#newName();
      if (params.includes(param)) throw this.fail(`duplicate argument '${param}'`);
      if (this.skipIf('op', '=')) defaults.push(this.expression());
      else if (defaults.length) throw this.fail('non-default argument follows default argument');
      params.push(param);
    }
    this.next();
    return { params, defaults };
  }

  #newName(): string {
    const { value } = this.expect('name');
    if (/^(?:[Tt]rue|[Ff]alse|[Nn]one)$/.test(value)) throw this.fail(`can't assign to '${value}'`);
    return value;
  }

  #namedBlock(): Statement {
    this.next();
    const { value: name, line } = this.expect('name');
    const isScoped = this.skipIf('name', 'scoped');
    const isRequired = this.skipIf('name', 'required');
    const body = this.#closedBlock('endblock');
    if (isRequired) throw unsupported('a required block');
    this.skipIf('name', name);
    return { kind: 'block', name, isScoped, body, line };
  }
}
