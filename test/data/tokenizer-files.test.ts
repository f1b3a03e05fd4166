import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BYTE_TO_CHAR } from '../../src/data/byte-alphabet.js';
import { configuredToken, parseTokenizerJson, readJsonFile, readTextFile } from '../../src/data/tokenizer-files.js';
import { TextError } from '../../src/errors.js';
import { type Change, parse, refusal, token } from './changed-tokenizer.js';
import { tinyTokenizerJson } from './tiny-tokenizer.js';

const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
const split = (pattern: unknown, more = {}) => ({
  type: 'Split',
  pattern,
  behavior: 'Isolated',
  invert: false,
  ...more,
});

const steps =
  (...list: unknown[]): Change =>
  (json) => {
    json.pre_tokenizer = { type: 'Sequence', pretokenizers: list };
  };
const postProcessor =
  (processor: unknown): Change =>
  (json) => {
    json.post_processor = processor;
  };

describe('parseTokenizerJson refuses, by part', () => {
  it.each<[string, Change]>([
    ['`model.type` must be "BPE", found "Unigram"', (json) => Object.assign(json.model, { type: 'Unigram' })],
    ['`model.vocab` must be an object of token: id, found "undefined"', (json) => delete json.model.vocab],
    ['`model.merges` must be a list, found "undefined"', (json) => delete json.model.merges],
    ['`model.byte_fallback` must be false, found true', (json) => Object.assign(json.model, { byte_fallback: true })],
    [
      '`model.continuing_subword_prefix` must be empty, found "##"',
      (json) => Object.assign(json.model, { continuing_subword_prefix: '##' }),
    ],
    [
      '`model.end_of_word_suffix` must be empty, found "</w>"',
      (json) => Object.assign(json.model, { end_of_word_suffix: '</w>' }),
    ],
    ['`normalizer` must be null, found {"type":"NFC"}', (json) => Object.assign(json, { normalizer: { type: 'NFC' } })],
    ['`decoder` must be of type ByteLevel, found nothing', (json) => delete json.decoder],
    [
      '`decoder` must be of type ByteLevel, found {"type":"BPE"}',
      (json) => Object.assign(json, { decoder: { type: 'BPE' } }),
    ],
    [
      '`added_tokens` must be at most 20000 tokens, found 20001',
      (json) => Object.assign(json, { added_tokens: Array.from({ length: 20_001 }, () => null) }),
    ],
    [
      '`added_tokens` must be a list of { id, content }, contents of 1 to 256 characters, found {"id":900,"content":""}',
      token({ id: 900, content: '' }),
    ],
    [
      '`added_tokens` must be a list of { id, content }, contents of 1 to 256 characters, found {"id":900}',
      token({ id: 900 }),
    ],
    [
      '`added_tokens` must be a list of { id, content }, contents of 1 to 256 characters, found {"id":-1,"content":"a"}',
      token({ id: -1, content: 'a' }),
    ],
    ['`added_tokens["a"].rstrip` must be false, found true', token({ id: 900, content: 'a', rstrip: true })],
    ['`added_tokens["a"].single_word` must be false, found true', token({ id: 900, content: 'a', single_word: true })],
    [
      '`model.vocab` must be ids from 0 to 4194303, found {"token":"new","id":4194304}',
      (json) => Object.assign(json.model.vocab, { new: 4_194_304 }),
    ],
    [
      '`model.vocab` must be ids from 0 to 4194303, found {"token":"new","id":0.5}',
      (json) => Object.assign(json.model.vocab, { new: 0.5 }),
    ],
    [
      '`model.vocab` must be unique ids, found {"id":3,"tokens":["[INST]","new"]}',
      (json) => Object.assign(json.model.vocab, { new: 3 }),
    ],
    [
      '`added_tokens` must be one id for each token, found {"token":"Is","ids":[291,900]}',
      token({ id: 900, content: 'Is' }),
    ],
    [
      '`model.vocab` must be complete, found "no entry for byte 0x0"',
      (json) => delete json.model.vocab[BYTE_TO_CHAR[0]!],
    ],
    [
      '`model.merges` must be a list of pairs of tokens, all written in one way, found 7',
      (json) => Object.assign(json.model, { merges: ['I s', 7] }),
    ],
    [
      '`model.merges` must be a list of pairs of tokens, all written in one way, found ["I"]',
      (json) => Object.assign(json.model, { merges: [['I']] }),
    ],
    [
      '`model.merges` must be a list of pairs of tokens, all written in one way, found [null,"s"]',
      (json) => Object.assign(json.model, { merges: [[null, 's']] }),
    ],
    [
      '`model.merges` must be a list of pairs of tokens, all written in one way, found "I s i"',
      (json) => Object.assign(json.model, { merges: ['I s i'] }),
    ],
    [
      '`model.merges` must be made of tokens of the vocabulary, found ["I","toString"]',
      (json) => Object.assign(json.model, { merges: [['I', 'toString']] }),
    ],
    [
      '`pre_tokenizer` must be a ByteLevel, or a Sequence that ends in one, found nothing',
      (json) => delete json.pre_tokenizer,
    ],
    [
      '`pre_tokenizer` must be a ByteLevel, or a Sequence that ends in one, found {"type":"Sequence","pretokenizers":[]}',
      steps(),
    ],
    ['`pre_tokenizer.add_prefix_space` must be false, found nothing', steps({ type: 'ByteLevel' })],
    [
      '`pre_tokenizer` must be of at most 16 steps, found 17',
      steps(...Array.from({ length: 16 }, () => split({ String: 'a' })), BYTE_LEVEL),
    ],
    [
      '`pre_tokenizer` must be made of isolating Split steps, found {"type":"Punctuation","behavior":"Isolated"}',
      steps({ type: 'Punctuation', behavior: 'Isolated' }, BYTE_LEVEL),
    ],
    [
      '`pre_tokenizer` must be made of isolating Split steps, found {"type":"Split","behavior":"Removed"}',
      steps({ type: 'Split', behavior: 'Removed' }, BYTE_LEVEL),
    ],
    [
      '`pre_tokenizer` must be made of isolating Split steps, found {"type":"Split","pattern":{"String":"a"},"behavior":"Isolated","invert":true}',
      steps(split({ String: 'a' }, { invert: true }), BYTE_LEVEL),
    ],
    [
      '`pre_tokenizer.pattern` must be a Regex or String of 1 to 4096 characters, found {"String":""}',
      steps(split({ String: '' }), BYTE_LEVEL),
    ],
    [
      '`pre_tokenizer.pattern` must be a Regex or String of 1 to 4096 characters, found "a"',
      steps(split('a'), BYTE_LEVEL),
    ],
    ['`post_processor` must be an object, found "ByteLevel"', postProcessor('ByteLevel')],
    [
      '`post_processor.type` must be TemplateProcessing or ByteLevel, found "RobertaProcessing"',
      postProcessor({ type: 'RobertaProcessing' }),
    ],
    ['`post_processor.processors` must be a list, found nothing', postProcessor({ type: 'Sequence' })],
    ['`post_processor.single` must be a list, found nothing', postProcessor({ type: 'TemplateProcessing' })],
    [
      '`post_processor.single` must be made of Sequence and SpecialToken, found {"SpecialToken":{"id":1}}',
      postProcessor({ type: 'TemplateProcessing', single: [{ SpecialToken: { id: 1 } }] }),
    ],
  ])('%s', (message, change) => {
    const error = refusal(change);
    expect(error).toBeInstanceOf(TextError);
    expect(error.summary).toBe(`tokenizer.json: ${message}`);
    expect(error.hint).toBe('only the byte-level BPE tokenizers of the Ministral family are supported');
  });

  it('what is another file', () => {
    for (const json of [null, 'BPE', [], {}, { model: null }]) {
      expect(() => parseTokenizerJson(json, 'tokens.json')).toThrow(
        'tokens.json: expected an object with `model`, `pre_tokenizer` and `added_tokens`',
      );
    }
  });
});

describe('parseTokenizerJson takes', () => {
  it('the limits themselves', () => {
    const content = 'x'.repeat(256);
    expect(parse(token({ id: 4_194_303, content })).addedTokens.at(-1)).toEqual({
      id: 4_194_303,
      content,
      special: false,
    });
    const many = Array.from({ length: 15 }, () => split({ String: 'x'.repeat(4096) }));
    expect(parse(steps(...many, BYTE_LEVEL)).preTokenizer.pretokenizers).toHaveLength(16);
  });

  it('what is left out, null or false', () => {
    const spec = parse((json) => {
      delete json.model.type;
      delete json.normalizer;
      Object.assign(json.model, { byte_fallback: false, end_of_word_suffix: null, continuing_subword_prefix: '' });
      Object.assign(json.added_tokens[3], { lstrip: false, rstrip: null });
      delete json.post_processor;
    });
    expect([spec.prefix, spec.suffix]).toEqual([[], []]);
    expect(parse((json) => delete json.added_tokens).addedTokens).toEqual([]);
  });

  it('merges written in either way, and a token under the id that it has', () => {
    const spec = parse((json) => {
      json.model.merges = json.model.merges.map((pair: string[]) => pair.join(' '));
      json.added_tokens.push({ id: json.model.vocab.Is, content: 'Is', special: false });
    });
    expect(spec.addedTokens.at(-1)).toEqual({ id: 291, content: 'Is', special: false });
    expect(spec.vocab.Is).toBe(291);
  });

  it('special tokens, and keeps them out of the vocabulary of merges', () => {
    const { vocab, model, addedTokens } = parse(() => undefined);
    expect(Object.keys(vocab)).not.toContain('[INST]');
    expect(model.vocab).toBe(vocab);
    expect(addedTokens).toContainEqual({ id: 3, content: '[INST]', special: true });
  });

  it('a post-processor of several, of which a later one wraps what the earlier made', () => {
    const around = (before: string, behind: string) => ({
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: before } }, { Sequence: { id: 'A' } }, { SpecialToken: { id: behind } }],
    });
    const processors = [{ type: 'ByteLevel' }, around('a', 'b'), around('c', 'd')];
    const { prefix, suffix } = parse(postProcessor({ type: 'Sequence', processors }));
    expect([prefix, suffix]).toEqual([
      ['c', 'a'],
      ['b', 'd'],
    ]);
  });

  it('patterns, and knows the published ones', () => {
    const regex = tinyTokenizerJson().pre_tokenizer.pretokenizers[0].pattern.Regex;
    const known = (...list: unknown[]) => parse(steps(...list)).hasKnownPatterns;
    expect(known(split({ Regex: regex }), BYTE_LEVEL)).toBe(true);
    expect(known(split({ String: 'a' }), BYTE_LEVEL)).toBe(true);
    expect(known(split({ Regex: regex }, { behavior: 'isolated' }), BYTE_LEVEL)).toBe(true);
    expect(known(split({ Regex: regex }), split({ Regex: 'a+' }), BYTE_LEVEL)).toBe(false);
    expect(known(split({ Regex: 'a+' }), BYTE_LEVEL)).toBe(false);
  });

  it('the built-in pattern of ByteLevel, which is written out', () => {
    const { preTokenizer, hasKnownPatterns } = parse(steps({ ...BYTE_LEVEL, use_regex: true }));
    expect(preTokenizer).toEqual({
      type: 'Sequence',
      pretokenizers: [
        split({ Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+" }),
        BYTE_LEVEL,
      ],
    });
    expect(hasKnownPatterns).toBe(true);
    expect(parse(steps(BYTE_LEVEL)).preTokenizer).toEqual({ type: 'Sequence', pretokenizers: [BYTE_LEVEL] });
  });
});

describe('files of a tokenizer', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'tokenizer-files-'));
  });
  afterAll(() => rm(dir, { recursive: true }));

  it('are undefined where they do not exist', async () => {
    expect(await readJsonFile(dir, 'tokenizer.json')).toBeUndefined();
    expect(await readTextFile(dir, 'chat_template.jinja')).toBeUndefined();
  });

  it('are read as text and as JSON, where keys of a vocabulary may be anything', async () => {
    await writeFile(join(dir, 'tokenizer.json'), '{"__proto__": 1}');
    await writeFile(join(dir, 'chat_template.jinja'), 'é');
    expect(Object.keys((await readJsonFile(dir, 'tokenizer.json')) as object)).toEqual(['__proto__']);
    expect(await readTextFile(dir, 'chat_template.jinja')).toBe('é');
    await writeFile(join(dir, 'tokenizer_config.json'), '{"__proto__": 1}');
    await expect(readJsonFile(dir, 'tokenizer_config.json')).rejects.toThrow(/__proto__/);
  });

  it('that cannot be read are named, with what to do', async () => {
    await mkdir(join(dir, 'processor_config.json'));
    await expect(readJsonFile(dir, 'processor_config.json')).rejects.toThrow(
      `cannot read ${join(dir, 'processor_config.json')}: a folder, not a file`,
    );
    await writeFile(join(dir, 'cut.json'), '{');
    await expect(readJsonFile(dir, 'cut.json')).rejects.toMatchObject({
      message: expect.stringContaining(`${join(dir, 'cut.json')} is not valid JSON: `),
      hint: 'the file may be cut short; download it again',
      details: { path: join(dir, 'cut.json') },
      cause: expect.any(SyntaxError),
    });
  });

  it('are bounded: a tokenizer may have 48 MiB, a configuration one', async () => {
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
      await writeFile(join(dir, name), '');
      await truncate(join(dir, name), 2 ** 20 + 1);
    }
    await expect(readJsonFile(dir, 'tokenizer_config.json')).rejects.toThrow(/at most 1048576 are read/);
    await expect(readJsonFile(dir, 'tokenizer.json')).rejects.toThrow(/not valid JSON/);
    await truncate(join(dir, 'tokenizer.json'), 48 * 2 ** 20 + 1);
    await expect(readJsonFile(dir, 'tokenizer.json')).rejects.toThrow(/at most 50331648 are read/);
  });

  it('name tokens in two ways', () => {
    expect(configuredToken({ bos_token: '<s>' }, 'bos_token')).toBe('<s>');
    expect(configuredToken({ bos_token: { content: '<s>' } }, 'bos_token')).toBe('<s>');
    for (const other of [{ bos_token: { content: 1 } }, { bos_token: ['<s>'] }, { bos_token: null }, {}, null, '<s>']) {
      expect(configuredToken(other, 'bos_token')).toBeUndefined();
    }
  });
});
