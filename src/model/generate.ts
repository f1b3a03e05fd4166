/** Generation with a key/value cache: greedy or sampled, one prompt or a ragged batch, token by token. */

import type { PackedBatch } from '../batch/packed-batch.js';
import { sharePrefixes } from '../batch/packed-window.js';
import { requireBatch } from '../batch/require-batch.js';
import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { VlmBatch } from '../data/types.js';
import { exclusively } from '../engine/computation.js';
import { ConfigError } from '../errors.js';
import { MersenneTwister } from '../random.js';
import { isOptions, requireBoolean, requireKind, requireSignal } from '../require-given.js';
import type { VisionLanguageModel } from './network/vision-language-model.js';
import {
  type GenerationConfig,
  type GenerationOptions,
  nextToken,
  parseGenerationConfig,
  requireLargest,
  takesLargest,
} from './sampling.js';

/** Options of generation, and a signal. */
export interface GenerateOptions extends GenerationOptions {
  /**
   * Stops with the signal's reason: while a token is computed, between its layers, and while the caller looks at one.
   * The memory is freed at once.
   */
  signal?: AbortSignal;
  /** Compute the common prefixes of prompts only once. Default true. */
  sharePrefix?: boolean;
  /** For `generate` and `generateTokens` with `stopStrings`, `choices` or `onToken`; the others are given one anyway. */
  tokenizer?: MinistralTokenizer;
  /** Called with each new token of each sequence, in order, and waited for: text as it comes, of a whole batch. */
  onToken?: (token: StreamedToken) => void | Promise<void>;
}

/** One new token of one sequence, with the text that it completes. */
export interface StreamedToken {
  /** Row of the prompt batch. */
  readonly sequence: number;
  /** Token id, an end-of-sequence token's included. */
  readonly id: number;
  /**
   * Text that can be shown now: whole characters, nothing of control tokens and stop strings. Empty while a character, or
   * what may become a stop string, is incomplete. The pieces of a sequence, joined, are what `generateText` gives.
   */
  readonly text: string;
  /** Whether this token ended the sequence. */
  readonly last: boolean;
}

/** One new token of one sequence. */
export interface GeneratedToken {
  /** Row of the prompt batch. */
  readonly sequence: number;
  /** Token id, an end-of-sequence token's included. */
  readonly id: number;
  /** Whether this token ended the sequence: an end-of-sequence token, or the last of `maxNewTokens`. */
  readonly last: boolean;
  /** Scores before any processing [V]. */
  readonly logits: Float32Array;
}

/**
 * Yields tokens as they are chosen, sequence by sequence within a step. Ended sequences drop out of the computation.
 * Timers and signals are served meanwhile. The adapter is the one that is on when the first token is asked for, to the
 * end; others that use the engine at the same time take turns with it, token by token.
 * @param prompts a batch from `VlmCollator.collatePrompts`, padded on either side
 * @throws ConfigError on bad options, or parts that are something else, at once; the signal's reason when aborted
 */
export function generateTokens(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, void, undefined> {
  const checked = checkCall('generateTokens', model, prompts, options);
  return tokensOf(model, prompts, checked, true) as AsyncGenerator<GeneratedToken, void, undefined>;
}

type NewToken = Omit<GeneratedToken, 'logits'> & Partial<GeneratedToken>;

/** @param withLogits reads all logits back; otherwise only where the choice of the token needs them */
async function* tokensOf(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  { signal, sharePrefix, parsed }: CheckedOptions,
  withLogits = false,
): AsyncGenerator<NewToken, void, undefined> {
  // An answer may be learned with another end than the model's own: the template's.
  const ends = [...new Set([...model.config.eosTokenIds, ...(prompts.stopTokenIds ?? [])])];
  const config: GenerationConfig = { ...parsed, eosTokenIds: parsed.eosTokenIds ?? ends };
  const generator = new MersenneTwister(config.seed);
  const packed = model.pack(prompts);
  const sequences = Array.from({ length: packed.starts.length - 1 }, (_, i) =>
    Array.from(packed.ids.subarray(packed.starts[i]!, packed.starts[i + 1]!)),
  );
  const promptLengths = sequences.map((ids) => ids.length);
  const capacities = promptLengths.map((length) => length + config.maxNewTokens);
  const adapter = model.adapterView();
  const cache = await exclusively(model.engine, signal, () => model.createCache(capacities));
  let isComputing = false;
  // Whoever holds a token may never ask for the next one.
  const abort = (): void => {
    if (!isComputing) cache.dispose();
  };
  signal?.addEventListener('abort', abort, { once: true });
  let active = sequences.map((_, i) => i);
  let step = sharePrefix ? sharePrefixes(packed) : packed;
  try {
    for (let count = 0; active.length > 0; count++) {
      signal?.throwIfAborted();
      isComputing = true;
      const rows = Int32Array.from(active, (sequence) => step.starts[sequence + 1]! - 1);
      const passOptions = { cache, adapter, signal };
      const isPlain = !withLogits && takesLargest(config, count);
      const maxima = isPlain ? await model.rowMaxima(step, rows, passOptions) : undefined;
      const logits = maxima ? undefined : await model.rowLogits(step, rows, passOptions);
      isComputing = false;
      const size = model.config.text.vocabSize;
      const ended = new Set<number>();
      for (const [i, sequence] of active.entries()) {
        const scores = logits?.subarray(i * size, (i + 1) * size);
        const tokens = sequences[sequence]!;
        const id = scores
          ? nextToken(scores, config, { tokens, newTokenCount: count }, generator)
          : requireLargest(maxima!.indices[i]!, maxima!.values[i]!, size);
        tokens.push(id);
        const last = config.eosTokenIds!.includes(id) || count + 1 === config.maxNewTokens;
        if (last) ended.add(sequence);
        yield { sequence, id, last, ...(scores && { logits: scores }) };
        signal?.throwIfAborted();
      }
      active = active.filter((sequence) => !ended.has(sequence));
      step = nextStep(sequences, active);
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    cache.dispose();
  }
}

/** New token ids of each prompt, with the end-of-sequence token where one came. */
export async function generate(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): Promise<number[][]> {
  return idsOf(model, prompts, checkCall('generate', model, prompts, options));
}

async function idsOf(model: VisionLanguageModel, prompts: VlmBatch, checked: CheckedOptions): Promise<number[][]> {
  const result: number[][] = Array.from({ length: prompts.inputIds.shape[0]! }, () => []);
  for await (const { sequence, id } of tokensOf(model, prompts, checked)) result[sequence]!.push(id);
  return result;
}

/** The answer to each prompt as text, without control tokens. */
export async function generateText(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): Promise<string[]> {
  const answers = await idsOf(model, prompts, checkCall('generateText', model, prompts, options, tokenizer));
  const isEnd = (id: number | undefined) => id !== undefined && prompts.stopTokenIds?.includes(id);
  // The end of a template need not be a token that the tokenizer calls special.
  return answers.map((ids) => {
    return tokenizer.decode(isEnd(ids.at(-1)) ? ids.slice(0, -1) : ids, { skipSpecialTokens: true });
  });
}

/** Text of the first prompt's answer, piece by piece, without control tokens. */
export function streamText(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): AsyncGenerator<string, void, undefined> {
  return piecesOf(model, tokenizer, prompts, checkCall('streamText', model, prompts, options, tokenizer));
}

async function* piecesOf(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  checked: CheckedOptions,
): AsyncGenerator<string, void, undefined> {
  const decoder = tokenizer.streamingDecoder({ skipSpecialTokens: true });
  for await (const { sequence, id, last } of tokensOf(model, prompts, checked)) {
    if (sequence !== 0 || (last && prompts.stopTokenIds?.includes(id))) continue;
    const text = decoder.push(id);
    if (text) yield text;
  }
  const rest = decoder.end();
  if (rest) yield rest;
}

interface CheckedOptions {
  readonly signal: AbortSignal | undefined;
  readonly sharePrefix: boolean;
  readonly parsed: GenerationConfig;
}

/** @throws ConfigError for parts that are something else, or in another order */
function checkCall(
  name: string,
  model: unknown,
  prompts: unknown,
  options: GenerateOptions,
  ...[tokenizer]: readonly unknown[]
): CheckedOptions {
  const isText = name === 'generateText' || name === 'streamText';
  const call = `${name}(model, ${isText ? 'tokenizer, ' : ''}await collator.collatePrompts([{ messages }]), { maxNewTokens: 20 })`;
  requireKind('model', model, `${name}: \`model\``, call);
  if (isText) requireKind('tokenizer', tokenizer, `${name}: \`tokenizer\``, call);
  requireBatch(prompts, `${name}: \`prompts\``, call);
  if (prompts.labels) {
    const expected = 'expected a batch of prompts, got one to train on, with the answers in it';
    throw new ConfigError(`${name}: \`prompts\`: ${expected}`, {
      hint: 'Write collator.collatePrompts(samples) in place of collator.collate(samples).',
    });
  }
  const { signal, sharePrefix = true, ...rest } = isOptions(options) ? options : {};
  requireSignal(signal, name);
  requireBoolean(sharePrefix, `${name}: \`sharePrefix\``);
  const parsed = parseGenerationConfig(isOptions(options) ? rest : options, name);
  return { signal, sharePrefix, parsed };
}

/** The last token of every active sequence; ended ones have an empty range. */
function nextStep(sequences: readonly (readonly number[])[], active: readonly number[]): PackedBatch {
  const starts = new Int32Array(sequences.length + 1);
  for (let i = 0; i < sequences.length; i++) starts[i + 1] = starts[i]! + (active.includes(i) ? 1 : 0);
  return {
    ids: Int32Array.from(active, (sequence) => sequences[sequence]!.at(-1)!),
    positions: Int32Array.from(active, (sequence) => sequences[sequence]!.length - 1),
    starts,
    labelRows: new Int32Array(0),
    labelTargets: new Int32Array(0),
    images: undefined,
  };
}
