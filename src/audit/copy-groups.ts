/** From pairs to groups: images and samples that are copies, directly or through others. */
import type { ImageTransform } from './audit-report.js';

/** Two images that look the same. */
export interface NearPair {
  /** Index of the image. */
  readonly a: number;
  /** Above `a`. */
  readonly b: number;
  readonly correlation: number;
  readonly overlap: number;
  readonly transform: ImageTransform;
}

/** Sets of numbers that are joined two by two. */
export class DisjointSets {
  readonly #parents: Int32Array;

  constructor(count: number) {
    this.#parents = Int32Array.from({ length: count }, (_, i) => i);
  }

  /** The smallest number of its set. */
  rootOf(one: number): number {
    let root = one;
    while (this.#parents[root]! !== root) root = this.#parents[root]!;
    for (let at = one; at !== root; ) {
      const next = this.#parents[at]!;
      this.#parents[at] = root;
      at = next;
    }
    return root;
  }

  join(a: number, b: number): void {
    const [first, second] = [this.rootOf(a), this.rootOf(b)].sort((x, y) => x - y) as [number, number];
    this.#parents[second] = first;
  }
}

/** Two members of a group, by their positions in it. */
export interface MemberPair {
  readonly a: number;
  readonly b: number;
  /** Undefined: an exact copy. */
  readonly near: NearPair | undefined;
}

/**
 * Pairs within a group of members with a class each; members of one class are exact copies. Each further member of a
 * class is paired with its first, and first members with each other where `nearOf` knows a pair.
 */
export function pairsWithin(
  classes: readonly number[],
  nearOf: (a: number) => Iterable<readonly [other: number, pair: NearPair]>,
): MemberPair[] {
  const first = new Map<number, number>();
  const pairs: MemberPair[] = [];
  for (const [place, one] of classes.entries()) {
    const earlier = first.get(one);
    if (earlier === undefined) first.set(one, place);
    else pairs.push({ a: earlier, b: place, near: undefined });
  }
  for (const [one, place] of first) {
    for (const [other, near] of nearOf(one)) {
      const to = first.get(other);
      if (to !== undefined && place < to) pairs.push({ a: place, b: to, near });
    }
  }
  return pairs.sort((x, y) => x.a - y.a || x.b - y.b);
}

/** Items by a key, in the order in which keys first come. */
export function groupedBy<T, K>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
