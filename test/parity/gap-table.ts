/**
 * Errors against exact values, ours beside those of another program of the same precision. The other program may have
 * computed in several ways that are alike, its variants: how much these differ from each other shows what is chance.
 */

import { relativeL2 } from './check-list.js';

/** Relative L2 errors. */
export interface Gap {
  readonly ours: number;
  /** The largest of the variants' errors; pooled, their root mean square. */
  readonly theirs: number;
}

interface Sums {
  ours: number;
  theirs: number;
  norm: number;
}

/** How many times larger ours is; values that both have exactly are no excess. */
export function ratioOf({ ours, theirs }: Gap): number {
  return ours === 0 && theirs === 0 ? 1 : ours / theirs;
}

/** Collects errors of named arrays; several arrays of one name are pooled. */
export class GapTable {
  readonly #sums = new Map<string, Sums>();
  readonly #ratios: { name: string; ratio: number; gap: Gap }[] = [];
  /** The last variant's error in units of the first one's. */
  readonly #chance: number[] = [];

  /** Adds an array; an array of another length, or a value that is not a number, gives NaN, which passes no bound. */
  add(name: string, actual: ArrayLike<number>, exact: ArrayLike<number>, variants: readonly ArrayLike<number>[]): Gap {
    const ours = relativeL2(actual, exact);
    const theirs = variants.map((values) => relativeL2(values, exact));
    const gap = { ours, theirs: Math.max(...theirs) };
    this.#ratios.push({ name, ratio: ratioOf(gap), gap });
    this.#chance.push(ratioOf({ ours: theirs.at(-1)!, theirs: theirs[0]! }));
    // Each array counts alike, however large its numbers are.
    const all = this.#sums.get(name) ?? { ours: 0, theirs: 0, norm: 0 };
    const square = theirs.reduce((sum, error) => sum + error ** 2, 0) / theirs.length;
    this.#sums.set(name, { ours: all.ours + ours ** 2, theirs: all.theirs + square, norm: all.norm + 1 });
    return gap;
  }

  /** Root mean square over the arrays of each name. */
  pooled(): [string, Gap][] {
    return [...this.#sums].map(([name, sums]) => [name, gapOf(sums)]);
  }

  total(name: string): Gap {
    return gapOf(this.#sums.get(name) ?? { ours: Number.NaN, theirs: 0, norm: 1 });
  }

  /** The spread of the ratios over all arrays added. */
  summary(allowed: number): {
    arrays: number;
    median: number;
    worst: number;
    above: number;
    pooledMedian: number;
    pooledWorst: number;
    pooledAbove: number;
  } {
    const single = this.#ratios.map(({ ratio }) => ratio).sort(ascending);
    const pooled = this.pooled()
      .map(([, gap]) => ratioOf(gap))
      .sort(ascending);
    const above = (sorted: readonly number[]): number => sorted.filter((ratio) => !(ratio <= allowed)).length;
    return {
      arrays: single.length,
      median: quantile(single, 0.5),
      worst: single.at(-1)!,
      above: above(single),
      pooledMedian: quantile(pooled, 0.5),
      pooledWorst: pooled.at(-1)!,
      pooledAbove: above(pooled),
    };
  }

  /** One line: the spread of the ratios, the median errors, and every array above `allowed`. */
  describe(allowed: number): string {
    const sorted = [...this.#ratios].sort((a, b) => ascending(a.ratio, b.ratio));
    const ratios = sorted.map(({ ratio }) => ratio);
    const error = (pick: (gap: Gap) => number): string =>
      quantile(sorted.map(({ gap }) => pick(gap)).sort(ascending), 0.5).toExponential(2);
    const above = sorted.filter(({ ratio }) => !(ratio <= allowed));
    const at = (q: number): string => quantile(ratios, q).toFixed(2);
    const chance = [...this.#chance].sort(ascending);
    const named = above.map(({ name, ratio }) => `\n    ${ratio.toFixed(2)} ${name}`).join('');
    return (
      `${sorted.length} arrays, ratio min ${at(0)}, quarter ${at(0.25)}, median ${at(0.5)}, three quarters ${at(0.75)}, ` +
      `worst ${at(1)}; median error ours ${error(({ ours }) => ours)}, transformers ${error(({ theirs }) => theirs)}; ` +
      `${above.length} above ${allowed}; the other program's last variant against its first: median ` +
      `${quantile(chance, 0.5).toFixed(2)}, worst ${quantile(chance, 1).toFixed(2)}, ` +
      `${chance.filter((ratio) => !(ratio <= allowed)).length} above ${allowed}${named}`
    );
  }

  /** Gaps of arrays of one kind, pooled. */
  byKind(kindOf: (name: string) => string): Map<string, Gap> {
    const kinds = new Map<string, Sums>();
    for (const [name, sums] of this.#sums) {
      const all = kinds.get(kindOf(name)) ?? { ours: 0, theirs: 0, norm: 0 };
      kinds.set(kindOf(name), {
        ours: all.ours + sums.ours,
        theirs: all.theirs + sums.theirs,
        norm: all.norm + sums.norm,
      });
    }
    return new Map([...kinds].map(([kind, sums]) => [kind, gapOf(sums)]));
  }
}

/** "vision q_proj" and the like, of the name of an adapter's tensor. */
export function projectionOf(name: string): string {
  return `${name.includes('vision_tower') ? 'vision' : 'text'} ${/\w+_proj/.exec(name)?.[0] ?? name}`;
}

function gapOf({ ours, theirs, norm }: Sums): Gap {
  return { ours: Math.sqrt(ours / (norm || 1)), theirs: Math.sqrt(theirs / (norm || 1)) };
}

// NaN counts as largest.
function ascending(a: number, b: number): number {
  return (Number.isNaN(a) ? Number.POSITIVE_INFINITY : a) - (Number.isNaN(b) ? Number.POSITIVE_INFINITY : b) || 0;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.round(q * (sorted.length - 1))] ?? Number.NaN;
}
