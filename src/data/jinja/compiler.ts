/** A template as functions: each statement writes to an output, with a call's variables. */
import type { Block, Expression, Filter, Signature, Statement } from './ast.js';
import { STEP } from './budget.js';
import { JinjaError, outOfBounds } from './error.js';
import { type Evaluate, type Frame, slotReader } from './expression-compiler.js';
import { type Execute, FrameCompiler, type Signal } from './frame-compiler.js';
import { isTrue, iterate, PyFunction, PyIterator, PyObject, Undefined, type Value } from './python-values.js';
import {
  Activation,
  bindMacro,
  type Context,
  callValue,
  LoopState,
  type MacroShape,
  macroObject,
  type Output,
  type Rendering,
} from './runtime.js';
import { FunctionScope, type Ref, Symbols } from './scope.js';
import { bodiesOf, hasScopedBlock, readNames, rejectLoopTarget } from './searches.js';

/** Python nests at most 20 loops in a function. */
const MAX_LOOPS = 18;

export type Program = (rendering: Rendering, context: Context) => void;

/** @throws JinjaError where jinja2 finds a fault before rendering; TextError for what is not supported */
export function compileTemplate(body: readonly Statement[]): Program {
  return new Compiler().program(body);
}

class Compiler extends FrameCompiler {
  readonly #blocks = new Map<string, Block>();
  readonly #compiledBlocks = new Map<string, (activation: Activation, context: Context, out: Output) => void>();

  program(body: readonly Statement[]): Program {
    this.#collectBlocks(body);
    const root = this.#function(body, true);
    for (const [name, block] of this.#blocks) this.#compiledBlocks.set(name, this.#block(block));
    return (rendering, context) => {
      root(new Activation(root.scope, rendering, context), rendering.root);
    };
  }

  #collectBlocks(body: readonly Statement[]): void {
    for (const node of body) {
      if (node.kind === 'block') {
        if (this.#blocks.has(node.name)) throw new JinjaError(`block '${node.name}' defined twice (line ${node.line})`);
        this.#blocks.set(node.name, node);
      }
      this.#collectBlocks(bodiesOf(node).flat());
    }
  }

  /** The template itself or a block: what has no outer variables. */
  #function(body: readonly Statement[], isTop: boolean): Execute & { readonly scope: FunctionScope } {
    const scope = new FunctionScope();
    const symbols = new Symbols(scope);
    const self = readNames(body, ['self']).size ? symbols.declareParameter('self') : undefined;
    symbols.visit(body);
    const frame: Frame = { symbols, scope, isTop, isSoft: false, loops: 0 };
    const enter = this.enter(frame);
    const execute = this.#statements(body, frame);
    const run = (activation: Activation, out: Output): Signal => {
      if (self) activation.slots[self.slot] = this.#self(activation);
      enter(activation);
      return execute(activation, out);
    };
    return Object.assign(run, { scope });
  }

  #block(block: Block): (activation: Activation, context: Context, out: Output) => void {
    const run = this.#function(block.body, false);
    return (activation, context, out) => {
      activation.rendering.budget.call(() => run(new Activation(run.scope, activation.rendering, context), out));
    };
  }

  #self(activation: Activation): PyObject {
    return new PyObject('TemplateReference', (name) => {
      const block = this.#compiledBlocks.get(name);
      if (!block) return undefined;
      return new PyFunction(name, () => {
        const out = { text: '' };
        block(activation, activation.context, out);
        return out.text;
      });
    });
  }

  #statements(body: readonly Statement[], frame: Frame): Execute {
    const list = body.map((statement) => {
      const before = this.nodes++;
      const execute = this.#statement(statement, frame);
      // A statement's own expressions; those in its body are paid for there.
      const cost = STEP * ('body' in statement ? 4 : this.nodes - before);
      return (activation: Activation, out: Output): Signal => {
        activation.rendering.budget.spend(cost);
        return execute(activation, out);
      };
    });
    if (list.length === 1) return list[0]!;
    return (activation, out) => {
      for (const execute of list) {
        const signal = execute(activation, out);
        if (signal) return signal;
      }
      return undefined;
    };
  }

  #statement(node: Statement, frame: Frame): Execute {
    switch (node.kind) {
      case 'output':
        return this.#output(node.items, frame);
      case 'for':
        return this.#for(node, frame);
      case 'if':
        return this.#if(node, frame);
      case 'set': {
        const value = this.expression(node.value, frame);
        const assign = this.assign(node.target, frame);
        const check = this.namespaceCheck(node.target, frame);
        return (activation) => {
          check?.(activation);
          assign(activation, value(activation));
          return undefined;
        };
      }
      case 'set block':
        return this.#setBlock(node, frame);
      case 'macro': {
        const create = this.#macro(node.signature, node.body, frame, node.name);
        const assign = this.assign({ kind: 'name', name: node.name, line: 0 }, frame);
        return (activation) => {
          assign(activation, create(activation));
          return undefined;
        };
      }
      case 'call block': {
        if (node.call.arguments.kwargs.some(([name]) => name === 'caller')) {
          throw new JinjaError('keyword argument repeated: caller');
        }
        const create = this.#macro(node.signature, node.body, frame, undefined);
        const callee = this.expression(node.call.callee, frame);
        const given = this.arguments(node.call.arguments, frame);
        return (activation, out) => {
          const caller = create(activation);
          const called = callee(activation);
          const [args, kwargs] = given(activation);
          const { budget } = activation.rendering;
          this.write(callValue(called, args, new Map([...kwargs, ['caller', caller]]), budget), activation, out);
          return undefined;
        };
      }
      case 'generation': {
        const create = this.#macro({ params: [], defaults: [] }, node.body, frame, undefined);
        return (activation, out) => {
          const { budget, root, generation } = activation.rendering;
          const text = callValue(create(activation), [], new Map(), budget) as string;
          generation.push([root.text.length, root.text.length + text.length]);
          this.write(text, activation, out);
          return undefined;
        };
      }
      case 'filter block': {
        const inner = this.inner(frame);
        inner.symbols.visit(node.body);
        inner.symbols.read(node.filter);
        const text = inner.scope.unnamed();
        return this.scoped(inner, this.#captured(node.body, inner, text), (body) => {
          const filter = this.#filters(node.filter, inner, text);
          return (activation, out) => {
            const signal = body(activation, out);
            if (!signal) this.write(filter(activation), activation, out);
            return signal;
          };
        });
      }
      case 'with': {
        const inner = this.inner(frame);
        for (const target of node.targets) inner.symbols.set(target, true);
        inner.symbols.visit(node.body);
        const values = node.values.map((value) => this.expression(value, frame));
        const assigns = node.targets.map((target) => this.assign(target, inner));
        return this.scoped(inner, this.#statements(node.body, inner), (body) => (activation, out) => {
          for (const [i, assign] of assigns.entries()) assign(activation, values[i]!(activation));
          return body(activation, out);
        });
      }
      case 'block':
        return this.#callBlock(node, frame);
      default:
        if (frame.loops === 0) throw new JinjaError(`'${node.kind}' outside loop (line ${node.line})`);
        return () => node.kind;
    }
  }

  #captured(body: readonly Statement[], frame: Frame, text: Ref): Execute {
    const execute = this.#statements(body, frame);
    return (activation) => {
      const buffer = { text: '' };
      const signal = execute(activation, buffer);
      activation.slots[text.slot] = buffer.text;
      return signal;
    };
  }

  #filters(node: Filter, frame: Frame, text: Ref): Evaluate {
    const operand =
      node.operand?.kind === 'filter' ? this.#filters(node.operand, frame, text) : slotReader(text, frame.scope);
    return this.filter(node, frame, operand as Evaluate);
  }

  #output(nodes: readonly (string | Expression)[], frame: Frame): Execute {
    const items = nodes.map((node) => (typeof node === 'string' ? node : this.expression(node, frame)));
    return (activation, out) => {
      for (const item of items) this.write(typeof item === 'string' ? item : item(activation), activation, out);
      return undefined;
    };
  }

  #if(node: Extract<Statement, { kind: 'if' }>, frame: Frame): Execute {
    const soft = { ...frame, isSoft: true };
    const branches = [node, ...node.elifs].map(
      ({ test, body }) => [this.expression(test, soft), this.#statements(body, soft)] as const,
    );
    const orElse = this.#statements(node.orElse, soft);
    return (activation, out) => {
      for (const [test, body] of branches) if (isTrue(test(activation))) return body(activation, out);
      return orElse(activation, out);
    };
  }

  #setBlock(node: Extract<Statement, { kind: 'set block' }>, frame: Frame): Execute {
    const inner = this.inner(frame);
    inner.symbols.visit(node.body);
    const text = inner.scope.unnamed();
    const assign = this.assign(node.target, frame);
    return this.scoped(inner, this.#captured(node.body, inner, text), (body) => {
      const value = node.filter ? this.#filters(node.filter, inner, text) : (slotReader(text, inner.scope) as Evaluate);
      return (activation, out) => {
        const signal = body(activation, out);
        if (!signal) assign(activation, value(activation));
        return signal;
      };
    });
  }

  #macro(
    { params, defaults }: Signature,
    body: readonly Statement[],
    frame: Frame,
    name: string | undefined,
  ): (activation: Activation) => PyObject {
    const scope = new FunctionScope(frame.scope);
    const symbols = new Symbols(scope, frame.symbols);
    const analyze = (): void => {
      for (const param of params) symbols.declareParameter(param);
      symbols.readAll(defaults);
      symbols.visit(body);
    };
    analyze();
    const special = readNames(body, ['caller', 'kwargs', 'varargs']);
    const caller = params.indexOf('caller');
    if (special.has('caller') && caller >= 0 && caller < params.length - defaults.length) {
      throw new JinjaError('the special "caller" argument of a macro must be omitted or be given a default');
    }
    const declare = (key: string): Ref | undefined =>
      special.has(key) && !params.includes(key) ? symbols.declareParameter(key) : undefined;
    const shape: MacroShape = {
      name,
      params,
      caller: declare('caller'),
      kwargs: declare('kwargs'),
      varargs: declare('varargs'),
      slots: params.map((param) => symbols.ref(param)),
    };
    analyze();
    const inner: Frame = { symbols, scope, isTop: false, isSoft: false, loops: 0 };
    const missing = params.length - defaults.length;
    const fallbacks = params.map((_, i) => (i < missing ? undefined : this.expression(defaults[i - missing]!, inner)));
    const execute = this.#statements(body, inner);
    const enter = this.enter(inner);
    return (defined) => {
      const call: PyFunction['call'] = (args, kwargs) =>
        defined.rendering.budget.call(() => {
          const activation = new Activation(scope, defined.rendering, defined.context, defined);
          bindMacro(shape, activation.slots, args, kwargs);
          enter(activation);
          params.forEach((param, i) => {
            const { slot } = shape.slots[i]!;
            if (activation.slots[slot] !== undefined) return;
            const fallback = fallbacks[i]?.(activation);
            activation.slots[slot] =
              fallback === undefined ? new Undefined(`parameter '${param}' was not provided`) : fallback;
          });
          const out = { text: '' };
          execute(activation, out);
          return out.text;
        });
      defined.rendering.budget.spend(256);
      return macroObject(shape, call, name);
    };
  }

  #callBlock(node: Block, frame: Frame): Execute {
    const locals = node.isScoped
      ? [...frame.symbols.allStores()].map(([name, ref]) => [name, slotReader(ref, frame.scope)] as const)
      : [];
    return (activation, out) => {
      let { context } = activation;
      if (node.isScoped) {
        const given = new Map([...context.given, ...context.vars]);
        activation.rendering.budget.spend(16 * given.size);
        for (const [name, read] of locals) {
          const value = read(activation);
          if (value !== undefined) given.set(name, value);
        }
        context = { vars: new Map(), given };
      }
      this.#compiledBlocks.get(node.name)!(activation, context, out);
      return undefined;
    };
  }

  #for(node: Extract<Statement, { kind: 'for' }>, frame: Frame): Execute {
    if (frame.loops >= MAX_LOOPS) throw outOfBounds(`its loops lie more than ${MAX_LOOPS} deep in one another`);
    rejectLoopTarget(node);
    const scope = node.isRecursive ? new FunctionScope(frame.scope) : frame.scope;
    const symbols = new Symbols(scope, frame.symbols);
    const usesLoop = node.isRecursive || readNames(node.body, ['loop']).size > 0 || hasScopedBlock([node]);
    const loop = usesLoop ? symbols.declareParameter('loop') : undefined;
    symbols.set(node.target, true);
    symbols.visit(node.body);
    const inner: Frame = { ...this.inner(frame, symbols), loops: (node.isRecursive ? 0 : frame.loops) + 1 };
    const elseFrame: Frame = {
      ...this.inner(frame, new Symbols(scope, frame.symbols)),
      loops: node.isRecursive ? 0 : frame.loops,
    };
    elseFrame.symbols.visit(node.orElse);
    const select = node.test && this.#loopFilter(node.target, node.test, frame, scope);
    const iterable = this.expression(node.iterable, frame);
    const assign = this.assign(node.target, inner);
    const body = this.#statements(node.body, inner);
    const orElse = this.scoped(elseFrame, this.#statements(node.orElse, elseFrame), (execute) => execute);
    const [enter, leave] = [this.enter(inner), this.leave(inner)];

    const run = (
      activation: Activation,
      out: Output,
      given: Value,
      depth: number,
      recurse?: (iterable: Value) => Value,
    ): Signal => {
      const { budget } = activation.rendering;
      const source = select ? select(activation, given) : given;
      const state = loop && new LoopState(source, budget, depth, recurse);
      const iterator = state ? undefined : iterate(source, budget);
      let isEmpty = true;
      for (;;) {
        let item: Value | undefined;
        if (state) item = state.next();
        else {
          const step = iterator!.next();
          item = step.done ? undefined : step.value;
        }
        if (item === undefined) break;
        budget.spend(64);
        assign(activation, item);
        if (loop) activation.slots[loop.slot] = state!.object;
        enter(activation);
        const signal = body(activation, out);
        if (signal === 'break') break;
        if (signal !== 'continue') isEmpty = false;
      }
      leave(activation);
      // As in jinja2 also where each turn ended with `continue`, or the first with `break`.
      return isEmpty && node.orElse.length ? orElse(activation, out) : undefined;
    };
    if (!node.isRecursive) return (activation, out) => run(activation, out, iterable(activation), 0);
    return (activation, out) => {
      const render = (given: Value, depth: number): string =>
        activation.rendering.budget.call(() => {
          const own = new Activation(scope, activation.rendering, activation.context, activation);
          const buffer = { text: '' };
          run(own, buffer, given, depth, (next) => render(next, depth + 1));
          return buffer.text;
        });
      this.write(render(iterable(activation), 0), activation, out);
      return undefined;
    };
  }

  /** The elements for which the loop's condition holds; it has variables of its own. */
  #loopFilter(target: Expression, test: Expression, frame: Frame, around: FunctionScope) {
    const scope = new FunctionScope(around);
    const symbols = new Symbols(scope, frame.symbols);
    symbols.set(target, true);
    symbols.read(test);
    const inner: Frame = { symbols, scope, isTop: false, isSoft: false, loops: 0 };
    const assign = this.assign(target, inner);
    const holds = this.expression(test, inner);
    const enter = this.enter(inner);
    return (activation: Activation, given: Value): PyIterator => {
      const { rendering, context } = activation;
      const select = function* (): Iterator<Value> {
        const own = new Activation(scope, rendering, context, activation);
        enter(own);
        const iterator = iterate(given, rendering.budget);
        for (let step = iterator.next(); !step.done; step = iterator.next()) {
          rendering.budget.spend(64);
          assign(own, step.value);
          if (isTrue(holds(own))) yield step.value;
        }
      };
      return new PyIterator(select());
    };
  }
}
