/** Generation with a key/value cache: greedy or sampled, one prompt or a ragged batch, token by token. */

import type { PackedBatch } from '../batch/packed-batch.js';
import { PackedWindow } from '../batch/packed-window.js';
import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { VlmBatch } from '../data/types.js';
import { exclusively } from '../engine/computation.js';
import type { RowMaxima } from '../engine/engine.js';
import { ConfigError, OutOfMemoryError } from '../errors.js';
import { MersenneTwister } from '../random.js';
import { isOptions, requireBoolean, requireCallback, requireKind, requireSignal } from '../require-given.js';
import { AnswerText } from './answer-text.js';
import { requireTexts } from './answer-tokens.js';
import { requirePrompts } from './check-prompts.js';
import { type ChoiceState, choiceStates } from './choices.js';
import type { VisionLanguageModel } from './network/vision-language-model.js';
import {
  type GenerationConfig,
  type GenerationOptions,
  nextToken,
  parseGenerationConfig,
  requireLargest,
  type SequenceState,
  takesLargest,
} from './sampling.js';

/** Options of generation, and a signal. */
export interface GenerateOptions extends GenerationOptions {
  /**
   * Stops with the signal's reason: while a token is computed, between its layers, and while the caller looks at one.
   * The memory is freed at once. Default: none.
   */
  signal?: AbortSignal | undefined;
  /** Compute the common prefixes of prompts only once. Default: true. */
  sharePrefix?: boolean | undefined;
  /**
   * For `generate` and `generateTokens` with `stopStrings`, `choices` or `onToken`; the others are given one anyway.
   * Default: none.
   */
  tokenizer?: MinistralTokenizer | undefined;
  /**
   * Called with each new token of each sequence, in order, and waited for: text as it comes, of a whole batch.
   * Default: none.
   */
  onToken?: ((token: StreamedToken) => void | Promise<void>) | undefined;
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
  /**
   * Whether this token ended the sequence: an end-of-sequence token, one that completes a stop string, or the last of
   * `maxNewTokens`.
   */
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
 * @example
 * ```ts
 * for await (const step of generateTokens(model, prompts, { maxNewTokens: 20 })) console.log(step);
 * ```
 */
export function generateTokens(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, void, undefined> {
  const checked = checkCall('generateTokens', model, prompts, options);
  return tokensOf(model, prompts, checked, true) as AsyncGenerator<GeneratedToken, void, undefined>;
}

/** `last` is true at the last token alone, `text` is there where a tokenizer is. */
type NewToken = Omit<GeneratedToken, 'logits'> & Partial<GeneratedToken> & { readonly text?: string | undefined };

/** One prompt and its answer so far. */
interface Sequence {
  /** Of the prompt and the answer. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** How many of them the cache holds. */
  computed: number;
  /** Where `choices` is set. */
  readonly choice?: ChoiceState | undefined;
  readonly text?: AnswerText | undefined;
}

/** @param withLogits reads all logits back; otherwise only where the choice of the token needs them */
async function* tokensOf(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  { signal, sharePrefix, parsed, tokenizer, onToken }: CheckedOptions,
  withLogits = false,
): AsyncGenerator<NewToken, void, undefined> {
  const config = withEnds(parsed, model, prompts, tokenizer);
  const ends = config.eosTokenIds!;
  const choices = choiceStates(config, model, prompts, tokenizer, parsed.eosTokenIds);
  const generator = new MersenneTwister(config.seed);
  const packed = model.pack(prompts);
  const sequences = Array.from({ length: packed.starts.length - 1 }, (_, i): Sequence => {
    const tokens = Array.from(packed.ids.subarray(packed.starts[i]!, packed.starts[i + 1]!));
    return {
      tokens,
      promptLength: tokens.length,
      computed: tokens.length,
      choice: choices?.[i],
      text: tokenizer && !choices ? new AnswerText(tokenizer, config.stopStrings) : undefined,
    };
  });
  const capacities = sequences.map(
    ({ promptLength, choice }) => promptLength + (choice?.longest ?? config.maxNewTokens),
  );
  const adapter = model.adapterView();
  const window = new PackedWindow([packed], { sharePrefix, isOnePass: true });
  /** Sequences whose prompts are still to compute, by pass. */
  const waiting = [sequences.map((_, i) => i)];
  let active: number[] = [];
  const cache = await exclusively(model.engine, signal, async () => {
    await model.engine.whenFree?.();
    return model.createCache(capacities);
  });
  let isComputing = false;
  // Whoever holds a token may never ask for the next one.
  const abort = (): void => {
    if (!isComputing) cache.dispose();
  };
  signal?.addEventListener('abort', abort, { once: true });
  /** Adds a token to its sequence. */
  const take = (index: number, id: number): NewToken => {
    const { tokens, promptLength, choice, text } = sequences[index]!;
    tokens.push(id);
    const isEnd = ends.includes(id);
    const isFull = tokens.length - promptLength === config.maxNewTokens;
    if (choice) {
      const answer = choice.advance(id);
      return { sequence: index, id, text: answer, last: answer !== '' };
    }
    if (!text) return { sequence: index, id, last: isEnd || isFull };
    // The end of a template need not be a token that the tokenizer calls special.
    const isHidden = (isEnd || isFull) && prompts.stopTokenIds?.includes(id);
    const piece = isHidden ? '' : text.push(id);
    const last = isEnd || isFull || text.isStopped;
    return { sequence: index, id, text: last ? piece + text.end() : piece, last };
  };
  try {
    while (waiting.length > 0 || active.length > 0) {
      signal?.throwIfAborted();
      const prefilled = waiting.shift();
      const computed = prefilled ?? active;
      const step = prefilled ? promptStep(window, prefilled) : nextStep(sequences, active);
      isComputing = true;
      const rows = Int32Array.from(computed, (sequence) => step.starts[sequence + 1]! - 1);
      const passOptions = { cache, adapter, signal };
      const isPlain = !withLogits && computed.every((i) => takesLargest(config, stateOf(sequences[i]!)));
      let maxima: RowMaxima | undefined;
      let logits: Float32Array | undefined;
      try {
        maxima = isPlain ? await model.rowMaxima(step, rows, passOptions) : undefined;
        logits = maxima ? undefined : await model.rowLogits(step, rows, passOptions);
      } catch (error) {
        if (!(error instanceof OutOfMemoryError) || !prefilled || prefilled.length === 1) throw error;
        cache.clear(prefilled);
        const half = Math.ceil(prefilled.length / 2);
        waiting.unshift(prefilled.slice(0, half), prefilled.slice(half));
        continue;
      } finally {
        isComputing = false;
      }
      const size = model.config.text.vocabSize;
      const ended = new Set<number>();
      for (const [i, index] of computed.entries()) {
        const scores = logits?.subarray(i * size, (i + 1) * size);
        const sequence = sequences[index]!;
        sequence.computed = sequence.tokens.length;
        let id: number | undefined = scores
          ? nextToken(scores, config, stateOf(sequence), generator)
          : requireLargest(maxima!.indices[i]!, maxima!.values[i]!, size);
        // Tokens that no other could stand in for need no pass of their own.
        for (; id !== undefined; id = withLogits ? undefined : sequence.choice?.forced) {
          const token = take(index, id);
          if (token.last) ended.add(index);
          await onToken?.({ sequence: index, id, text: token.text ?? '', last: token.last });
          yield scores ? { ...token, logits: scores } : token;
          signal?.throwIfAborted();
          if (token.last) break;
        }
      }
      active = (prefilled ? [...active, ...prefilled] : active).filter((sequence) => !ended.has(sequence));
    }
  } finally {
    signal?.removeEventListener('abort', abort);
    cache.dispose();
  }
}

function stateOf({ tokens, promptLength, choice }: Sequence): SequenceState {
  return { tokens, newTokenCount: tokens.length - promptLength, allowed: choice?.allowed };
}

/** An answer may be learned with another end than the model's own: the template's. */
function withEnds(
  parsed: GenerationConfig,
  model: VisionLanguageModel,
  prompts: VlmBatch,
  tokenizer: MinistralTokenizer | undefined,
): GenerationConfig {
  const own = parsed.eosTokenIds ?? [...model.config.eosTokenIds, ...(prompts.stopTokenIds ?? [])];
  // Texts show no control tokens, so no stop string would be found there.
  const named = (parsed.stopStrings ?? []).flatMap((stop) => {
    const id = tokenizer?.tokenToId(stop);
    return id !== undefined && tokenizer?.specialTokenIds.has(id) ? id : [];
  });
  return { ...parsed, eosTokenIds: [...new Set([...own, ...named])] };
}

/**
 * New token ids of each prompt, with the end-of-sequence token where one came.
 * @example
 * ```ts
 * const ids = await generate(model, await collator.collatePrompts(examples), { maxNewTokens: 20 });
 * ```
 */
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

/**
 * The answer to each prompt as text, without control tokens.
 * @example
 * ```ts
 * const prompts = await collator.collatePrompts(examples);
 * const answers = await generateText(model, tokenizer, prompts, { maxNewTokens: 20 });
 * ```
 */
export async function generateText(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): Promise<string[]> {
  const checked = checkCall('generateText', model, prompts, options, tokenizer);
  const texts = Array.from({ length: prompts.inputIds.shape[0]! }, () => '');
  for await (const { sequence, text } of tokensOf(model, prompts, checked)) texts[sequence] += text;
  return texts;
}

/**
 * Text of the first prompt's answer, piece by piece, without control tokens.
 * @example
 * ```ts
 * const prompts = await collator.collatePrompts(examples.slice(0, 1));
 * for await (const piece of streamText(model, tokenizer, prompts, { maxNewTokens: 20 })) process.stdout.write(piece);
 * ```
 */
export function streamText(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  options: GenerateOptions = {},
): AsyncGenerator<string, void, undefined> {
  return piecesOf(model, prompts, checkCall('streamText', model, prompts, options, tokenizer));
}

async function* piecesOf(
  model: VisionLanguageModel,
  prompts: VlmBatch,
  checked: CheckedOptions,
): AsyncGenerator<string, void, undefined> {
  for await (const { sequence, text } of tokensOf(model, prompts, checked)) if (sequence === 0 && text) yield text;
}

interface CheckedOptions {
  readonly signal: AbortSignal | undefined;
  readonly sharePrefix: boolean;
  readonly parsed: GenerationConfig;
  /** Where texts are wanted. */
  readonly tokenizer: MinistralTokenizer | undefined;
  readonly onToken: GenerateOptions['onToken'];
}

/** @throws ConfigError for parts that are something else, or in another order */
function checkCall(
  name: string,
  model: unknown,
  prompts: unknown,
  options: GenerateOptions,
  ...given: readonly unknown[]
): CheckedOptions {
  const isText = given.length > 0;
  const call = `${name}(model, ${isText ? 'tokenizer, ' : ''}await collator.collatePrompts([{ messages }]), { maxNewTokens: 20 })`;
  requirePrompts(name, call, { model, prompts, ...(isText && { tokenizer: given[0] }) });
  const { signal, sharePrefix = true, tokenizer: own, onToken, ...rest } = isOptions(options) ? options : {};
  requireSignal(signal, name);
  requireBoolean(sharePrefix, `${name}: \`sharePrefix\``);
  requireCallback(onToken, `${name}: \`onToken\``, 'It takes { sequence, id, text, last }.', true);
  const parsed = parseGenerationConfig(isOptions(options) ? rest : options, name);
  if (own !== undefined) requireKind('tokenizer', own, `${name}: \`tokenizer\``);
  const tokenizer = (isText ? given[0] : own) as MinistralTokenizer | undefined;
  if (!tokenizer) requireNoTexts(name, { onToken, ...parsed });
  if (parsed.choices) requireTexts(parsed.choices, `${name}: \`choices\``);
  return { signal, sharePrefix, parsed, tokenizer, onToken };
}

function requireNoTexts(
  name: string,
  options: { readonly [K in 'onToken' | 'stopStrings' | 'choices']?: GenerateOptions[K] | undefined },
): void {
  const wanting = (['stopStrings', 'choices', 'onToken'] as const).find((option) => options[option] !== undefined);
  if (!wanting) return;
  throw new ConfigError(
    `${name}: \`${wanting}\` is about texts: expected \`tokenizer\` among the options, got nothing`,
    {
      hint: `${name}(model, prompts, { tokenizer: processor.tokenizer, … }); generateText and streamText have it already.`,
    },
  );
}

/** The prompts of a range of the sequences; the others have an empty range. */
function promptStep(window: PackedWindow, range: readonly number[]): PackedBatch {
  const joined = window.join(range.map((i) => window.samples[i]!));
  const count = window.samples.length;
  if (range.length === count) return joined;
  const first = range[0]!;
  const ofAll = (starts: Int32Array): Int32Array => {
    return Int32Array.from({ length: count + 1 }, (_, i) => starts[Math.min(Math.max(0, i - first), range.length)]!);
  };
  const { sharedKeys } = joined;
  return {
    ...joined,
    starts: ofAll(joined.starts),
    sharedKeys: sharedKeys && { ...sharedKeys, starts: ofAll(sharedKeys.starts) },
  };
}

/** The tokens of every active sequence that the cache lacks; ended ones have an empty range. */
function nextStep(sequences: readonly Sequence[], active: readonly number[]): PackedBatch {
  const added = sequences.map(() => 0);
  for (const i of active) added[i] = sequences[i]!.tokens.length - sequences[i]!.computed;
  const starts = new Int32Array(sequences.length + 1);
  for (const [i, count] of added.entries()) starts[i + 1] = starts[i]! + count;
  return {
    ids: Int32Array.from(active.flatMap((i) => sequences[i]!.tokens.slice(sequences[i]!.computed))),
    positions: Int32Array.from(
      active.flatMap((i) => Array.from({ length: added[i]! }, (_, t) => sequences[i]!.computed + t)),
    ),
    starts,
    labelRows: new Int32Array(0),
    labelTargets: new Int32Array(0),
    images: undefined,
  };
}
