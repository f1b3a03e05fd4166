/** A tokenizer.json with one place changed. */
import { parseTokenizerJson } from '../../src/data/tokenizer-files.js';
import type { TextError } from '../../src/errors.js';
import { tinyTokenizerJson } from './tiny-tokenizer.js';

// biome-ignore lint/suspicious/noExplicitAny: each case changes one place of the file
export type Change = (json: any) => unknown;

export function parse(change: Change) {
  const json = tinyTokenizerJson();
  change(json);
  return parseTokenizerJson(json);
}

export function refusal(change: Change): TextError {
  try {
    parse(change);
  } catch (error) {
    return error as TextError;
  }
  throw new Error('it was taken');
}

export const token =
  (entry: object): Change =>
  (json) =>
    json.added_tokens.push(entry);
