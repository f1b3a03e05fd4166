/** The log-probability of each of a set of answers to each prompt: rows of a prompt are computed once for all answers. */

import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { VlmBatch } from '../data/types.js';
import { EngineError } from '../errors.js';
import type { VisionLanguageModel } from './network/vision-language-model.js';

/** Options of `scoreLabels`. */
export interface ScoreLabelsOptions {
  /**
   * Divide each sum by its number of tokens, the end token included: labels of many tokens are then not at a
   * disadvantage, and the values are no longer the probabilities of answers. Default false.
   */
  normalizeLength?: boolean;
  /** The token that closes an answer. Default: the one that the prompts' chat template writes, else the model's own. */
  eosTokenId?: number;
  /** Compute the common prefixes of prompts only once. Default true. */
  sharePrefix?: boolean;
  /** Stops with the signal's reason, between layers. */
  signal?: AbortSignal;
}

/**
 * ln p(label, end token | prompt) for each prompt and label: what greedy answers hide, how sure the model is of each class.
 * Labels are tokenised behind each prompt as the chat template places answers there.
 * @param prompts a batch from `VlmCollator.collatePrompts`, padded on either side
 * @param labels distinct answers, e.g. class names
 * @returns [B][labels.length] natural logarithms, in the order of the labels
 * @throws ConfigError for labels that are equal, empty or the same tokens; EngineError if a value is not finite; the
 *   signal's reason when aborted
 */
export async function scoreLabels(
  _model: VisionLanguageModel,
  _tokenizer: MinistralTokenizer,
  _prompts: VlmBatch,
  _labels: readonly string[],
  _options: ScoreLabelsOptions = {},
): Promise<number[][]> {
  throw new EngineError('scoreLabels: not there yet');
}
