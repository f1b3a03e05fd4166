/** What statements have in common: the variables of their frames, what they set, and what they write. */
import type { Expression } from './ast.js';
import { JinjaError } from './error.js';
import { ExpressionCompiler, type Frame, slotReader } from './expression-compiler.js';
import { toText, type Value } from './python-values.js';
import { type Activation, checkNamespace, type Output, unpack } from './runtime.js';
import { Symbols } from './scope.js';

/** What a statement ends with: a loop's `break` and `continue` go up to it. */
export type Signal = undefined | 'break' | 'continue';
export type Execute = (activation: Activation, out: Output) => Signal;
type Assign = (activation: Activation, value: Value) => void;

export class FrameCompiler extends ExpressionCompiler {
  protected enter(frame: Frame): (activation: Activation) => void {
    const { scope } = frame;
    const steps = [...frame.symbols.loads].flatMap(([{ slot }, load]): ((activation: Activation) => void)[] => {
      if (load.kind === 'parameter') return [];
      if (load.kind === 'resolve') {
        return [
          (activation) => {
            activation.slots[slot] = activation.resolve(load.name);
          },
        ];
      }
      const read = load.kind === 'alias' ? slotReader(load.from, scope) : () => undefined;
      return [
        (activation) => {
          activation.slots[slot] = read(activation);
        },
      ];
    });
    return (activation) => {
      for (const step of steps) step(activation);
    };
  }

  protected leave(frame: Frame): (activation: Activation) => void {
    const slots = [...frame.symbols.loads.keys()].map(({ slot }) => slot);
    return (activation) => {
      for (const slot of slots) activation.slots[slot] = undefined;
    };
  }

  protected inner(frame: Frame, symbols = new Symbols(frame.scope, frame.symbols)): Frame {
    return { symbols, scope: symbols.scope, isTop: false, isSoft: false, loops: frame.loops };
  }

  protected scoped(frame: Frame, body: Execute, wrap: (body: Execute) => Execute): Execute {
    const run = wrap(body);
    const [enter, leave] = [this.enter(frame), this.leave(frame)];
    return (activation, out) => {
      enter(activation);
      const signal = run(activation, out);
      leave(activation);
      return signal;
    };
  }

  protected write(value: Value, { rendering }: Activation, out: Output): void {
    const text = toText(value, rendering.budget);
    rendering.budget.spend(text.length);
    out.text += text;
    rendering.budget.checkSize(out.text.length);
  }

  /** What has to be looked at before the value is computed. */
  protected namespaceCheck(target: Expression, frame: Frame): ((activation: Activation) => void) | undefined {
    if (target.kind !== 'namespace') return undefined;
    const read = slotReader(frame.symbols.ref(target.name), frame.scope);
    return (activation) => checkNamespace(read(activation));
  }

  protected assign(target: Expression, frame: Frame): Assign {
    if (target.kind === 'tuple') {
      const parts = target.items.map((item) => this.assign(item, frame));
      return (activation, value) => {
        const items = unpack(value, parts.length, activation.rendering.budget);
        for (const [i, assign] of parts.entries()) assign(activation, items[i]!);
      };
    }
    if (target.kind === 'namespace') {
      const read = slotReader(frame.symbols.ref(target.name), frame.scope);
      return (activation, value) => {
        const namespace = read(activation);
        checkNamespace(namespace);
        namespace.attributes.set(target.attribute, value);
      };
    }
    const { name } = target as Extract<Expression, { kind: 'name' }>;
    const { slot, scope } = frame.symbols.ref(name);
    if (scope !== frame.scope) throw new JinjaError(`the name '${name}' is not known where it is set`);
    return (activation, value) => {
      activation.slots[slot] = value;
      if (frame.isTop) activation.context.vars.set(name, value);
    };
  }
}
