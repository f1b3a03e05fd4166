import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClassLabel, IndexedDataset, LabelledDataset } from '../../src/data/dataset.js';
import { ConfigError, DataError } from '../../src/errors.js';

/** Item i of class `labels[i]`. */
const labelled = (labels: readonly number[]) =>
  new LabelledDataset(new ClassLabel(['a', 'b', 'c', 'd']), labels, (index) => ({ label: labels[index]!, index }));

async function indicesOf(
  set: { length: number; get(i: number): Promise<{ index: number }> } | undefined,
): Promise<number[]> {
  return Promise.all(Array.from({ length: set?.length ?? 0 }, async (_, i) => (await set!.get(i)).index));
}

describe('split', () => {
  it('puts each item into one part, in order, the same for the same seed', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 12, maxLength: 60 }),
        fc.integer({ min: 0, max: 1000 }),
        fc.boolean(),
        async (labels, seed, stratify) => {
          const set = labelled(labels);
          const options = { test: 0.25, validation: 0.25, seed, stratify };
          const parts = await set.split(options);
          const [train, test, validation] = await Promise.all(
            [parts.train, parts.test, parts.validation].map(indicesOf),
          );
          expect([...train!, ...test!, ...validation!].sort((a, b) => a - b)).toEqual(labels.map((_, i) => i));
          for (const part of [train!, test!, validation!]) expect(part).toEqual([...part].sort((a, b) => a - b));
          expect(await indicesOf((await set.split(options)).test)).toEqual(test);
          if (stratify) expect(new Set(parts.train.labels)).toEqual(new Set(labels));
        },
      ),
      { seed: 1 },
    );
  });

  it('keeps the share of each class, to the nearest item', async () => {
    const labels = [
      ...Array<number>(50).fill(0),
      ...Array<number>(30).fill(1),
      ...Array<number>(15).fill(2),
      ...Array<number>(5).fill(3),
    ];
    const { train, test } = await labelled(labels).split({ test: 0.2 });
    expect([...test!.classCounts().values()]).toEqual([10, 6, 3, 1]);
    expect([...train.classCounts().values()]).toEqual([40, 24, 12, 4]);
    expect(test!.classLabel.names).toEqual(['a', 'b', 'c', 'd']);
    const one = await labelled([0, 0, 0, 0, 1]).split({ test: 0.5 });
    expect([...one.train.classCounts().values()].slice(0, 2)).toEqual([2, 1]);
  });

  it('depends on the seed', async () => {
    const set = labelled(Array<number>(100).fill(0));
    const [one, other] = await Promise.all(
      [1, 2].map(async (seed) => indicesOf((await set.split({ test: 0.2, seed })).test)),
    );
    expect(one).toHaveLength(20);
    expect(one).not.toEqual(other);
  });

  it('divides a dataset without labels, and refuses to stratify it', async () => {
    const set = IndexedDataset.from(Array.from({ length: 10 }, (_, index) => ({ index })));
    const { train, test, validation } = await set.split({ test: 0.3 });
    expect([train.length, test!.length, validation]).toEqual([7, 3, undefined]);
    await expect(set.split({ test: 0.3, stratify: true })).rejects.toThrow(/`stratify` needs labels/);
  });

  it('keeps groups together, near the shares, and every class in train', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 14 })), {
          minLength: 40,
          maxLength: 90,
        }),
        async (pairs) => {
          const set = labelled(pairs.map(([label]) => label));
          const groupOf = (index: number) => pairs[index]![1];
          const parts = await set.split({ test: 0.3, groupBy: async ({ index }) => groupOf(index) });
          const [train, test] = await Promise.all([parts.train, parts.test].map(indicesOf));
          const groups = new Set(train!.map(groupOf));
          expect(test!.filter((index) => groups.has(groupOf(index)))).toEqual([]);
          expect(train!.length + test!.length).toBe(pairs.length);
          expect(new Set(parts.train.labels)).toEqual(new Set(pairs.map(([label]) => label)));
          const largest = Math.max(...pairs.map(([, group]) => pairs.filter(([, other]) => other === group).length));
          expect(Math.abs(test!.length - 0.3 * pairs.length)).toBeLessThanOrEqual(2 * largest);
        },
      ),
      { seed: 1 },
    );
  });

  it('stratifies groups: each of two classes with patients of its own is in both parts', async () => {
    const labels = Array.from({ length: 40 }, (_, i) => (i < 20 ? 0 : 1));
    const { train, test } = await labelled(labels).split({
      test: 0.25,
      groupBy: ({ index }) => `patient ${index >> 1}`,
    });
    expect([...test!.classCounts().values()].slice(0, 2)).toEqual([5, 5].map((n) => expect.closeTo(n, -1)));
    expect(Math.min(...[...test!.classCounts().values()].slice(0, 2))).toBeGreaterThanOrEqual(4);
    expect(train.length + test!.length).toBe(40);
  });

  it.each([
    {},
    { test: 0 },
    { test: 1 },
    { test: 1.2 },
    { test: -0.1 },
    { test: 0.6, validation: 0.4 },
    { tests: 0.2 },
    { test: '0.2' },
    { test: 0.2, seed: -1 },
    { test: 0.2, groupBy: 'patient' },
    undefined,
  ])('refuses %j', async (options) => {
    await expect(labelled([0, 1, 0, 1]).split(options as never)).rejects.toThrow(ConfigError);
  });

  it('refuses too few samples or groups, and groups without a value', async () => {
    await expect(labelled([0]).split({ test: 0.5 })).rejects.toThrow(/1 samples are too few for 2 parts/);
    await expect(labelled([0, 1]).split({ test: 0.5 })).rejects.toThrow(/a part would be empty.*\n.*`stratify: false`/);
    await expect(labelled([0, 0, 1]).split({ test: 0.5, groupBy: () => 'all' })).rejects.toThrow(
      /1 groups are too few.*\n.*`groupBy`/,
    );
    await expect(labelled([0, 1]).split({ test: 0.5, groupBy: () => undefined as never })).rejects.toThrow(DataError);
  });
});

describe('groups', () => {
  const set = labelled([0, 0, 0, 0, 1, 1, 1, 1]);

  it.each([
    ['an object', () => ({ patient: 1 }), /gave .* for sample 0\n.*Return a string or a number/],
    ['a list', () => ['p1'], /for sample 0/],
    ['a date', () => new Date(0), /for sample 0/],
    ['nothing', () => undefined, /gave nothing for sample 0/],
    ['no number', () => Number.NaN, /for sample 0/],
  ])('told by %s are refused: no two would be equal', async (_, groupBy, message) => {
    await expect(set.split({ test: 0.5, groupBy: groupBy as never })).rejects.toThrow(message);
  });

  it('that are too large say so', async () => {
    await expect(set.split({ test: 0.3, groupBy: ({ label }) => label })).rejects.toThrow(/Groups stay whole/);
  });
});
