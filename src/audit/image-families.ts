/** Images that are no copies and look like some: drawings of one template, charts, forms, frames of a video. */
import { DisjointSets, type NearPair } from './copy-groups.js';

/** Correlation of details from which different images resemble each other: photographs hardly ever do. */
export const LEAST_RESEMBLANCE = 0.6;
/** From so many images that resemble it on, an image is one of a family; with `FEW` it is none. */
const MANY = 6;
const FEW = 3;
/** Others of an image that are remembered: `MANY`, and copies that later turn out to be some. */
const MOST = 32;

/**
 * Who resembles whom without being a copy. Drawings of one template agree in their details almost as copies do, but with
 * many others of the set at once; copies stand out from the others.
 */
export class Lookalikes {
  readonly #others: (Set<number> | undefined)[];

  constructor(count: number) {
    this.#others = new Array(count);
  }

  add(a: number, b: number): void {
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#others[one] ??= new Set();
      if (this.#others[one].size < MOST) this.#others[one].add(other);
    }
  }

  delete(a: number, b: number): void {
    this.#others[a]?.delete(b);
    this.#others[b]?.delete(a);
  }

  /** How much one of two images belongs to a family, 0 to 1. */
  fullness(a: number, b: number): number {
    const count = Math.max(this.#others[a]?.size ?? 0, this.#others[b]?.size ?? 0);
    return Math.min(1, Math.max(0, (count - FEW) / (MANY - FEW)));
  }
}

/** From so many images on a group may be a chain, of which no image resembles as much as this share of the others. */
const CHAIN = 10;
const CENTRE_SHARE = 1 / 3;

/**
 * Copies come from one image, which resembles the others, or all resemble each other; where each resembles but a few of a
 * large group, they have a template in common.
 * @param fullness of an image by its lookalikes @returns how much an image belongs to a family, 0 to 1
 */
export function kinOf(pairs: readonly NearPair[], fullness: (image: number) => number): (image: number) => number {
  const degrees = new Map<number, number>();
  const sets = new DisjointSets(pairs.reduce((count, { b }) => Math.max(count, b + 1), 0));
  for (const { a, b } of pairs) {
    for (const image of [a, b]) degrees.set(image, (degrees.get(image) ?? 0) + 1);
    sets.join(a, b);
  }
  const groups = new Map<number, { size: number; most: number }>();
  for (const [image, degree] of degrees) {
    const { size, most } = groups.get(sets.rootOf(image)) ?? { size: 0, most: 0 };
    groups.set(sets.rootOf(image), { size: size + 1, most: Math.max(most, degree) });
  }
  return (image) => {
    const group = degrees.has(image) ? groups.get(sets.rootOf(image)) : undefined;
    const isChain = group !== undefined && group.size >= CHAIN && group.most < CENTRE_SHARE * group.size;
    return isChain ? 1 : fullness(image);
  };
}
