/** Which samples are held out: by shares, the same for the same seed, every class and every group treated fairly. */
import { z } from 'zod';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import { ConfigError, DataError } from '../errors.js';
import { showValue } from '../messages/show-value.js';
import { randomPermutation } from '../random.js';

/** How `split` divides a dataset of `T`. */
export interface SplitOptions<T = unknown> {
  /** Share of the samples that goes to `test`, above 0 and below 1; 0: no test part. Default: 0. */
  readonly test?: number;
  /** Share of the samples that goes to `validation`, above 0 and below 1; 0: no validation part. Default: 0. */
  readonly validation?: number;
  /** The same seed gives the same parts. Default: 42. */
  readonly seed?: number;
  /** Each class keeps its share in every part. Default: true where the dataset has labels. */
  readonly stratify?: boolean;
  /**
   * Samples of equal value, a patient's say, stay in one part. Makes every item once. Parts are then as near to their
   * shares as whole groups allow. Default: none.
   */
  readonly groupBy?: (item: T, index: number) => string | number | Promise<string | number>;
}

/** The parts of a dataset `D`; a part that was not asked for is absent. */
export interface DatasetParts<D> {
  /** What is not held out. */
  readonly train: D;
  /** Present if `test` was given. */
  readonly test?: D;
  /** Present if `validation` was given. */
  readonly validation?: D;
}

const share = lazySchema(() =>
  z
    .number()
    .gt(0, 'expected a share above 0 and below 1, e.g. 0.2')
    .lt(1, 'expected a share above 0 and below 1, e.g. 0.2'),
);

const splitSchema = lazySchema(() =>
  z.strictObject({
    test: share().optional(),
    validation: share().optional(),
    seed: z
      .int()
      .nonnegative()
      .max(2 ** 32 - 1)
      .default(42),
    stratify: z.boolean().optional(),
    groupBy: z
      .custom<NonNullable<SplitOptions['groupBy']>>((value) => typeof value === 'function', 'expected a function')
      .optional(),
  }),
);
type _Input = NoMismatch<Mismatch<Given<z.input<ReturnType<typeof splitSchema>>>, Given<SplitOptions>>>;

/** The checked options with defaults. @throws ConfigError */
export function parseSplitOptions(options: unknown): z.output<ReturnType<typeof splitSchema>> {
  const parsed = parseOptions(splitSchema, options ?? {}, 'split');
  const { test = 0, validation = 0 } = parsed;
  if (test + validation === 0) {
    throw new ConfigError('split: give `test`, `validation` or both, e.g. `split({ test: 0.2 })`');
  }
  if (test + validation >= 1) {
    throw new ConfigError(
      `split: \`test\` ${test} and \`validation\` ${validation} add up to 1 or more: nothing is left to train on`,
    );
  }
  return parsed;
}

interface Divisible {
  readonly length: number;
  /** [length] Class of each sample; undefined: one class. */
  readonly labels: readonly number[] | undefined;
  /** [length] Group of each sample; undefined: each is its own. */
  readonly groups: readonly (string | number)[] | undefined;
  /** Shares of the parts that are held out. */
  readonly shares: readonly number[];
  readonly seed: number;
}

/** Indices of train and of each held-out part, rising. @throws DataError if there are too few samples or groups */
export function splitIndices({ length, labels, groups, shares, seed }: Divisible): number[][] {
  const blocks = blocksOf(length, groups);
  if (blocks.length <= shares.length) {
    const what = groups ? `${blocks.length} groups` : `${length} samples`;
    throw new DataError(`split: ${what} are too few for ${shares.length + 1} parts`, {
      hint: groups ? 'Does `groupBy` give each patient a value of its own?' : 'Each part needs at least one sample.',
      details: { length, groups: blocks.length },
    });
  }
  const order = randomPermutation(blocks.length, seed).map((i) => blocks[i]!);
  const part = groups ? divideGroups(order, labels, shares) : divideClasses(order, labels, shares);
  const parts = Array.from({ length: shares.length + 1 }, (_, p) =>
    Array.from({ length }, (_, i) => i).filter((i) => part.get(i) === p),
  );
  if (parts.some((one) => one.length === 0)) {
    throw new DataError(
      `split: a part would be empty: the parts have ${parts.map((one) => one.length).join(', ')} samples`,
      {
        hint: groups
          ? 'Groups stay whole and training keeps every class: use a larger share, or groups that are smaller.'
          : labels
            ? 'Each class keeps a sample for training. Use a larger share, more samples, or `stratify: false`.'
            : 'Use a larger share, more samples, or fewer parts.',
        details: { length, parts: parts.map((one) => one.length) },
      },
    );
  }
  return parts;
}

function blocksOf(length: number, groups: readonly (string | number)[] | undefined): number[][] {
  if (!groups) return Array.from({ length }, (_, i) => [i]);
  const byGroup = new Map<string | number, number[]>();
  for (const [i, group] of groups.entries()) {
    // Objects are equal to themselves alone: every sample would be a group of its own.
    const isValue = ['string', 'number', 'bigint', 'boolean'].includes(typeof group);
    if (!isValue || (group as unknown) === '' || Number.isNaN(group)) {
      throw new DataError(`split: \`groupBy\` gave ${showValue(group)} for sample ${i}`, {
        hint: 'Return a string or a number that is the same for all samples of a group, e.g. the id of a patient.',
        details: { index: i },
      });
    }
    const members = byGroup.get(group);
    if (members) members.push(i);
    else byGroup.set(group, [i]);
  }
  return [...byGroup.values()];
}

/**
 * Largest remainders: a part gets the whole numbers of its share of each class, and the classes with the largest
 * fractions one more, until the part is full. A class keeps at least one sample for training.
 */
function divideClasses(
  order: readonly (readonly number[])[],
  labels: readonly number[] | undefined,
  shares: readonly number[],
): Map<number, number> {
  const classes = new Map<number, number[]>();
  for (const [i] of order) {
    const label = labels?.[i!] ?? 0;
    if (!classes.has(label)) classes.set(label, []);
    classes.get(label)!.push(i!);
  }
  const part = new Map<number, number>(order.map(([i]) => [i!, 0]));
  for (const [p, share] of shares.entries()) {
    const wanted = Math.max(1, Math.round(share * order.length));
    const quotas = [...classes.values()].map((members) => {
      const size = members.length;
      const free = members.filter((i) => part.get(i) === 0);
      const whole = Math.min(Math.floor(share * size + 1e-9), free.length - 1);
      return { free, take: Math.max(0, whole), rest: share * size - Math.floor(share * size + 1e-9) };
    });
    let missing = wanted - quotas.reduce((sum, { take }) => sum + take, 0);
    for (const quota of [...quotas].sort((a, b) => b.rest - a.rest)) {
      if (missing <= 0) break;
      if (quota.rest < 1e-9 || quota.take >= quota.free.length - 1) continue;
      quota.take++;
      missing--;
    }
    for (const { free, take } of quotas) for (const i of free.slice(0, take)) part.set(i, p + 1);
  }
  return part;
}

/** Largest groups first, each to the part that lacks most of what the group has; then train gets every class. */
function divideGroups(
  order: readonly (readonly number[])[],
  labels: readonly number[] | undefined,
  shares: readonly number[],
): Map<number, number> {
  const labelOf = (i: number) => labels?.[i] ?? 0;
  const total = new Map<number, number>();
  for (const i of order.flat()) total.set(labelOf(i), (total.get(labelOf(i)) ?? 0) + 1);
  const all = [1 - shares.reduce((a, b) => a + b, 0), ...shares];
  const have = all.map(() => new Map<number, number>());
  const count = (p: number, label: number) => have[p]!.get(label) ?? 0;
  const placed: number[][] = all.map(() => []);
  const sorted = order.map((_, b) => b).sort((a, b) => order[b]!.length - order[a]!.length);
  for (const b of sorted) {
    const need = all.map((share, p) => {
      let gain = 0;
      for (const i of order[b]!) {
        const label = labelOf(i);
        gain += (share * total.get(label)! - count(p, label)) / (share * total.get(label)!);
      }
      return gain;
    });
    const best = need.indexOf(Math.max(...need));
    placed[best]!.push(b);
    for (const i of order[b]!) have[best]!.set(labelOf(i), count(best, labelOf(i)) + 1);
  }
  for (const label of total.keys()) {
    if (count(0, label) > 0) continue;
    const donors = [...all.keys()].slice(1).flatMap((p) => placed[p]!.map((b) => ({ p, b })));
    const able = donors.filter(({ p, b }) => placed[p]!.length > 1 && order[b]!.some((i) => labelOf(i) === label));
    const [smallest] = able.sort((x, y) => order[x.b]!.length - order[y.b]!.length);
    if (!smallest) continue;
    placed[smallest.p] = placed[smallest.p]!.filter((b) => b !== smallest.b);
    placed[0]!.push(smallest.b);
    for (const i of order[smallest.b]!) have[0]!.set(labelOf(i), count(0, labelOf(i)) + 1);
  }
  return new Map(placed.flatMap((blocks, p) => blocks.flatMap((b) => order[b]!.map((i) => [i, p] as const))));
}
