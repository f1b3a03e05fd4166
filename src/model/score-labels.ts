/** The log-probability of each of a set of answers to each prompt: rows of a prompt are computed once for all answers. */

import { z } from 'zod';
import { type AnswersOfPrompt, withAnswers } from '../batch/answer-branches.js';
import { PackedWindow, type WindowSample, windowParts } from '../batch/packed-window.js';
import { type Given, lazySchema, type Mismatch, type NoMismatch, parseOptions } from '../config.js';
import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { VlmBatch } from '../data/types.js';
import { DataError, EngineError, OutOfMemoryError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { isOptions, requireSignal } from '../require-given.js';
import { type PromptAnswers, promptAnswers, requireTexts } from './answer-tokens.js';
import { answerTree } from './answer-tree.js';
import { requirePrompts } from './check-prompts.js';
import type { VisionLanguageModel } from './network/vision-language-model.js';

/** Options of `scoreLabels`. */
export interface ScoreLabelsOptions {
  /**
   * Divide each sum by its number of tokens, the end token included: labels of many tokens are then not at a
   * disadvantage, and the values are no longer the probabilities of answers. Default: false.
   */
  normalizeLength?: boolean | undefined;
  /** The token that closes an answer. Default: the one that the prompts' chat template writes, else the model's own. */
  eosTokenId?: number | undefined;
  /** Compute the common prefixes of prompts only once. Default: true. */
  sharePrefix?: boolean | undefined;
  /** Stops with the signal's reason, between layers. Default: none. */
  signal?: AbortSignal | undefined;
}

const optionsSchema = lazySchema(() =>
  z.strictObject({
    normalizeLength: z.boolean().default(false),
    eosTokenId: z.int().min(0).optional(),
    sharePrefix: z.boolean().default(true),
  }),
);
type _Input = NoMismatch<
  Mismatch<Given<z.input<ReturnType<typeof optionsSchema>>>, Given<Omit<ScoreLabelsOptions, 'signal'>>>
>;

/** Names of other libraries. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  lengthnormalization: 'normalizeLength',
  normalize: 'normalizeLength',
  eostokenids: 'eosTokenId',
};

/** Of engines that do not say how much is a pass: large enough that prompts share their instruction. */
const TOKENS_PER_PASS = 2048;
/** Passes are larger than those of training where there is room: nothing is kept for backward. */
const LARGEST_FACTOR = 4;
/** Share of the free memory that a larger pass may take, as the estimate is rough and memory lies in pieces. */
const SHARE_OF_FREE = 0.5;
/** Keys and values are copied for each answer while a layer attends: so many of them for each token of a pass. */
const KEYS_PER_TOKEN = 32;

/**
 * ln p(label, end token | prompt) for each prompt and label: what greedy answers hide, how sure the model is of each class.
 * Labels are tokenised behind each prompt as the chat template places answers there. A prompt is computed once for all
 * labels, and their common beginnings once, in passes that fit the free memory.
 * @param prompts a batch from `VlmCollator.collatePrompts`, padded on either side
 * @param labels distinct answers, e.g. class names
 * @returns [B][labels.length] natural logarithms, in the order of the labels
 * @throws ConfigError for labels that are equal, empty or the same tokens; DataError for a prompt that is too long with
 *   them; EngineError if a value is not finite; the signal's reason when aborted
 * @example
 * ```ts
 * const scores = await scoreLabels(model, tokenizer, prompts, classNames); // [prompts][classes]
 * const best = scores.map((row) => classNames[row.indexOf(Math.max(...row))]);
 * ```
 */
export async function scoreLabels(
  model: VisionLanguageModel,
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  labels: readonly string[],
  options: ScoreLabelsOptions = {},
): Promise<number[][]> {
  const call = 'scoreLabels(model, tokenizer, await collator.collatePrompts(examples), classNames)';
  requirePrompts('scoreLabels', call, { model, prompts, tokenizer });
  requireTexts(labels, 'scoreLabels: `labels`');
  const { signal, ...rest } = isOptions(options) ? options : {};
  requireSignal(signal, 'scoreLabels');
  const parsed = parseOptions(optionsSchema, isOptions(options) ? rest : options, 'scoreLabels options', OTHER_NAMES);
  const settings = { config: model.config, eosTokenId: parsed.eosTokenId };
  const answers = promptAnswers(tokenizer, prompts, labels, settings, 'scoreLabels: `labels`');
  const window = new PackedWindow([model.pack(prompts)], { sharePrefix: parsed.sharePrefix });
  requirePositions(model, window, answers, prompts);
  const most = tokensOfPass(model);
  const adapter = model.adapterView();
  const scores = answers.map(() => new Array<number>(labels.length));
  for (const [from, to] of labelGroups(window, answers, most)) {
    const ofGroup = answers.map((all) => partOf(all, from, to));
    const waiting = passesOf(window, ofGroup, most).map((pass): ScoredPass => ({ pass, from, to }));
    for (let work = waiting.shift(); work; work = waiting.shift()) {
      const { pass, from: first, to: end } = work;
      const answered = withAnswers(
        window.join(pass),
        pass.map(({ row }) => partOf(answers[row]!, first, end)),
      );
      const losses = await model.labelLosses(answered.packed, { signal, adapter }).catch((error: unknown) => {
        if (!(error instanceof OutOfMemoryError)) throw error;
        waiting.unshift(...halvesOf(work!, error));
      });
      if (!losses) continue;
      requireFinite(losses);
      for (const [i, ofPrompt] of answered.labels.entries()) {
        for (const [k, ofLabel] of ofPrompt.entries()) {
          const sum = ofLabel.reduce((total, at) => total - losses[at]!, 0);
          scores[pass[i]!.row]![first + k] = parsed.normalizeLength ? sum / ofLabel.length : sum;
        }
      }
    }
  }
  return scores;
}

/** Prompts, and the range of the labels that they are scored with at once. */
interface ScoredPass {
  readonly pass: readonly WindowSample[];
  readonly from: number;
  readonly to: number;
}

/** The same in two: by prompts, or of a single prompt by labels. @throws the error where there is one of each */
function halvesOf({ pass, from, to }: ScoredPass, error: OutOfMemoryError): [ScoredPass, ScoredPass] {
  if (pass.length > 1) {
    const half = Math.ceil(pass.length / 2);
    return [
      { pass: pass.slice(0, half), from, to },
      { pass: pass.slice(half), from, to },
    ];
  }
  if (to - from < 2) throw error;
  const half = Math.ceil((from + to) / 2);
  return [
    { pass, from, to: half },
    { pass, from: half, to },
  ];
}

type SizedAnswers = AnswersOfPrompt & {
  /** Of all, as if nothing were shared. */
  readonly tokens: number;
};

function partOf({ ids: all, end }: PromptAnswers, from: number, to: number): SizedAnswers {
  const ids = all.slice(from, to);
  const tokens = ids.reduce((sum, { length }) => sum + length, 0);
  return { tree: answerTree(ids), count: ids.length, end, tokens };
}

/** Most tokens of a pass: larger ones spread better what each pass costs, such as widening quantised weights. */
function tokensOfPass({ engine, config }: VisionLanguageModel): number {
  const { tokensPerPass, storage } = engine;
  if (tokensPerPass === 0) return TOKENS_PER_PASS;
  const { bytesInUse, limitBytes } = engine.memory();
  const { text, vision, spatialMergeSize } = config;
  const row = (hidden: number, inner: number, heads: number): number =>
    storage.elementBytes * (8 * hidden + (3 + storage.temporaries) * inner + 4 * heads);
  const ofImage = spatialMergeSize ** 2 * row(vision.hiddenSize, vision.intermediateSize, vision.hiddenSize);
  const ofKeys = KEYS_PER_TOKEN * 2 * storage.elementBytes * text.kvHeads * text.headDim;
  const ofToken = row(text.hiddenSize, text.intermediateSize, text.heads * text.headDim) + ofImage + ofKeys;
  const fitting = Math.floor((SHARE_OF_FREE * (limitBytes - bytesInUse)) / ofToken);
  return Math.max(tokensPerPass, TOKENS_PER_PASS, Math.min(LARGEST_FACTOR * tokensPerPass, fitting));
}

/** Ranges of labels: all at once, unless they are hundreds, for which each prompt is computed several times. */
function labelGroups(
  { samples }: PackedWindow,
  answers: readonly PromptAnswers[],
  most: number,
): (readonly [from: number, to: number])[] {
  const { length } = answers[0]?.ids ?? [];
  const longest = Math.max(...answers.map(longestOf));
  const prompt = Math.max(...samples.map(({ size }) => size.tokens));
  const atOnce = Math.max(
    1,
    Math.min(Math.floor(most / longest), Math.floor((KEYS_PER_TOKEN * most) / (prompt + longest))),
  );
  const groups = Math.ceil(length / atOnce);
  return Array.from({ length: groups }, (_, i) => {
    return [Math.floor((i * length) / groups), Math.floor(((i + 1) * length) / groups)] as const;
  });
}

function longestOf({ ids }: PromptAnswers): number {
  return ids.reduce((most, { length }) => Math.max(most, length), 0);
}

/** Prompts by pass, in order: as many as keep to `most` tokens, at least one. */
function passesOf(window: PackedWindow, answers: readonly SizedAnswers[], most: number): WindowSample[][] {
  const fits = (pass: readonly WindowSample[]): boolean => {
    const { tokens, keys = tokens } = window.sizeOf(pass);
    const added = pass.reduce((sum, { row }) => sum + answers[row]!.tokens, 0);
    const copies = pass.reduce((sum, { row, size }) => sum + (answers[row]!.count - 1) * size.tokens, 0);
    return tokens + added <= most && keys + copies + added <= KEYS_PER_TOKEN * most;
  };
  const cut = (part: readonly WindowSample[], atMost: number): WindowSample[][] => {
    const passes: WindowSample[][] = [[]];
    for (const sample of part) {
      const pass = passes.at(-1)!;
      if (pass.length === 0 || (pass.length < atMost && fits([...pass, sample]))) pass.push(sample);
      else passes.push([sample]);
    }
    return passes;
  };
  // As even as can be: a small pass uses a GPU badly.
  return windowParts(window.samples).flatMap((part) => {
    return cut(part, Math.ceil(part.length / cut(part, part.length).length));
  });
}

function requirePositions(
  { config }: VisionLanguageModel,
  { samples }: PackedWindow,
  answers: readonly PromptAnswers[],
  { sampleIds }: VlmBatch,
): void {
  const { maxPositions } = config.text;
  for (const { row, size } of samples) {
    const length = size.tokens + longestOf(answers[row]!);
    if (length <= maxPositions) continue;
    const name = oneLine(sampleIds?.[row] ?? String(row));
    throw new DataError(
      `scoreLabels: sample ${name} has ${length} tokens with its longest label, more than the model's ${maxPositions} positions`,
    );
  }
}

function requireFinite(losses: Float32Array): void {
  const at = losses.findIndex((loss) => !Number.isFinite(loss));
  if (at < 0) return;
  throw new EngineError(`scoreLabels: expected finite log-probabilities, found ${-losses[at]!}`, {
    hint: 'The weights or the adapter may be damaged, or activations overflowed.',
  });
}
