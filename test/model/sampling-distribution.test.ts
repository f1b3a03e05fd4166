import { describe, expect, it } from 'vitest';
import { type GenerationOptions, nextToken, parseGenerationConfig } from '../../src/model/sampling.js';
import { MersenneTwister } from '../../src/random.js';

const DRAWS = 10_000;
const LOGITS = Float32Array.of(2.1, -0.4, 1.2, 0.3, 1.7, -1.5, 0.9, -0.1, 1.4);
/** Tokens of the prompt and the answer, for the repetition penalty. */
const SEEN = [0, 5, 0, 4];

/** Probabilities of some tokens of given scores, in double precision. */
function distribution(scores: readonly number[], kept: (index: number) => boolean = () => true): number[] {
  const weights = scores.map((score, i) => (kept(i) ? Math.exp(score) : 0));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

const scaled = (temperature: number, scores: readonly number[] = [...LOGITS]) => scores.map((s) => s / temperature);
/** Place of each score from the highest down. */
const rankOf = (scores: readonly number[], index: number): number => scores.filter((s) => s > scores[index]!).length;
const penalised = [...LOGITS].map((s, i) => (SEEN.includes(i) ? (s < 0 ? s * 1.3 : s / 1.3) : s));

/** P(χ² > x) for an even number of degrees of freedom. */
function chiSquareTail(x: number, degrees: number): number {
  let [term, sum] = [1, 1];
  for (let i = 1; i < degrees / 2; i++) {
    term *= x / 2 / i;
    sum += term;
  }
  return Math.exp(-x / 2) * sum;
}

/** Expected probabilities by hand; each keeps an odd number of tokens. */
const CASES: [string, GenerationOptions, number[], seed: number][] = [
  ['temperature 1.5', { temperature: 1.5, topK: 0 }, distribution(scaled(1.5)), 11],
  ['top-k 5', { topK: 5 }, distribution([...LOGITS], (i) => rankOf([...LOGITS], i) < 5), 12],
  // The five likeliest have 0.88 of the probability, the four likeliest 0.79.
  ['top-p 0.8', { topP: 0.8, topK: 0 }, distribution([...LOGITS], (i) => rankOf([...LOGITS], i) < 5), 13],
  [
    'min-p 0.25',
    { minP: 0.25, topK: 0 },
    distribution([...LOGITS], (i) => LOGITS[i]! >= LOGITS[0]! + Math.log(0.25)),
    14,
  ],
  [
    'repetition penalty 1.3, temperature 0.7, top-k 7, min-p 0.2',
    { repetitionPenalty: 1.3, temperature: 0.7, topK: 7, minP: 0.2 },
    distribution(
      scaled(0.7, penalised),
      (i) => rankOf(penalised, i) < 7 && penalised[i]! >= Math.max(...penalised) + 0.7 * Math.log(0.2),
    ),
    15,
  ],
];

describe('10,000 draws', () => {
  it.each(CASES)('have the distribution of %s', (name, options, expected, seed) => {
    const config = parseGenerationConfig({ doSample: true, ...options });
    const generator = new MersenneTwister(seed);
    const counts = new Array<number>(LOGITS.length).fill(0);
    for (let i = 0; i < DRAWS; i++) counts[nextToken(LOGITS, config, { tokens: SEEN }, generator)]!++;
    const kept = [...expected.keys()].filter((i) => expected[i]! > 0);
    expect(kept.length % 2).toBe(1);
    expect(counts.filter((_, i) => !kept.includes(i)).every((count) => count === 0)).toBe(true);
    const statistic = kept.reduce(
      (sum, i) => sum + (counts[i]! - DRAWS * expected[i]!) ** 2 / (DRAWS * expected[i]!),
      0,
    );
    expect(chiSquareTail(statistic, kept.length - 1)).toBeGreaterThan(0.01);
    // The test can tell: another temperature fails it.
    const others = kept.map((i) => expected[i]! ** 0.85);
    const sum = others.reduce((total, value) => total + value, 0);
    const wrong = kept.reduce((total, i, k) => {
      const wanted = (DRAWS * others[k]!) / sum;
      return total + (counts[i]! - wanted) ** 2 / wanted;
    }, 0);
    expect(chiSquareTail(wrong, kept.length - 1)).toBeLessThan(0.01);
    console.log(name, kept.length, chiSquareTail(statistic, kept.length - 1), chiSquareTail(wrong, kept.length - 1));
  });
});
