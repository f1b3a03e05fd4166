import { beforeAll, describe, expect, it } from 'vitest';
import { auditDataset } from '../../src/audit/audit-dataset.js';
import type { AuditReport } from '../../src/audit/audit-report.js';
import { deduplicate } from '../../src/audit/deduplicate.js';
import { leakFreeSplit } from '../../src/audit/leak-free-split.js';
import { ClassLabel, IndexedDataset, LabelledDataset } from '../../src/data/dataset.js';
import { ConfigError, DataError } from '../../src/errors.js';
import { changed, drawn } from './drawn-images.js';

interface Sample {
  readonly image: Uint8Array;
  readonly label: number;
  readonly className: string;
}

const NAMES = new ClassLabel(['cat', 'dog']);
const labelled = (samples: readonly (readonly [image: Uint8Array, label: number])[]): LabelledDataset<Sample> =>
  new LabelledDataset(
    NAMES,
    samples.map(([, label]) => label),
    (i) => ({ image: samples[i]![0], label: samples[i]![1], className: NAMES.int2str(samples[i]![1]) }),
  );

let data: { train: LabelledDataset<Sample>; test: LabelledDataset<Sample> };
let report: AuditReport;
beforeAll(async () => {
  const [a, b, c, d, e] = await Promise.all([1, 2, 3, 4, 5].map((seed) => drawn(seed)));
  const nearA = await changed(a!, (image) => image.jpeg());
  const nearC = await changed(c!, (image) => image.flop());
  data = {
    train: labelled([
      [a!, 0],
      [b!, 1],
      [nearA, 0],
      [a!, 0],
      [c!, 0],
      [nearC, 1],
      [d!, 0],
    ]),
    test: labelled([
      [nearA, 0],
      [e!, 1],
      [d!, 1],
      [e!, 1],
    ]),
  };
  // As it comes back from a file.
  report = JSON.parse(JSON.stringify(await auditDataset(data))) as AuditReport;
});

const placesOf = (removed: readonly { split: string; index: number }[]) =>
  removed.map(({ split, index }) => `${split} ${index}`);

describe('deduplicate', () => {
  it('keeps the first of copies, within each split, and names it', async () => {
    const { splits, removed } = await deduplicate(data, report, { conflicts: 'first' });
    expect(removed.map(({ split, index, reason, copyOf }) => [split, index, reason, copyOf.index])).toEqual([
      ['train', 2, 'near', 0],
      ['train', 3, 'exact', 0],
      ['train', 5, 'near', 4],
      ['test', 3, 'exact', 1],
    ]);
    expect(splits.train).toBeInstanceOf(LabelledDataset);
    expect(splits.train.labels).toEqual([0, 1, 0, 0]);
    expect((await splits.train.get(2)).image).toBe((await data.train.get(4)).image);
    expect(splits.test.length).toBe(3);
  });

  it('does with different labels what the options say, and nothing where they say nothing', async () => {
    await expect(deduplicate(data, report)).rejects.toThrow(DataError);
    await expect(deduplicate(data, report)).rejects.toThrow(
      /sample 4 \(cat\), sample 5 \(dog\)[\s\S]*`conflicts: 'remove'`/,
    );
    const removed = async (conflicts: 'remove' | 'keep') => {
      return placesOf((await deduplicate(data, report, { conflicts, splits: ['train'] })).removed);
    };
    expect(await removed('remove')).toEqual(['train 2', 'train 3', 'train 4', 'train 5']);
    expect(await removed('keep')).toEqual(['train 2', 'train 3']);
    // A conflict across splits alone is none within them.
    const only = await deduplicate(data, report, { splits: ['test'] });
    expect(placesOf(only.removed)).toEqual(['test 3']);
    expect(only.splits.train.length).toBe(7);
  });

  it('removes exact copies alone if it is to', async () => {
    const { removed } = await deduplicate(data, report, { kind: 'exact' });
    expect(placesOf(removed)).toEqual(['train 3', 'test 3']);
  });

  it('removes direct copies of what stays, not copies of copies', async () => {
    const sample = (index: number) => ({ split: 'train', index, name: `sample ${index}`, label: 'cat' });
    const near = (a: number, b: number) => ({ a, b, kind: 'near' as const });
    const chain = { samples: [0, 1, 2, 3].map(sample), pairs: [near(0, 1), near(1, 2), near(2, 3)], isConflict: false };
    const made = { ...report, duplicateSamples: [chain] };
    const { removed } = await deduplicate(data, made, { splits: ['train'] });
    expect(removed.map(({ index, copyOf }) => [index, copyOf.index])).toEqual([
      [1, 0],
      [3, 2],
    ]);
  });

  it('takes any data set, and refuses a report about others', async () => {
    const plain = {
      length: 7,
      get: (i: number) => data.train.get(i),
      [Symbol.asyncIterator]: () => undefined as never,
    };
    const { splits } = await deduplicate({ train: plain }, report, { kind: 'exact' });
    expect(splits.train).toBeInstanceOf(IndexedDataset);
    expect(splits.train.length).toBe(6);
    await expect(deduplicate({ train: data.test }, report)).rejects.toThrow(/about other data: train has 4 samples/);
    await expect(deduplicate({ other: data.test }, report)).rejects.toThrow(DataError);
    const named = { ...report, duplicateSamples: [] };
    expect((await deduplicate(data, named)).removed).toEqual([]);
    await expect(deduplicate(data, {} as never)).rejects.toThrow(ConfigError);
    await expect(deduplicate(data, { ...report, version: 2 } as never)).rejects.toThrow('got version 2 of one');
    await expect(deduplicate(data, report, { splits: ['tset'] })).rejects.toThrow(
      /no split "tset"; splits: train, test/,
    );
  });

  it('compares the names of files with those that were audited', async () => {
    const [a, b] = await Promise.all([drawn(1), drawn(2)]);
    const of = (paths: readonly string[]) =>
      IndexedDataset.from(
        paths.map((path, i) => ({ image: { path, decode: async () => pixels(i === 1 ? b : a) }, label: 'x' })),
      );
    const audited = await auditDataset(of(['/data/1.png', '/data/2.png', '/data/3.png']));
    expect(placesOf((await deduplicate(of(['/new/1.png', '/new/2.png', '/new/3.png']), audited)).removed)).toEqual([
      'train 2',
    ]);
    await expect(deduplicate(of(['/data/1.png', '/data/3.png', '/data/2.png']), audited)).rejects.toThrow(
      /sample 2 of train is \/data\/2.png, was 3.png/,
    );
  });
});

describe('leakFreeSplit', () => {
  it('removes what has a copy in another split, says which one and how alike they are', async () => {
    const { dataset, removed } = await leakFreeSplit(data.test, report);
    expect(removed).toMatchObject([
      { index: 0, label: 'cat', reason: 'exact', correlation: 1, copy: { split: 'train', index: 2 } },
      { index: 2, label: 'dog', reason: 'exact', copy: { split: 'train', index: 6 } },
    ]);
    expect(dataset).toBeInstanceOf(LabelledDataset);
    expect(dataset.labels).toEqual([1, 1]);
    const train = await leakFreeSplit(data.train, report, { split: 'train', against: ['test'] });
    expect(train.removed.map(({ index, reason }) => [index, reason])).toEqual([
      [0, 'near'],
      [2, 'exact'],
      [3, 'near'],
      [6, 'exact'],
    ]);
    expect((await leakFreeSplit(data.test, report, { against: [] })).removed).toEqual([]);
  });

  it('knows a copy of a copy', async () => {
    const image = (split: string, index: number) => {
      return { split, index, position: 0, name: `sample ${index}`, label: 'cat', width: 9, height: 9 };
    };
    const pair = { kind: 'near', correlation: 0.9, transform: 'none', overlap: 1 } as const;
    const group = {
      images: [image('train', 0), image('test', 0), image('test', 1)],
      pairs: [
        { ...pair, a: 0, b: 1 },
        { ...pair, a: 1, b: 2 },
      ],
      isExact: false,
      splits: ['train', 'test'],
      labels: ['cat'],
      isConflict: false,
    };
    const leaks = [{ split: 'test', other: 'train', samples: [0, 1], groups: [0, 0] }];
    const { removed } = await leakFreeSplit(data.test, { ...report, duplicates: [group], leaks });
    expect(removed).toMatchObject([
      { index: 0, reason: 'near', correlation: 0.9 },
      { index: 1, reason: 'indirect', correlation: null, copy: { split: 'train', index: 0 } },
    ]);
  });

  it('is refused, as deduplicate is, where nothing would be left', async () => {
    const [a, b] = [await drawn(1), await drawn(2)];
    const all = {
      train: labelled([
        [a, 0],
        [b, 1],
      ]),
      test: labelled([
        [a, 0],
        [a, 1],
      ]),
    };
    const found = await auditDataset(all);
    await expect(leakFreeSplit(all.test, found)).rejects.toThrow(/nothing is left of test: each of its 2 samples/);
    await expect(deduplicate(all, found, { conflicts: 'remove' })).rejects.toThrow(/nothing is left of test/);
    expect((await deduplicate(all, found, { conflicts: 'first' })).splits.test.length).toBe(1);
  });

  it('wants a whole report', async () => {
    const { duplicateSamples: _, ...part } = report;
    await expect(deduplicate(data, part as never)).rejects.toThrow(/expected the report of an audit/);
    const saved = JSON.parse(JSON.stringify(report));
    expect((await leakFreeSplit(data.test, saved)).removed).toEqual((await leakFreeSplit(data.test, report)).removed);
  });

  it('wants the split that was audited', async () => {
    await expect(leakFreeSplit(data.train, report)).rejects.toThrow(
      /test has 7 samples, the report train \(7 samples\), test \(4/,
    );
    await expect(leakFreeSplit(data.test, report, { split: 'dev' })).rejects.toThrow(ConfigError);
    await expect(leakFreeSplit(data as never, report)).rejects.toThrow(/Give the split itself/);
  });
});

const pixels = async (image: Buffer) => {
  const { decodeImage } = await import('../../src/data/decode-image.js');
  return decodeImage(image);
};
