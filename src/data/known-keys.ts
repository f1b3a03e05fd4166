/** Keys of samples, messages and parts: one that nothing reads is a mistake, reported with the nearest name. */
import { nearestName } from '../messages/nearest-name.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';

/** By each word of the lists the key of its list. */
export function aliases<K extends string>(lists: Readonly<Record<K, string>>): ReadonlyMap<string, K> {
  const entries = Object.entries(lists) as [K, string][];
  return new Map(entries.flatMap(([key, words]) => words.split(' ').map((word): [string, K] => [word, key])));
}

/** What others call what has a name here. In lower case without underscores and hyphens. */
const OTHER_NAMES = aliases({
  images: 'image img imgs picture pictures photo imagepath imagepaths imagefile imageurl imageurls filename',
  messages: 'conversation conversations dialog dialogue chat turns',
  prompt: 'query question',
  completion: 'response answer',
  tools: 'functions',
  tool_calls: 'functioncall toolcall toolcalls',
  tool_call_id: 'toolid callid',
  reasoning_content: 'reasoning',
  role: 'from speaker author',
  content: 'value body',
  train: 'loss learn mask',
});

export function meantKey(key: string, known: readonly string[]): string | undefined {
  const plain = key.toLowerCase().replaceAll(/[_-]/g, '');
  const other = OTHER_NAMES.get(plain);
  return other !== undefined && known.includes(other) ? other : nearestName(key, known);
}

export function unknownKey(key: string, known: readonly string[]): string {
  const near = meantKey(key, known);
  const shown = showValue(key).slice(1, -1);
  return `unknown key \`${shown}\`${near ? `; did you mean \`${near}\`?` : `; known: ${known.join(', ')}`}`;
}

/** The first key with a value that is none of the known ones. Null and undefined are no values: tables fill up so. */
export function findUnknownKey(value: object, known: readonly string[]): string | undefined {
  for (const [key, inner] of Object.entries(value)) {
    if (inner !== undefined && inner !== null && !known.includes(key)) return key;
  }
  return undefined;
}

export function describeKind(value: unknown): string {
  if (value instanceof Promise) return 'a promise: await it';
  if (value === undefined || value === null || typeof value !== 'object') return showValue(value);
  return Array.isArray(value)
    ? `a list of ${value.length}`
    : `an object with ${Object.keys(value).map(oneLine).join(', ') || 'no keys'}`;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
