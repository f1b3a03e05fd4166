/**
 * Jinja templates of strangers, run within bounds. A chat template comes with a model, and its language has loops,
 * macros and filters that multiply: a line of it can take hours, or all memory. So every value that a template makes
 * is weighed, filters that multiply are asked beforehand what they would make, and a watchdog looks at the clock.
 * Templates reach no JavaScript: all of their values are wrapped, and attributes are looked up in maps.
 */
import { Environment, Interpreter, Template } from '@huggingface/jinja';
import { TextError } from '../errors.js';
import { withinTime } from '../time-limit.js';

/** A node of the library's syntax tree. Its own types do not reach us: its files import one another without endings. */
interface Node {
  readonly type: string;
}
interface Value {
  readonly type: string;
  readonly value: unknown;
  readonly builtins: ReadonlyMap<string, Value>;
}
interface Scope {
  set(name: string, value: unknown): Value;
}
const LibraryInterpreter = Interpreter as unknown as new (
  scope: Scope,
) => { run(program: unknown): Value; evaluate(node: Node | undefined, scope: Scope): Value };

/** Longer than any chat template by far. */
const MAX_SOURCE = 262_144;
/** Characters that a single value may have when printed, on top of a multiple of what came in. */
const MAX_VALUE = 262_144;
/** What all values that a rendering makes may take together, on top of a multiple of what came in. */
const MAX_TOTAL = 16_777_216;
/** Up to here nobody looks at the clock: no more steps than take a fraction of a second at their worst. */
const QUICK_TOTAL = 100_000;
/** For each step of the interpreter, in the units of MAX_TOTAL; and for an element of a list. */
const STEP = 8;
const ELEMENT = 16;
/** A second net, for steps that take long and make little. A rendering takes a tenth of a millisecond. */
const MAX_MILLISECONDS = 700;
const CHARACTERS_A_MILLISECOND = 100;
const MAX_DEPTH = 64;
const MAX_INDENT = 16;

/** A template whose rendering ends in bounded time and memory, whatever it says. */
export class BoundedTemplate {
  readonly #program: unknown;
  readonly #source: string;
  #marked: BoundedTemplate | undefined;

  /** @throws TextError if the source is too long to be parsed; whatever the parser throws if it is no Jinja */
  constructor(source: string) {
    if (source.length > MAX_SOURCE) {
      throw outOfBounds(`it has ${source.length} characters, at most ${MAX_SOURCE} are read`);
    }
    this.#source = source;
    const parse = (): unknown => new Template(source).parsed;
    this.#program = withinTime(MAX_MILLISECONDS, parse, () => outOfBounds('parsing it takes too long'));
  }

  /** The rendering, and the ranges of it that lie within `{% generation %}` blocks, in UTF-16 units. */
  renderTracked(items: Readonly<Record<string, unknown>>): {
    text: string;
    generation: readonly (readonly [number, number])[];
  } {
    const [open, close] = GENERATION;
    this.#marked ??= new BoundedTemplate(
      this.#source
        .replace(/^[ \t]*(\{%-?\s*(?:end)?generation)/gm, '$1')
        .replace(/\{%(-?)\s*generation\s*(-?)%\}\n?/g, `{{$1 '${open}' $2}}`)
        .replace(/\{%(-?)\s*endgeneration\s*(-?)%\}\n?/g, `{{$1 '${close}' $2}}`),
    );
    const generation: [number, number][] = [];
    let text = '';
    let start = 0;
    for (const piece of this.#marked.render(items).split(/([\uf8fd\uf8fe])/)) {
      if (piece === open) start = text.length;
      else if (piece === close) generation.push([start, text.length]);
      else text += piece;
    }
    return { text, generation };
  }

  /** @throws TextError if the template exceeds the bounds; whatever it raises itself */
  render(items: Readonly<Record<string, unknown>>): string {
    // A watchdog costs as much as rendering a sample, and few steps need none. Rendering has no effects: it may restart.
    const quick = prepare(items);
    quick.interpreter.limitTo(QUICK_TOTAL);
    try {
      return quick.interpreter.print(this.#program);
    } catch (error) {
      if (!quick.interpreter.isSpent) throw error;
    }
    const { interpreter, size } = prepare(items);
    const limit = MAX_MILLISECONDS + Math.ceil(size / CHARACTERS_A_MILLISECOND);
    const run = (): string => interpreter.print(this.#program);
    return withinTime(limit, run, () => outOfBounds('it does not come to an end'));
  }
}

/** To be replaced: `{% generation %}` by way of two marks, where the library drops the tags. */
const GENERATION = ['\uf8fd', '\uf8fe'] as const;

function prepare(items: Readonly<Record<string, unknown>>): { interpreter: BoundedInterpreter; size: number } {
  const scope = new Environment() as unknown as Scope;
  const interpreter = new BoundedInterpreter(scope);
  for (const [name, value] of Object.entries(GLOBALS)) scope.set(name, value);
  scope.set('range', (...bounds: number[]) => interpreter.range(bounds));
  scope.set('strftime_now', (format: unknown) => interpreter.now(String(format)));
  const size = interpreter.admit(Object.entries(items).map(([name, value]) => scope.set(name, value)));
  return { interpreter, size };
}

/** What templates find besides the conversation. */
const GLOBALS: Readonly<Record<string, unknown>> = {
  false: false,
  true: true,
  none: null,
  False: false,
  True: true,
  None: null,
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
};

/** What a value weighs: its characters when printed, and how deeply lists and objects lie in one another. */
interface Weight {
  readonly size: number;
  readonly depth: number;
}

/** A value in the place of a node, so that what had to be looked at first is not evaluated twice. */
interface HeldNode extends Node {
  readonly type: 'Held';
  readonly held: Value;
}

class BoundedInterpreter extends LibraryInterpreter {
  #maxValue = MAX_VALUE;
  #left = MAX_TOTAL;
  readonly #weights = new WeakMap<object, Weight>();
  readonly #guarded = new WeakSet<object>();

  /** What came in sets the scale: a long conversation may be long when rendered. */
  admit(inputs: readonly Value[]): number {
    this.#maxValue = Number.POSITIVE_INFINITY;
    const size = inputs.reduce((sum, input) => sum + this.#weigh(input).size, 0);
    this.#maxValue = MAX_VALUE + 4 * size;
    this.#left = MAX_TOTAL + 256 * size;
    return size;
  }

  /** At most `total` from here on. */
  limitTo(total: number): void {
    this.#left = Math.min(this.#left, total);
  }

  /** True when there is nothing left to spend. */
  get isSpent(): boolean {
    return this.#left < 0;
  }

  /** The text that a program gives. */
  print(program: unknown): string {
    return String(this.run(program).value);
  }

  now(format: string): string {
    this.#spend(1024 + format.length);
    return formatTime(new Date(), format);
  }

  /** As Python's. */
  range(bounds: readonly number[]): number[] {
    const [start, stop] = bounds.length > 1 ? [bounds[0]!, bounds[1]!] : [0, bounds[0]!];
    const step = bounds[2] ?? 1;
    const length = Math.max(0, Math.ceil((stop - start) / step));
    if (!Number.isFinite(length)) throw new Error('range() needs numbers and a step other than 0');
    this.#expect(length * ELEMENT);
    return Array.from({ length }, (_, i) => start + i * step);
  }

  override evaluate(node: Node | undefined, scope: Scope): Value {
    if (node?.type === 'Held') return (node as HeldNode).held;
    this.#spend(STEP);
    const value = super.evaluate(node && this.#prepared(node, scope), scope);
    // Made anew in every turn of a loop from what is known.
    if (!isLoop(node)) this.#expect(this.#weigh(value).size);
    // What a variable or a text of the template holds was paid for when it was made.
    if (!FREE.has(node?.type ?? '')) this.#spend(footprint(value));
    return value;
  }

  /** The node with what its operation depends on evaluated, after a check of what the operation would make. */
  #prepared(node: Node, scope: Scope): Node {
    switch (node.type) {
      case 'For': {
        // Every element costs a scope of its own, even where the body is empty.
        const iterable = child(node, 'iterable');
        const source = iterable.type === 'SelectExpression' ? child(iterable, 'lhs') : iterable;
        const list = this.#hold(source, scope);
        this.#spend(64 * lengthOf(list.held));
        const held = source === iterable ? list : { ...iterable, lhs: list };
        return { ...node, iterable: held } as Node;
      }
      case 'FilterExpression': {
        const filter = child(node, 'filter');
        const operand = this.#hold(child(node, 'operand'), scope);
        return { ...node, operand, filter: this.#preparedFilter(filter, operand.held, scope) } as Node;
      }
      case 'FilterStatement':
        return this.#prepared({ ...node, type: 'FilterExpression', operand: asBlock(node) } as unknown as Node, scope);
      case 'Set':
        return child(node, 'value') ? node : ({ ...node, value: this.#hold(asBlock(node), scope) } as Node);
      case 'MemberExpression': {
        const { property, computed } = node as unknown as { property: Node; computed: boolean };
        if (!computed && textOf(property) !== 'replace') return node;
        const object = this.#hold(child(node, 'object'), scope);
        if (object.held?.type === 'StringValue') this.#guardReplace(object.held);
        return { ...node, object } as Node;
      }
      case 'Macro':
      case 'CallStatement':
        this.#spend(4096);
        return node;
      default:
        return node;
    }
  }

  #preparedFilter(filter: Node, operand: Value, scope: Scope): Node {
    this.#spend(lengthOf(operand));
    if (operand?.type === 'StringValue') this.#guardReplace(operand);
    if (filter.type !== 'CallExpression') return filter;
    const name = textOf(child(filter, 'callee'));
    // These take names of attributes and tests as they stand.
    if (name === 'selectattr' || name === 'rejectattr') return filter;
    let multiplies = 0;
    const args = (filter as unknown as { args: Node[] }).args.map((arg) => {
      if (arg.type === 'SpreadExpression' || arg.type === 'KeywordSpreadExpression') {
        throw outOfBounds(`* and ** in the arguments of the filter ${name}`);
      }
      const keyword = arg.type === 'KeywordArgumentExpression';
      const held = this.#hold(keyword ? child(arg, 'value') : arg, scope);
      const { value } = held.held ?? {};
      if (typeof value === 'number' && (name === 'indent' || name === 'tojson')) {
        if (value > MAX_INDENT) throw outOfBounds(`${name} by ${value} spaces, at most ${MAX_INDENT} are allowed`);
        multiplies += Math.max(0, value);
      } else if (name === 'join' || name === 'tojson') multiplies += this.#weigh(held.held).size;
      return keyword ? { ...arg, value: held } : held;
    });
    const { size, depth } = this.#weigh(operand);
    if (multiplies > 0) this.#expect(size + elementsOf(operand, size) * multiplies * Math.max(1, depth));
    return { ...filter, args } as Node;
  }

  #hold(node: Node, scope: Scope): HeldNode {
    return { type: 'Held', held: this.evaluate(node, scope) };
  }

  /** `replace` may put a long text into each place of another: it is asked how long the result can be. */
  #guardReplace(text: Value): void {
    const method = text.builtins.get('replace');
    if (!method || this.#guarded.has(method)) return;
    this.#guarded.add(method);
    const replace = method.value as (args: Value[], scope: Scope) => Value;
    (method as { value: unknown }).value = (args: Value[], scope: Scope): Value => {
      const [from, to] = args.map((arg) => String(arg?.value ?? '').length);
      const size = String(text.value).length;
      this.#expect(size + (size / Math.max(1, from ?? 1) + 1) * (to ?? 0));
      return replace(args, scope);
    };
  }

  #spend(units: number): void {
    this.#left -= units;
    if (this.#left < 0) throw outOfBounds('a loop, a macro or a filter multiplies without end');
  }

  #expect(size: number): void {
    if (!(size <= this.#maxValue)) throw outOfBounds(`a value would have ${Math.ceil(size)} characters`);
  }

  #weigh(value: Value): Weight {
    if (value?.type === 'StringValue') return { size: (value.value as string).length, depth: 0 };
    const content: unknown = value?.value;
    if (typeof content !== 'object' || content === null) return { size: 8, depth: 0 };
    // Namespaces alone can change, so they are weighed anew, and may not lie in anything that is not.
    const isNamespace = value.type === 'NamespaceValue';
    const known = isNamespace ? undefined : this.#weights.get(content);
    if (known) return known;
    let size = 2;
    let depth = 0;
    const add = (element: Value): void => {
      if (element?.type === 'NamespaceValue') throw outOfBounds('a namespace lies in a list or an object');
      const weight = this.#weigh(element);
      size += ELEMENT + weight.size;
      depth = Math.max(depth, weight.depth);
    };
    if (content instanceof Map) {
      for (const [key, element] of content as Map<string, Value>) {
        size += key.length;
        add(element);
      }
    } else for (const element of content as Value[]) add(element);
    if (depth >= MAX_DEPTH) throw outOfBounds(`lists and objects lie more than ${MAX_DEPTH} deep in one another`);
    const weight = { size, depth: depth + 1 };
    if (!isNamespace) this.#weights.set(content, weight);
    return weight;
  }
}

/** Nodes whose values exist already. */
const FREE: ReadonlySet<string> = new Set(['Identifier', 'MemberExpression', 'StringLiteral']);

function isLoop(node: Node | undefined): boolean {
  return node?.type === 'Identifier' && textOf(node) === 'loop';
}

function child(node: Node, field: string): Node {
  return (node as unknown as Record<string, Node>)[field]!;
}

/** The name of an identifier. */
function textOf(node: Node): string {
  return String((node as unknown as { value?: unknown }).value);
}

/** The body of a statement as a node that gives its text. */
function asBlock(node: Node): Node {
  const test = { type: 'IntegerLiteral', value: 1 };
  return { type: 'If', test, body: child(node, 'body'), alternate: [] } as Node;
}

/** What a value takes apart from those that lie in it. */
function footprint(value: Value): number {
  return typeof value?.value === 'string' ? value.value.length : ELEMENT * lengthOf(value);
}

function lengthOf(value: Value): number {
  const content: unknown = value?.value;
  if (content instanceof Map) return content.size;
  return Array.isArray(content) || typeof content === 'string' ? content.length : 0;
}

/** Places at which a filter may put something: at most as many as a text has characters, a list commas. */
function elementsOf(value: Value, size: number): number {
  return typeof value?.value === 'string' ? size : Math.ceil(size / ELEMENT) + 1;
}

function outOfBounds(why: string): TextError {
  return new TextError(`the chat template is out of bounds: ${why}`, {
    hint: 'templates run with limits of time and memory, as they come with the files of strangers; use a plain one',
  });
}

/** The directives that chat templates use, in English as Python's default locale gives them; others stay as they are. */
function formatTime(time: Date, format: string): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  const name = (options: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat('en-US', options).format(time);
  const parts: Readonly<Record<string, () => string>> = {
    Y: () => String(time.getFullYear()),
    m: () => two(time.getMonth() + 1),
    d: () => two(time.getDate()),
    H: () => two(time.getHours()),
    M: () => two(time.getMinutes()),
    S: () => two(time.getSeconds()),
    b: () => name({ month: 'short' }),
    B: () => name({ month: 'long' }),
    a: () => name({ weekday: 'short' }),
    A: () => name({ weekday: 'long' }),
    '%': () => '%',
  };
  return format.replace(/%([YmdHMSbBaA%])/g, (_, directive: string) => parts[directive]!());
}
