/** Attributes and methods of values, in the order in which jinja2's sandbox looks for them. */
import { type Budget, ELEMENT } from './budget.js';
import { JinjaError, unsupported } from './error.js';
import { bind } from './python-arguments.js';
import { braceFormat } from './python-format.js';
import { subscript } from './python-operations.js';
import { OTHER_STR_METHODS, STR_METHODS } from './python-str.js';
import {
  asItems,
  isEqual,
  Markup,
  type PyDict,
  PyFloat,
  PyFunction,
  PyObject,
  PyRange,
  PyTuple,
  PyView,
  toKey,
  typeName,
  Undefined,
  type Value,
} from './python-values.js';

/** `object.name`: an attribute, else an element of that name. */
export function getAttribute(object: Value, name: string, budget: Budget): Value {
  if (object instanceof Undefined) {
    if (name.startsWith('__') && name.endsWith('__')) throw unsupported(`the attribute ${name}`);
    throw object.fail();
  }
  const attribute = attributeOf(object, name, budget);
  if (attribute !== undefined) return attribute;
  const element = subscript(object, name);
  return element !== undefined ? element : missing(object, name);
}

/** `object[key]`: an element, else an attribute of that name. */
export function getItem(object: Value, key: Value, budget: Budget): Value {
  if (object instanceof Undefined) throw object.fail();
  const element = subscript(object, key);
  if (element !== undefined) return element;
  if (key instanceof Markup) throw unsupported('a text from `safe` or `escape` as a key');
  if (typeof key !== 'string') return missing(object, key);
  const attribute = attributeOf(object, key, budget);
  return attribute !== undefined ? attribute : missing(object, key);
}

function missing(object: Value, key: Value): Undefined {
  const name = typeof key === 'string' || typeof key === 'number' ? `'${key}'` : `of type ${typeName(key)}`;
  return new Undefined(`'${typeName(object)} object' has no attribute or element ${name}`);
}

/** Names that change what the sandbox keeps from changes: undefined there, and an error when called. */
const CHANGES_LIST = new Set(['append', 'reverse', 'insert', 'sort', 'extend', 'remove']);
const CHANGES_DICT = new Set(['clear', 'pop', 'popitem', 'setdefault', 'update']);
const NUMBER_ATTRIBUTES = new Set(
  'as_integer_ratio bit_count bit_length conjugate denominator from_bytes fromhex hex imag is_integer numerator real to_bytes'.split(
    ' ',
  ),
);
const OTHERS: Readonly<Record<string, ReadonlySet<string>>> = {
  range: new Set(['count', 'index', 'start', 'stop', 'step']),
  dict_keys: new Set(['isdisjoint', 'mapping']),
  dict_items: new Set(['isdisjoint', 'mapping']),
  dict_values: new Set(['mapping']),
  generator: new Set(['close', 'gi_code', 'gi_frame', 'gi_running', 'gi_suspended', 'gi_yieldfrom', 'send', 'throw']),
};

/** An attribute alone; undefined where Python raises an AttributeError. */
export function attributeOf(object: Value, name: string, budget: Budget): Value | undefined {
  if (name.startsWith('_')) return undefined;
  if (typeof object === 'string') return strAttribute(object, name, budget);
  if (object instanceof Map) return dictAttribute(object as PyDict, name);
  if (object instanceof PyObject) return object.attribute(name);
  if (Array.isArray(object)) {
    // Older versions of the sandbox let these two pass.
    if (name === 'pop' || name === 'clear') throw unsupported(`the method ${name} of list`);
    if (CHANGES_LIST.has(name)) return unsafe(object, name);
    if (name !== 'copy') return listAttribute(object, name, budget);
    return new PyFunction('copy', (args, kwargs) => {
      bind('copy', [], args, kwargs);
      return object;
    });
  }
  if (object instanceof PyTuple) {
    const at = object.names.indexOf(name);
    return at >= 0 ? object.items[at] : listAttribute(object, name, budget);
  }
  if (typeof object === 'number' || typeof object === 'boolean' || object instanceof PyFloat) {
    if (NUMBER_ATTRIBUTES.has(name)) throw unsupported(`the attribute ${name} of a ${typeName(object)}`);
  }
  if (object instanceof Markup) {
    if (STR_METHODS.has(name) || OTHER_STR_METHODS.has(name) || /^(?:format|unescape|striptags|escape)$/.test(name)) {
      throw unsupported(`${name} of what \`safe\` or \`escape\` gave`);
    }
    return undefined;
  }
  if (object instanceof PyRange || object instanceof PyView || typeName(object) === 'generator') {
    if (OTHERS[typeName(object)]!.has(name)) throw unsupported(`the attribute ${name} of a ${typeName(object)}`);
  }
  return undefined;
}

function unsafe(object: Value, name: string): Undefined {
  return new Undefined(`access to attribute '${name}' of '${typeName(object)}' object is unsafe.`);
}

function strAttribute(text: string, name: string, budget: Budget): Value | undefined {
  const method = STR_METHODS.get(name);
  if (method) return new PyFunction(name, (args, kwargs) => method(text, args, kwargs, budget));
  if (name === 'format') {
    const access = {
      attribute: (object: Value, key: string) => getAttribute(object, key, budget),
      element: (object: Value, key: Value) => getItem(object, key, budget),
    };
    return new PyFunction(name, (args, kwargs) => braceFormat(text, args, kwargs, access, budget));
  }
  if (OTHER_STR_METHODS.has(name)) throw unsupported(`the method ${name} of str`);
  return undefined;
}

function dictAttribute(dict: PyDict, name: string): Value | undefined {
  switch (name) {
    case 'keys':
    case 'values':
    case 'items':
      return new PyFunction(name, (args, kwargs) => {
        bind(name, [], args, kwargs);
        return new PyView(name, dict);
      });
    case 'get':
      return new PyFunction(name, (args, kwargs) => {
        const [key, fallback] = bind(name, ['/!key', '/default'], args, kwargs);
        if (Array.isArray(key) || key instanceof Map) toKey(key);
        const value = subscript(dict, key!);
        return value !== undefined ? value : (fallback ?? null);
      });
    case 'copy':
      return new PyFunction(name, (args, kwargs) => {
        bind(name, [], args, kwargs);
        return dict;
      });
    case 'fromkeys':
      throw unsupported('the method fromkeys of dict');
    default:
      return CHANGES_DICT.has(name) ? unsafe(dict, name) : undefined;
  }
}

function listAttribute(object: Value, name: string, budget: Budget): Value | undefined {
  const items = asItems(object)!;
  if (name === 'count') {
    return new PyFunction(name, (args, kwargs) => {
      const [value] = bind(name, ['/!value'], args, kwargs);
      budget.spend(ELEMENT * items.length);
      return items.filter((item) => isEqual(item, value!, budget)).length;
    });
  }
  if (name !== 'index') return undefined;
  return new PyFunction(name, (args, kwargs) => {
    const [value] = bind(name, ['/!value'], args, kwargs);
    budget.spend(ELEMENT * items.length);
    const at = items.findIndex((item) => isEqual(item, value!, budget));
    if (at < 0) throw new JinjaError('the value is not in the list');
    return at;
  });
}
