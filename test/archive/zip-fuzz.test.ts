/**
 * Random archives, most of them broken. None may end the process, take a second, write beside its folder, or get more
 * memory than its own size warrants. `ZIP_FUZZ_RUNS` sets their number (2,000 take some 6 s on an idle machine);
 * `ZIP_FUZZ_SEED` repeats a run.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { extractZip } from '../../src/archive/extract-zip.js';
import { DataError } from '../../src/errors.js';
import { makeZip, type ZipItem } from './zip-writer.js';

const RUNS = Number(process.env['ZIP_FUZZ_RUNS'] ?? 250);
const SEED = process.env['ZIP_FUZZ_SEED'];

/** Buffers that do not depend on the archive: one record of its directory and zlib's smallest output. */
const FIXED_BYTES = 1024;

const meters = new AsyncLocalStorage<{ largest: number }>();

let base: string;
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'zip-fuzz-'));
});
afterAll(() => rm(base, { recursive: true }));

const part = fc.oneof(
  { weight: 40, arbitrary: fc.stringMatching(/^[a-zA-Z0-9 _-]{1,8}$/) },
  { weight: 1, arbitrary: fc.constantFrom('..', '.', '', 'C:', 'con', 'a\\b', '\0', 'ä', 'a\u0308') },
  { weight: 1, arbitrary: fc.string({ maxLength: 12, unit: 'grapheme' }) },
);
const name = fc
  .tuple(fc.array(part, { minLength: 1, maxLength: 4 }), fc.constantFrom('', '', '', '', '', '', '', '/'))
  .map(([parts, end]) => parts.join('/') + end);

const content = fc.oneof(
  fc.uint8Array({ maxLength: 2000 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 200_000 }).map((length) => Buffer.alloc(length, 7)),
);
const number = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffffffff }), fc.constant(0xffffffff));
/** Mostly absent: archives with a single lie in them go furthest. */
const lie = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: 40, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

const item: fc.Arbitrary<ZipItem> = fc.record({ name, content }).chain((file) => {
  const honest = file.name.endsWith('/') ? { name: file.name } : file;
  return fc
    .record({
      method: fc.oneof({ weight: 40, arbitrary: fc.constantFrom(0, 8) }, { weight: 1, arbitrary: fc.nat(100) }),
      size: lie(number),
      compressedSize: lie(number),
      crc: lie(number),
      offset: lie(number),
      localName: lie(name),
      mode: lie(fc.nat(0xffff)),
      flags: lie(fc.nat(0xffff)),
      zip64: lie(fc.boolean()),
      data: lie(fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes))),
    })
    .map(({ method, ...lies }) => ({ ...honest, ...('content' in honest ? { method } : {}), ...known(lies) }));
});
const archive = fc
  .tuple(
    fc.array(item, { maxLength: 8 }),
    fc.record({
      entryCount: lie(fc.oneof(fc.nat(20), fc.nat(2 ** 31))),
      directoryOffset: lie(number),
      zip64: lie(fc.boolean()),
      zip64Offset: lie(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
      comment: lie(fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes))),
    }),
  )
  .map(([items, shape]) => makeZip(items, known(shape)));
type Change = readonly ['flip' | 'cut' | 'insert' | 'repeat', at: number, value: number];
const change: fc.Arbitrary<Change> = fc.tuple(
  fc.constantFrom('flip', 'cut', 'insert', 'repeat' as const),
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.nat(255),
);
const bytes = fc.oneof(
  { weight: 4, arbitrary: archive },
  { weight: 4, arbitrary: fc.tuple(archive, fc.array(change, { minLength: 1, maxLength: 6 })).map(mutate) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 500 }).map((random) => Buffer.from(random)) },
);

it(`unpacks or refuses ${RUNS} random archives`, { timeout: 600_000 }, async () => {
  const seen = { unpacked: 0, files: 0, refused: 0, slowestMs: 0, largestRatio: 0 };
  const reasons = new Map<string, number>();
  const property = fc.asyncProperty(bytes, async (zip) => {
    const folder = join(base, String(count++));
    await mkdir(folder);
    const path = join(folder, 'archive.zip');
    await writeFile(path, zip);
    const start = performance.now();
    const { error, largest } = await meterBuffers(() => extractZip(path, join(folder, 'out')));
    let ms = performance.now() - start;
    if (ms >= 1000) {
      // Of a busy machine, or of this archive?
      const again = performance.now();
      await extractZip(path, join(folder, 'again')).catch(() => undefined);
      ms = performance.now() - again;
      await rm(join(folder, 'again'), { recursive: true, force: true });
    }
    expect(ms).toBeLessThan(1000);
    expect(largest).toBeLessThanOrEqual(2 * zip.length + FIXED_BYTES);
    expect((await readdir(folder)).filter((entry) => entry !== 'out')).toEqual(['archive.zip']);
    expect((await readFile(path)).equals(zip)).toBe(true);
    seen.slowestMs = Math.max(seen.slowestMs, ms);
    if (zip.length > FIXED_BYTES) seen.largestRatio = Math.max(seen.largestRatio, (largest - FIXED_BYTES) / zip.length);
    if (error === undefined) {
      seen.unpacked++;
      const entries = await readdir(join(folder, 'out'), { recursive: true, withFileTypes: true });
      expect(entries.every((entry) => entry.isFile() || entry.isDirectory())).toBe(true);
      seen.files += entries.filter((entry) => entry.isFile()).length;
    } else {
      expect(error).toBeInstanceOf(DataError);
      seen.refused++;
      const reason = (error as Error).message
        .split('\n')[0]!
        .replace(/^.*?: (entry ".*": )?/, '')
        .replace(/0x[0-9a-f]+|\d+/g, 'N')
        .replace(/".*"/, '"…"');
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    }
    await rm(folder, { recursive: true });
  });
  await fc.assert(property, { numRuns: RUNS, ...(SEED ? { seed: Number(SEED) } : {}) });
  if (process.env['ZIP_FUZZ_RUNS'])
    console.log(
      seen,
      [...reasons].sort((a, b) => b[1] - a[1]),
    );
  // Else the archives would be too broken, or not enough, to find anything.
  expect(seen.unpacked).toBeGreaterThan(RUNS / 20);
  expect(seen.refused).toBeGreaterThan(RUNS / 3);
  expect(reasons.size).toBeGreaterThan(8);
});

/** Runs `work` and gives the size of the largest buffer that it asks for, zlib's included; others' do not count. */
async function meterBuffers(work: () => Promise<void>): Promise<{ error: unknown; largest: number }> {
  const meter = { largest: 0 };
  // Not allocUnsafeSlow: only strings become buffers by it, among them vitest's source maps when an error is made.
  const names = ['alloc', 'allocUnsafe'] as const;
  const originals = names.map((key) => Buffer[key]);
  for (const [i, key] of names.entries()) {
    Buffer[key] = ((size: number, ...rest: []) => {
      const context = meters.getStore();
      if (context) context.largest = Math.max(context.largest, size);
      return originals[i]!.call(Buffer, size, ...rest);
    }) as never;
  }
  const error = await meters.run(meter, work).catch((caught: unknown) => caught);
  for (const [i, key] of names.entries()) Buffer[key] = originals[i] as never;
  return { error, largest: meter.largest };
}

function mutate([zip, changes]: [Buffer, Change[]]): Buffer {
  let result: Buffer = Buffer.from(zip);
  for (const [kind, at, value] of changes) {
    const i = Math.floor(at * result.length);
    if (kind === 'flip' && i < result.length) result[i] = value;
    if (kind === 'cut') result = Buffer.concat([result.subarray(0, i), result.subarray(i + value)]);
    if (kind === 'insert') result = Buffer.concat([result.subarray(0, i), Buffer.alloc(value, 80), result.subarray(i)]);
    if (kind === 'repeat') result = Buffer.concat([result.subarray(0, i + value), result.subarray(i)]);
  }
  return result;
}

/** Without the absent values. */
function known<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
