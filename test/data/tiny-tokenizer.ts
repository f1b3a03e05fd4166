/** A small tokenizer of the Ministral form for tests: the control tokens, the 256 bytes and a few dozen merges. */
import { BYTE_TO_CHAR } from '../../src/data/byte-alphabet.js';

export const CONTROL_TOKENS = [
  '<unk>',
  '<s>',
  '</s>',
  '[INST]',
  '[/INST]',
  '[AVAILABLE_TOOLS]',
  '[/AVAILABLE_TOOLS]',
  '[TOOL_RESULTS]',
  '[/TOOL_RESULTS]',
  '[TOOL_CALLS]',
  '[IMG]',
  '<pad>',
  '[IMG_BREAK]',
  '[IMG_END]',
  '[PREFIX]',
  '[MIDDLE]',
  '[SUFFIX]',
  '[SYSTEM_PROMPT]',
  '[/SYSTEM_PROMPT]',
  '[TOOL_CONTENT]',
];

const SPLIT =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|' +
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|' +
  '\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';

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
  const vocab: Record<string, number> = {};
  for (const token of [...CONTROL_TOKENS, ...BYTE_TO_CHAR]) vocab[token] = Object.keys(vocab).length;
  const merges: [string, string][] = [];
  for (const word of WORDS.map(toAlphabet)) {
    for (let end = 2; end <= word.length; end++) {
      const token = word.slice(0, end);
      if (vocab[token] !== undefined) continue;
      vocab[token] = Object.keys(vocab).length;
      merges.push([token.slice(0, -1), token.slice(-1)]);
    }
  }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: CONTROL_TOKENS.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: SPLIT }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab,
      merges,
    },
  };
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
