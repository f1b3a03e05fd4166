import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError, EngineError } from '../../src/errors.js';
import {
  applyMinP,
  applyRepetitionPenalty,
  applyTopK,
  applyTopP,
  argmax,
  type GenerationOptions,
  nextToken,
  parseGenerationConfig,
  processLogits,
  type SequenceState,
  sample,
  softmax,
  suppressTokens,
} from '../../src/model/sampling.js';
import { MersenneTwister } from '../../src/random.js';

/** Three ties at the top, a negative score, a gap. */
const LOGITS = Float32Array.of(1.5, -0.25, 3, 3, 0.5, -2, 2, 3);

/** Random scores on a coarse grid, so that ties are common, and on a fine one. */
const scores = fc
  .tuple(
    fc.constantFrom(0.5, 0.001),
    fc.array(fc.integer({ min: -20_000, max: 20_000 }), { minLength: 1, maxLength: 60 }),
  )
  .map(([grid, numbers]) => Float32Array.from(numbers, (n) => (grid === 0.5 ? (n % 20) * 0.5 : n * grid * 0.3)));

function kept(values: Float32Array): number[] {
  return [...values.keys()].filter((i) => values[i]! > -Infinity);
}

describe('probabilities', () => {
  // Made with transformers 5.17's processors (ties sorted stably).
  const golden: [string, GenerationOptions, SequenceState, number[]][] = [
    [
      'temperature',
      { temperature: 1.5 },
      {},
      [0.0871669, 0.027144, 0.2369441, 0.2369441, 0.044753, 0.0084527, 0.1216512, 0.2369441],
    ],
    ['top-k keeps ties with the k-th', { topK: 2 }, {}, [0, 0, 0.3333333, 0.3333333, 0, 0, 0, 0.3333333]],
    ['top-k 4', { topK: 4 }, {}, [0, 0, 0.2969227, 0.2969227, 0, 0, 0.1092318, 0.2969227]],
    ['top-p cuts within ties', { topP: 0.5 }, {}, [0, 0, 0, 0.5, 0, 0, 0, 0.5]],
    ['top-p 0 keeps one', { topP: 0 }, {}, [0, 0, 0, 0, 0, 0, 0, 1]],
    ['top-p 0.95', { topP: 0.95 }, {}, [0.0621358, 0, 0.2784732, 0.2784732, 0, 0, 0.1024446, 0.2784732]],
    ['min-p', { minP: 0.3 }, {}, [0, 0, 0.2969227, 0.2969227, 0, 0, 0.1092318, 0.2969227]],
    ['min-p 1 keeps the ties', { minP: 1 }, {}, [0, 0, 0.3333333, 0.3333333, 0, 0, 0, 0.3333333]],
    [
      'temperature 1.5, min-p 0.1',
      { temperature: 1.5, minP: 0.1 },
      {},
      [0.0879099, 0.0273754, 0.238964, 0.238964, 0.0451345, 0, 0.1226882, 0.238964],
    ],
    [
      'every processor in order',
      {
        repetitionPenalty: 1.3,
        minNewTokens: 2,
        eosTokenIds: [2, 3],
        temperature: 0.7,
        topK: 5,
        topP: 0.9,
        minP: 0.05,
      },
      { tokens: [7, 1, 7, 5], newTokenCount: 1 },
      [0.1609505, 0, 0, 0, 0, 0, 0.328778, 0.5102715],
    ],
  ];
  it.each(golden)('matches transformers: %s', (_, options, state, expected) => {
    const actual = softmax(processLogits(LOGITS, parseGenerationConfig({ doSample: true, ...options }), state));
    expect(actual.length).toBe(expected.length);
    for (const [i, value] of expected.entries()) expect(Math.abs(actual[i]! - value)).toBeLessThan(1e-7);
  });

  it('leaves its input as it was', () => {
    const before = LOGITS.slice();
    const config = parseGenerationConfig({
      doSample: true,
      temperature: 0.5,
      topK: 2,
      topP: 0.5,
      minP: 0.1,
      repetitionPenalty: 2,
    });
    softmax(processLogits(LOGITS, config, { tokens: [2, 3] }));
    expect(LOGITS).toEqual(before);
  });

  it('filters by the default top-k of 50 when sampling, and not when greedy', () => {
    const logits = Float32Array.from({ length: 80 }, (_, i) => i / 10);
    const count = (options: GenerationOptions) => kept(processLogits(logits, parseGenerationConfig(options))).length;
    expect(count({ doSample: true })).toBe(50);
    expect(count({ doSample: true, topK: 0 })).toBe(80);
    expect(count({})).toBe(80);
  });
});

describe('processors', () => {
  it('top-k keeps what is at least the k-th of a full sort', () => {
    fc.assert(
      fc.property(scores, fc.integer({ min: 1, max: 70 }), (logits, k) => {
        const threshold = [...logits].sort((a, b) => b - a)[Math.min(k, logits.length) - 1]!;
        const expected = [...logits.keys()].filter((i) => logits[i]! >= threshold);
        expect(kept(applyTopK(logits, k))).toEqual(expected);
      }),
    );
  });

  it('top-p removes the longest run of smallest probabilities that stays within 1 - p', () => {
    fc.assert(
      fc.property(scores, fc.constantFrom(0, 0.05, 0.3, 0.5, 0.77, 0.9, 0.999), (logits, p) => {
        const order = [...logits.keys()].sort((a, b) => logits[a]! - logits[b]! || a - b);
        const weights = order.map((i) => Math.exp(logits[i]! - Math.max(...logits)));
        const total = weights.reduce((a, b) => a + b, 0);
        const cumulative = order.map((_, n) => weights.slice(0, n + 1).reduce((a, b) => a + b, 0) / total);
        // A sum within rounding of the border may fall on either side.
        fc.pre(cumulative.every((sum) => Math.abs(sum - (1 - p)) > 1e-6));
        const expected = order.filter((_, n) => n === order.length - 1 || cumulative[n]! > 1 - p).sort((a, b) => a - b);
        expect(kept(applyTopP(logits, p))).toEqual(expected);
      }),
    );
  });

  it('top-p ignores what top-k has removed', () => {
    const filtered = Float32Array.of(-Infinity, 1, -Infinity, 3, 2);
    expect(kept(applyTopP(filtered, 0.999))).toEqual([1, 3, 4]);
    expect(kept(applyTopP(filtered, 0.7))).toEqual([3, 4]);
    expect(kept(applyTopP(filtered, 0.5))).toEqual([3]);
  });

  it('min-p keeps what is at least a fraction of the likeliest', () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0.01, max: 0.99, noNaN: true }), (logits, minP) => {
        const top = Math.max(...logits);
        const shares = [...logits].map((score) => Math.exp(score - top));
        fc.pre(shares.every((share) => Math.abs(share - minP) > 1e-6));
        expect(kept(applyMinP(logits, minP))).toEqual([...logits.keys()].filter((i) => shares[i]! > minP));
      }),
    );
  });

  it('repetition penalty moves each seen token once, towards less likely for penalties above 1', () => {
    const moved = applyRepetitionPenalty(Float32Array.of(2, -2, 0, 4), [0, 1, 0, 2], 2);
    expect([...moved]).toEqual([1, -4, 0, 4]);
    expect(() => applyRepetitionPenalty(LOGITS, [8], 2)).toThrow(/token 8 is outside the vocabulary of 8/);
  });

  it('suppresses end-of-sequence tokens until enough are generated, also when greedy', () => {
    const config = parseGenerationConfig({ minNewTokens: 2, eosTokenIds: [2, 3, 7, 99] });
    const generator = new MersenneTwister(1);
    expect(nextToken(LOGITS, config, { newTokenCount: 0 }, generator)).toBe(6);
    expect(nextToken(LOGITS, config, { newTokenCount: 1 }, generator)).toBe(6);
    expect(nextToken(LOGITS, config, { newTokenCount: 2 }, generator)).toBe(2);
    expect(suppressTokens(LOGITS, [99]).length).toBe(8);
  });

  it('works on a vocabulary of one', () => {
    const config = parseGenerationConfig({ doSample: true, topP: 0, minP: 1, topK: 1, temperature: 0.01 });
    expect([...softmax(processLogits(Float32Array.of(-5), config))]).toEqual([1]);
  });
});

describe('argmax and softmax', () => {
  it('takes the lowest index on ties', () => {
    expect(argmax(LOGITS)).toBe(2);
    expect(argmax(Float32Array.of(-3, -1, -1))).toBe(1);
  });

  it('sums to one and does not overflow', () => {
    const result = softmax(Float32Array.of(1000, 1000, -1000, -Infinity));
    expect([...result]).toEqual([0.5, 0.5, 0, 0]);
  });

  it('refuses logits of a broken forward pass', () => {
    expect(() => argmax(Float32Array.of(1, NaN, 2))).toThrow(/NaN at token 1/);
    expect(() => argmax(Float32Array.of(NaN))).toThrow(EngineError);
    expect(() => argmax(Float32Array.of(-Infinity, -Infinity))).toThrow(/at least one finite/);
    expect(() => softmax(Float32Array.of(1, Infinity))).toThrow(/infinity at token 1/);
  });
});

describe('sample', () => {
  it('draws each index as often as its weight says, and never one of weight 0', () => {
    const weights = Float64Array.of(0, 0.5, 0, 0.125, 0.375, 0);
    const generator = new MersenneTwister(3);
    const draws = 40_000;
    const counts = new Array<number>(weights.length).fill(0);
    for (let i = 0; i < draws; i++) counts[sample(weights, generator)]!++;
    for (const [i, weight] of weights.entries()) {
      const deviation = Math.sqrt(draws * weight * (1 - weight));
      expect(Math.abs(counts[i]! - draws * weight)).toBeLessThanOrEqual(4 * deviation);
    }
  });

  it('repeats with the seed and differs without it', () => {
    const weights = softmax(Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i)));
    const draw = (seed: number) => {
      const generator = new MersenneTwister(seed);
      return Array.from({ length: 20 }, () => sample(weights, generator));
    };
    expect(draw(5)).toEqual(draw(5));
    expect(draw(5)).not.toEqual(draw(6));
  });

  it('does not need weights that sum to one, and refuses those that sum to nothing', () => {
    const generator = new MersenneTwister(1);
    expect(new Set(Array.from({ length: 100 }, () => sample(Float32Array.of(0, 1e-3, 1e-3), generator)))).toEqual(
      new Set([1, 2]),
    );
    expect(() => sample(Float32Array.of(0, 0), generator)).toThrow(EngineError);
    expect(() => sample(Float32Array.of(NaN, 1), generator)).toThrow(EngineError);
  });
});

describe('GenerationConfig', () => {
  it('fills in defaults', () => {
    expect(parseGenerationConfig()).toEqual({
      maxNewTokens: 256,
      minNewTokens: 0,
      doSample: false,
      temperature: 1,
      topK: 50,
      topP: 1,
      minP: 0,
      repetitionPenalty: 1,
      seed: 42,
    });
  });

  it('gives itself back when resolved twice', () => {
    for (const options of [{}, { doSample: true, temperature: 0.7, topK: 0 }, { eosTokenIds: [2], padTokenId: 11 }]) {
      const resolved = parseGenerationConfig(options);
      expect(parseGenerationConfig(resolved)).toEqual(resolved);
    }
  });

  it('says what to do instead of temperature 0', () => {
    expect(() => parseGenerationConfig({ doSample: true, temperature: 0 })).toThrow(/temperature.*doSample: false/s);
    expect(() => parseGenerationConfig({ temperature: 0 })).toThrow(ConfigError);
  });

  it('refuses options that would do nothing', () => {
    for (const option of [{ temperature: 0.7 }, { topK: 5 }, { topP: 0.9 }, { minP: 0.1 }])
      expect(() => parseGenerationConfig(option)).toThrow(/does nothing without `doSample: true`/);
  });

  it('lists every fault, with the nearest name', () => {
    expect(() => parseGenerationConfig({ doSample: true, topP: 2, topK: -1 })).toThrow(/2 faults/);
    expect(() => parseGenerationConfig({ top_p: 0.5 } as GenerationOptions)).toThrow(/did you mean `topP`/);
    expect(() => parseGenerationConfig({ maxNewTokens: 3, minNewTokens: 4 })).toThrow(
      /4 is more than `maxNewTokens` 3/,
    );
  });
});
