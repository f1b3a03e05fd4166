import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PackedSize, WindowSample } from '../../src/batch/packed-window.js';
import { type Costs, isPlan, type PassPlan, type PlanOptions, planPasses } from '../../src/train/pass-plan.js';

/**
 * Ten decoder layers of 10 bytes a token and four vision layers of 2 bytes a patch, of which recomputation leaves a
 * tenth; one layer is made again in backward. A decoder layer takes 20 to run again, a vision layer 1.
 */
const costs: Costs = {
  layers: { vision: 4, text: 10 },
  hostBytes: () => 0,
  peakBytes: ({ tokens, patches }, { vision, text }) =>
    tokens * (10 * (10 - text) + text + (text === 10 ? 10 : 0)) + patches * (2 * (4 - vision) + 0.2 * vision),
  weight: ({ tokens, patches }) => 100 * tokens + 8 * patches,
  recomputeTime: ({ tokens, patches }, { vision, text }) => 20 * tokens * text + patches * vision,
  tileTime: () => 0,
  passTime: 2000,
};

function windowOf(microBatches: readonly (readonly number[])[], patchesPerToken = 2): WindowSample[] {
  return microBatches.flatMap((tokens, microBatch) =>
    tokens.map((count, row) => {
      const size: PackedSize = { tokens: count, patches: patchesPerToken * count, features: count / 2, labels: 5 };
      return { microBatch, row, size };
    }),
  );
}

const defaults: PlanOptions = {
  budgetBytes: Number.POSITIVE_INFINITY,
  tokensPerPass: 1000,
  gradientCheckpointing: 'auto',
  autoMicroBatch: false,
};

function plan(samples: readonly WindowSample[], options: Partial<PlanOptions>): PassPlan {
  const result = planPasses(samples, costs, { ...defaults, ...options });
  if (!isPlan(result)) throw new Error(`does not fit: ${JSON.stringify(result)}`);
  return result;
}

const tokensOf = ({ passes }: PassPlan): number[] => passes.map(({ size }) => size.tokens);
const recomputed = ({ passes }: PassPlan) => passes.map(({ recompute }) => [recompute.vision, recompute.text]);

describe('planPasses of large windows', () => {
  /** Samples whose sizes are asked for, in all, while samples that share half of their tokens are planned. */
  function work(count: number, tokensPerPass = 1000): { looked: number; plan: PassPlan; samples: WindowSample[] } {
    const samples = windowOf(Array.from({ length: count / 2 }, (_, i) => [100 + (i % 7), 140 - (i % 11)]));
    let looked = 0;
    const sizeOf = (members: readonly WindowSample[]): PackedSize => {
      looked += members.length;
      const sum = { tokens: 0, patches: 0, features: 0, labels: 0 };
      for (const [at, { size }] of members.entries()) sum.tokens += at === 0 ? size.tokens : size.tokens - 50;
      return sum;
    };
    return { plan: plan(samples, { sizeOf, tokensPerPass }), looked, samples };
  }

  it('takes work that grows with their samples, not with the square', () => {
    const [small, large] = [work(256).looked, work(2048).looked];
    expect(large).toBeLessThan(9 * small);
    expect(small).toBeLessThan(256 * 1000);
  });

  it('runs every sample once, in passes of the preferred size', () => {
    const { plan: made, samples } = work(512);
    const places = made.passes.flatMap((pass) => pass.samples.map((sample) => samples.indexOf(sample)));
    expect(places.sort((a, b) => a - b)).toEqual([...samples.keys()]);
    expect(made.microBatchSize).toBe(2);
    const whole = samples.length * 70 + 50;
    expect(made.passes.length).toBeLessThanOrEqual(Math.ceil((1.25 * whole) / 1000));
  });

  it('says what does not fit, and what micro-batches fit instead', () => {
    // At least 20.6 bytes a token: 19 of the decoder with nine layers recomputed, 1.6 of its two patches.
    const one = windowOf(Array.from({ length: 50 }, (_, i) => [100, i === 40 ? 500 : 100]));
    const refused = planPasses(one, costs, { ...defaults, budgetBytes: 10_000, autoMicroBatch: true });
    expect(refused).toEqual({ neededBytes: 10_300, size: one[81]!.size, samples: 1 });
    const pairs = windowOf(Array.from({ length: 50 }, () => [100, 100]));
    expect(planPasses(pairs, costs, { ...defaults, budgetBytes: 3000 })).toMatchObject({ samples: 2 });
    const halves = plan(pairs, { budgetBytes: 3000, autoMicroBatch: true });
    expect([halves.microBatchSize, halves.passes.length]).toEqual([1, 100]);
  });
});

describe('planPasses', () => {
  const window = windowOf([
    [100, 300],
    [500, 100],
    [200, 400],
    [300, 100],
  ]);

  it('deals samples so that passes end where a tile of rows is full, if they stay about equal', () => {
    const tiled = {
      ...costs,
      tileTime: ({ tokens }: PackedSize) => Math.ceil(tokens / 128) * 128 - tokens,
    };
    const samples = windowOf([
      [500, 516],
      [524, 508],
      [540, 484],
      [510, 514],
    ]);
    const options = { ...defaults, tokensPerPass: 2560 };
    const [plain, filled] = [costs, tiled].map((used) => planPasses(samples, used, options) as PassPlan) as [
      PassPlan,
      PassPlan,
    ];
    expect(filled.passes).toHaveLength(2);
    const emptyRows = (of: PassPlan) =>
      tokensOf(of).reduce((sum, tokens) => sum + Math.ceil(tokens / 128) * 128 - tokens, 0);
    expect(emptyRows(filled)).toBeLessThan(emptyRows(plain));
    const heaviest = (of: PassPlan) => Math.max(...of.passes.map(({ size }) => costs.weight(size)));
    expect(heaviest(filled)).toBeLessThanOrEqual(1.06 * heaviest(plain));
    const dealt = filled.passes.flatMap(({ samples: of }) => of.map(({ microBatch, row }) => `${microBatch}.${row}`));
    expect(dealt.sort()).toEqual(samples.map(({ microBatch, row }) => `${microBatch}.${row}`));
  });

  it('makes as few passes as the preferred size allows, of samples, about equal', () => {
    expect(tokensOf(plan(window, {}))).toEqual([1000, 1000]);
    expect(tokensOf(plan(window, { tokensPerPass: 2000 }))).toEqual([2000]);
    expect(tokensOf(plan(window, { tokensPerPass: 700 }))).toHaveLength(3);
    for (const tokens of tokensOf(plan(window, { tokensPerPass: 700 }))) expect(tokens).toBeLessThanOrEqual(800);
    // Not more than there are samples.
    expect(tokensOf(plan(window, { tokensPerPass: 1 }))).toHaveLength(8);
  });

  it('has nothing to run for an empty window', () => {
    expect(plan([], {}).passes).toEqual([]);
  });

  it('keeps the micro-batches where the engine wants them one by one', () => {
    const { passes } = plan(window, { tokensPerPass: 0 });
    expect(passes.map(({ samples }) => samples.map(({ microBatch, row }) => [microBatch, row]))).toEqual(
      [0, 1, 2, 3].map((microBatch) => [0, 1].map((row) => [microBatch, row])),
    );
    // Dealt out evenly only where that saves work: 600 tokens in a pass do not fit, 500 do.
    expect(tokensOf(plan(window, { tokensPerPass: 0, budgetBytes: 500 * 116 }))).toEqual([500, 500, 500, 500]);
  });

  it('splits first where that costs less than recomputing, and recomputes what frees most for its time', () => {
    // 2000 tokens in one pass take 232,000 bytes.
    const whole = { tokensPerPass: 2000 };
    expect(recomputed(plan(window, { ...whole, budgetBytes: 232_000 }))).toEqual([[0, 0]]);
    // A vision layer of the pass frees 7,200 bytes for 4,000: a pass more costs 2,000.
    expect(recomputed(plan(window, { ...whole, budgetBytes: 231_000 }))).toEqual([
      [0, 0],
      [0, 0],
    ]);
    const cheap = { ...costs, passTime: 5000 };
    const options = { ...defaults, ...whole, budgetBytes: 231_000 };
    const result = planPasses(window, cheap, options);
    expect(isPlan(result) && recomputed(result)).toEqual([[1, 0]]);
    // Four passes at most. 8,000 bytes are missing: all vision layers free 7,200, so a decoder layer must help, and
    // then two vision layers do.
    const tight = plan(window, { budgetBytes: 500 * 100 });
    expect(tokensOf(tight)).toEqual([500, 500, 500, 500]);
    expect(recomputed(tight)).toEqual(Array.from({ length: 4 }, () => [2, 1]));
  });

  it('recomputes all or nothing when told so, and makes more passes instead', () => {
    expect(recomputed(plan(window, { gradientCheckpointing: true }))).toEqual([
      [4, 10],
      [4, 10],
    ]);
    const none = plan(window, { gradientCheckpointing: false, budgetBytes: 500 * 116 });
    expect(recomputed(none)).toEqual(Array.from({ length: 4 }, () => [0, 0]));
    expect(isPlan(planPasses(window, costs, { ...defaults, gradientCheckpointing: false, budgetBytes: 50_000 }))).toBe(
      false,
    );
  });

  it('says what does not fit at its smallest, or halves the micro-batch', () => {
    const large = windowOf([[100, 100, 100, 100, 100, 100]]);
    const options = { ...defaults, budgetBytes: 200 * 22 };
    const misfit = planPasses(large, costs, options);
    expect(misfit).toEqual({
      // The last layer, recomputed, would come on top of nothing that it frees.
      neededBytes: costs.peakBytes(large.map(({ size }) => size).reduce(sum), {
        ...costs.layers,
        text: costs.layers.text - 1,
      }),
      size: large.map(({ size }) => size).reduce(sum),
      samples: 6,
    });
    const halved = plan(large, { ...options, autoMicroBatch: true });
    // 6 → 3 samples need two passes of 300 tokens, which do not fit either; 1 sample at a time allows up to six passes.
    expect(halved.microBatchSize).toBe(1);
    expect(Math.max(...tokensOf(halved))).toBeLessThanOrEqual(200);
    const little = planPasses(large, costs, { ...options, budgetBytes: 100, autoMicroBatch: true });
    expect(little).toMatchObject({ samples: 1, size: { tokens: 100 } });
    expect(plan(large, { ...options, budgetBytes: 300 * 22, autoMicroBatch: true }).microBatchSize).toBe(3);
  });

  describe('with inputs of recomputed layers in host memory', () => {
    /** Two inputs stay: a byte a token less for each further layer, and each takes 4 to move. */
    const moving: Costs = {
      ...costs,
      peakBytes: (size, recompute) => {
        const moved = recompute.offloadInputs ? Math.max(0, recompute.text - 2) : 0;
        return costs.peakBytes(size, recompute) - moved * size.tokens;
      },
      hostBytes: ({ tokens }, { text, offloadInputs }) => (offloadInputs ? text * tokens : 0),
      recomputeTime: (size, recompute) =>
        costs.recomputeTime(size, recompute) + 4 * (recompute.offloadInputs ? recompute.text * size.tokens : 0),
    };
    const planned = (options: Partial<PlanOptions>, used = moving) =>
      planPasses(window, used, { ...defaults, tokensPerPass: 2000, ...options });
    const places = (result: ReturnType<typeof planPasses>) =>
      isPlan(result) && result.passes.map(({ recompute }) => recompute.offloadInputs ?? false);
    // A pass of 500 tokens with all but a decoder layer recomputed, and its vision tower.
    const least = 500 * 19 + 800;

    it('uses it only where no pass fits without', () => {
      const auto = { offloadsInputs: 'auto', budgetBytes: least } as const;
      expect(places(planned(auto))).toEqual([false, false, false, false]);
      const tight = planned({ ...auto, budgetBytes: least - 1 });
      expect(new Set(places(tight) || [])).toEqual(new Set([true]));
      expect(isPlan(planned({ budgetBytes: least - 1 }))).toBe(false);
      const misfit = planned({ ...auto, budgetBytes: 1 });
      expect(misfit).toMatchObject({ neededBytes: least - 7 * 500 });
    });

    it('uses it where further passes would take longer', () => {
      const costly = { ...moving, passTime: 1e6 };
      const budgetBytes = 4 * least - 1;
      expect(places(planned({ offloadsInputs: 'auto', budgetBytes }, costly))).toEqual([true]);
      expect(places(planned({ budgetBytes }, costly))).toEqual([false, false]);
    });

    it('always uses it where told so', () => {
      const always = { offloadsInputs: 'always' } as const;
      expect(places(planned({ ...always, gradientCheckpointing: true }))).toEqual([true]);
      expect(recomputed(planned(always) as PassPlan)).toEqual([[0, 0]]);
      expect(new Set(places(planned({ ...always, budgetBytes: least })) || [])).toEqual(new Set([true]));
    });
  });

  describe('of samples that share tokens', () => {
    /** A hundred tokens of each sample are those of all samples of its group. */
    const shared = (groups: readonly number[]) => (members: readonly WindowSample[]) => {
      const none = { tokens: 0, patches: 0, features: 0, labels: 0 };
      const all = members.map(({ size }) => size).reduce(sum, none);
      const count = new Set(members.map(({ microBatch }) => groups[microBatch])).size;
      return { ...all, tokens: all.tokens - 100 * (members.length - count) };
    };
    const samples = windowOf([
      [300, 300],
      [300, 300],
    ]);

    it('counts what is computed, as often as there are passes', () => {
      const sizeOf = shared([0, 0]);
      expect(tokensOf(plan(samples, { sizeOf, tokensPerPass: 900 }))).toEqual([900]);
      expect(tokensOf(plan(samples, { sizeOf, tokensPerPass: 899 }))).toEqual([500, 500]);
      // Twice 450 would be enough for 900 tokens, but two passes compute a thousand.
      expect(tokensOf(plan(samples, { sizeOf, tokensPerPass: 450 }))).toEqual([500, 300, 300]);
      expect(plan(samples, { sizeOf, tokensPerPass: 900 }).passes[0]!.bytes).toBe(900 * 100 + 2400 * 8);
    });

    it('splits only where that costs less than recomputing, what is computed twice included', () => {
      const sizeOf = shared([0, 0]);
      // A vision layer frees 4,320 bytes for 2,400; a pass more costs 2,000 and a hundred tokens, 40,000.
      const options = { sizeOf, tokensPerPass: 900, budgetBytes: 900 * 100 + 2400 * 8 - 1000 };
      expect(recomputed(plan(samples, options))).toEqual([[1, 0]]);
      const alone = plan(samples, { tokensPerPass: 1200, budgetBytes: 1200 * 100 + 2400 * 8 - 1000 });
      expect(alone.passes).toHaveLength(2);
    });

    it('keeps those together that share', () => {
      const sizeOf = shared([0, 1, 0, 1]);
      const window = windowOf([
        [300, 300],
        [300, 300],
        [300, 300],
        [300, 300],
      ]);
      expect(tokensOf(plan(window, { sizeOf, tokensPerPass: 900 }))).toEqual([900, 900]);
    });
  });

  it('puts every sample into one pass, within the budget, for any window', () => {
    const sizes = fc.array(fc.array(fc.integer({ min: 2, max: 900 }), { minLength: 1, maxLength: 5 }), {
      minLength: 1,
      maxLength: 6,
    });
    const choices = fc.record({
      budgetBytes: fc.integer({ min: 5_000, max: 400_000 }),
      tokensPerPass: fc.constantFrom(0, 300, 1000, 5000),
      gradientCheckpointing: fc.constantFrom<(boolean | 'auto')[]>(true, false, 'auto'),
      autoMicroBatch: fc.boolean(),
    });
    fc.assert(
      fc.property(sizes, choices, (microBatches, options) => {
        const samples = windowOf(microBatches);
        const result = planPasses(samples, costs, options);
        if (!isPlan(result)) {
          expect(result.neededBytes).toBeGreaterThan(options.budgetBytes);
          // With every freedom, only a sample alone can be too large.
          if (options.autoMicroBatch) expect(result.samples).toBe(1);
          return;
        }
        const dealt = result.passes.flatMap((pass) => pass.samples);
        expect(new Set(dealt)).toEqual(new Set(samples));
        expect(dealt).toHaveLength(samples.length);
        for (const pass of result.passes) {
          expect(pass.samples.length).toBeGreaterThan(0);
          expect(pass.bytes).toBe(costs.peakBytes(pass.samples.map(({ size }) => size).reduce(sum), pass.recompute));
          expect(pass.bytes).toBeLessThanOrEqual(options.budgetBytes);
        }
      }),
      { numRuns: 300 },
    );
  });
});

function sum(a: PackedSize, b: PackedSize): PackedSize {
  return {
    tokens: a.tokens + b.tokens,
    patches: a.patches + b.patches,
    features: a.features + b.features,
    labels: a.labels + b.labels,
  };
}
