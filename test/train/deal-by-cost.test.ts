import { describe, expect, it } from 'vitest';
import { counterHash } from '../../src/random.js';
import { type CostedBatch, dealByCost } from '../../src/train/deal-by-cost.js';

/** Micro-batches dealt round robin, as they are read. */
const costed = (costs: readonly number[], worldSize: number, bytes: number | undefined = 1e6): CostedBatch[] =>
  costs.map((cost, m) => ({ home: m % worldSize, cost, bytes }));

function loadsOf(batches: readonly CostedBatch[], owners: readonly number[], worldSize: number): number[] {
  const loads = new Array<number>(worldSize).fill(0);
  for (const [m, { cost }] of batches.entries()) loads[owners[m]!]! += cost;
  return loads;
}

const slowest = (...given: Parameters<typeof loadsOf>): number => Math.max(...loadsOf(...given));
const homesOf = (batches: readonly CostedBatch[]): number[] => batches.map(({ home }) => home);

/** The least cost of the slowest rank over all ways to deal. */
function bruteForce(batches: readonly CostedBatch[], worldSize: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let way = 0; way < worldSize ** batches.length; way++) {
    const owners = batches.map((_, m) => Math.floor(way / worldSize ** m) % worldSize);
    least = Math.min(least, slowest(batches, owners, worldSize));
  }
  return least;
}

const someCosts = (count: number, seed: number, spread = 1000): number[] =>
  Array.from({ length: count }, (_, m) => 100 + ((counterHash(seed, m) >>> 0) % spread));

describe('dealByCost', () => {
  for (const [count, worldSize] of [
    [8, 2],
    [5, 3],
    [6, 4],
    [9, 2],
  ] as const) {
    it(`is as good as any other way for ${count} micro-batches on ${worldSize} ranks, within what moves cost`, () => {
      for (let seed = 0; seed < 30; seed++) {
        const batches = costed(someCosts(count, seed), worldSize);
        const owners = dealByCost(batches, { worldSize });
        const [home, dealt, least] = [
          slowest(batches, homesOf(batches), worldSize),
          slowest(batches, owners, worldSize),
          bruteForce(batches, worldSize),
        ];
        // A move of 1 MB has to win 0.06 % of a rank's mean; below 1 % of the slowest rank nothing moves at all.
        expect(dealt, `seed ${seed}`).toBeLessThan(Math.max(least * (1 + 0.0006 * count), 1.011 * least));
        if (home - least > 0.02 * home) expect(dealt).toBeLessThan(home);
      }
    });
  }

  it('comes near to even ranks where there are too many ways to try', () => {
    for (const [count, worldSize] of [
      [32, 8],
      [16, 4],
      [256, 64],
    ] as const) {
      for (let seed = 0; seed < 5; seed++) {
        const batches = costed(someCosts(count, seed), worldSize);
        const mean = batches.reduce((sum, { cost }) => sum + cost, 0) / worldSize;
        const owners = dealByCost(batches, { worldSize });
        expect(slowest(batches, homesOf(batches), worldSize)).toBeGreaterThan(1.1 * mean);
        expect(slowest(batches, owners, worldSize), `${count} on ${worldSize}, seed ${seed}`).toBeLessThan(1.03 * mean);
        const moves = owners.filter((rank, m) => rank !== batches[m]!.home);
        expect(moves.length).toBeLessThan((2 / 3) * count);
      }
    }
  });

  it('gives the same every time', () => {
    const batches = costed(someCosts(32, 7), 8);
    const first = dealByCost(batches, { worldSize: 8 });
    for (let i = 0; i < 3; i++) expect(dealByCost(structuredClone(batches), { worldSize: 8 })).toEqual(first);
  });

  it('leaves all at home where costs are alike, or little is to be won', () => {
    for (const costs of [
      [5, 5, 5, 5],
      [100, 101, 100, 101],
    ]) {
      const batches = costed(costs, 2);
      expect(dealByCost(batches, { worldSize: 2 })).toEqual([0, 1, 0, 1]);
    }
    const uneven = costed([300, 100, 100, 100], 2);
    expect(dealByCost(uneven, { worldSize: 2 })).not.toEqual([0, 1, 0, 1]);
    expect(dealByCost(uneven, { worldSize: 2, leastGain: 150 })).toEqual([0, 1, 0, 1]);
  });

  it('moves no more than it must: one of equal ways with fewer moves', () => {
    // Rank 0 has 40 and rank 1 has 20: one of the tens goes over.
    const owners = dealByCost(costed([10, 5, 10, 5, 10, 5, 10, 5], 2), { worldSize: 2 });
    expect(owners.filter((rank, m) => rank !== m % 2)).toHaveLength(1);
  });

  it('does not take apart what cannot be moved', () => {
    const batches = costed([10, 1, 10, 1, 10, 1], 2).map((batch) =>
      batch.cost === 10 ? { ...batch, bytes: undefined } : batch,
    );
    expect(dealByCost(batches, { worldSize: 2 })).toEqual(homesOf(batches));
  });

  it('leaves one huge micro-batch where it is, and its rank without others', () => {
    const batches = costed([1000, 10, 10, 10, 10, 10], 2);
    expect(dealByCost(batches, { worldSize: 2 })).toEqual([0, 1, 1, 1, 1, 1]);
  });

  it('gives unequal numbers, also to ranks that had none', () => {
    const batches = costed([90, 30, 30, 30, 90], 2).map((batch, m) => ({ ...batch, home: m < 4 ? 0 : 1 }));
    const owners = dealByCost(batches, { worldSize: 3 });
    expect(loadsOf(batches, owners, 3).sort()).toEqual([90, 90, 90]);
  });

  it('makes nothing of fewer micro-batches than ranks, of none, and of costs that are no numbers', () => {
    expect(dealByCost(costed([7, 9], 4), { worldSize: 4 })).toEqual([0, 1]);
    expect(dealByCost([], { worldSize: 4 })).toEqual([]);
    expect(dealByCost(costed([9, 1, 9, 1], 1), { worldSize: 1 })).toEqual([0, 0, 0, 0]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      expect(dealByCost(costed([bad, 1, 9, 1], 2), { worldSize: 2 })).toEqual([0, 1, 0, 1]);
    }
    expect(dealByCost(costed([0, 0, 0, 0], 2), { worldSize: 2 })).toEqual([0, 1, 0, 1]);
    // A micro-batch without samples costs nothing, and stays.
    const empty = costed([9, 0, 9, 1], 2).map((batch) => (batch.cost === 0 ? { ...batch, bytes: undefined } : batch));
    expect(dealByCost(empty, { worldSize: 2 })[1]).toBe(1);
  });
});
