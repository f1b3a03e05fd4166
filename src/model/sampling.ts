/**
 * From the logits of one position to a token: pure functions, in the order and with the float32 rounding of
 * transformers' `generation/logits_process.py`.
 *
 *   repetition penalty → minimum of new tokens → choices → (only when sampling) temperature → top-k → top-p → min-p → softmax
 *
 * Every processor takes scores [V] and gives new scores [V]; a removed token has the score -∞.
 */
import { z } from 'zod';
import { lazySchema, type Mismatch, type NoMismatch, parseOptions, type WithDefaults } from '../config.js';
import { EngineError } from '../errors.js';
import type { MersenneTwister } from '../random.js';

/** What top-k is when sampling and nothing is set, as in transformers. */
const DEFAULT_TOP_K = 50;
/** Options of generation as a user writes them. Those of sampling are refused without `doSample`, where they do nothing. */
export interface GenerationOptions {
  /** Stop after this many generated tokens. Default: 256. */
  maxNewTokens?: number | undefined;
  /** No end-of-sequence token before this many generated tokens. Default: 0. */
  minNewTokens?: number | undefined;
  /** Draw from the distribution instead of taking the likeliest token. Default: false. */
  doSample?: boolean | undefined;
  /** Scores are divided by this before sampling; above 1 is flatter. Default: 1. */
  temperature?: number | undefined;
  /** Keep the k highest scores, and those that tie with the k-th. 0 turns it off. Default: 50. */
  topK?: number | undefined;
  /** Keep the likeliest tokens until their probabilities reach this. 0 keeps one, 1 turns it off. Default: 1. */
  topP?: number | undefined;
  /** Keep tokens at least this fraction as likely as the likeliest. 0 turns it off. Default: 0. */
  minP?: number | undefined;
  /**
   * Scores of tokens seen in the prompt or the answer are divided by this (multiplied when negative). 1 turns it off.
   * Default: 1.
   */
  repetitionPenalty?: number | undefined;
  /**
   * Any of these tokens ends the answer. Default: those of the model's generation_config.json and the prompts'
   * `stopTokenIds`.
   */
  eosTokenIds?: readonly number[] | undefined;
  /**
   * The answer ends with the token that completes one of these in its text, the prompt aside. Texts end before it; ids
   * have all tokens, as in transformers. One that names a control token (`</s>`) ends at that token. Default: none.
   */
  stopStrings?: readonly string[] | undefined;
  /**
   * The answer is one of these texts and the token that closes it: tokens that lead to none are never chosen. Greedy takes
   * the likeliest token at each step; `scoreLabels` compares whole answers. Default: any answer.
   */
  choices?: readonly string[] | undefined;
  /**
   * A token id without effect: answers are not padded here. Taken because calls of transformers' `generate` have it.
   * Default: none.
   */
  padTokenId?: number | undefined;
  /** Seed of the generator that draws the tokens. Default: 42. */
  seed?: number | undefined;
}

/** Options of generation with the defaults filled in. */
export type GenerationConfig = WithDefaults<
  GenerationOptions,
  'eosTokenIds' | 'stopStrings' | 'choices' | 'padTokenId'
>;

/** Checks {@link GenerationOptions}. */
const generationConfigSchema = lazySchema(() =>
  z
    .strictObject({
      maxNewTokens: z.int().min(1).default(256),
      minNewTokens: z.int().min(0).default(0),
      doSample: z.boolean().default(false),
      temperature: z
        .number()
        .refine((value) => value > 0 && value < Infinity, {
          message:
            'expected a number above 0; for the likeliest token every time use `doSample: false` and no temperature',
        })
        .default(1),
      topK: z.int().min(0).default(DEFAULT_TOP_K),
      topP: z.number().min(0).max(1).default(1),
      minP: z.number().min(0).max(1).default(0),
      repetitionPenalty: z.number().positive().finite().default(1),
      eosTokenIds: z.array(z.int().min(0)).readonly().optional(),
      stopStrings: z.array(z.string().min(1)).readonly().optional(),
      choices: z.array(z.string().min(1)).min(1).readonly().optional(),
      padTokenId: z.int().min(0).optional(),
      seed: z.int().min(0).max(0xffffffff).default(42),
    })
    .superRefine((config, context) => {
      if (config.minNewTokens > config.maxNewTokens)
        context.addIssue({
          code: 'custom',
          path: ['minNewTokens'],
          message: `${config.minNewTokens} is more than \`maxNewTokens\` ${config.maxNewTokens}`,
        });
      if (config.choices) {
        const clashing: [string, boolean][] = [
          ['minNewTokens', config.minNewTokens > 0],
          ['stopStrings', config.stopStrings !== undefined],
        ];
        for (const [name, isSet] of clashing)
          if (isSet)
            context.addIssue({
              code: 'custom',
              path: [name],
              message: 'expected nothing beside `choices`, which say where an answer ends',
            });
      }
      if (config.doSample) return;
      const idle: [string, boolean][] = [
        ['temperature', config.temperature !== 1],
        ['topK', config.topK !== 0 && config.topK !== DEFAULT_TOP_K],
        ['topP', config.topP !== 1],
        ['minP', config.minP !== 0],
      ];
      for (const [name, isSet] of idle)
        if (isSet) context.addIssue({ code: 'custom', path: [name], message: 'does nothing without `doSample: true`' });
    }),
);

type _Input = NoMismatch<Mismatch<z.input<ReturnType<typeof generationConfigSchema>>, GenerationOptions>>;
type _Output = NoMismatch<Mismatch<z.output<ReturnType<typeof generationConfigSchema>>, GenerationConfig>>;

/** Names of other libraries. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  maxtokens: 'maxNewTokens',
  maxcompletiontokens: 'maxNewTokens',
  maxlength: 'maxNewTokens',
  numpredict: 'maxNewTokens',
  mintokens: 'minNewTokens',
  sample: 'doSample',
  stop: 'stopStrings',
  stopstring: 'stopStrings',
  guidedchoice: 'choices',
  choice: 'choices',
  eostokenid: 'eosTokenIds',
  stoptokenids: 'eosTokenIds',
  repeatpenalty: 'repetitionPenalty',
};

/** @throws ConfigError listing every fault */
export function parseGenerationConfig(options: GenerationOptions = {}, what = 'GenerationConfig'): GenerationConfig {
  return parseOptions(generationConfigSchema, options, what, OTHER_NAMES);
}

/** What the processors know of the sequence so far. */
export interface SequenceState {
  /** Prompt and generated tokens, for the repetition penalty. Default: none. */
  readonly tokens?: ArrayLike<number>;
  /** How many of them were generated, for `minNewTokens`. Default 0. */
  readonly newTokenCount?: number;
  /** The tokens that may come next. Default: all. */
  readonly allowed?: readonly number[] | undefined;
}

/** Positive scores of the given tokens are divided by the penalty, negative ones multiplied: once per distinct token. */
export function applyRepetitionPenalty(logits: Float32Array, tokens: ArrayLike<number>, penalty: number): Float32Array {
  const scores = logits.slice();
  const factor = Math.fround(penalty);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const score = logits[token];
    if (score === undefined)
      throw new EngineError(`repetition penalty: token ${token} is outside the vocabulary of ${logits.length}`);
    scores[token] = score < 0 ? score * factor : score / factor;
  }
  return scores;
}

/** Removes the given tokens. Ids outside the vocabulary are ignored, as in transformers. */
export function suppressTokens(logits: Float32Array, tokens: readonly number[]): Float32Array {
  const scores = logits.slice();
  for (const token of tokens) if (token < scores.length) scores[token] = -Infinity;
  return scores;
}

/** Removes all but the given tokens. */
function keepTokens(logits: Float32Array, tokens: readonly number[]): Float32Array {
  const scores = new Float32Array(logits.length).fill(-Infinity);
  for (const token of tokens) {
    const score = logits[token];
    if (score === undefined)
      throw new EngineError(`allowed tokens: token ${token} is outside the vocabulary of ${logits.length}`);
    scores[token] = score;
  }
  return scores;
}

function applyTemperature(logits: Float32Array, temperature: number): Float32Array {
  const divisor = Math.fround(temperature);
  return logits.map((score) => score / divisor);
}

/** Keeps every score that is at least the k-th largest, so ties with it stay. */
export function applyTopK(logits: Float32Array, k: number): Float32Array {
  if (k >= logits.length) return logits.slice();
  const threshold = kthLargest(logits, k);
  return logits.map((score) => (score < threshold ? -Infinity : score));
}

/**
 * Removes the unlikeliest tokens whose probabilities, summed from the smallest up, stay within 1 - p; the likeliest is
 * always kept. Of equal scores at the border the lower index goes first, as in a stable ascending sort.
 */
export function applyTopP(logits: Float32Array, p: number): Float32Array {
  const sorted = logits.filter((score) => score > -Infinity).sort();
  const ascending = softmax(sorted);
  const border = Math.fround(1 - p);
  let removed = 0;
  // torch sums in float64 and stores each partial sum as float32.
  for (let sum = ascending[0]!; removed < sorted.length - 1 && Math.fround(sum) <= border; sum += ascending[removed]!)
    removed++;
  const threshold = sorted[removed]!;
  let tiesToRemove = removed - sorted.indexOf(threshold);
  return logits.map((score) => (score < threshold || (score === threshold && tiesToRemove-- > 0) ? -Infinity : score));
}

/** Removes tokens less likely than `minP` times the likeliest. */
export function applyMinP(logits: Float32Array, minP: number): Float32Array {
  const likelihood = softmax(logits);
  const threshold = Math.fround(Math.fround(minP) * likelihood[argmax(logits)]!);
  return logits.map((score, i) => (likelihood[i]! < threshold ? -Infinity : score));
}

/** exp(x - max) / sum, computed in float64 and stored as float32. */
export function softmax(logits: Float32Array): Float32Array {
  const max = logits[argmax(logits)]!;
  const weights = new Float64Array(logits.length);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    if (logits[i] === -Infinity) continue;
    weights[i] = Math.exp(Math.fround(logits[i]! - max));
    sum += weights[i]!;
  }
  const result = new Float32Array(logits.length);
  for (let i = 0; i < result.length; i++) result[i] = weights[i]! / sum;
  return result;
}

/** Whether eight scores from `i` on are all at most `most`. */
function areAtMost(scores: Float32Array, i: number, most: number): boolean {
  return (
    scores[i]! <= most &&
    scores[i + 1]! <= most &&
    scores[i + 2]! <= most &&
    scores[i + 3]! <= most &&
    scores[i + 4]! <= most &&
    scores[i + 5]! <= most &&
    scores[i + 6]! <= most &&
    scores[i + 7]! <= most
  );
}

/**
 * The index of the largest score, the lowest one on ties.
 * @throws EngineError if a score is NaN or none is above -∞: a broken forward pass must not look like an answer
 */
export function argmax(logits: Float32Array): number {
  let best = -1;
  let bestScore = -Infinity;
  const { length } = logits;
  for (let i = 0; i < length; i++) {
    // Skips nearly all of a vocabulary by eights, three times as fast; a NaN fails the comparison.
    while (i + 8 <= length && areAtMost(logits, i, bestScore)) i += 8;
    if (i === length) break;
    const score = logits[i]!;
    if (score <= bestScore) continue;
    if (score > bestScore) {
      best = i;
      bestScore = score;
    } else {
      return requireLargest(i, score, length);
    }
  }
  return requireLargest(best, bestScore, length);
}

/**
 * Checks the largest of `length` scores, wherever it was found, and gives back its index.
 * @throws EngineError as `argmax`
 */
export function requireLargest(index: number, score: number, length: number): number {
  if (score - score === 0) return index;
  if (Number.isNaN(score)) {
    throw new EngineError(`logits: expected finite scores, found NaN at token ${index} of ${length}`, {
      hint: 'The weights or the adapter may be damaged, or activations overflowed.',
      details: { token: index },
    });
  }
  throw new EngineError(
    score < 0
      ? `logits: expected at least one finite score among ${length}, found none`
      : `logits: expected finite scores, found infinity at token ${index}`,
  );
}

/** Scores [V] after every processor that the configuration asks for. The input is left as it is. */
export function processLogits(logits: Float32Array, config: GenerationConfig, state: SequenceState = {}): Float32Array {
  let scores: Float32Array = logits.slice();
  if (config.repetitionPenalty !== 1)
    scores = applyRepetitionPenalty(scores, state.tokens ?? [], config.repetitionPenalty);
  if ((state.newTokenCount ?? 0) < config.minNewTokens) scores = suppressTokens(scores, config.eosTokenIds ?? []);
  if (state.allowed) scores = keepTokens(scores, state.allowed);
  if (!config.doSample) return scores;
  if (config.temperature !== 1) scores = applyTemperature(scores, config.temperature);
  if (config.topK > 0) scores = applyTopK(scores, config.topK);
  if (config.topP < 1) scores = applyTopP(scores, config.topP);
  if (config.minP > 0) scores = applyMinP(scores, config.minP);
  return scores;
}

/**
 * Draws an index by inverting the cumulative distribution with 53 random bits. A token of probability 0 never comes.
 * The weights need not sum to exactly 1. (torch's draws cannot be repeated: only the distribution is the same.)
 */
export function sample(weights: Float32Array | Float64Array, generator: MersenneTwister): number {
  let total = 0;
  for (const weight of weights) total += weight;
  if (!(total > 0 && total < Infinity))
    throw new EngineError(`sample: expected probabilities with a positive, finite sum, found a sum of ${total}`);
  const high = generator.nextUint32() >>> 5;
  const low = generator.nextUint32() >>> 6;
  const target = ((high * 0x4000000 + low) / 2 ** 53) * total;
  let sum = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (weights[i]! <= 0) continue;
    sum += weights[i]!;
    last = i;
    if (sum > target) break;
  }
  return last;
}

/** Whether the next token is the one with the largest logit, whatever the others are. */
export function takesLargest(
  { doSample, repetitionPenalty, minNewTokens }: GenerationConfig,
  { newTokenCount = 0, allowed }: SequenceState,
): boolean {
  return !doSample && repetitionPenalty === 1 && newTokenCount >= minNewTokens && !allowed;
}

/** The next token: drawn when `doSample`, otherwise the likeliest. */
export function nextToken(
  logits: Float32Array,
  config: GenerationConfig,
  state: SequenceState,
  generator: MersenneTwister,
): number {
  if (takesLargest(config, state)) return argmax(logits);
  // No draw: the tokens drawn later do not depend on it.
  if (state.allowed?.length === 1) return state.allowed[0]!;
  const scores = processLogits(logits, config, state);
  return config.doSample ? sample(softmax(scores), generator) : argmax(scores);
}

/** Keeps a heap of the k largest values with the smallest on top: one pass, no sort of the vocabulary. */
function kthLargest(values: Float32Array, k: number): number {
  const heap = values.slice(0, k).sort();
  for (let i = k; i < values.length; i++) {
    const value = values[i]!;
    if (value <= heap[0]!) continue;
    let hole = 0;
    for (let child = 1; child < k; child = 2 * hole + 1) {
      if (child + 1 < k && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[hole] = heap[child]!;
      hole = child;
    }
    heap[hole] = value;
  }
  return heap[0]!;
}
