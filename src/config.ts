/** Configuration stops at the edge: every user-facing option object passes through here once. */
import { z } from 'zod';
import { ConfigError } from './errors.js';
import { showValue } from './show-value.js';

/**
 * Checks an option object against its schema and fills in the defaults.
 * @param what how the object is called in messages, e.g. `SftConfig`
 * @param aliases names of other libraries, in lower case without underscores, for which a fault tells the name here
 * @throws ConfigError listing every fault, with the nearest known name for an unknown key
 */
export function parseOptions<S extends z.ZodType>(
  schema: S,
  input: unknown,
  what: string,
  aliases: Readonly<Record<string, string>> = {},
): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const faults = result.error.issues.slice(0, MAX_FAULTS).flatMap((issue) => describeIssue(issue, schema, aliases));
  if (faults.length > MAX_FAULTS) faults.splice(MAX_FAULTS, faults.length, 'and more');
  throw new ConfigError(
    `${what}: ${faults.length === 1 ? '' : `${faults.length} faults\n  - `}${faults.join('\n  - ')}`,
    {
      details: { faults },
      cause: result.error,
    },
  );
}

/** An option that is called with a `T`. */
export function callback<T>(): z.ZodCustom<(value: T) => void, (value: T) => void> {
  return z.custom<(value: T) => void>((value) => typeof value === 'function', 'expected a function');
}

/**
 * Checks the names in an object of parts (models, callbacks), whose values no schema describes.
 * @param names every name; true: it must be given
 * @throws ConfigError listing the missing and the unknown names, with the nearest known one
 */
export function checkNames<T extends object>(
  options: T,
  names: Readonly<Record<keyof Required<T>, boolean>>,
  what: string,
): void {
  if (typeof options !== 'object' || options === null) {
    throw new ConfigError(`${what}: expected an object of options, got ${options === null ? 'null' : typeof options}`);
  }
  const known = Object.keys(names) as (keyof T & string)[];
  const missing = known.filter((name) => names[name] && options[name] === undefined);
  const faults = [
    ...missing.map((name) => `\`${name}\` is missing`),
    ...Object.keys(options).flatMap((name) => (Object.hasOwn(names, name) ? [] : unknownName(name, name, known))),
  ];
  if (faults.length > 0) throw new ConfigError(`${what}: ${faults.join('; ')}`, { details: { faults } });
}

/**
 * @param what who wants it, e.g. `loadProcessor`
 * @throws ConfigError if a folder or file was not named by a string
 */
export function requirePath(path: unknown, what: string): void {
  if (typeof path === 'string' && path !== '') return;
  throw new ConfigError(`${what}: expected a path, got ${path === '' ? 'an empty one' : showValue(path)}`);
}

function unknownName(
  key: string,
  shown: string,
  known: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): string {
  const plain = key.toLowerCase().replaceAll('_', '');
  const near = Object.hasOwn(aliases, plain) ? aliases[plain] : nearestName(key, known);
  return `unknown option \`${shown}\`${near ? `; did you mean \`${near}\`?` : `; known: ${known.join(', ')}`}`;
}

const MAX_COMPARED = 300;
const MAX_KNOWN = 20_000;
const MAX_FAULTS = 30;

function describeIssue(
  issue: z.core.$ZodIssue,
  schema: z.ZodType,
  aliases: Readonly<Record<string, string>>,
): string[] {
  const path = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, issue.path);
    const keys = issue.keys.slice(0, MAX_FAULTS + 1);
    return keys.map((key) => unknownName(key, path ? `${path}.${key}` : key, known, aliases));
  }
  return [path ? `\`${path}\`: ${issue.message}` : issue.message];
}

function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let current: unknown = schema;
  const unwrap = (value: unknown): unknown => {
    let inner = value as { _zod?: { def?: Record<string, unknown> } } | undefined;
    while (inner?._zod?.def && !('shape' in inner._zod.def)) {
      const next = inner._zod.def['innerType'] ?? inner._zod.def['in'];
      if (!next) break;
      inner = next as typeof inner;
    }
    return inner;
  };
  for (const key of path) {
    const shape = (unwrap(current) as { shape?: Record<string, unknown> })?.shape;
    current = shape?.[String(key)];
  }
  return Object.keys((unwrap(current) as { shape?: object })?.shape ?? {});
}

/** The known name within two thirds of the letters, by edit distance, or undefined. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  // The distance takes time as the product of the lengths, for each of the known names.
  if (name.length > MAX_COMPARED || known.length > MAX_KNOWN) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase().replaceAll('_', ''), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
