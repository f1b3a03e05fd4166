/** A test split without images that training has seen. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { Dataset } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven, isKind } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import type { AuditedImage, AuditedSample, AuditReport, DuplicateGroup, ImageTransform } from './audit-report.js';
import {
  requireAuditReport,
  requireSamples,
  requireSplit,
  requireSplitNames,
  type SelectedDataset,
  selected,
} from './checked-report.js';

/** What leaks into what. */
export interface LeakFreeOptions {
  /** Name of the split in the report. Default: `test`. */
  readonly split?: string | undefined;
  /** Splits that were seen before the test. Default: all others of the report. */
  readonly against?: readonly string[] | undefined;
}

/** A sample that has a copy in another split. */
export interface LeakedSample extends AuditedSample {
  /** Image of the other split. */
  readonly copy: AuditedImage;
  /** `exact` or `near` copy; `indirect`: a copy of a copy. */
  readonly reason: 'exact' | 'near' | 'indirect';
  /** Correlation of the two images; null for an indirect copy. */
  readonly correlation: number | null;
  /** What makes one of the two look as the other; null for an indirect copy. */
  readonly transform: ImageTransform | null;
}

/** What `leakFreeSplit` gives. */
export interface LeakFreeSplit<D> {
  /** The samples without copies, in their order. */
  readonly dataset: D;
  /** The others, rising by index. */
  readonly removed: readonly LeakedSample[];
}

const leakFreeSchema = z.strictObject({
  split: z.string().default('test'),
  against: z.array(z.string()).readonly().optional(),
});
type _Input = NoMismatch<Mismatch<Given<z.input<typeof leakFreeSchema>>, Given<LeakFreeOptions>>>;

/**
 * Removes the samples that have an exact or near copy in other splits, directly or through further copies, whatever
 * their labels and questions. Nothing is removed from the other splits.
 * @param dataset the split that was audited, e.g. `data.test`
 * @throws DataError if the report is about other data, or nothing is left; ConfigError for wrong options
 * @example
 * ```ts
 * const report = await auditDataset(data);
 * const { dataset, removed } = await leakFreeSplit(data.test, report);
 * ```
 */
export async function leakFreeSplit<D extends Dataset<unknown>>(
  dataset: D,
  report: AuditReport,
  options: LeakFreeOptions = {},
): Promise<LeakFreeSplit<SelectedDataset<D>>> {
  requireAuditReport(report, 'leakFreeSplit');
  const { split, against } = parseOptions(leakFreeSchema, options, 'leakFreeSplit');
  if (!isKind(dataset, 'dataset')) {
    throw new ConfigError(`leakFreeSplit: expected a data set, got ${describeGiven(dataset)}`, {
      hint: 'Give the split itself, e.g. `data.test`.',
    });
  }
  requireSplitNames([split, ...(against ?? [])], report, 'leakFreeSplit');
  requireSplit(report, split, dataset, 'leakFreeSplit');
  const removed = new Map<number, LeakedSample>();
  for (const leak of report.leaks) {
    if (leak.split !== split || (against && !against.includes(leak.other))) continue;
    for (const [i, index] of leak.samples.entries()) {
      const group = report.duplicates[leak.groups[i]!]!;
      const found = leakedSample(index, split, leak.other, group);
      const before = removed.get(index);
      if (!before || (before.reason === 'indirect' && found.reason !== 'indirect')) removed.set(index, found);
    }
  }
  const rising = [...removed.values()].sort((a, b) => a.index - b.index);
  await requireSamples(dataset, rising, 'leakFreeSplit');
  const kept = Array.from({ length: dataset.length }, (_, index) => index).filter((index) => !removed.has(index));
  if (kept.length === 0 && rising.length > 0) throw emptySplit(split, rising.length);
  return { dataset: selected(dataset, kept), removed: rising };
}

function emptySplit(split: string, samples: number): DataError {
  return new DataError(
    `leakFreeSplit: nothing is left of ${oneLine(split)}: each of its ${samples} samples has a copy in other splits`,
    {
      hint: 'Look at `report.leaks`, and test on other images; `against` names the splits that count.',
      details: { split, samples },
    },
  );
}

function leakedSample(index: number, split: string, other: string, group: DuplicateGroup): LeakedSample {
  const { images, pairs } = group;
  const isOwn = (place: number): boolean => images[place]!.split === split && images[place]!.index === index;
  // A file that several samples use is there as an image of the first.
  const owns = images.some((_, place) => isOwn(place)) ? isOwn : (place: number) => images[place]!.split === split;
  const exactOf = new Map(pairs.flatMap(({ a, b, kind }) => (kind === 'exact' ? [[b, a] as const] : [])));
  const firstOf = (place: number): number => exactOf.get(place) ?? place;
  const copies = images.flatMap((image, place) => (image.split === other ? [place] : []));
  const places = images.flatMap((_, place) => (owns(place) ? [place] : []));
  const own = images[places[0]!]!;
  const sample = { split, index, name: own.name, label: own.label };
  for (const place of places) {
    const exact = copies.find((copy) => firstOf(copy) === firstOf(place));
    if (exact === undefined) continue;
    return { ...sample, copy: images[exact]!, reason: 'exact', correlation: 1, transform: 'none' };
  }
  const near = pairs
    .flatMap((pair) => {
      if (pair.kind === 'exact') return [];
      const [mine, others] = [[pair.a, pair.b] as const, [pair.b, pair.a] as const]
        .map(([x, y]) => [places.find((p) => firstOf(p) === x), copies.find((c) => firstOf(c) === y)] as const)
        .find(([x, y]) => x !== undefined && y !== undefined) ?? [undefined, undefined];
      return mine === undefined || others === undefined ? [] : [{ pair, copy: others }];
    })
    .sort((x, y) => y.pair.correlation - x.pair.correlation)[0];
  if (!near) return { ...sample, copy: images[copies[0]!]!, reason: 'indirect', correlation: null, transform: null };
  const { correlation, transform } = near.pair;
  return { ...sample, copy: images[near.copy]!, reason: 'near', correlation, transform };
}
