import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
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

function binomial(n: number, k: number): number {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (n - k + i)) / i;
  return value;
}
