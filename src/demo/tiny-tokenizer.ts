/**
 * Trains the tokenizer of the tiny checkpoint: byte-level BPE as in Tekken (the same pre-tokenizer, the same control
 * tokens), with a vocabulary that is learned from a few lines of text instead of the web.
 */
import { BYTE_TO_CHAR } from '../data/byte-alphabet.js';

/** Control tokens, in the order of their ids. */
export const CONTROL_TOKENS: readonly string[] = [
  ...['<unk>', '<s>', '</s>', '[INST]', '[/INST]', '[AVAILABLE_TOOLS]', '[/AVAILABLE_TOOLS]'],
  ...['[TOOL_RESULTS]', '[/TOOL_RESULTS]', '[TOOL_CALLS]', '[IMG]', '<pad>', '[IMG_BREAK]', '[IMG_END]'],
  ...['[PREFIX]', '[MIDDLE]', '[SUFFIX]', '[SYSTEM_PROMPT]', '[/SYSTEM_PROMPT]', '[TOOL_CONTENT]'],
];

/** How Tekken cuts a text before any merging: words with the character before them, single digits, punctuation, space. */
const TEKKEN_PATTERN = [
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+',
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*',
  '\\p{N}',
  ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*',
  '\\s*[\\r\\n]+',
  '\\s+(?!\\S)',
  '\\s+',
].join('|');

/** A word as its present pieces, and how often it occurs. */
interface Word {
  pieces: string[];
  readonly count: number;
}

/**
 * The `tokenizer.json` object of a BPE trained on `corpus`: the most frequent neighbours are merged first, ties in
 * the order of their characters, until every word of the corpus is one token or the vocabulary is full.
 * @param vocabSize the most entries that the vocabulary may have, control tokens and the 256 bytes included
 */
export function trainTinyTokenizer(corpus: readonly string[], vocabSize = 640): Record<string, unknown> {
  const alphabet = [...BYTE_TO_CHAR].sort();
  const tokens = [...CONTROL_TOKENS, ...alphabet];
  const known = new Set(tokens);
  const merges: [string, string][] = [];
  const words = countWords(corpus);
  while (tokens.length < vocabSize) {
    const pair = mostFrequentPair(words);
    if (!pair) break;
    merges.push(pair);
    const merged = pair[0] + pair[1];
    // Two different pairs can give the same token; it needs one entry, but both merges.
    if (!known.has(merged)) tokens.push(merged);
    known.add(merged);
    for (const word of words) word.pieces = mergePair(word.pieces, pair);
  }
  return tokenizerJson(tokens, merges);
}

/**
 * The content of a `tokenizer.json` of the Ministral form.
 * @param tokens the vocabulary in the order of its ids, control tokens first
 */
export function tokenizerJson(tokens: readonly string[], merges: readonly [string, string][]): Record<string, unknown> {
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
        { type: 'Split', pattern: { Regex: TEKKEN_PATTERN }, behavior: 'Isolated', invert: false },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    // `<s>` in front, as the published tokenizers add it.
    post_processor: {
      type: 'TemplateProcessing',
      single: [special('<s>', 0), sequence('A', 0)],
      pair: [special('<s>', 0), sequence('A', 0), special('<s>', 0), sequence('B', 0)],
      special_tokens: { '<s>': { id: '<s>', ids: [CONTROL_TOKENS.indexOf('<s>')], tokens: ['<s>'] } },
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
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}

const special = (id: string, type: number) => ({ SpecialToken: { id, type_id: type } });
const sequence = (id: string, type: number) => ({ Sequence: { id, type_id: type } });

/** The words of a corpus after pre-tokenization, each as the characters of its bytes. */
function countWords(corpus: readonly string[]): Word[] {
  const counts = new Map<string, number>();
  const utf8 = new TextEncoder();
  for (const text of corpus) {
    for (const [piece] of text.matchAll(new RegExp(TEKKEN_PATTERN, 'gu'))) {
      const spelled = Array.from(utf8.encode(piece), (byte) => BYTE_TO_CHAR[byte]!).join('');
      counts.set(spelled, (counts.get(spelled) ?? 0) + 1);
    }
  }
  return [...counts].map(([spelled, count]) => ({ pieces: [...spelled], count }));
}

function mostFrequentPair(words: readonly Word[]): [string, string] | undefined {
  const counts = new Map<string, number>();
  for (const { pieces, count } of words) {
    for (let i = 1; i < pieces.length; i++) {
      // No character of the byte alphabet is a space.
      const key = `${pieces[i - 1]} ${pieces[i]}`;
      counts.set(key, (counts.get(key) ?? 0) + count);
    }
  }
  let best: string | undefined;
  for (const [key, count] of counts) {
    const most = best === undefined ? 0 : counts.get(best)!;
    if (count > most || (count === most && best !== undefined && key < best)) best = key;
  }
  return best?.split(' ') as [string, string] | undefined;
}

function mergePair(pieces: readonly string[], [left, right]: readonly [string, string]): string[] {
  const merged: string[] = [];
  for (let i = 0; i < pieces.length; i++) {
    const joins = pieces[i] === left && pieces[i + 1] === right;
    merged.push(joins ? left + right : pieces[i]!);
    if (joins) i++;
  }
  return merged;
}
