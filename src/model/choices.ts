/** Answers that must be one of a list: which tokens may come next. */

import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { VlmBatch } from '../data/types.js';
import { ConfigError } from '../errors.js';
import { type PromptAnswers, promptAnswers } from './answer-tokens.js';
import { type AnswerNode, allowedTokens } from './answer-tree.js';
import type { VisionLanguageModel } from './network/vision-language-model.js';
import type { GenerationConfig } from './sampling.js';

/** How far an answer has come. */
export class ChoiceState {
  /** Tokens of the longest answer, its end included. */
  readonly longest: number;
  readonly #texts: readonly string[];
  readonly #end: number;
  #node: AnswerNode;
  #allowed: readonly number[];

  constructor({ ids, tree, end }: PromptAnswers, texts: readonly string[]) {
    this.longest = Math.max(...ids.map(({ length }) => length)) + 1;
    this.#texts = texts;
    this.#end = end;
    this.#node = tree;
    this.#allowed = allowedTokens(tree, end);
  }

  /** The tokens that may come next; none after the end. */
  get allowed(): readonly number[] {
    return this.#allowed;
  }

  /** The only token that may come next, if there is only one. */
  get forced(): number | undefined {
    return this.#allowed.length === 1 ? this.#allowed[0] : undefined;
  }

  /** @returns the answer that the token completes, else nothing */
  advance(id: number): string {
    const { next, answer } = this.#node;
    const node = next.get(id);
    if (node) {
      this.#node = node;
      this.#allowed = allowedTokens(node, this.#end);
      return '';
    }
    this.#allowed = [];
    return this.#texts[answer!]!;
  }
}

/**
 * @param eosTokenIds as the user gave them: the first closes the answers
 * @returns by prompt; undefined without `choices`
 * @throws ConfigError for choices of the same tokens, and if the longest takes more than `maxNewTokens`
 */
export function choiceStates(
  { choices, maxNewTokens }: GenerationConfig,
  model: VisionLanguageModel,
  prompts: VlmBatch,
  tokenizer: MinistralTokenizer | undefined,
  eosTokenIds: readonly number[] | undefined,
): ChoiceState[] | undefined {
  if (!choices || !tokenizer) return undefined;
  const settings = { config: model.config, eosTokenId: eosTokenIds?.[0] };
  return promptAnswers(tokenizer, prompts, choices, settings, 'generation: `choices`').map((answers) => {
    const state = new ChoiceState(answers, choices);
    const { longest } = state;
    if (longest > maxNewTokens) {
      throw new ConfigError(
        `generation: \`choices\`: the longest takes ${longest} tokens with its end, more than \`maxNewTokens\` ${maxNewTokens}`,
        { hint: 'Raise `maxNewTokens`: an answer that is cut is none of them.' },
      );
    }
    return state;
  });
}
