/** The functions that templates find besides the conversation. */
import { type Budget, ELEMENT } from './budget.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import { bind, integerOf, textOf } from './python-arguments.js';
import {
  iterate,
  type Key,
  type Kwargs,
  Namespace,
  PyFunction,
  PyObject,
  PyRange,
  toKey,
  toText,
  type Value,
} from './python-values.js';
import { unpack } from './runtime.js';
import { formatTime } from './strftime.js';

/** The sandbox has no longer ranges. */
const MAX_RANGE = 100_000;

/** @param budget of the rendering that calls them */
export function globalsOf(budget: Budget): [string, Value][] {
  const functions: Readonly<Record<string, PyFunction['call']>> = {
    raise_exception: (args, kwargs) => {
      const [message] = bind('raise_exception', ['!message'], args, kwargs);
      throw new JinjaError(toText(message!, budget));
    },
    strftime_now: (args, kwargs) => {
      const [format] = bind('strftime_now', ['!format'], args, kwargs);
      const text = textOf(format!, 'strftime_now');
      budget.expect(1024 + text.length);
      return formatTime(new Date(), text);
    },
    range: (args, kwargs) => {
      if (kwargs.size || args.length < 1 || args.length > 3) throw new JinjaError('range expects 1 to 3 arguments');
      const bounds = args.map((arg) => integerOf(arg, 'range'));
      const [start, stop] = bounds.length > 1 ? [bounds[0]!, bounds[1]!] : [0, bounds[0]!];
      if (bounds[2] === 0) throw new JinjaError('range() arg 3 must not be zero');
      const range = new PyRange(start, stop, bounds[2] ?? 1);
      if (range.length > MAX_RANGE) {
        throw outOfBounds(`a range of ${range.length} integers, at most ${MAX_RANGE} are allowed`);
      }
      return range;
    },
    dict: (args, kwargs) => dictOf('dict', args, kwargs, budget),
    namespace: (args, kwargs) => new Namespace(dictOf('namespace', args, kwargs, budget)),
    joiner: (args, kwargs) => {
      const [separator = ', '] = bind('joiner', ['sep'], args, kwargs);
      let isUsed = false;
      return new PyObject(
        'Joiner',
        (name) => {
          if (name === 'sep' || name === 'used') throw unsupported('attributes of a joiner');
          return undefined;
        },
        (given, named) => {
          bind('joiner', [], given, named);
          if (isUsed) return separator;
          isUsed = true;
          return '';
        },
      );
    },
    cycler: (args, kwargs) => {
      if (kwargs.size || args.length === 0) throw new JinjaError('at least one item has to be provided');
      let at = 0;
      const methods = new Map<string, Value>([
        ['next', new PyFunction('next', () => args[at++ % args.length]!)],
        [
          'reset',
          new PyFunction('reset', () => {
            at = 0;
            return null;
          }),
        ],
      ]);
      return new PyObject('Cycler', (name) => {
        if (name === 'current') return args[at % args.length];
        if (name === 'items' || name === 'pos') throw unsupported('the attributes items and pos of a cycler');
        return methods.get(name);
      });
    },
    lipsum: () => {
      throw unsupported('the function lipsum');
    },
  };
  return Object.entries(functions).map(([name, call]) => [name, new PyFunction(name, call)]);
}

function dictOf(callee: string, args: readonly Value[], kwargs: Kwargs, budget: Budget): Map<Key, Value> {
  if (args.length > 1) throw new JinjaError(`${callee} expected at most 1 argument, got ${args.length}`);
  const dict = new Map<Key, Value>();
  const [source] = args;
  if (source instanceof Map) for (const [key, value] of source) dict.set(key as Key, value as Value);
  else if (source !== undefined) {
    const iterator = iterate(source, budget);
    for (let step = iterator.next(); !step.done; step = iterator.next()) {
      const [key, value] = unpack(step.value, 2, budget);
      dict.set(toKey(key!), value!);
    }
  }
  for (const [key, value] of kwargs) dict.set(key, value);
  budget.spend(ELEMENT * (1 + dict.size));
  return dict;
}
