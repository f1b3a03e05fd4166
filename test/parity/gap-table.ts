/** Errors against exact values, ours beside those of another program of the same precision. */

/** Relative L2 errors. */
export interface Gap {
  readonly ours: number;
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

  /** Adds an array; an array of another length, or a value that is not a number, gives NaN, which passes no bound. */
  add(name: string, actual: ArrayLike<number>, exact: ArrayLike<number>, theirs: ArrayLike<number>): Gap {
    const sums: Sums = { ours: 0, theirs: 0, norm: 0 };
    if (actual.length !== exact.length || theirs.length !== exact.length) sums.ours = Number.NaN;
    for (let i = 0; i < exact.length; i++) {
      sums.ours += (actual[i]! - exact[i]!) ** 2;
      sums.theirs += (theirs[i]! - exact[i]!) ** 2;
      sums.norm += exact[i]! ** 2;
    }
    const gap = gapOf(sums);
    this.#ratios.push({ name, ratio: ratioOf(gap), gap });
    const all = this.#sums.get(name) ?? { ours: 0, theirs: 0, norm: 0 };
    // Each array counts alike, however large its numbers are.
    const weight = 1 / (sums.norm || 1);
    this.#sums.set(name, {
      ours: all.ours + sums.ours * weight,
      theirs: all.theirs + sums.theirs * weight,
      norm: all.norm + 1,
    });
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
    const named = above.map(({ name, ratio }) => `\n    ${ratio.toFixed(2)} ${name}`).join('');
    return (
      `${sorted.length} arrays, ratio min ${at(0)}, quarter ${at(0.25)}, median ${at(0.5)}, three quarters ${at(0.75)}, ` +
      `worst ${at(1)}; median error ours ${error(({ ours }) => ours)}, transformers ${error(({ theirs }) => theirs)}; ` +
      `${above.length} above ${allowed}${named}`
    );
  }

  /** One line a kind, all its arrays pooled. */
  byKind(kindOf: (name: string) => string): string[] {
    const kinds = new Map<string, Sums>();
    for (const [name, sums] of this.#sums) {
      const all = kinds.get(kindOf(name)) ?? { ours: 0, theirs: 0, norm: 0 };
      kinds.set(kindOf(name), {
        ours: all.ours + sums.ours,
        theirs: all.theirs + sums.theirs,
        norm: all.norm + sums.norm,
      });
    }
    return [...kinds].map(([kind, sums]) => {
      const gap = gapOf(sums);
      return `${kind.padEnd(20)} ours ${gap.ours.toExponential(2)}, transformers ${gap.theirs.toExponential(2)}, ratio ${ratioOf(gap).toFixed(3)}`;
    });
  }
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
