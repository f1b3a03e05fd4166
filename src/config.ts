/** Configuration stops at the edge: every user-facing option object passes through here once. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError } from './errors.js';
import { HOMEPAGE } from './generated/version.js';
import { describeGiven, isKind, isPromise, kindOf } from './messages/given-kind.js';
import { nearestName, plainName } from './messages/nearest-name.js';
import { showValue } from './messages/show-value.js';
import { isContainer, optionsHint, requireObject } from './require-given.js';

/**
 * Checks an option object against its schema and fills in the defaults.
 * @param given the schema, or a lazy one
 * @param what how the object is called in messages, e.g. `SftConfig`
 * @param aliases names of other libraries, in lower case without underscores, with the name here that a fault suggests
 * @param shown how messages call an option that came under another name, as from a file
 * @param elsewhere names of other libraries, written as for `aliases`, with what to do instead
 * @throws ConfigError listing every fault: what was expected and what came, with the nearest known name for an unknown
 * key or word
 */
export function parseOptions<S extends z.ZodType>(
  given: S | (() => S),
  input: unknown,
  what: string,
  aliases: Readonly<Record<string, string>> = {},
  shown: Readonly<Record<string, string>> = {},
  elsewhere: Readonly<Record<string, string>> = {},
): z.output<S> {
  const schema = typeof given === 'function' ? given() : given;
  // A promise would pass for an object without options.
  if (isPromise(input) || isContainer(input)) requireObject(input, what);
  // Without zod's own words, what has a message is a schema's own.
  const result = schema.safeParse(input, { error: () => '' });
  if (result.success) return result.data;
  // Other values are the schema's to judge: they may come from a file.
  if (kindOf(input) !== undefined || typeof input === 'function' || input === undefined) requireObject(input, what);
  const faults = result.error.issues.slice(0, MAX_FAULTS).flatMap((issue) => {
    const path = issue.path.map((key, i) => (i === 0 ? (shown[String(key)] ?? String(key)) : String(key))).join('.');
    const rename = (name: string): string => (Object.hasOwn(shown, name) ? shown[name]! : name);
    // A schema's own message may name other options; only camelCase names are replaced.
    return describeIssue(issue, path, schema, input, { aliases, elsewhere }).map((fault) =>
      fault.replace(/\b[a-z]+[A-Z]\w*/g, rename),
    );
  });
  if (faults.length > MAX_FAULTS) faults.splice(MAX_FAULTS, faults.length, 'and more');
  const count = faults.length === 1 ? '' : `${faults.length} faults\n  - `;
  throw new ConfigError(`${what}: ${count}${faults.join('\n  - ')}`, { details: { faults }, cause: result.error });
}

/** A schema, or some, made with the first use: those of a door would take a quarter of the time of its import. */
export function lazySchema<S extends object>(make: () => S): () => S {
  let made: S | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** An option that is a function. */
export function functionOption<F>(): z.ZodCustom<F, F> {
  return z.custom<F>((value) => typeof value === 'function', 'expected a function');
}

/** An option that is called with a `T`. */
export function callback<T>(): z.ZodCustom<(value: T) => void, (value: T) => void> {
  return functionOption<(value: T) => void>();
}

/**
 * Checks the names in an object of parts (models, callbacks), whose values no schema describes.
 * @param names every name; true: it must be given
 * @param aliases as for `parseOptions`
 * @throws ConfigError listing the missing and the unknown names, with the nearest known one
 */
export function checkNames<T extends object>(
  options: T,
  names: Readonly<Record<keyof Required<T>, boolean>>,
  what: string,
  aliases: Readonly<Record<string, string>> = {},
  elsewhere: Readonly<Record<string, string>> = {},
): void {
  requireObject(options, what);
  const known = Object.keys(names) as (keyof T & string)[];
  const missing = known.filter((name) => names[name] && options[name] === undefined);
  const faults = [
    ...missing.map((name) => `\`${name}\` is missing`),
    ...Object.keys(options).flatMap((name) =>
      Object.hasOwn(names, name) ? [] : unknownName(name, name, known, { aliases, elsewhere }),
    ),
  ];
  if (faults.length > 0) throw new ConfigError(`${what}: ${faults.join('; ')}`, { details: { faults } });
}

/**
 * @param what the function that wants it, e.g. `loadProcessor`
 * @throws ConfigError unless it is a string that is not empty, and a path here
 */
export function requirePath(path: unknown, what: string): void {
  if (typeof path === 'string' && path !== '') {
    const fault = pathFault(path);
    if (fault) throw new ConfigError(`${what}: expected a path, got ${showValue(path)}, ${fault.what}`, fault);
    return;
  }
  const given = path === '' ? 'an empty one' : describeGiven(path);
  if (isKind(path, 'adapter')) {
    throw new ConfigError(`${what}: expected a path, got an adapter`, {
      hint: 'Save it first: await saveAdapter(adapter, folder), and give the folder.',
    });
  }
  const hint = path instanceof URL ? 'Give its path: fileURLToPath(url), of node:url.' : optionsHint(path);
  throw new ConfigError(`${what}: expected a path, got ${given}`, { hint });
}

/**
 * Texts that Node would take for the name of a folder here, `~` or `file:`, and would make it without a word.
 * @returns undefined for all others
 */
export function pathFault(
  path: string,
  platform: string = process.platform,
): { what: string; hint: string } | undefined {
  if (/^file:/i.test(path)) return { what: 'a URL', hint: 'Give its path: fileURLToPath(url), of node:url.' };
  if (/^~(?:[\\/]|$)/.test(path)) {
    return {
      what: 'where ~ is of shells',
      hint: `Write the home folder out: ${homePath(path.slice(2))}; in code join(homedir(), …), of node:path and node:os.`,
    };
  }
  if (platform !== 'win32' && /^[A-Za-z]:[\\/]/.test(path)) {
    return {
      what: 'a path of Windows',
      hint: `This is ${platform}: give a path of this machine; in WSL C:\\ is /mnt/c/.`,
    };
  }
  return undefined;
}

function homePath(rest: string): string {
  try {
    return showValue(join(homedir(), rest));
  } catch {
    // A user without a home folder.
    return `$HOME/${rest}`;
  }
}

/** An option that is a path, of a folder or file that may have to be made. */
export function pathOption(): z.ZodString {
  return z
    .string()
    .min(1)
    .superRefine((path, { addIssue }) => {
      const fault = pathFault(path);
      if (fault) addIssue(`expected a path, got ${showValue(path)}, ${fault.what}: ${fault.hint}`);
    });
}

/** What names of other libraries mean here. */
interface OtherNames {
  readonly aliases: Readonly<Record<string, string>>;
  readonly elsewhere: Readonly<Record<string, string>>;
}

/** Options with the defaults filled in: all are given but the `Open` ones, which have none of their own. */
export type WithDefaults<T, Open extends keyof T = never> = {
  [K in keyof T as Exclude<K, Open>]-?: Exclude<T[K], undefined>;
} & Pick<T, Open>;

/** Options as far as they are given: for interfaces that do not say `undefined`, which their schemas take all the same. */
export type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/**
 * Names of options in which what a schema takes (or gives) and the interface that documents it differ, where one lacks it
 * or types it otherwise.
 */
export type Mismatch<Checked, Written> =
  | Exclude<keyof Checked, keyof Written>
  | Exclude<keyof Written, keyof Checked>
  | {
      [K in keyof Checked & keyof Written]-?: 0 extends 1 & Checked[K]
        ? K
        : Differs<Pick<Checked, K>, Pick<Written, K>, K>;
    }[keyof Checked & keyof Written];
type Differs<A, B, Name> = [A] extends [B] ? ([B] extends [A] ? never : Name) : Name;
/** Compiles where no name is left: keeps schema and interface equal. */
export type NoMismatch<Names extends never> = Names;

function unknownName(key: string, shown: string, known: readonly string[], { aliases, elsewhere }: OtherNames): string {
  const plain = plainName(key);
  const unknown = `unknown option \`${shown}\``;
  if (Object.hasOwn(elsewhere, plain)) return `${unknown}; ${elsewhere[plain]}`;
  const near = Object.hasOwn(aliases, plain) ? aliases[plain] : nearestName(key, known);
  const meant = near === undefined ? containing(plain, known) : [near];
  if (meant.length === 0 && known.length > MAX_LISTED) {
    return `${unknown}; known: ${known.length} others, none of them near: ${HOMEPAGE}options.html`;
  }
  if (meant.length === 0) return `${unknown}; known: ${known.join(', ')}`;
  return `${unknown}; did you mean ${meant.map((name) => `\`${name}\``).join(' or ')}?`;
}

/** Few names that have all of a short one in them: `numTrainEpochs` of `epochs`. */
function containing(plain: string, known: readonly string[]): readonly string[] {
  const found = plain.length < MIN_CONTAINED ? [] : known.filter((name) => plainName(name).includes(plain));
  return found.length > MAX_CONTAINING ? [] : found;
}

/** More names than these are not read in a message. */
const MAX_LISTED = 24;
const MIN_CONTAINED = 4;
const MAX_CONTAINING = 3;

const MAX_FAULTS = 30;

function describeIssue(
  issue: z.core.$ZodIssue,
  path: string,
  schema: z.ZodType,
  input: unknown,
  others: OtherNames,
): string[] {
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, issue.path);
    const keys = issue.keys.slice(0, MAX_FAULTS + 1);
    return keys.map((key) => unknownName(key, path ? `${path}.${key}` : key, known, others));
  }
  const fault = describeFault(issue, schemaAt(schema, issue.path), valueAt(input, issue.path));
  return [path ? `\`${path}\`: ${fault}` : fault];
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | null | undefined)?.[key], input);
}

/** What was expected and what came. A schema's own words come before the general ones. */
function describeFault(issue: z.core.$ZodIssue, schema: unknown, value: unknown): string {
  const { message } = issue;
  if (message !== '') {
    const isWhole = !message.startsWith('expected') || message.includes(', got ');
    return isWhole ? message : `${message}, got ${showGiven(value)}`;
  }
  if (issue.code === 'invalid_key') return `expected a name of ${expectation(issue.issues[0]!, undefined)}`;
  const expected = expectation(issue, schema);
  if (value === undefined) return `is missing: expected ${expected}`;
  const words = wordsOf(issue);
  const mayBeMeant = typeof value === 'string' && (words.length > 1 || issue.code === 'invalid_union');
  const near = mayBeMeant ? nearestName(value, words) : undefined;
  return `expected ${expected}, got ${showGiven(value)}${near ? `; did you mean ${JSON.stringify(near)}?` : ''}`;
}

/** A string is named as one, since the quotes of `"16"` are easily overlooked. */
function showGiven(value: unknown): string {
  return `${typeof value === 'string' ? 'the string ' : ''}${showValue(value)}`;
}

const TYPES: Readonly<Record<string, string>> = {
  number: 'a number',
  int: 'a whole number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object of names and values',
  map: 'a Map',
  date: 'a Date',
  function: 'a function',
  AbortSignal: 'an AbortSignal',
};

/** One and many. */
const UNITS: Readonly<Record<string, readonly [string, string]>> = {
  array: ['entry', 'entries'],
  string: ['character', 'characters'],
};

function expectation(issue: z.core.$ZodIssue, schema: unknown): string {
  switch (issue.code) {
    case 'invalid_type': {
      const isInt = definition(schema)?.format === 'safeint';
      if (issue.expected === 'number' && 'received' in issue)
        return `a finite number${isInt ? ' without fraction' : ''}`;
      return isInt ? TYPES.int! : (TYPES[issue.expected] ?? issue.expected);
    }
    case 'invalid_value': {
      const values = issue.values.map((value) => JSON.stringify(value));
      return values.length === 1 ? values[0]! : `one of ${values.join(', ')}`;
    }
    case 'too_small':
    case 'too_big': {
      const [limit, low] = issue.code === 'too_small' ? [issue.minimum, true] : [issue.maximum, false];
      const unit = UNITS[issue.origin];
      if (unit) return `at ${low ? 'least' : 'most'} ${limit} ${unit[limit === 1 ? 0 : 1]}`;
      if (issue.inclusive) return `at ${low ? 'least' : 'most'} ${limit}`;
      return `${low ? 'more' : 'less'} than ${limit}`;
    }
    case 'invalid_union': {
      const options = (definition(schema)?.['options'] ?? []) as readonly unknown[];
      const faults = issue.errors.flatMap(([error], i) => (error ? [{ error, schema: bare(options[i]) }] : []));
      // Where the type was right, the other types are not what is missing.
      const near = faults.filter(({ error }) => error.code !== 'invalid_type' && error.code !== 'invalid_value');
      const expected = (near.length > 0 ? near : faults).map((fault) => expectation(fault.error, fault.schema));
      return [...new Set(expected)].join(' or ');
    }
    default:
      return issue.message || 'another value';
  }
}

/** The strings that are allowed, where there are only some. */
function wordsOf(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'invalid_union') return issue.errors.flatMap((errors) => (errors[0] ? wordsOf(errors[0]) : []));
  return issue.code === 'invalid_value' ? issue.values.filter((value) => typeof value === 'string') : [];
}

type Definition = Readonly<Record<string, unknown>>;

const definition = (schema: unknown): Definition | undefined =>
  (schema as { _zod?: { def?: Definition } } | undefined)?._zod?.def;

/** Without defaults, optionality and refinements. */
function bare(schema: unknown): unknown {
  let inner = schema;
  for (let def = definition(inner); def; def = definition(inner)) {
    const next = def['innerType'] ?? def['in'];
    if (!next || 'shape' in def) break;
    inner = next;
  }
  return inner;
}

/** The schema of an option, or of an entry of a list or record. */
function schemaAt(schema: unknown, path: readonly PropertyKey[]): unknown {
  return bare(
    path.reduce((current, key) => {
      const def = definition(bare(current));
      return (def?.['shape'] as Definition | undefined)?.[String(key)] ?? def?.['element'] ?? def?.['valueType'];
    }, schema),
  );
}

function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  return Object.keys((definition(schemaAt(schema, path))?.['shape'] as object | undefined) ?? {});
}
