import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/errors.js';
import {
  mcnemarChiSquare,
  mcnemarExact,
  pairedDifferenceInterval,
  wilsonInterval,
} from '../../src/eval/significance.js';

describe('wilsonInterval', () => {
  it('is where the score test just accepts', () => {
    // Wilson's bounds solve (p̂ - p)² = z² p (1 - p) / n.
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true }), (total, share) => {
        const successes = Math.round(total * share);
        const { low, high } = wilsonInterval(successes, total);
        const z = 1.959963984540054;
        for (const p of [low, high])
          expect((successes / total - p) ** 2).toBeCloseTo((z * z * p * (1 - p)) / total, 10);
        expect(low).toBeLessThanOrEqual(successes / total);
        expect(high).toBeGreaterThanOrEqual(successes / total);
      }),
    );
  });

  it('is about 8 points either way for 140 samples', () => {
    const { low, high } = wilsonInterval(70, 140);
    expect(low).toBeCloseTo(0.4183, 4);
    expect(high).toBeCloseTo(0.5817, 4);
    expect(wilsonInterval(0, 0)).toEqual({ low: 0, high: 1 });
  });
});

describe('mcnemarExact', () => {
  it('sums the two tails of a fair coin', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 12 }), (gained, lost) => {
        const n = gained + lost;
        let atLeastAsUneven = 0;
        for (let heads = 0; heads <= n; heads++)
          if (Math.abs(heads - n / 2) >= Math.abs(gained - n / 2)) atLeastAsUneven += binomial(n, heads);
        expect(mcnemarExact(gained, lost)).toBeCloseTo(atLeastAsUneven / 2 ** n, 10);
      }),
    );
  });

  it('does not overflow on many samples', () => {
    expect(mcnemarExact(5000, 5000)).toBe(1);
    expect(mcnemarExact(5200, 4800)).toBeGreaterThan(6e-5);
    expect(mcnemarExact(5200, 4800)).toBeLessThan(7e-5);
  });
});

// statsmodels.stats.contingency_tables.mcnemar([[50, lost], [gained, 20]], exact=False, correction=…) of statsmodels 0.15.
const REFERENCE = [
  { gained: 15, lost: 5, corrected: [4.05, 0.04417134490844271], plain: [5, 0.025347318677468325] },
  {
    gained: 22,
    lost: 40,
    corrected: [4.661290322580645, 0.03084999943692499],
    plain: [5.225806451612903, 0.022254124823099214],
  },
  { gained: 3, lost: 0, corrected: [1.3333333333333333, 0.24821307898992026], plain: [3, 0.08326451666355042] },
  { gained: 7, lost: 6, corrected: [0, 1], plain: [0.07692307692307693, 0.7815112949987134] },
];

describe('mcnemarChiSquare', () => {
  it.each(REFERENCE)(
    'of $gained gained and $lost lost is that of statsmodels',
    ({ gained, lost, corrected, plain }) => {
      for (const [correction, [statistic, pValue]] of [
        [true, corrected],
        [false, plain],
      ] as const) {
        const test = mcnemarChiSquare(gained, lost, correction);
        expect(test.statistic).toBeCloseTo(statistic!, 13);
        expect(test.pValue).toBeCloseTo(pValue!, 13);
        expect(mcnemarChiSquare(lost, gained, correction)).toEqual(test);
      }
    },
  );

  it('finds no difference where as many were gained as lost, or none', () => {
    expect(mcnemarChiSquare(6, 6)).toEqual({ statistic: 0, pValue: 1 });
    expect(mcnemarChiSquare(0, 0)).toEqual({ statistic: 0, pValue: 1 });
  });

  it('comes near the exact test for many samples', () => {
    expect(mcnemarChiSquare(5200, 4800).pValue / mcnemarExact(5200, 4800)).toBeCloseTo(1, 1);
  });
});

describe('pairedDifferenceInterval', () => {
  it("is Wald's with half a sample more in each cell", () => {
    // 4 gained, 1 lost of 10: 3/12 ± 1.96 · √((6/12 - (3/12)²) / 12).
    const { low, high } = pairedDifferenceInterval(4, 1, 10);
    expect(low).toBeCloseTo(0.25 - 1.959963984540054 * Math.sqrt(0.4375 / 12), 14);
    expect(high).toBeCloseTo(0.25 + 1.959963984540054 * Math.sqrt(0.4375 / 12), 14);
    expect(pairedDifferenceInterval(1, 4, 10)).toEqual({ low: -high, high: -low });
  });

  it('keeps a width where no sample changed', () => {
    const { low, high } = pairedDifferenceInterval(0, 0, 140);
    expect([low, high]).toEqual([-high, high]);
    expect(high).toBeGreaterThan(0.01);
    expect(high).toBeLessThan(0.02);
  });
});

function binomial(n: number, k: number): number {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return value;
}

describe('counts that cannot be', () => {
  it('are refused, where a value would come all the same', () => {
    expect(() => mcnemarExact(-1, 3)).toThrow(/mcnemarExact: `gained`/);
    expect(() => mcnemarExact(1, 2.5)).toThrow(/mcnemarExact: `lost`/);
    expect(() => mcnemarChiSquare(Number.NaN, 1)).toThrow(/mcnemarChiSquare: `gained`/);
    expect(() => pairedDifferenceInterval(5, 3, 4)).toThrow(/`total`: expected a whole number of at least 8, got 4/);
    expect(() => wilsonInterval(5, 3)).toThrow(/expected 0 to 3 successes of 3 samples, got 5/);
    expect(() => wilsonInterval(Number.NaN, 3)).toThrow(ConfigError);
  });
});
