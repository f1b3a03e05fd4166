/** Safetensors files that were whole once: header, length field, offsets, sizes and bytes changed. */
import fc from 'fast-check';
import { byteEdit, editBytes, hostileJson } from './hostile-json.js';

const BYTES = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1, I8: 1, BOOL: 1, F8_E4M3: 1 } as const;

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: number[];
}

const tensor = fc.record({
  name: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('a', 'b', 'layer.0.weight', 'layer.1.weight', '__proto__', 'constructor') },
    { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
  ),
  dtype: fc.constantFrom(...(Object.keys(BYTES) as (keyof typeof BYTES)[])),
  shape: fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 3 }),
});

/** A header that is right, and the length of its data. */
const wholeHeader = fc.uniqueArray(tensor, { maxLength: 6, selector: ({ name }) => name }).map((tensors) => {
  const entries: [string, Entry][] = [];
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const end = offset + shape.reduce((product, extent) => product * extent, BYTES[dtype]);
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  // A name like __proto__ is a property as any other here.
  const header = Object.fromEntries([['__metadata__', { format: 'pt' }], ...entries]) as Record<string, unknown>;
  return { header, dataLength: offset };
});

const MAX_U64 = 2n ** 64n - 1n;

/** The length field: right, near, far, or what overflows in another language. */
const lengthField = fc.oneof(
  { weight: 6, arbitrary: fc.constant(undefined) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0n, 1n, 7n, 8n, 100_000_000n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, MAX_U64),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 4096n }) },
);

/** Entries whose numbers are wrong in the ways that count: overlapping, reversed, beyond the end, of another size. */
const wrongEntry = fc.record({
  which: fc.nat(),
  part: fc.constantFrom('shape', 'data_offsets', 'dtype', 'name'),
  numbers: fc.array(
    fc.oneof(
      fc.integer({ min: -4, max: 300 }),
      fc.constantFrom(2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53 - 1, 2 ** 53, 2 ** 64, 1e300, 0.5),
    ),
    { maxLength: 5 },
  ),
  dtype: fc.constantFrom(...Object.keys(BYTES), 'F4', 'F6_E2M3', 'C64', 'f32', 'toString', '__proto__', ''),
});

type Wrong = typeof wrongEntry extends fc.Arbitrary<infer T> ? T : never;

function withWrongEntries(header: Record<string, unknown>, wrong: readonly Wrong[]): Record<string, unknown> {
  const entries = Object.entries(structuredClone(header));
  for (const { which, part, numbers, dtype } of wrong) {
    const pair = entries[which % entries.length]!;
    const entry = pair[1] as Entry;
    if (part === 'name') pair[0] = dtype;
    else if (part === 'dtype') entry.dtype = dtype;
    else entry[part] = numbers;
  }
  return Object.fromEntries(entries) as Record<string, unknown>;
}

/** Long headers, which must be read or refused in a time that goes with their length. */
const longHeader = fc.constantFrom(
  () => ' '.repeat(1_000_000),
  () => `{"__metadata__":{"a":"${'x'.repeat(1_000_000)}"}}`,
  () => `{"a":${'['.repeat(1_000_000)}`,
  () => `{${'"a":{},'.repeat(150_000)}"a":{}}`,
  () => `{"${'\\u0061'.repeat(150_000)}":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`,
  () => `{"a":{"dtype":"U8","shape":[${'1,'.repeat(400_000)}1],"data_offsets":[0,1]}}`,
  () =>
    `{${Array.from({ length: 12_000 }, (_, i) => `"t${i}":{"dtype":"U8","shape":[1],"data_offsets":[${i},${i + 1}]}`).join()}}`,
  () => `{"__metadata__":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":""`).join()}}}`,
);

function fileOf(header: Buffer, length: bigint | undefined, data: Buffer): Buffer {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(header.length));
  return Buffer.concat([prefix, header, data]);
}

const extraBytes = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: -8, max: 8 }) },
);

const mutatedFile: fc.Arbitrary<Buffer> = wholeHeader.chain(({ header, dataLength }) =>
  fc
    .record({
      json: fc.oneof(
        { weight: 1, arbitrary: fc.constant(Buffer.from(JSON.stringify(header))) },
        { weight: 3, arbitrary: hostileJson(header) },
        {
          weight: 3,
          arbitrary: fc
            .array(wrongEntry, { minLength: 1, maxLength: 3 })
            .map((wrong) => Buffer.from(JSON.stringify(withWrongEntries(header, wrong)))),
        },
      ),
      length: lengthField,
      extra: extraBytes,
      edits: fc.oneof(
        { weight: 2, arbitrary: fc.constant([]) },
        { weight: 1, arbitrary: fc.array(byteEdit, { maxLength: 4 }) },
      ),
    })
    .map(({ json, length, extra, edits }) => {
      const data = Buffer.alloc(Math.max(0, dataLength + extra), 0x3c);
      return editBytes(fileOf(json, length, data), edits);
    }),
);

/** One in some hundred has a header of about a megabyte. */
export const hostileSafetensors: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 300, arbitrary: mutatedFile },
  { weight: 1, arbitrary: longHeader.map((make) => fileOf(Buffer.from(make()), undefined, Buffer.alloc(12_000))) },
);
