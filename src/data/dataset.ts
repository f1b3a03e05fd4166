/** Random-access collections whose items are made when they are asked for, with the methods of a Hugging Face Dataset. */
import { DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { randomPermutation } from '../random.js';
import { requireCallback, requireInteger, requireList, requireText } from '../require-given.js';
import { type DatasetParts, parseSplitOptions, type SplitOptions, splitIndices } from './split-dataset.js';
import type { Dataset } from './types.js';

/** The names of a set of classes; the label of a class is its position. After `datasets.ClassLabel`. */
export class ClassLabel {
  /** By label: a copy of what the constructor was given. */
  readonly names: readonly string[];
  readonly #labels: ReadonlyMap<string, number>;

  /** @throws DataError if a name is given twice */
  constructor(names: readonly string[]) {
    requireList(names, 'ClassLabel: `names`', 'class names', 'e.g. new ClassLabel(["cat", "dog"]).');
    names.forEach((name, label) => {
      requireText(name, `ClassLabel: \`names[${label}]\``);
    });
    this.names = [...names];
    this.#labels = new Map(names.map((name, label) => [name, label]));
    if (this.#labels.size < names.length) {
      const twice = names.find((name, index) => names.indexOf(name) !== index);
      throw new DataError(`class name ${JSON.stringify(twice)} is given twice`, { details: { names } });
    }
  }

  /** Labels go from 0 to one less. */
  get numClasses(): number {
    return this.names.length;
  }

  /** @throws DataError for a label that is none */
  int2str(label: number): string {
    const name = Number.isInteger(label) ? this.names[label] : undefined;
    if (name !== undefined) return name;
    throw new DataError(
      `no class has the label ${describeGiven(label)}; labels go from 0 to ${this.names.length - 1}`,
      {
        details: { label, names: this.names },
      },
    );
  }

  /** @throws DataError for a name that is no class; upper and lower case count */
  str2int(name: string): number {
    const label = this.#labels.get(name);
    if (label !== undefined) return label;
    throw new DataError(`${describeGiven(name)} is no class`, {
      hint: `Classes: ${this.names.map(oneLine).join(', ')}.`,
      details: { name, names: this.names },
    });
  }
}

/**
 * A `Dataset` made of a length and a function from index to item. Nothing is kept: an item is made anew each time it
 * is asked for, so a set of images costs no memory.
 */
export class IndexedDataset<T> implements Dataset<T> {
  /** Number of items. */
  readonly length: number;
  readonly #make: (index: number) => T | Promise<T>;

  constructor(length: number, make: (index: number) => T | Promise<T>) {
    const hint = 'new IndexedDataset(count, (index) => item); of an array: IndexedDataset.from(array).';
    requireInteger(length, 'IndexedDataset: `length`', 0);
    requireCallback(make, 'IndexedDataset: `make`', hint);
    this.length = length;
    this.#make = make;
  }

  /**
   * Of items that are made already. The array is kept, not copied; the length is that of now.
   * @example
   * ```ts
   * const trainDataset = IndexedDataset.from([
   *   { messages: [{ role: 'user', content: 'Which bone is it?' }, { role: 'assistant', content: 'radius' }] },
   * ]);
   * ```
   */
  static from<T>(items: readonly T[]): IndexedDataset<T> {
    requireList(items, 'IndexedDataset.from', 'items');
    return new IndexedDataset(items.length, (index) => items[index]!);
  }

  /** @throws DataError if there is no such item, and whatever making the item throws */
  async get(index: number): Promise<T> {
    checkIndex(index, this.length);
    return this.#make(index);
  }

  /** The items in order, each made when it is asked for. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (let index = 0; index < this.length; index++) yield await this.get(index);
  }

  /** Lazy: `transform` runs each time an item is asked for, not now. */
  map<U>(transform: (item: T, index: number) => U | Promise<U>): IndexedDataset<U> {
    requireCallback(transform, 'map', 'e.g. dataset.map((sample) => toExample(sample)).');
    return new IndexedDataset(this.length, async (index) => transform(await this.get(index), index));
  }

  /** Eager: walks all items once, now, and remembers which stay; the items themselves are made again when asked for. */
  async filter(keep: (item: T, index: number) => boolean | Promise<boolean>): Promise<IndexedDataset<T>> {
    return this.select(await this.indicesWhere(keep));
  }

  /** The items at these positions, in this order; a position may come more than once. @throws DataError */
  select(indices: Iterable<number>): IndexedDataset<T> {
    const chosen = this.checkIndices(indices);
    return new IndexedDataset(chosen.length, (index) => this.get(chosen[index]!));
  }

  /** All items in the order of `torch.randperm(length)` with a CPU generator seeded with `seed`. Lazy. */
  shuffle(seed: number): IndexedDataset<T> {
    return this.select(randomPermutation(this.length, checkSeed(seed)));
  }

  /**
   * Divides the items, each into one part: `const { train, test } = await set.split({ test: 0.2 })`. Items keep their
   * order. Nothing is made, unless `groupBy` has to look at items.
   * @throws ConfigError for shares that are none, DataError for too few items or groups
   */
  async split(options: SplitOptions<T>): Promise<DatasetParts<IndexedDataset<T>>> {
    return this.divide(options, undefined, (indices) => this.select(indices));
  }

  /** The parts, made by `select`; stratified by `labels` where there are any. */
  protected async divide<D>(
    options: SplitOptions<T>,
    labels: readonly number[] | undefined,
    select: (indices: number[]) => D,
  ): Promise<DatasetParts<D>> {
    const { test, validation, seed, stratify, groupBy } = parseSplitOptions(options);
    if (stratify && !labels) {
      throw new DataError('split: `stratify` needs labels, and this dataset has none', {
        hint: 'Split before `map`, which gives a dataset without labels.',
      });
    }
    const groups = groupBy && (await this.groupsBy(groupBy as NonNullable<SplitOptions<T>['groupBy']>));
    const held = Object.entries({ test, validation }).flatMap(([name, share]) =>
      share === undefined ? [] : [{ name, share }],
    );
    const [train, ...others] = splitIndices({
      length: this.length,
      labels: stratify === false ? undefined : labels,
      groups,
      shares: held.map(({ share }) => share),
      seed,
    });
    return { train: select(train!), ...Object.fromEntries(held.map(({ name }, i) => [name, select(others[i]!)])) };
  }

  private async groupsBy(groupBy: NonNullable<SplitOptions<T>['groupBy']>): Promise<(string | number)[]> {
    const groups: (string | number)[] = [];
    for (let index = 0; index < this.length; index++) groups.push(await groupBy(await this.get(index), index));
    return groups;
  }

  /** Positions of the items to keep, rising. Makes every item, one after the other. */
  protected async indicesWhere(keep: (item: T, index: number) => boolean | Promise<boolean>): Promise<number[]> {
    requireCallback(keep, 'filter', 'It returns whether an item stays.');
    const kept: number[] = [];
    for (let index = 0; index < this.length; index++) {
      if (await keep(await this.get(index), index)) kept.push(index);
    }
    return kept;
  }

  /** The indices as an array of their own. @throws DataError for one without an item */
  protected checkIndices(indices: Iterable<number>): number[] {
    if (typeof indices === 'string' || typeof indices?.[Symbol.iterator] !== 'function') {
      throw new DataError(`select: expected a list of indices, got ${describeGiven(indices)}`, {
        hint: 'Write select([0, 1, 2]); one item is await dataset.get(index).',
      });
    }
    const chosen = [...indices];
    for (const index of chosen) checkIndex(index, this.length);
    return chosen;
  }
}

/** A dataset whose items carry a class label, known without making them. `map` gives a plain dataset. */
export class LabelledDataset<
  T extends {
    /** Position in `classLabel.names`. */
    readonly label: number;
  },
> extends IndexedDataset<T> {
  /** What the labels mean. `select`, `filter` and `shuffle` hand it on unchanged. */
  readonly classLabel: ClassLabel;
  /** [length] */
  readonly labels: readonly number[];

  /** @throws DataError for a label that is no class */
  constructor(classLabel: ClassLabel, labels: readonly number[], make: (index: number) => T | Promise<T>) {
    if (typeof (classLabel as ClassLabel | undefined)?.int2str !== 'function') {
      throw new DataError(`LabelledDataset: \`classLabel\`: expected a ClassLabel, got ${describeGiven(classLabel)}`, {
        hint: 'new ClassLabel(["cat", "dog"]) makes one.',
      });
    }
    requireList(labels, 'LabelledDataset: `labels`', 'labels');
    super(labels.length, make);
    for (const label of labels) classLabel.int2str(label);
    this.classLabel = classLabel;
    this.labels = labels;
  }

  /** Items of each class, in the order of the labels; a class without items counts 0. Makes no item. */
  classCounts(): Map<string, number> {
    const counts = new Map(this.classLabel.names.map((name) => [name, 0]));
    for (const label of this.labels) {
      const name = this.classLabel.int2str(label);
      counts.set(name, counts.get(name)! + 1);
    }
    return counts;
  }

  override select(indices: Iterable<number>): LabelledDataset<T> {
    const chosen = this.checkIndices(indices);
    const labels = chosen.map((index) => this.labels[index]!);
    return new LabelledDataset(this.classLabel, labels, (index) => this.get(chosen[index]!));
  }

  override async filter(keep: (item: T, index: number) => boolean | Promise<boolean>): Promise<LabelledDataset<T>> {
    return this.select(await this.indicesWhere(keep));
  }

  override shuffle(seed: number): LabelledDataset<T> {
    return this.select(randomPermutation(this.length, checkSeed(seed)));
  }

  /** As there, and each class keeps its share in every part; one with a single item stays in `train`. */
  override async split(options: SplitOptions<T>): Promise<DatasetParts<LabelledDataset<T>>> {
    return this.divide(options, this.labels, (indices) => this.select(indices));
  }
}

function checkIndex(index: number, length: number): void {
  if (Number.isInteger(index) && index >= 0 && index < length) return;
  const range = length === 0 ? 'the dataset is empty' : `indices go from 0 to ${length - 1}`;
  throw new DataError(`no item at index ${describeGiven(index)}: ${range}`, { details: { index, length } });
}

function checkSeed(seed: number): number {
  if (Number.isSafeInteger(seed) && seed >= 0 && seed < 2 ** 32) return seed;
  throw new DataError(`shuffle: \`seed\`: expected a whole number from 0 to 4294967295, got ${describeGiven(seed)}`, {
    details: { seed },
  });
}
