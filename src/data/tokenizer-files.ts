/** Reads and checks the files that describe a tokenizer: what the rest of the code may rely on is decided here. */
import { join } from 'node:path';
import { TextError } from '../errors.js';
import { MAX_CONFIG_BYTES, parseJson } from '../files/read-json.js';
import { readRegularFile } from '../files/regular-file.js';
import { showValue } from '../messages/show-value.js';
import { BYTE_TO_CHAR } from './byte-alphabet.js';

type Json = Record<string, unknown>;

/** The file of Ministral 3 has 17 MB. */
const MAX_TOKENIZER_BYTES = 50_331_648;
const MAX_ID = 4_194_303;
const MAX_ADDED_TOKENS = 20_000;
const MAX_TOKEN_LENGTH = 256;
const MAX_PATTERN_LENGTH = 4096;
const MAX_STEPS = 16;

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Control tokens are special; a token that was merely added to the vocabulary is not. */
  readonly special: boolean;
}

interface TokenizerSpec {
  /** Vocabulary without the special tokens, so that no merge can ever yield one. */
  readonly vocab: Record<string, number>;
  /** The `model` object, with `vocab` as above. */
  readonly model: Json;
  /** The `pre_tokenizer` object; every regex in it is explicit. */
  readonly preTokenizer: Json;
  /** All regexes in it are published ones, of which it is known that no text makes them slow. */
  readonly hasKnownPatterns: boolean;
  readonly addedTokens: readonly AddedToken[];
  /** Special tokens that the post-processor puts around a text. */
  readonly prefix: readonly string[];
  readonly suffix: readonly string[];
}

// What ByteLevel uses when `use_regex` is true (GPT-2). Written out, it gets the library's Unicode-exact `\s`.
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** That of Tekken, Mistral's tokenizers since 2024: word, word in capitals, digit, signs, line ends, white space. */
const TEKKEN_PATTERN =
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|' +
  '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|' +
  '\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+';
const KNOWN_PATTERNS: ReadonlySet<string> = new Set([GPT2_PATTERN, TEKKEN_PATTERN]);

/** @throws TextError naming the part that is not the byte-level BPE of Mistral's Tekken family */
export function parseTokenizerJson(json: unknown, what = 'tokenizer.json'): TokenizerSpec {
  if (!isObject(json) || !isObject(json.model)) {
    throw new TextError(`${what}: expected an object with \`model\`, \`pre_tokenizer\` and \`added_tokens\``, {
      hint: 'give the parsed tokenizer.json of the model folder, not tekken.json or tokenizer_config.json',
    });
  }
  const model = json.model;
  const refuse = (part: string, expected: string, found: unknown): never => {
    throw new TextError(`${what}: \`${part}\` must be ${expected}, found ${showValue(found)}`, {
      hint: 'only the byte-level BPE tokenizers of the Ministral family are supported',
      details: { part, found: showValue(found) },
    });
  };
  if (model.type !== undefined && model.type !== 'BPE') refuse('model.type', '"BPE"', model.type);
  if (!isObject(model.vocab)) refuse('model.vocab', 'an object of token: id', typeof model.vocab);
  if (!Array.isArray(model.merges)) refuse('model.merges', 'a list', typeof model.merges);
  if (model.byte_fallback === true) refuse('model.byte_fallback', 'false', true);
  for (const affix of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model[affix]) refuse(`model.${affix}`, 'empty', model[affix]);
  }
  if (json.normalizer != null) refuse('normalizer', 'null', json.normalizer);
  const decoder = json.decoder;
  if (!isObject(decoder) || decoder.type !== 'ByteLevel') refuse('decoder', 'of type ByteLevel', decoder);

  const listed = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  if (listed.length > MAX_ADDED_TOKENS) refuse('added_tokens', `at most ${MAX_ADDED_TOKENS} tokens`, listed.length);
  const addedTokens = listed.map((entry: Json | null) => {
    const { id, content } = entry ?? {};
    if (!isId(id) || typeof content !== 'string' || content === '' || content.length > MAX_TOKEN_LENGTH) {
      return refuse(
        'added_tokens',
        `a list of { id, content }, contents of 1 to ${MAX_TOKEN_LENGTH} characters`,
        entry,
      );
    }
    for (const flag of ['lstrip', 'rstrip', 'single_word']) {
      if (entry?.[flag] === true) refuse(`added_tokens["${content}"].${flag}`, 'false', true);
    }
    return { id, content, special: entry?.special === true };
  });
  checkIds(model.vocab as Json, addedTokens, refuse);
  checkMerges(model.merges as unknown[], model.vocab as Json, refuse);

  const vocab = { ...(model.vocab as Record<string, number>) };
  for (const token of addedTokens) if (token.special) delete vocab[token.content];
  const missing = BYTE_TO_CHAR.findIndex((char) => vocab[char] === undefined);
  if (missing >= 0) refuse('model.vocab', 'complete', `no entry for byte 0x${missing.toString(16)}`);

  const around = postProcessorTokens(json.post_processor, refuse);
  return { vocab, model: { ...model, vocab }, ...checkPreTokenizer(json, refuse), addedTokens, ...around };
}

type Refuse = (part: string, expected: string, found: unknown) => never;

function checkPreTokenizer(json: Json, refuse: Refuse): Pick<TokenizerSpec, 'preTokenizer' | 'hasKnownPatterns'> {
  const top = json.pre_tokenizer;
  if (!isObject(top)) return refuse('pre_tokenizer', 'a ByteLevel, or a Sequence that ends in one', top);
  const steps: unknown[] = top.type === 'Sequence' && Array.isArray(top.pretokenizers) ? top.pretokenizers : [top];
  const last = steps.at(-1);
  if (!isObject(last) || last.type !== 'ByteLevel')
    return refuse('pre_tokenizer', 'a ByteLevel, or a Sequence that ends in one', top);
  if (last.add_prefix_space !== false) refuse('pre_tokenizer.add_prefix_space', 'false', last.add_prefix_space);
  if (steps.length > MAX_STEPS) refuse('pre_tokenizer', `of at most ${MAX_STEPS} steps`, steps.length);
  for (const step of steps.slice(0, -1)) {
    if (!isObject(step)) return refuse('pre_tokenizer', 'made of isolating Split steps', step);
    // Anything that drops or rewrites characters would break the way from characters to tokens.
    const keeps = step.type === 'Split' && showValue(step.behavior).toLowerCase() === '"isolated"';
    if (!keeps || step.invert === true) refuse('pre_tokenizer', 'made of isolating Split steps', step);
    const pattern = isObject(step.pattern) ? (step.pattern.Regex ?? step.pattern.String) : undefined;
    if (typeof pattern !== 'string' || pattern === '' || pattern.length > MAX_PATTERN_LENGTH) {
      refuse('pre_tokenizer.pattern', `a Regex or String of 1 to ${MAX_PATTERN_LENGTH} characters`, step.pattern);
    }
  }
  const usesRegex = last.use_regex !== false;
  const split = { type: 'Split', pattern: { Regex: GPT2_PATTERN }, behavior: 'Isolated', invert: false };
  const pretokenizers = [...steps.slice(0, -1), ...(usesRegex ? [split] : []), { ...last, use_regex: false }];
  const hasKnownPatterns = steps.slice(0, -1).every((step) => {
    const { Regex: regex } = (step as { pattern: { Regex?: string } }).pattern;
    return regex === undefined || KNOWN_PATTERNS.has(regex);
  });
  return { preTokenizer: { type: 'Sequence', pretokenizers }, hasKnownPatterns };
}

/** An id decides how long the tables of the tokenizer are. */
function isId(id: unknown): id is number {
  return Number.isInteger(id) && (id as number) >= 0 && (id as number) <= MAX_ID;
}

/** Two tokens with one id, or one with two, would decode to something else than was encoded. */
function checkIds(vocab: Json, addedTokens: readonly AddedToken[], refuse: Refuse): void {
  const tokens = new Map<unknown, string>();
  const claim = (token: string, id: unknown, part: string): void => {
    if (!isId(id)) refuse(part, `ids from 0 to ${MAX_ID}`, { token, id });
    const other = tokens.get(id);
    if (other !== undefined && other !== token) refuse(part, 'unique ids', { id, tokens: [other, token] });
    tokens.set(id, token);
  };
  for (const token of Object.keys(vocab)) claim(token, vocab[token], 'model.vocab');
  const added = new Map<string, number>();
  for (const { content, id } of addedTokens) {
    claim(content, id, 'added_tokens');
    const known = added.get(content) ?? (Object.hasOwn(vocab, content) ? vocab[content] : id);
    if (known !== id) refuse('added_tokens', 'one id for each token', { token: content, ids: [known, id] });
    added.set(content, id);
  }
}

/** A merge of tokens that do not exist, or into one that does not, would lose text. */
function checkMerges(merges: readonly unknown[], vocab: Json, refuse: Refuse): void {
  const isPair = Array.isArray(merges[0]);
  for (const merge of merges) {
    const parts: unknown = isPair ? merge : typeof merge === 'string' ? merge.split(' ') : undefined;
    const [left, right, rest] = Array.isArray(parts) ? (parts as unknown[]) : [];
    if (typeof left !== 'string' || typeof right !== 'string' || rest !== undefined) {
      refuse('model.merges', 'a list of pairs of tokens, all written in one way', merge);
    } else if (![left, right, left + right].every((token) => Object.hasOwn(vocab, token))) {
      refuse('model.merges', 'made of tokens of the vocabulary', merge);
    }
  }
}

/** Reads what `add_special_tokens` adds. TemplateProcessing has a template; ByteLevel adds nothing; Sequence: each. */
function postProcessorTokens(processor: unknown, refuse: Refuse): { prefix: string[]; suffix: string[] } {
  if (processor == null) return { prefix: [], suffix: [] };
  if (!isObject(processor)) return refuse('post_processor', 'an object', processor);
  const { type } = processor;
  if (type === 'ByteLevel') return { prefix: [], suffix: [] };
  if (type === 'Sequence') {
    if (!Array.isArray(processor.processors))
      return refuse('post_processor.processors', 'a list', processor.processors);
    const parts = processor.processors.map((part) => postProcessorTokens(part, refuse));
    // A later processor wraps what the earlier ones made.
    return { prefix: parts.toReversed().flatMap((p) => p.prefix), suffix: parts.flatMap((p) => p.suffix) };
  }
  if (type !== 'TemplateProcessing') return refuse('post_processor.type', 'TemplateProcessing or ByteLevel', type);
  const prefix: string[] = [];
  const suffix: string[] = [];
  let side = prefix;
  if (!Array.isArray(processor.single)) return refuse('post_processor.single', 'a list', processor.single);
  for (const item of processor.single as unknown[]) {
    const token = isObject(item) && isObject(item.SpecialToken) ? item.SpecialToken.id : undefined;
    if (isObject(item) && item.Sequence) side = suffix;
    else if (typeof token === 'string') side.push(token);
    else refuse('post_processor.single', 'made of Sequence and SpecialToken', item);
  }
  return { prefix, suffix };
}

/** Reads a JSON file; undefined if it does not exist. @throws TextError if it is not JSON */
export async function readJsonFile(dir: string, name: string): Promise<unknown> {
  const isTokenizer = name === 'tokenizer.json';
  const bytes = await readBytes(dir, name, isTokenizer ? MAX_TOKENIZER_BYTES : MAX_CONFIG_BYTES);
  if (bytes === undefined) return undefined;
  try {
    // The keys of a vocabulary are tokens.
    return parseJson(bytes, { anyKey: isTokenizer });
  } catch (cause) {
    throw new TextError(`${join(dir, name)} is not valid JSON: ${(cause as Error).message}`, {
      hint: 'the file may be cut short; download it again',
      details: { path: join(dir, name) },
      cause,
    });
  }
}

export async function readTextFile(dir: string, name: string): Promise<string | undefined> {
  return (await readBytes(dir, name, MAX_CONFIG_BYTES))?.toString('utf8');
}

async function readBytes(dir: string, name: string, maxBytes: number): Promise<Buffer | undefined> {
  try {
    return await readRegularFile(join(dir, name), maxBytes);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new TextError(`cannot read ${join(dir, name)}: ${(cause as Error).message}`, { cause });
  }
}

/** A named token of a configuration file: a string, or an object with `content`. */
export function configuredToken(config: unknown, name: string): string | undefined {
  const value = isObject(config) ? config[name] : undefined;
  if (typeof value === 'string') return value;
  return isObject(value) && typeof value.content === 'string' ? value.content : undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
