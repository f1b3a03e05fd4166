/** JSON texts that were valid once: values replaced by hostile ones, keys dropped or doubled, characters moved about. */
import fc from 'fast-check';

/** What readers of JSON are known to stumble over, as it stands in a file. */
const HOSTILE_VALUES: readonly string[] = [
  ...[
    'null',
    'true',
    'false',
    '0',
    '-0',
    '-1',
    '1',
    '2',
    '1.5',
    '1e999',
    '-1e999',
    '1e-400',
    'NaN',
    'Infinity',
    '0x10',
  ],
  ...[
    '255',
    '65536',
    '1000000000',
    '4294967296',
    '9007199254740991',
    '9007199254740993',
    '1e300',
    '18446744073709551616',
  ],
  ...['""', '" "', '"x"', '"0"', '"1"', '"null"', '"\\u0000"', '"\\ud800"', '"__proto__"', '"constructor"', '"F33"'],
  ...['[]', '{}', '[null]', '[{}]', '[[]]', '[0]', '[-1]', '[1,2,3]', '["x"]', '{"x":1}', '{"content":{}}', '{"id":1}'],
  ...['{"__proto__":{"r":4}}', '{"constructor":{"prototype":{"x":1}}}', '{"\\u005f_proto__":1}', '{"toString":1}'],
  ...[
    '"(a+)+$"',
    '"(?:.*.*)*x"',
    '"(?:[a-z_.]|[a-z._]{2})+!"',
    '"["',
    '"(?P<n>a)(?P=n)"',
    '"a{99999}{99999}"',
    '"../x"',
  ],
  ...[
    '"/etc/passwd"',
    '"model.safetensors"',
    '"{% for i in range(10**9) %}x{% endfor %}"',
    '"{{ [1]*9 }}"',
    '"\\u001b[2J"',
  ],
  '['.repeat(150) + ']'.repeat(150),
  '['.repeat(20_000),
  `${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`,
  `"${'a'.repeat(50_000)}"`,
  `[${'1,'.repeat(20_000)}1]`,
  `[${'"q_proj",'.repeat(5000)}"q_proj"]`,
  `{${Array.from({ length: 2000 }, (_, i) => `"k${i}":1`).join()}}`,
];

const hostileValue: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...HOSTILE_VALUES) },
  { weight: 2, arbitrary: fc.integer().map(String) },
  { weight: 1, arbitrary: fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)) },
  { weight: 1, arbitrary: fc.string({ maxLength: 40 }).map((value) => JSON.stringify(value)) },
);

interface Change {
  readonly kind: 'replace' | 'delete' | 'add' | 'double' | 'move';
  readonly place: number;
  readonly other: number;
  readonly value: string;
  readonly isShallow: boolean;
}

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('replace', 'replace', 'replace', 'replace', 'delete', 'add', 'double', 'move'),
  place: fc.nat(),
  other: fc.nat(),
  value: hostileValue,
  isShallow: fc.boolean(),
});

type Container = Record<string, unknown>;

/** Every place in a value that holds something, to a depth: the container and the key. */
function placesOf(value: unknown, depth: number, places: [Container, string][] = []): [Container, string][] {
  if (depth === 0 || typeof value !== 'object' || value === null) return places;
  for (const key of Object.keys(value)) {
    places.push([value as Container, key]);
    placesOf((value as Container)[key], depth - 1, places);
  }
  return places;
}

const KEYS = ['__proto__', 'constructor', 'toString', '', '0', 'length', 'x'];

function applyChanges(base: unknown, changes: readonly Change[]): string {
  const root: Container = { value: structuredClone(base) };
  const raw: string[] = [];
  const hold = (text: string): string => `@raw${raw.push(text) - 1}@`;
  for (const { kind, place, other, value, isShallow } of changes) {
    // Half of all changes are near the top, where large files have few places and readers most to say.
    const places = placesOf(root, isShallow ? 3 : 100);
    if (places.length === 0) break;
    const [container, key] = places[place % places.length]!;
    const [from, fromKey] = places[other % places.length]!;
    if (kind === 'replace') container[key] = hold(value);
    else if (kind === 'delete') Array.isArray(container) ? container.splice(Number(key), 1) : delete container[key];
    else if (kind === 'move') container[key] = structuredClone(from[fromKey]);
    else if (kind === 'add' && Array.isArray(container)) container.push(hold(value));
    else if (kind === 'add') {
      const name = KEYS[other % KEYS.length]!;
      Object.defineProperty(container, name, {
        value: hold(value),
        enumerable: true,
        configurable: true,
        writable: true,
      });
    } else if (!Array.isArray(container)) container[`@double@${key}`] = hold(value);
  }
  return (JSON.stringify(root.value) ?? '')
    .replaceAll('@double@', '')
    .replaceAll(/"@raw(\d+)@"/g, (_, index: string) => raw[Number(index)]!);
}

/** Places are fractions of the length. */
export interface ByteEdit {
  readonly kind: 'flip' | 'set' | 'cut' | 'remove' | 'insert' | 'copy';
  readonly at: number;
  readonly length: number;
  readonly byte: number;
}

export const byteEdit: fc.Arbitrary<ByteEdit> = fc.record({
  kind: fc.constantFrom('flip', 'flip', 'set', 'cut', 'remove', 'insert', 'copy'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 16 }),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:\\0-9eE'))),
});

export function editBytes(bytes: Buffer, edits: readonly ByteEdit[]): Buffer {
  let result = Buffer.from(bytes);
  for (const { kind, at, length, byte } of edits) {
    const start = Math.min(Math.floor(at * result.length), Math.max(0, result.length - 1));
    const rest = result.subarray(start);
    if (kind === 'flip' && result.length > 0) result[start]! ^= 1 << (byte % 8);
    else if (kind === 'set') result.subarray(start, start + length).fill(byte);
    else if (kind === 'cut') result = result.subarray(0, start);
    else if (kind === 'remove') result = Buffer.concat([result.subarray(0, start), rest.subarray(length)]);
    else if (kind === 'insert') result = Buffer.concat([result.subarray(0, start), Buffer.alloc(length, byte), rest]);
    else if (kind === 'copy') result = Buffer.concat([result.subarray(0, start), rest.subarray(0, length * 8), rest]);
  }
  return result;
}

/** Texts made of a valid value: most with wrong values in the right form, some that are hardly JSON any more. */
export function hostileJson(base: unknown): fc.Arbitrary<Buffer> {
  return fc
    .record({
      changes: fc.array(change, { minLength: 1, maxLength: 3 }),
      edits: fc.oneof(
        { weight: 4, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(byteEdit, { maxLength: 3 }) },
      ),
    })
    .map(({ changes, edits }) => editBytes(Buffer.from(applyChanges(base, changes)), edits));
}
