/** A small tokenizer of the Ministral form for tests: the control tokens, the 256 bytes and a few dozen merges. */

import { BYTE_TO_CHAR } from '../../src/data/byte-alphabet.js';
import { CONTROL_TOKENS, tokenizerJson } from '../../src/demo/tiny-tokenizer.js';

export { CONTROL_TOKENS };

const WORDS = [
  'fracture',
  ' fracture',
  'Is',
  ' it',
  ' broken',
  'yes',
  'no',
  'été',
  '日本',
  '\n\n',
  '\n\n\n',
  '  ',
  '.\n',
  '?',
  'INST',
  '/s',
  '<s',
];

const toAlphabet = (text: string): string => Array.from(Buffer.from(text), (byte) => BYTE_TO_CHAR[byte]!).join('');

/** The content of a tokenizer.json; a fresh object on each call, so that a test may change it. */
// biome-ignore lint/suspicious/noExplicitAny: tests reach into it
export function tinyTokenizerJson(): any {
  const tokens = [...CONTROL_TOKENS, ...BYTE_TO_CHAR];
  const merges: [string, string][] = [];
  for (const word of WORDS.map(toAlphabet)) {
    for (let end = 2; end <= word.length; end++) {
      const token = word.slice(0, end);
      if (tokens.includes(token)) continue;
      tokens.push(token);
      merges.push([token.slice(0, -1), token.slice(-1)]);
    }
  }
  return tokenizerJson(tokens, merges);
}

/** The same with more control tokens behind all others. */
// biome-ignore lint/suspicious/noExplicitAny: tests reach into it
export function tinyTokenizerWith(...names: readonly string[]): any {
  const json = tinyTokenizerJson();
  for (const content of names) {
    const id = Object.keys(json.model.vocab).length;
    json.model.vocab[content] = id;
    json.added_tokens.push({ ...json.added_tokens[0], id, content });
  }
  return json;
}

export const TINY_CONFIG = { bos_token: '<s>', eos_token: '</s>', pad_token: '<pad>' };
