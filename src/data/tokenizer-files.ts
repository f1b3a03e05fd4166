/** Reads and checks the files that describe a tokenizer: what the rest of the code may rely on is decided here. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TextError } from '../errors.js';
import { BYTE_TO_CHAR } from './byte-alphabet.js';

type Json = Record<string, unknown>;

/** An entry of `added_tokens`. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Control tokens are special; a token that was merely added to the vocabulary is not. */
  readonly special: boolean;
}

/** The checked content of a tokenizer.json of the byte-level BPE kind. */
export interface TokenizerSpec {
  /** Vocabulary without the special tokens, so that no merge can ever yield one. */
  readonly vocab: Record<string, number>;
  /** The `model` object, with `vocab` as above. */
  readonly model: Json;
  /** The `pre_tokenizer` object; every regex in it is explicit. */
  readonly preTokenizer: Json;
  readonly addedTokens: readonly AddedToken[];
  /** Special tokens that the post-processor puts around a text. */
  readonly prefix: readonly string[];
  readonly suffix: readonly string[];
}

// What ByteLevel uses when `use_regex` is true (GPT-2). Written out, it gets the library's Unicode-exact `\s`.
const GPT2_PATTERN = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** @throws TextError naming the part that is not the byte-level BPE of Mistral's Tekken family */
export function parseTokenizerJson(json: unknown, what = 'tokenizer.json'): TokenizerSpec {
  if (!isObject(json) || !isObject(json.model)) {
    throw new TextError(`${what}: expected an object with \`model\`, \`pre_tokenizer\` and \`added_tokens\``, {
      hint: 'give the parsed tokenizer.json of the model folder, not tekken.json or tokenizer_config.json',
    });
  }
  const model = json.model;
  const refuse = (part: string, expected: string, found: unknown): never => {
    throw new TextError(`${what}: \`${part}\` must be ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`, {
      hint: 'only the byte-level BPE tokenizers of the Ministral family are supported',
      details: { part, found },
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

  const addedTokens = (Array.isArray(json.added_tokens) ? json.added_tokens : []).map((entry: Json) => {
    if (typeof entry?.id !== 'number' || typeof entry.content !== 'string' || entry.content === '') {
      return refuse('added_tokens', 'a list of { id, content }', entry);
    }
    for (const flag of ['lstrip', 'rstrip', 'single_word']) {
      if (entry[flag] === true) refuse(`added_tokens["${entry.content}"].${flag}`, 'false', true);
    }
    return { id: entry.id, content: entry.content, special: entry.special === true };
  });

  const vocab = { ...(model.vocab as Record<string, number>) };
  for (const token of addedTokens) if (token.special) delete vocab[token.content];
  const missing = BYTE_TO_CHAR.findIndex((char) => vocab[char] === undefined);
  if (missing >= 0) refuse('model.vocab', 'complete', `no entry for byte 0x${missing.toString(16)}`);

  const around = postProcessorTokens(json.post_processor, refuse);
  return { vocab, model: { ...model, vocab }, preTokenizer: checkPreTokenizer(json, refuse), addedTokens, ...around };
}

type Refuse = (part: string, expected: string, found: unknown) => never;

function checkPreTokenizer(json: Json, refuse: Refuse): Json {
  const top = json.pre_tokenizer;
  if (!isObject(top)) return refuse('pre_tokenizer', 'a ByteLevel, or a Sequence that ends in one', top);
  const steps = top.type === 'Sequence' ? (top.pretokenizers as Json[]) : [top];
  const last = steps.at(-1);
  if (last?.type !== 'ByteLevel') return refuse('pre_tokenizer', 'a ByteLevel, or a Sequence that ends in one', top);
  if (last.add_prefix_space !== false) refuse('pre_tokenizer.add_prefix_space', 'false', last.add_prefix_space);
  for (const step of steps.slice(0, -1)) {
    // Anything that drops or rewrites characters would break the way from characters to tokens.
    const keeps = step.type === 'Split' && String(step.behavior).toLowerCase() === 'isolated';
    if (!keeps || step.invert === true) refuse('pre_tokenizer', 'made of isolating Split steps', step);
  }
  const usesRegex = last.use_regex !== false;
  const split = { type: 'Split', pattern: { Regex: GPT2_PATTERN }, behavior: 'Isolated', invert: false };
  const pretokenizers = [...steps.slice(0, -1), ...(usesRegex ? [split] : []), { ...last, use_regex: false }];
  return { type: 'Sequence', pretokenizers };
}

/** Reads what `add_special_tokens` adds. TemplateProcessing has a template; ByteLevel adds nothing; Sequence: each. */
function postProcessorTokens(processor: unknown, refuse: Refuse): { prefix: string[]; suffix: string[] } {
  if (processor == null) return { prefix: [], suffix: [] };
  const { type } = processor as Json;
  if (type === 'ByteLevel') return { prefix: [], suffix: [] };
  if (type === 'Sequence') {
    const parts = ((processor as Json).processors as unknown[]).map((part) => postProcessorTokens(part, refuse));
    // A later processor wraps what the earlier ones made.
    return { prefix: parts.toReversed().flatMap((p) => p.prefix), suffix: parts.flatMap((p) => p.suffix) };
  }
  if (type !== 'TemplateProcessing') return refuse('post_processor.type', 'TemplateProcessing or ByteLevel', type);
  const prefix: string[] = [];
  const suffix: string[] = [];
  let side = prefix;
  for (const item of (processor as Json).single as { SpecialToken?: { id: string }; Sequence?: unknown }[]) {
    if (item.Sequence) side = suffix;
    else if (item.SpecialToken) side.push(item.SpecialToken.id);
  }
  return { prefix, suffix };
}

/** Reads a JSON file; undefined if it does not exist. @throws TextError if it is not JSON */
export async function readJsonFile(dir: string, name: string): Promise<unknown> {
  const text = await readTextFile(dir, name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new TextError(`${join(dir, name)} is not valid JSON: ${(cause as Error).message}`, {
      hint: 'the file may be cut short; download it again',
      details: { path: join(dir, name) },
      cause,
    });
  }
}

/** Reads a text file; undefined if it does not exist. */
export async function readTextFile(dir: string, name: string): Promise<string | undefined> {
  try {
    return await readFile(join(dir, name), 'utf8');
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
