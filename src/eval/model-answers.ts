/** How an evaluator asks a model itself: the functions that a user would write, made of model and collator. */
import type { VlmCollator } from '../data/vlm-collator.js';
import { generateText } from '../model/generate.js';
import type { VisionLanguageModel } from '../model/network/vision-language-model.js';
import { scoreLabels } from '../model/score-labels.js';
import type { GenerateAnswers, ScoreClasses } from './evaluator-options.js';

/**
 * Tokens that an answer may have beyond those of the longest class name: enough for white space, quotes and Markdown
 * around it, and so many that what is cut off is no class.
 */
const SPARE_TOKENS = 16;

interface AskedModel {
  readonly model: VisionLanguageModel;
  readonly collator: VlmCollator;
  readonly classNames: readonly string[];
  readonly maxNewTokens: number | undefined;
  readonly sharePrefix: boolean | undefined;
}

/** Answers in the modes `free` and `constrained`. */
export function answersOfModel({ model, collator, classNames, ...options }: AskedModel): GenerateAnswers {
  const { tokenizer } = collator;
  const longest = Math.max(...classNames.map((name) => tokenizer.encode(name).length));
  const { maxNewTokens = longest + SPARE_TOKENS, sharePrefix } = options;
  return async (examples, signal, choices) => {
    const prompts = await collator.collatePrompts(examples, { ...(signal && { signal }) });
    return generateText(model, tokenizer, prompts, { maxNewTokens, sharePrefix, choices, signal });
  };
}

/** Scores in the mode `scored`. */
export function scoresOfModel({ model, collator, sharePrefix }: AskedModel): ScoreClasses {
  return async (examples, classNames, signal) => {
    const prompts = await collator.collatePrompts(examples, { ...(signal && { signal }) });
    return scoreLabels(model, collator.tokenizer, prompts, classNames, { sharePrefix, signal });
  };
}
