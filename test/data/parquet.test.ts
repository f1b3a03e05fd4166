import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as zlib from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exportImages } from '../../src/data/parquet/export-images.js';
import { ParquetFile } from '../../src/data/parquet/parquet-file.js';
import { DataError } from '../../src/errors.js';
import { MersenneTwister } from '../../src/random.js';

const fixtures = fileURLToPath(new URL('../fixtures/parquet', import.meta.url));
const at = (name: string): string => join(fixtures, `${name}.parquet`);
let expected: Record<string, Record<string, unknown>[]>;
let base: string;
let count = 0;
beforeAll(async () => {
  expected = JSON.parse(await readFile(join(fixtures, 'expected.json'), 'utf8'));
  base = await mkdtemp(join(tmpdir(), 'parquet-'));
});
afterAll(() => rm(base, { recursive: true }));

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16);

async function column(path: string, name: string): Promise<unknown[]> {
  const file = await ParquetFile.open(path);
  try {
    const found = file.columns.get(name)!;
    const values: unknown[] = [];
    for await (const value of file.values(found)) {
      values.push(
        Buffer.isBuffer(value)
          ? found.isText
            ? value.toString()
            : digest(value)
          : typeof value === 'bigint'
            ? Number(value)
            : value,
      );
    }
    return values;
  } finally {
    await file.close();
  }
}

const hasZstd = 'zstdDecompressSync' in zlib;
const READ = [
  'hub',
  'hub-test',
  'many-rows',
  'gzip',
  'brotli',
  'pages-v2',
  'pages-v2-plain',
  'binary',
  'missing-labels',
  'missing-image',
  'path-alone',
  'two-labels',
  'texts',
  'bool',
  'int32-non-null',
  'out-of-range',
  ...(hasZstd ? ['zstd'] : []),
];

describe('the values of a Parquet file', () => {
  it.each(READ)('are those that pyarrow reads: %s', async (name) => {
    const rows = expected[name]!;
    const file = await ParquetFile.open(at(name));
    await file.close();
    expect(file.rows).toBe(rows.length);
    expect(file.columns.size).toBeGreaterThan(0);
    for (const path of file.columns.keys()) {
      const [top, inner] = path.split('.');
      const wanted = rows.map((row) => {
        const value = row[top!];
        return inner === undefined ? value : ((value as Record<string, unknown> | null)?.[inner] ?? null);
      });
      expect([path, await column(at(name), path)]).toEqual([path, wanted]);
    }
  });

  const refused: [string, string, RegExp][] = [
    ['lz4', 'label', /row group 1, column "label": LZ4.* compression, which is not read here/],
    ['delta', 'label', /the encoding DELTA_BINARY_PACKED, which is not read here/],
    ['lists', 'image.list.element.bytes', /a list, where one value is expected/],
  ];
  if (!hasZstd) refused.push(['zstd', 'label', /Zstandard compression, which Node has from 22\.15 on/]);
  it.each(refused)('are refused by name where they are not read: %s', async (name, path, message) => {
    await expect(column(at(name), path)).rejects.toThrow(message);
    await expect(column(at(name), path)).rejects.toThrow(DataError);
  });

  it('are refused where the file is none, cut off or encrypted', async () => {
    const whole = await readFile(at('hub'));
    const path = join(base, 'bad.parquet');
    const open = async (bytes: Buffer): Promise<unknown> => {
      await writeFile(path, bytes);
      return ParquetFile.open(path).then((file) => file.close());
    };
    await expect(open(Buffer.alloc(0))).rejects.toThrow(/no Parquet file/);
    await expect(open(Buffer.from('PAR1PAR1'))).rejects.toThrow(/no Parquet file/);
    await expect(open(whole.subarray(0, -20))).rejects.toThrow(/no Parquet file/);
    await expect(open(Buffer.concat([whole.subarray(0, -1), Buffer.from('E')]))).rejects.toThrow(/an encrypted file/);
    const huge = Buffer.from(whole);
    huge.writeUInt32LE(0x7fffffff, huge.length - 8);
    await expect(open(huge)).rejects.toThrow(/metadata of 2147483647 bytes/);
    await expect(ParquetFile.open(base)).rejects.toThrow();
  });

  it('end in a DataError, in bounded time and memory, however the bytes are damaged', async () => {
    const random = new MersenneTwister(7);
    const names = ['hub', 'hub-test', 'gzip', 'pages-v2', 'binary', 'bool'];
    const sources = new Map(await Promise.all(names.map(async (name) => [name, await readFile(at(name))] as const)));
    let [read, wrong] = [0, 0];
    const before = process.memoryUsage().rss;
    for (let run = 0; run < 120; run++) {
      const bytes = Buffer.from(sources.get(names[run % names.length]!)!);
      for (let i = 0; i <= run % 5; i++) bytes[random.nextUint32() % (bytes.length - 8)] = random.nextUint32() & 255;
      const path = join(base, 'mutated.parquet');
      await writeFile(path, bytes);
      const dir = join(base, `out-${run}`);
      const error = await exportImages([{ path, key: 'x.parquet' }], dir, {}).catch((caught: unknown) => caught);
      if (error === undefined) read++;
      else {
        wrong++;
        expect(error).toBeInstanceOf(DataError);
      }
      await rm(dir, { recursive: true, force: true });
    }
    expect(read).toBeGreaterThan(8);
    expect(wrong).toBeGreaterThan(20);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 << 20);
  });
});

describe('the images of Parquet files', () => {
  const run = async (
    names: string[],
    options: Parameters<typeof exportImages>[2] = {},
  ): Promise<Record<string, unknown[]>> => {
    const dir = join(base, String(count++));
    const sources = names.map((name) => {
      const [file, key = `data/train-${file}.parquet`] = name.split(' as ');
      return { path: at(file!), key };
    });
    await exportImages(sources, dir, options);
    const splits = (await readdir(dir)).sort();
    return Object.fromEntries(
      await Promise.all(
        splits.map(async (split) => {
          const lines = (await readFile(join(dir, split, 'metadata.jsonl'), 'utf8')).trim().split('\n');
          const rows = lines.map((line) => JSON.parse(line) as { file_name: string; label: unknown });
          const files = await Promise.all(
            rows.map(async ({ file_name, label }) => [digest(await readFile(join(dir, split, file_name))), label]),
          );
          return [split, files] as const;
        }),
      ),
    );
  };
  const of = (name: string, labels: unknown[]): unknown[] =>
    expected[name]!.map((row, i) => [(row['image'] as { bytes: string }).bytes, labels[i]]);

  it('get the names of their classes, and the split of their file', async () => {
    expect(
      await run(['hub as data/train-00000-of-00001.parquet', 'hub-test as data/test-00000-of-00001.parquet']),
    ).toEqual({
      test: of('hub-test', ['whole', 'break']),
      train: of('hub', ['break', 'whole', 'break', 'odd', 'whole']),
    });
    const folders = await run([
      'hub as default/train/0000.parquet',
      'hub-test as default/validation/0000.parquet',
      'gzip as default/train/0001.parquet',
    ]);
    expect([Object.keys(folders), folders['train']!.length]).toEqual([['train', 'validation'], 8]);
    expect(Object.keys(await run(['hub as all.parquet']))).toEqual(['train']);
    expect((await run(['binary']))['train']!.map((row) => (row as unknown[])[1])).toEqual(['a/b', 'ü']);
    expect((await run(['bool']))['train']!.map((row) => (row as unknown[])[1])).toEqual(['true', 'false', 'true']);
    expect((await run(['missing-labels']))['train']).toEqual(of('missing-labels', ['break', null, null]));
    expect((await run(['two-labels'], { labelColumn: 'fine' }))['train']).toEqual(
      of('two-labels', ['odd', 'break', 'whole']),
    );
  });

  it.each([
    [['missing-image'], {}, /row 2: no image/],
    [['path-alone'], {}, /row 1: the image "a\/0\.png" is not in the file, its path alone is/],
    [['out-of-range'], {}, /row 2: class 7 of 3/],
    [
      ['two-labels'],
      {},
      /several columns of classes: `coarse`, `fine`; its columns: `image`, `coarse`, `fine`[\s\S]*labelColumn/,
    ],
    [['two-labels'], { labelColumn: 'x' }, /no column "x"/],
    [['two-labels'], { labelColumn: 'fine', imageColumn: 'coarse' }, /the column "coarse" holds no encoded images/],
    [['texts'], {}, /no column of images by its name; its columns: `text`, `label`[\s\S]*imageColumn/],
    [['lists'], {}, /the column "image" holds lists/],
    [
      ['hub as small/train-0.parquet', 'hub as full/train-0.parquet'],
      {},
      /several folders: "small", "full"[\s\S]*`dataDir`/,
    ],
    [['hub as train.parquet', 'hub as extra.parquet'], {}, /no split in the names of extra\.parquet/],
  ])('are refused with what to do: %j %j', async (names, options, message) => {
    await expect(run(names, options)).rejects.toThrow(message);
  });
});
