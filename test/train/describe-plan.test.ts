import { describe, expect, it } from 'vitest';
import { describePlan } from '../../src/train/describe-plan.js';
import type { Costs, PassPlan } from '../../src/train/pass-plan.js';

const MIB = 2 ** 20;
const costs: Costs = {
  layers: { vision: 4, text: 10 },
  hostBytes: () => 0,
  peakBytes: () => 0,
  weight: () => 0,
  recomputeTime: ({ tokens }, { vision, text }) => tokens * (vision + 9 * text),
  tileTime: () => 0,
  passTime: 0,
};

function planOf(bytes: readonly number[], vision: number, text: number): PassPlan {
  const size = { tokens: 100, patches: 0, features: 0, labels: 1 };
  return {
    passes: bytes.map((each) => ({ samples: [], size, recompute: { vision, text }, bytes: each * MIB })),
    microBatchSize: 1,
  };
}

describe('a plan in words', () => {
  it('says what was chosen, what it costs, and what would be next', () => {
    const described = { plan: planOf([300, 200], 4, 4), costs, storage: {}, freeBytes: 400 * MIB };
    expect(describePlan({ ...described, next: planOf([150, 100, 100], 0, 0) })).toBe(
      '2 passes, up to 4 of 4 vision and 4 of 10 decoder layers recomputed (about 21 % more time), ' +
        'at most 300.00 MiB per pass of 400.00 MiB free; with 15 % less memory: 3 passes, nothing recomputed',
    );
  });

  it('says what goes to host memory', () => {
    const plan = planOf([300], 0, 4);
    const described = { plan, costs: { ...costs, hostBytes: () => 10 * MIB }, storage: {}, freeBytes: 400 * MIB };
    expect(describePlan({ ...described, next: plan })).toContain(
      '4 of 10 decoder layers recomputed, up to 10.00 MiB of their inputs offloaded to host memory (about 19 % more time)',
    );
  });

  it('names layers that are streamed, and that nothing smaller is allowed', () => {
    const size = { tokens: 1, patches: 0, features: 0, labels: 1 };
    const text = describePlan({
      plan: planOf([300], 0, 0),
      // Of forward as of backward: 8000 operations for each byte that is copied, twice.
      costs: { ...costs, recomputeTime: (_, { text }) => (text === 10 ? 16_000 * 2 ** 30 : 0) },
      ...{
        storage: { streamedBytes: 2 ** 30, nextStreamedBytes: 3 * 2 ** 29 },
        freeBytes: Number.POSITIVE_INFINITY,
      },
      next: { neededBytes: 1, size, samples: 1 },
    });
    expect(text).toBe(
      '1 pass, nothing recomputed, at most 300.00 MiB per pass; 1.00 GiB of weights are streamed from host memory in each ' +
        'forward and each backward: copies that take about 50 % of the time of the computation, and overlap with it; ' +
        'with 15 % less memory: no plan that the options allow; a model loaded with 15 % less memory would have 1.50 GiB ' +
        'of weights streamed',
    );
  });
});
