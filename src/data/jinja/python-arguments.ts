/** Arguments of built-in functions by position and by name. */
import { JinjaError } from './error.js';
import { asInteger, asText, type Kwargs, typeName, Undefined, type Value } from './python-values.js';

export const NO_KWARGS: Kwargs = new Map();

/**
 * The values of the parameters, undefined where none was given.
 * @param names a `!` in front where Python wants one; `/` in front where it has no name to call it by
 */
export function bind(
  callee: string,
  names: readonly string[],
  args: readonly Value[],
  kwargs: Kwargs = NO_KWARGS,
): (Value | undefined)[] {
  if (args.length > names.length)
    throw new JinjaError(`${callee}() takes ${names.length} arguments, got ${args.length}`);
  const values: (Value | undefined)[] = names.map((_, i) => args[i]);
  for (const [name, value] of kwargs) {
    const at = names.findIndex((known) => known.replace('!', '') === name);
    if (at < 0) throw new JinjaError(`${callee}() got an unexpected keyword argument '${name}'`);
    if (at < args.length) throw new JinjaError(`${callee}() got multiple values for argument '${name}'`);
    values[at] = value;
  }
  names.forEach((name, i) => {
    if (values[i] === undefined && name.includes('!'))
      throw new JinjaError(`${callee}() misses the argument '${name}'`);
  });
  return values;
}

export function textOf(value: Value, callee: string): string {
  const text = asText(value);
  if (text === undefined) throw new JinjaError(`${callee}() expects a str, got ${typeName(value)}`);
  return text;
}

export function integerOf(value: Value, callee: string): number {
  if (value instanceof Undefined) throw value.fail();
  const integer = asInteger(value);
  if (integer === undefined) throw new JinjaError(`${callee}() expects an int, got ${typeName(value)}`);
  return integer;
}
