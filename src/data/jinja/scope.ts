/**
 * Which variable a name means, decided before rendering as jinja2 decides it: by the order in which a scope reads and
 * sets its names. Loops, macros and blocks are scopes, branches of `if` are not; what a scope sets is its own, and
 * starts anew in each turn of a loop.
 */
import type { Arguments, Expression, Statement } from './ast.js';
import { JinjaError } from './error.js';

export interface Ref {
  readonly scope: FunctionScope;
  readonly slot: number;
  readonly name: string;
}

/** What a variable holds when its scope is entered: what the context has, what an outer variable has, or nothing. */
type Load =
  | { readonly kind: 'parameter' | 'undefined' }
  | { readonly kind: 'resolve'; readonly name: string }
  | { readonly kind: 'alias'; readonly from: Ref };

/** Variables with one lifetime: of the template, a block, a call of a macro or of a recursive loop. */
export class FunctionScope {
  readonly #refs = new Map<string, Ref>();

  constructor(readonly parent?: FunctionScope) {}

  get size(): number {
    return this.#refs.size;
  }

  ref(level: number, name: string): Ref {
    const key = `${level} ${name}`;
    let ref = this.#refs.get(key);
    if (!ref) {
      ref = { scope: this, slot: this.#refs.size, name };
      this.#refs.set(key, ref);
    }
    return ref;
  }

  unnamed(): Ref {
    return this.ref(-1, String(this.#refs.size));
  }
}

export class Symbols {
  readonly refs: Map<string, Ref>;
  readonly loads: Map<Ref, Load>;
  readonly stores: Set<string>;

  constructor(
    readonly scope: FunctionScope,
    readonly parent?: Symbols,
    readonly level: number = (parent?.level ?? -1) + 1,
    copied?: Symbols,
  ) {
    this.refs = new Map(copied?.refs);
    this.loads = new Map(copied?.loads);
    this.stores = new Set(copied?.stores);
  }

  find(name: string): Ref | undefined {
    return this.refs.get(name) ?? this.parent?.find(name);
  }

  ref(name: string): Ref {
    const ref = this.find(name);
    if (!ref) throw new JinjaError(`the name '${name}' is not known where it is used`);
    return ref;
  }

  #define(name: string, load: Load): Ref {
    const ref = this.scope.ref(this.level, name);
    this.refs.set(name, ref);
    this.loads.set(ref, load);
    return ref;
  }

  declareParameter(name: string): Ref {
    this.stores.add(name);
    return this.#define(name, { kind: 'parameter' });
  }

  load(name: string): void {
    if (!this.find(name)) this.#define(name, { kind: 'resolve', name });
  }

  store(name: string): void {
    this.stores.add(name);
    if (this.refs.has(name)) return;
    const outer = this.parent?.find(name);
    this.#define(name, outer ? { kind: 'alias', from: outer } : { kind: 'undefined' });
  }

  copy(): Symbols {
    return new Symbols(this.scope, this.parent, this.level, this);
  }

  /** Takes in what the branches of an `if` set: as one of them may not run, the variables start as they were before. */
  merge(branches: readonly Symbols[]): void {
    const stores = new Set(branches.flatMap((branch) => [...branch.stores]).filter((name) => !this.stores.has(name)));
    for (const branch of branches) {
      for (const [name, ref] of branch.refs) this.refs.set(name, ref);
      for (const [ref, load] of branch.loads) this.loads.set(ref, load);
      for (const name of branch.stores) this.stores.add(name);
    }
    for (const name of stores) {
      const outer = this.parent?.find(name);
      this.loads.set(this.ref(name), outer ? { kind: 'alias', from: outer } : { kind: 'resolve', name });
    }
  }

  /** The names in scope that were set somewhere. */
  allStores(): Map<string, Ref> {
    const refs = new Map<string, Ref>();
    for (let symbols: Symbols | undefined = this; symbols; symbols = symbols.parent) {
      for (const name of symbols.stores) if (!refs.has(name)) refs.set(name, this.ref(name));
    }
    return refs;
  }

  readAll(expressions: Iterable<Expression | undefined>): void {
    for (const expression of expressions) this.read(expression);
  }

  read(expression: Expression | undefined): void {
    if (!expression) return;
    if (expression.kind === 'name' || expression.kind === 'namespace') this.load(expression.name);
    else this.readAll(childrenOf(expression));
  }

  set(target: Expression, isParameter = false): void {
    if (target.kind === 'tuple') for (const item of target.items) this.set(item, isParameter);
    else if (target.kind === 'namespace') this.load(target.name);
    else if (target.kind === 'name') {
      if (isParameter) this.declareParameter(target.name);
      else this.store(target.name);
    }
  }

  visit(statements: readonly Statement[]): void {
    for (const statement of statements) this.#visit(statement);
  }

  #visit(node: Statement): void {
    switch (node.kind) {
      case 'output':
        this.readAll(node.items.filter((item) => typeof item !== 'string'));
        return;
      case 'for':
        this.read(node.iterable);
        return;
      case 'if': {
        this.read(node.test);
        const branches = [node.body, node.elifs, node.orElse].map((body) => {
          const copy = this.copy();
          copy.visit(body);
          return copy;
        });
        this.merge(branches);
        return;
      }
      case 'set':
        this.read(node.value);
        this.set(node.target);
        return;
      case 'set block':
        this.set(node.target);
        return;
      case 'macro':
        this.store(node.name);
        return;
      case 'call block':
        this.read(node.call);
        return;
      case 'filter block':
        this.read(node.filter);
        return;
      case 'with':
        this.readAll(node.values);
        return;
      default:
    }
  }
}

function argumentsOf({ args, kwargs, rest, keywords }: Arguments): (Expression | undefined)[] {
  return [...args, ...kwargs.map(([, value]) => value), rest, keywords];
}

export function childrenOf(node: Expression): readonly (Expression | undefined)[] {
  switch (node.kind) {
    case 'const':
    case 'name':
    case 'namespace':
      return [];
    case 'tuple':
    case 'list':
    case 'concat':
      return node.items;
    case 'dict':
      return node.items.flat();
    case 'if':
      return [node.test, node.yes, node.no];
    case 'and':
    case 'or':
    case 'binary':
      return [node.left, node.right];
    case 'not':
    case 'negative':
    case 'positive':
      return [node.operand];
    case 'compare':
      return [node.first, ...node.rest.map(([, operand]) => operand)];
    case 'attribute':
      return [node.object];
    case 'item':
      return [node.object, node.key];
    case 'slice':
      return [node.object, node.start, node.stop, node.step];
    case 'call':
      return [node.callee, ...argumentsOf(node.arguments)];
    case 'filter':
    case 'test':
      return [node.operand, ...argumentsOf(node.arguments)];
  }
}
