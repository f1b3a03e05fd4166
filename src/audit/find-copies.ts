/** Copies among the images of an audit: groups of images, groups of samples, and what splits share. */
import type { AuditedImage, DuplicateGroup, DuplicatePair, SampleGroup, SplitLeak } from './audit-report.js';
import type { CollectedData, CollectedSample } from './collect-images.js';
import { DisjointSets, groupedBy, type MemberPair, type NearPair, pairsWithin } from './copy-groups.js';

interface Copies {
  readonly duplicates: DuplicateGroup[];
  readonly duplicateSamples: SampleGroup[];
  readonly leaks: SplitLeak[];
}

/** Class of each image: images of one class are exact copies. Classes are numbered in the order of their first images. */
export function exactClasses({ images }: CollectedData): number[] {
  const byDigest = new Map<string, number>();
  let count = 0;
  return images.map(({ measured: { digest } }) => {
    const known = digest === undefined ? undefined : byDigest.get(digest);
    if (known !== undefined) return known;
    if (digest !== undefined) byDigest.set(digest, count);
    return count++;
  });
}

/**
 * @param classes of `exactClasses`
 * @param near pairs of classes
 * @param shown the images as a report has them
 */
export function findCopies(
  data: CollectedData,
  classes: readonly number[],
  near: readonly NearPair[],
  shown: readonly AuditedImage[],
  splitNames: readonly string[],
): Copies {
  const sets = new DisjointSets(classes.reduce((count, one) => Math.max(count, one + 1), 0));
  for (const { a, b } of near) sets.join(a, b);
  const nearOf = new Map<number, Map<number, NearPair>>();
  for (const pair of near) {
    for (const [one, other] of [
      [pair.a, pair.b],
      [pair.b, pair.a],
    ] as const) {
      const others = nearOf.get(one) ?? new Map<number, NearPair>();
      nearOf.set(one, others.set(other, pair));
    }
  }
  const rootOf = (image: number): number => sets.rootOf(classes[image]!);
  const groups = [...groupedBy(data.images.keys(), rootOf)].filter(([, members]) => members.length > 1);
  const { duplicateSamples, conflicts } = groupSamples(data, splitNames, classes, rootOf, nearOf);
  const duplicates = groups.map(([root, members]): DuplicateGroup & { readonly root: number } => {
    const own = members.map((image) => classes[image]!);
    const pairs = pairsWithin(own, (one) => nearOf.get(one) ?? []).map(shownPair);
    return {
      root,
      images: members.map((image) => shown[image]!),
      pairs,
      isExact: pairs.every(({ kind }) => kind === 'exact'),
      splits: splitNames.filter((_, split) => members.some((image) => data.images[image]!.split === split)),
      labels: [...new Set(members.flatMap((image) => shown[image]!.label ?? []))],
      isConflict: conflicts.has(root),
    };
  });
  const urgency = (group: DuplicateGroup): number => (group.isConflict ? 2 : 0) + (group.splits.length > 1 ? 1 : 0);
  duplicates.sort((a, b) => urgency(b) - urgency(a));
  const placeOf = new Map(duplicates.map(({ root }, place) => [root, place]));
  return {
    duplicates: duplicates.map(({ root: _, ...group }) => group),
    duplicateSamples,
    leaks: findLeaks(data, (image) => placeOf.get(rootOf(image)), duplicates, splitNames),
  };
}

function shownPair({ a, b, near }: MemberPair): DuplicatePair {
  if (!near) return { a, b, kind: 'exact', correlation: 1, transform: 'none', overlap: 1 };
  const { correlation, transform, overlap } = near;
  return { a, b, kind: 'near', correlation, transform, overlap };
}

/** Samples of the same images and question, and the image groups in which such samples have different labels. */
function groupSamples(
  { samples }: CollectedData,
  splitNames: readonly string[],
  classes: readonly number[],
  rootOf: (image: number) => number,
  nearOf: ReadonlyMap<number, ReadonlyMap<number, NearPair>>,
): { duplicateSamples: SampleGroup[]; conflicts: Set<number> } {
  const conflicts = new Set<number>();
  const keyOf = ({ images, question }: CollectedSample) => `${images.map(rootOf).join(' ')}\n${question}`;
  const duplicateSamples = [...groupedBy(samples, keyOf).values()]
    .filter((members) => members.length > 1)
    .map((members): SampleGroup => {
      const labels = new Set(members.flatMap(({ label }) => label ?? []));
      const isConflict = labels.size > 1;
      if (isConflict) for (const image of members[0]!.images) conflicts.add(rootOf(image));
      const shown = members.map(({ split, index, name, label }) => {
        return { split: splitNames[split]!, index, name, label: label ?? null };
      });
      return { samples: shown, pairs: samplePairs(members, classes, nearOf), isConflict };
    });
  return { duplicateSamples, conflicts };
}

/** Members are copies if their images are, place by place. */
function samplePairs(
  members: readonly CollectedSample[],
  classes: readonly number[],
  nearOf: ReadonlyMap<number, ReadonlyMap<number, NearPair>>,
): SampleGroup['pairs'] {
  const kinds = [...groupedBy(members, ({ images }) => images.map((image) => classes[image]!).join(' '))];
  const ids = new Map(kinds.map(([key], id) => [key, id]));
  const lists = kinds.map(([, [first]]) => first!.images.map((image) => classes[image]!));
  const byFirst = groupedBy(lists.keys(), (id) => lists[id]![0]);
  const near = (a: number): [number, NearPair][] => {
    const own = lists[a]!;
    const first = own[0];
    if (first === undefined) return [];
    const alike = [first, ...(nearOf.get(first)?.keys() ?? [])].flatMap((one) => byFirst.get(one) ?? []);
    return alike.flatMap((b) => {
      if (a === b) return [];
      const other = lists[b]!;
      const pairs = own.map((one, place) => nearOf.get(one)?.get(other[place]!));
      const areCopies = pairs.every((pair, place) => pair !== undefined || own[place] === other[place]);
      const pair = pairs.find((one) => one !== undefined);
      return areCopies && pair ? [[b, pair] as [number, NearPair]] : [];
    });
  };
  const idOf = ({ images }: CollectedSample) => ids.get(images.map((image) => classes[image]!).join(' '))!;
  return pairsWithin(members.map(idOf), near).map(({ a, b, near: pair }) => ({ a, b, kind: pair ? 'near' : 'exact' }));
}

function findLeaks(
  { samples }: CollectedData,
  groupOf: (image: number) => number | undefined,
  duplicates: readonly DuplicateGroup[],
  splitNames: readonly string[],
): SplitLeak[] {
  const bySplit = groupedBy(samples, (sample) => sample.split);
  return splitNames.flatMap((split, s) =>
    splitNames.flatMap((other): SplitLeak[] => {
      if (split === other) return [];
      const found = (bySplit.get(s) ?? []).flatMap(({ index, images }) => {
        const group = images.map(groupOf).find((one) => one !== undefined && duplicates[one]!.splits.includes(other));
        return group === undefined ? [] : [{ index, group }];
      });
      if (found.length === 0) return [];
      return [{ split, other, samples: found.map(({ index }) => index), groups: found.map(({ group }) => group) }];
    }),
  );
}
