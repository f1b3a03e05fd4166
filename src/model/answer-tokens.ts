/** The tokens of given answers, as they stand behind a prompt in a conversation. */

import type { MinistralTokenizer } from '../data/tokenizer.js';
import type { AnswerFrame, VlmBatch } from '../data/types.js';
import { ConfigError, DataError } from '../errors.js';
import { describeGiven } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';
import { type AnswerNode, answerTree } from './answer-tree.js';

/** The answers that may follow on a prompt. */
export interface PromptAnswers {
  /** Without the token that closes them, by answer. */
  readonly ids: readonly (readonly number[])[];
  readonly tree: AnswerNode;
  /** The token that closes them. */
  readonly end: number;
}

interface AnswerSettings {
  /** Of the model. */
  readonly config: { readonly eosTokenIds: readonly number[]; readonly text: { readonly vocabSize: number } };
  /** Closes an answer. Default: the token that the prompts' template writes, else the model's. */
  readonly eosTokenId?: number | undefined;
}

/** Tokens of a prompt's last text that an answer is tokenised with. */
const NEAR = 64;

const NO_FRAME: AnswerFrame = { before: '', after: '' };

/**
 * The answers behind each prompt; prompts that end alike share them.
 * @throws ConfigError for answers that are the same tokens, or that contain the token that closes them; DataError for
 *   tokens that the model does not have
 */
export function promptAnswers(
  tokenizer: MinistralTokenizer,
  prompts: VlmBatch,
  texts: readonly string[],
  { config, eosTokenId }: AnswerSettings,
  what: string,
): PromptAnswers[] {
  const known = new Map<string, PromptAnswers>();
  const [rows, columns] = prompts.inputIds.shape as [number, number];
  return Array.from({ length: rows }, (_, b) => {
    const ids = prompts.inputIds.data.subarray(b * columns, (b + 1) * columns);
    const mask = prompts.attentionMask.data.subarray(b * columns, (b + 1) * columns);
    const real = ids.filter((_, t) => mask[t]);
    const tail = Array.from(real.subarray(real.findLastIndex((id) => tokenizer.specialTokenIds.has(id)) + 1));
    const frame = prompts.answerFrames?.[b] ?? NO_FRAME;
    const key = JSON.stringify([tail, frame]);
    let answers = known.get(key);
    if (!answers) {
      const found = texts.map((text) => tokensBehind(tokenizer, tail, `${frame.before}${text}${frame.after}`));
      const close = eosTokenId ?? frame.end ?? config.eosTokenIds[0] ?? tokenizer.eosTokenId;
      requireKnown([...found.flat(), close], config.text.vocabSize, what);
      requireDistinct(found, texts, close, what);
      answers = { ids: found, tree: answerTree(found), end: close };
      known.set(key, answers);
    }
    return answers;
  });
}

/** @throws ConfigError unless they are a list of at least one distinct text, none of them empty */
export function requireTexts(texts: unknown, what: string): asserts texts is readonly string[] {
  if (!Array.isArray(texts) || texts.length === 0) {
    const given = Array.isArray(texts) ? 'an empty list' : describeGiven(texts);
    throw new ConfigError(`${what}: expected a list of texts, got ${given}`, { hint: "e.g. ['cat', 'dog']" });
  }
  const seen = new Map<string, number>();
  for (const [i, text] of texts.entries()) {
    if (typeof text !== 'string' || text === '') {
      throw new ConfigError(
        `${what}: expected texts, got ${text === '' ? 'an empty one' : describeGiven(text)} at ${i}`,
      );
    }
    const first = seen.get(text);
    if (first !== undefined) {
      throw new ConfigError(`${what}: ${showValue(text)} is listed twice, at ${first} and ${i}`, {
        hint: 'Each answer stands for one class; give each once.',
      });
    }
    seen.set(text, i);
  }
}

/**
 * Where the prompt ends with text, BPE may split an answer in another way than alone; where it would join the last token
 * of the prompt with the first of the answer, the prompt has its tokens already, and the answer is split alone.
 */
function tokensBehind(tokenizer: MinistralTokenizer, tail: readonly number[], text: string): number[] {
  // As a rule the last few tokens are as good as a long text.
  for (const end of tail.length > NEAR ? [tail.slice(-NEAR), tail] : [tail]) {
    const ids = tokenizer.encode(tokenizer.decode(end) + text);
    if (ids.length > end.length && end.every((id, i) => id === ids[i])) return ids.slice(end.length);
  }
  return tokenizer.encode(text);
}

function requireKnown(ids: readonly number[], vocabSize: number, what: string): void {
  const wrong = ids.find((id) => id >= vocabSize);
  if (wrong === undefined) return;
  throw new DataError(`${what}: token id ${wrong} is outside the model's vocabulary of ${vocabSize}`, {
    hint: 'Use the tokenizer of the same checkpoint.',
  });
}

function requireDistinct(
  answers: readonly (readonly number[])[],
  texts: readonly string[],
  end: number,
  what: string,
): void {
  const seen = new Map<string, number>();
  for (const [i, ids] of answers.entries()) {
    if (ids.includes(end)) {
      throw new ConfigError(`${what}: ${showValue(texts[i])} contains token ${end}, which closes an answer`, {
        hint: 'Set the token that closes answers (`eosTokenId`, `eosTokenIds`) to one that none of them contains.',
      });
    }
    const key = ids.join();
    const first = seen.get(key);
    if (first !== undefined) {
      throw new ConfigError(
        `${what}: ${showValue(texts[first])} and ${showValue(texts[i])} are the same tokens for this tokenizer`,
        { hint: 'No answer could tell them apart; rename one.' },
      );
    }
    seen.set(key, i);
  }
}
