/**
 * Untrusted Jinja templates, run within bounds and as jinja2 runs them. A chat template comes with a model, and its
 * language has loops, macros and filters that multiply: a line of it can take hours, or all memory. So every step and
 * every text that a template makes is paid for, filters that multiply say beforehand what they would make, and a
 * watchdog looks at the clock. A template renders to the text that it gives in Python, with the settings of
 * transformers, or it is refused.
 */
import { withinTime } from '../async/time-limit.js';
import { Budget, ELEMENT, MAX_NESTING } from './jinja/budget.js';
import { compileTemplate, type Program } from './jinja/compiler.js';
import { JinjaError, outOfBounds, unsupported } from './jinja/error.js';
import { FILTER_NAMES, FILTERS, OTHER_FILTERS } from './jinja/filters.js';
import { globalsOf } from './jinja/globals.js';
import { parseTemplate } from './jinja/parser.js';
import { type Key, PyFloat, toText, type Value } from './jinja/python-values.js';
import type { Rendering } from './jinja/runtime.js';
import { callTest } from './jinja/value-tests.js';

/** Longer than any chat template by far. */
const MAX_SOURCE = 262_144;
/** Parsing one of this length takes a fraction of a second at its worst: on a busy machine a clock would say otherwise. */
const QUICK_SOURCE = 32_768;
/** Up to here nobody looks at the clock: no more steps than take a fraction of a second at their worst. */
const QUICK_TOTAL = 100_000;
/** A second net, for steps that take long and make little. A rendering takes a tenth of a millisecond. */
const MAX_MILLISECONDS = 700;
const CHARACTERS_A_MILLISECOND = 100;

export interface TrackedRendering {
  readonly text: string;
  /** Starts and ends in UTF-16 code units, in the order in which the blocks ended. */
  readonly generation: readonly (readonly [number, number])[];
}

/** A template whose rendering ends in bounded time and memory, whatever it says. */
export class BoundedTemplate {
  readonly #program: Program;

  /** @throws TextError if the source is too long, or uses what is not supported; JinjaError if it is no Jinja */
  constructor(source: string) {
    if (source.length > MAX_SOURCE) {
      throw outOfBounds(`it has ${source.length} characters, at most ${MAX_SOURCE} are read`);
    }
    const parse = (): Program => compileTemplate(parseTemplate(source));
    this.#program =
      source.length <= QUICK_SOURCE
        ? withinStack(parse)
        : withinTime(
            MAX_MILLISECONDS,
            () => withinStack(parse),
            () => outOfBounds('parsing it takes too long'),
          );
  }

  /** @throws TextError if the template exceeds the bounds or uses what is not supported; JinjaError if it raises */
  render(items: Readonly<Record<string, unknown>>): string {
    return this.renderTracked(items).text;
  }

  /** The same, with the ranges that `{% generation %}` encloses, as transformers has them for masks. */
  renderTracked(items: Readonly<Record<string, unknown>>): TrackedRendering {
    const reader = new InputReader();
    const given = new Map<string, Value>();
    for (const [name, value] of Object.entries(items)) {
      if (value !== undefined) given.set(name, reader.read(value, 0));
    }
    // A watchdog costs as much as rendering a sample, and few steps need none. Rendering has no effects: it may restart.
    const budget = new Budget(reader.size, QUICK_TOTAL);
    try {
      return this.#run(given, budget);
    } catch (error) {
      if (!budget.isSpent) throw error;
    }
    const limit = MAX_MILLISECONDS + Math.ceil(reader.size / CHARACTERS_A_MILLISECOND);
    const run = (): TrackedRendering => this.#run(given, new Budget(reader.size));
    return withinTime(limit, run, () => outOfBounds('it does not come to an end'));
  }

  #run(items: ReadonlyMap<string, Value>, budget: Budget): TrackedRendering {
    const rendering: Rendering = {
      budget,
      root: { text: '' },
      generation: [],
      callTest: (name, value, args, kwargs) => callTest(name, value, args, kwargs, budget, FILTER_NAMES),
      callFilter: (name, value, args, kwargs) => {
        const filter = typeof name === 'string' ? FILTERS.get(name) : undefined;
        if (typeof name === 'string' && OTHER_FILTERS.has(name)) throw unsupported(`the filter ${name}`);
        if (!filter) throw new JinjaError(`No filter named '${toText(name, budget)}'.`);
        budget.spend(16);
        return filter(value, args, kwargs, rendering);
      },
    };
    const given = new Map([...globalsOf(budget), ...items]);
    return withinStack(() => {
      this.#program(rendering, { vars: new Map(), given });
      return { text: rendering.root.text, generation: rendering.generation };
    });
  }
}

function withinStack<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof RangeError && /call stack/.test(error.message)) {
      throw outOfBounds('it recurses too deeply');
    }
    throw error;
  }
}

/** Makes Python's values from what a conversation holds, and measures them. */
class InputReader {
  size = 0;

  read(value: unknown, depth: number): Value {
    this.size += ELEMENT;
    switch (typeof value) {
      case 'string':
        this.size += value.length;
        return value;
      case 'boolean':
        return value;
      case 'number':
        if (!Number.isInteger(value)) return new PyFloat(value);
        // JavaScript has rounded it, and knows no longer whether it was an integer.
        if (!Number.isSafeInteger(value)) throw unsupported(`the number ${value} in its input, beyond 2 ** 53,`);
        return value === 0 ? 0 : value;
      case 'undefined':
        return null;
      case 'object':
        break;
      default:
        throw unsupported(`a ${typeof value} in its input`);
    }
    if (value === null) return null;
    if (depth >= MAX_NESTING) throw outOfBounds(`lists and objects lie more than ${MAX_NESTING} deep in one another`);
    if (Array.isArray(value)) return value.map((item) => this.read(item, depth + 1));
    const entries = value instanceof Map ? [...(value as Map<string, unknown>)] : Object.entries(value);
    const dict = new Map<Key, Value>();
    for (const [key, item] of entries) {
      if (item === undefined) continue;
      this.size += key.length;
      dict.set(key, this.read(item, depth + 1));
    }
    return dict;
  }
}
