import { describe, expect, it } from 'vitest';
import { ClassLabel, IndexedDataset, LabelledDataset } from '../../src/data/dataset.js';
import type { Dataset } from '../../src/data/types.js';
import { DataError } from '../../src/errors.js';

async function toArray<T>(dataset: Dataset<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of dataset) items.push(item);
  return items;
}

function counted(length: number) {
  const made: number[] = [];
  const dataset = new IndexedDataset(length, (index) => {
    made.push(index);
    return index * 10;
  });
  return { dataset, made };
}

describe('IndexedDataset', () => {
  it('makes items when they are asked for, each time anew', async () => {
    const { dataset, made } = counted(5);
    expect(dataset.length).toBe(5);
    expect(made).toEqual([]);
    expect(await dataset.get(3)).toBe(30);
    expect(await dataset.get(3)).toBe(30);
    expect(made).toEqual([3, 3]);
    expect(await toArray(dataset)).toEqual([0, 10, 20, 30, 40]);
  });

  it.each([-1, 5, 1.5, Number.NaN])('has no item at %d', async (index) => {
    await expect(counted(5).dataset.get(index)).rejects.toThrow(/no item at index .*: indices go from 0 to 4/);
  });

  it('says that it is empty', async () => {
    await expect(IndexedDataset.from([]).get(0)).rejects.toThrow('the dataset is empty');
    expect(await toArray(IndexedDataset.from([]))).toEqual([]);
  });

  it('maps lazily, with the index, and waits for promises', async () => {
    const { dataset, made } = counted(4);
    const mapped = dataset.map(async (item, index) => `${index}:${item}`);
    expect(made).toEqual([]);
    expect(await mapped.get(2)).toBe('2:20');
    expect(made).toEqual([2]);
  });

  it('filters at once and makes the items again later', async () => {
    const { dataset, made } = counted(6);
    const kept = await dataset.filter(async (item, index) => item > 10 && index !== 4);
    expect(made).toEqual([0, 1, 2, 3, 4, 5]);
    expect(kept.length).toBe(3);
    expect(await toArray(kept)).toEqual([20, 30, 50]);
    expect(made.length).toBe(9);
  });

  it('selects in the order given, with repeats, and checks the positions', async () => {
    const { dataset } = counted(4);
    expect(await toArray(dataset.select(new Set([3, 0])))).toEqual([30, 0]);
    expect(await toArray(dataset.select([1, 1]).select([1]))).toEqual([10]);
    expect(() => dataset.select([0, 4])).toThrow(DataError);
  });

  it('shuffles as torch.randperm does', async () => {
    // torch 2.13.0: torch.randperm(10, generator=torch.Generator().manual_seed(42)).tolist()
    const order = await toArray(IndexedDataset.from([...Array(10).keys()]).shuffle(42));
    expect(order).toEqual([2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
  });

  it('refuses a seed that torch would read differently', () => {
    for (const seed of [-1, 0.5, 2 ** 32]) expect(() => counted(3).dataset.shuffle(seed)).toThrow(DataError);
  });

  it('passes on what making an item throws', async () => {
    const dataset = new IndexedDataset(1, () => {
      throw new RangeError('no such image');
    });
    await expect(dataset.get(0)).rejects.toThrow(RangeError);
  });
});

describe('ClassLabel', () => {
  const label = new ClassLabel(['ape', 'bee', 'cow']);

  it('goes both ways', () => {
    expect(label.numClasses).toBe(3);
    for (const [index, name] of label.names.entries()) {
      expect(label.int2str(index)).toBe(name);
      expect(label.str2int(name)).toBe(index);
    }
  });

  it('refuses what is no class, and names given twice', () => {
    expect(() => label.int2str(3)).toThrow('labels go from 0 to 2');
    expect(() => label.int2str(-1)).toThrow(DataError);
    expect(() => label.str2int('Bee')).toThrow('Classes: ape, bee, cow.');
    expect(() => new ClassLabel(['a', 'b', 'a'])).toThrow('"a" is given twice');
  });
});

describe('LabelledDataset', () => {
  const classLabel = new ClassLabel(['10', '9', 'none']);
  const labels = [0, 1, 1, 0, 1];
  const make = () => new LabelledDataset(classLabel, labels, (index) => ({ label: labels[index]!, index }));

  it('counts in the order of the labels, empty classes too', () => {
    expect([...make().classCounts()]).toEqual([
      ['10', 2],
      ['9', 3],
      ['none', 0],
    ]);
  });

  it('keeps labels through select, shuffle and filter', async () => {
    const chosen = make().select([4, 0, 0]);
    expect(chosen.labels).toEqual([1, 0, 0]);
    expect([...chosen.classCounts().values()]).toEqual([2, 1, 0]);
    const shuffled = make().shuffle(7);
    const items = await toArray(shuffled);
    expect(items.map(({ label }) => label)).toEqual(shuffled.labels);
    expect(items.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3, 4]);
    const filtered = await make().filter(({ index }) => index > 1);
    expect([...filtered.classCounts().values()]).toEqual([1, 2, 0]);
    expect(await filtered.get(0)).toEqual({ label: 1, index: 2 });
  });

  it('counts without making items', () => {
    const dataset = new LabelledDataset(classLabel, labels, (): { label: number } => {
      throw new Error('made an item');
    });
    expect([...dataset.select([1, 3]).shuffle(1).classCounts().values()]).toEqual([1, 1, 0]);
  });

  it('refuses a label that is no class', () => {
    expect(() => new LabelledDataset(classLabel, [0, 3], () => ({ label: 0 }))).toThrow('no class has the label 3');
  });
});
