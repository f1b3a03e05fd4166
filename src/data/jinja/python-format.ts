/** Python's two ways of putting values into a text: `%` and `str.format`. */
import type { Budget } from './budget.js';
import { JinjaError, outOfBounds, unsupported } from './error.js';
import { toFixed } from './python-numbers.js';
import { characters, textLength } from './python-text.js';
import {
  asInteger,
  asNumber,
  asText,
  type Kwargs,
  type PyDict,
  PyFloat,
  PyRange,
  PyTuple,
  repr,
  toText,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';

const MAX_WIDTH = 10_000;

function padded(text: string, width: number, align: string, fill: string, budget: Budget): string {
  if (width > MAX_WIDTH) throw outOfBounds(`a format of ${width} characters`);
  const missing = width - textLength(text);
  if (missing <= 0) return text;
  budget.expect(text.length + missing);
  if (align === '<') return text + fill.repeat(missing);
  if (align === '>') return fill.repeat(missing) + text;
  if (align === '=') {
    const sign = /^[-+ ]?(?:0[xXob])?/.exec(text)![0];
    return sign + fill.repeat(missing) + text.slice(sign.length);
  }
  const before = Math.floor(missing / 2);
  return fill.repeat(before) + text + fill.repeat(missing - before);
}

const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\d+|\*)?(?:\.(\d+|\*)?)?([hlL]?)([\s\S]?)/gu;

export function percentFormat(text: string, values: Value, budget: Budget): string {
  const list = values instanceof PyTuple ? values.items : [values];
  const dict = values instanceof Map ? (values as PyDict) : undefined;
  let used = 0;
  let isNamed = false;
  const result = text.replace(CONVERSION, (whole, name, flags: string, width, precision, _length, type: string) => {
    if (width === '*' || precision === '*') throw unsupported('* in a % format');
    const hasPrecision = /\./.test(whole.slice(1 + (name === undefined ? 0 : name.length + 2)));
    if (type === '') throw new JinjaError('incomplete format');
    if (type === '%' && name === undefined && whole === '%%') return '%';
    if (type === '%') throw unsupported(`the % format ${whole}`);
    let value: Value | undefined;
    if (name !== undefined) {
      if (!dict) throw new JinjaError('format requires a mapping');
      isNamed = true;
      value = dict.get(name);
      if (value === undefined) throw new JinjaError(`KeyError: ${name}`);
    } else {
      value = list[used++];
      if (value === undefined) throw new JinjaError('not enough arguments for format string');
    }
    const digits = hasPrecision ? Number(precision ?? 0) : undefined;
    const body = converted(value, type, flags, digits, budget);
    const isNumber = !'sra'.includes(type) && type !== 'c';
    const align = flags.includes('-') ? '<' : isNumber && flags.includes('0') ? '=' : '>';
    return padded(body, Number(width ?? 0), align, align === '=' ? '0' : ' ', budget);
  });
  // A mapping may have more than is used, and so may anything that can be subscripted by names.
  if (
    !isNamed &&
    used < list.length &&
    (values instanceof PyTuple || !(dict || Array.isArray(values) || values instanceof PyRange))
  ) {
    throw new JinjaError('not all arguments converted during string formatting');
  }
  budget.expect(result.length);
  return result;
}

function converted(value: Value, type: string, flags: string, precision: number | undefined, budget: Budget): string {
  if (type === 's' || type === 'r') {
    const text = type === 's' ? toText(value, budget) : repr(value, budget, 0);
    return precision === undefined ? text : characters(text).slice(0, precision).join('');
  }
  if (flags.includes('#') || !'diufFxXo'.includes(type)) throw unsupported(`the % format ${flags}${type}`);
  const number = asNumber(value);
  if (number === undefined) throw new JinjaError(`%${type} format: a real number is required, not ${typeName(value)}`);
  let digits: string;
  if (type === 'f' || type === 'F') digits = finite(number, precision ?? 6);
  else {
    const whole = value instanceof PyFloat ? Math.trunc(number) : number;
    if (value instanceof PyFloat && (type === 'x' || type === 'X' || type === 'o')) {
      throw new JinjaError(`%${type} format: an integer is required, not float`);
    }
    if (!Number.isSafeInteger(whole)) throw unsupported('integers beyond 2 ** 53 in a format');
    digits = Math.abs(whole).toString(type === 'o' ? 8 : type === 'x' || type === 'X' ? 16 : 10);
    if (type === 'X') digits = digits.toUpperCase();
    digits = (whole < 0 ? '-' : '') + digits.padStart(precision ?? 0, '0');
  }
  if (!digits.startsWith('-')) {
    if (flags.includes('+')) return `+${digits}`;
    if (flags.includes(' ')) return ` ${digits}`;
  }
  return digits;
}

function finite(number: number, precision: number): string {
  if (!Number.isFinite(number)) throw unsupported('inf or nan in a format');
  return toFixed(number, precision);
}

/** How `str.format` finds what a field names: attributes and elements are the template's. */
interface FieldAccess {
  readonly attribute: (object: Value, name: string) => Value;
  readonly element: (object: Value, key: Value) => Value;
}

const FIELD = /^([^.[!:{}]*)((?:\.[^.[!:{}]+|\[[^\]{}]+\])*)(?:!([rs]))?(?::([\s\S]*))?$/u;
const PART = /\.([^.[]+)|\[([^\]]+)\]/gu;

export function braceFormat(
  text: string,
  args: readonly Value[],
  kwargs: Kwargs,
  access: FieldAccess,
  budget: Budget,
): string {
  let next = 0;
  let mode: 'auto' | 'manual' | undefined;
  let result = '';
  for (let at = 0; at < text.length; ) {
    const char = text[at]!;
    if ((char === '{' || char === '}') && text[at + 1] === char) {
      result += char;
      at += 2;
      continue;
    }
    if (char === '}') throw new JinjaError("Single '}' encountered in format string");
    if (char !== '{') {
      result += char;
      at++;
      continue;
    }
    const end = text.indexOf('}', at);
    if (end < 0) throw new JinjaError("Single '{' encountered in format string");
    const field = text.slice(at + 1, end);
    if (field.includes('{')) throw unsupported('a format field within a format field');
    const match = FIELD.exec(field);
    if (!match) throw unsupported(`the format field {${field}}`);
    const [, name = '', path = '', conversion, spec = ''] = match;
    let value: Value | undefined;
    if (name === '' || /^\d+$/.test(name)) {
      const kind = name === '' ? 'auto' : 'manual';
      if (mode && mode !== kind) throw new JinjaError('cannot switch between automatic and manual field numbering');
      mode = kind;
      value = args[name === '' ? next++ : Number(name)];
      if (value === undefined) throw new JinjaError('Replacement index out of range for positional args tuple');
    } else {
      value = kwargs.get(name);
      if (value === undefined) throw new JinjaError(`KeyError: '${name}'`);
    }
    for (const [, attribute, key] of path.matchAll(PART)) {
      value = attribute
        ? access.attribute(value, attribute)
        : access.element(value, /^\d+$/.test(key!) ? Number(key) : key!);
    }
    if (conversion) value = conversion === 'r' ? repr(value, budget, 0) : toText(value, budget);
    result += formatted(value, spec, budget);
    budget.expect(result.length);
    at = end + 1;
  }
  return result;
}

const SPEC = /^(?:([\s\S])?([<>=^]))?([-+ ])?(0)?(\d+)?(,)?(?:\.(\d+))?([dfsFxXob])?$/u;

function formatted(value: Value, spec: string, budget: Budget): string {
  if (spec === '') return toText(value, budget);
  if (value instanceof Undefined) throw unsupported('a format of an undefined value');
  const match = SPEC.exec(spec);
  if (!match) throw unsupported(`the format ${spec}`);
  const [, givenFill, givenAlign, sign = '', zero, width, comma, precision, type] = match;
  const text = asText(value);
  if (text !== undefined) {
    if (sign || comma || zero || givenAlign === '=' || (type && type !== 's'))
      throw unsupported(`the format ${spec} of a text`);
    const cut = precision === undefined ? text : characters(text).slice(0, Number(precision)).join('');
    return padded(cut, Number(width ?? 0), givenAlign ?? '<', givenFill ?? ' ', budget);
  }
  const number = asNumber(value);
  if (number === undefined || typeof value === 'boolean' || type === 's')
    throw unsupported(`the format ${spec} of a ${typeName(value)}`);
  let digits: string;
  if (type === 'f' || type === 'F') digits = finite(Math.abs(number), Number(precision ?? 6));
  else if (asInteger(value) === undefined || precision !== undefined)
    throw unsupported(`the format ${spec} of a number`);
  else digits = Math.abs(number).toString(type === 'x' || type === 'X' ? 16 : type === 'o' ? 8 : type === 'b' ? 2 : 10);
  if (type === 'X') digits = digits.toUpperCase();
  if (comma) {
    if (type && !'dfF'.includes(type)) throw unsupported(`the format ${spec}`);
    if (zero) throw unsupported(`the format ${spec}`);
    const [whole, rest] = digits.split('.');
    digits = whole!.replace(/\B(?=(?:\d{3})+$)/g, ',') + (rest === undefined ? '' : `.${rest}`);
  }
  const isNegative = number < 0 || Object.is(number, -0);
  const body = (isNegative ? '-' : sign === '-' ? '' : sign) + digits;
  return padded(body, Number(width ?? 0), givenAlign ?? (zero ? '=' : '>'), givenFill ?? (zero ? '0' : ' '), budget);
}
