import { describe, expect, it } from 'vitest';
import { BYTE_TO_CHAR, tokenBytes } from '../../src/data/byte-alphabet.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { tokenizerDigest } from '../../src/data/tokenizer-digest.js';
import { ConfigError } from '../../src/errors.js';
import { type Change, refusal, token } from './changed-tokenizer.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

describe('the alphabet of bytes', () => {
  it('is that of GPT-2', () => {
    // From bytes_to_unicode() of the published encoder: what is not printable takes U+0100 and on, in order.
    const code = (byte: number) => BYTE_TO_CHAR[byte]!.codePointAt(0);
    expect([0x00, 0x20, 0x21, 0x7e, 0x7f].map(code)).toEqual([0x100, 0x120, 0x21, 0x7e, 0x121]);
    expect([0xa0, 0xa1, 0xac, 0xad, 0xae, 0xff].map(code)).toEqual([0x142, 0xa1, 0xac, 0x143, 0xae, 0xff]);
    expect(new Set(BYTE_TO_CHAR).size).toBe(256);
    expect(tokenBytes(BYTE_TO_CHAR.join(''))).toEqual(Uint8Array.from({ length: 256 }, (_, byte) => byte));
    expect(tokenBytes('a€')).toBeUndefined();
  });
});

describe('the digest of a tokenizer', () => {
  const digest = (change: Change, config: object = {}) => {
    const json = tinyTokenizerJson();
    change(json);
    return new MinistralTokenizer(json, { ...TINY_CONFIG, ...config }).digest;
  };
  const before = digest(() => undefined);

  it('is the same however the file is written', () => {
    expect(before).toMatch(/^[0-9a-f]{16}$/);
    const same: Change[] = [
      (json) => Object.assign(json.model, { merges: json.model.merges.map((pair: string[]) => pair.join(' ')) }),
      (json) => Object.assign(json.model, { vocab: Object.fromEntries(Object.entries(json.model.vocab).reverse()) }),
      (json) => json.added_tokens.reverse(),
      (json) => Object.assign(json.model, { byte_fallback: false, dropout: null }),
      (json) => delete json.model.type,
    ];
    expect(same.map((change) => digest(change))).toEqual(same.map(() => before));
    const settings = (model: object) => tokenizerDigest(['a'], { merges: [], ...model }, []);
    expect(settings({ a: 1, b: 2 })).toBe(settings({ b: 2, a: 1 }));
  });

  it('is another where a text may get other ids', () => {
    const others: Change[] = [
      (json) => json.model.merges.pop(),
      (json) => json.model.merges.reverse(),
      (json) => Object.assign(json.model, { dropout: 0.1 }),
      (json) => Object.assign(json.added_tokens[3], { special: false }),
      token({ id: 900, content: '<bone>', special: true }),
      (json) => {
        const { vocab } = json.model;
        [vocab.a, vocab.b] = [vocab.b, vocab.a];
      },
      (json) => Object.assign(json.pre_tokenizer.pretokenizers[0].pattern, { Regex: '.' }),
    ];
    const digests = others.map((change) => digest(change));
    digests.push(digest(() => undefined, { pad_token: '<unk>' }));
    expect(new Set([before, ...digests]).size).toBe(digests.length + 1);
  });

  it('tells lists of any length apart', () => {
    const long = Array.from({ length: 5000 }, (_, i) => `t${i}`);
    const of = (tokens: readonly (string | undefined)[], merges: unknown = []) =>
      tokenizerDigest(tokens, { merges }, []);
    const lists = [
      of(long),
      of(long.toReversed()),
      of(long.with(4999, 'x')),
      of(long.with(4096, 'x')),
      of(long, ['a b']),
    ];
    expect(new Set(lists).size).toBe(lists.length);
    expect(of(['a', undefined, 'b'])).not.toBe(of(['a', 'b', undefined]));
    expect(of(['a'], undefined)).toBe(of(['a'], []));
  });
});

describe('MinistralTokenizer', () => {
  const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);

  it('refuses files that are no JSON objects', () => {
    const made = (config: unknown, processor?: unknown) => () =>
      new MinistralTokenizer(tinyTokenizerJson(), config, processor);
    expect(made('tokenizer_config.json')).toThrow(
      'MinistralTokenizer: `tokenizerConfig`: expected the parsed JSON of a file, got "tokenizer_config.json"',
    );
    expect(made({}, null)).toThrow(
      'MinistralTokenizer: `processorConfig`: expected the parsed JSON of a file, got null',
    );
  });

  it('says where a named token is missing', () => {
    const made = (config: unknown, processor?: unknown) => () =>
      new MinistralTokenizer(tinyTokenizerJson(), config, processor);
    expect(made({ bos_token: '<b>' })).toThrow('bos_token: "<b>" is not a token of this tokenizer');
    expect(made({ eos_token: '<b>' })).toThrow('eos_token: "<b>"');
    expect(made({ pad_token: '<b>' })).toThrow('pad_token: "<b>"');
    expect(made({}, { image_token: '<b>' })).toThrow('image_token: "<b>"');
    expect(made({}, { image_break_token: '<b>' })).toThrow('image_break_token: "<b>"');
    expect(made({}, { image_end_token: '<b>' })).toThrow('image_end_token: "<b>"');
    const json = tinyTokenizerJson();
    json.post_processor.single[0].SpecialToken.id = '<b>';
    expect(() => new MinistralTokenizer(json, TINY_CONFIG)).toThrow('post_processor: "<b>"');
  });

  it('takes its image tokens and defaults by their usual names', () => {
    const made = new MinistralTokenizer(tinyTokenizerJson());
    expect([made.bosToken, made.eosToken, made.bosTokenId, made.eosTokenId, made.padTokenId]).toEqual([
      '<s>',
      '</s>',
      1,
      2,
      11,
    ]);
    expect([made.imageTokenId, made.imageBreakTokenId, made.imageEndTokenId]).toEqual([10, 12, 13]);
    const config = { image_token: '[PREFIX]', image_break_token: '[MIDDLE]', image_end_token: '[SUFFIX]' };
    const other = new MinistralTokenizer(tinyTokenizerJson(), {}, config);
    expect([other.imageTokenId, other.imageBreakTokenId, other.imageEndTokenId]).toEqual([14, 15, 16]);
  });

  it('takes the longest of the tokens that begin at one place', () => {
    const json = tinyTokenizerJson();
    for (const [i, content] of ['<a', '<a>b', '<a>bcd'].entries()) {
      json.added_tokens.push({ id: 900 + i, content, special: true });
    }
    const made = new MinistralTokenizer(json, TINY_CONFIG);
    expect(made.splitControlTokens('<a><a>bc<a>bcd<')).toEqual([
      { id: 900 },
      { text: '>' },
      { id: 901 },
      { text: 'c' },
      { id: 902 },
      { text: '<' },
    ]);
    expect(made.splitControlTokens('')).toEqual([]);
  });

  it('decodes lists of ids only, and says what else came', () => {
    expect(tokenizer.decode(Int32Array.of(301, 302))).toBe('yesno');
    const decode = (ids: unknown) => () => tokenizer.decode(ids as number[]);
    expect(decode([301, '302'])).toThrow(
      'tokenizer.decode: `ids`: expected a list of token ids, got "302" at position 1',
    );
    expect(decode(301)).toThrow('tokenizer.decode: `ids`: expected a list of token ids, got 301');
    expect(decode(new DataView(new ArrayBuffer(8)))).toThrow(ConfigError);
    const hintOf = (ids: unknown) => {
      try {
        return decode(ids)();
      } catch (error) {
        return (error as ConfigError).hint;
      }
    };
    expect(hintOf([[301]])).toContain('lists.map((ids) => tokenizer.decode(ids))');
    expect(hintOf(301)).toContain('decode([id])');
  });

  it('refuses what is no text', () => {
    const texts = ['yes'] as unknown as string;
    expect(() => tokenizer.encode(texts)).toThrow(/tokenizer\.encode: `text`/);
    expect(() => tokenizer.encodeText(texts)).toThrow(/tokenizer\.encodeText: `text`/);
    expect(() => tokenizer.splitControlTokens(texts)).toThrow(/tokenizer\.splitControlTokens: `text`/);
    expect(() => tokenizer.encode('a', { addSpecialToken: true } as never)).toThrow(/addSpecialTokens/);
    expect(() => tokenizer.streamingDecoder({ skipSpecial: true } as never)).toThrow(/skipSpecialTokens/);
  });

  it('says of a folder without its file, and of a damaged pattern, what to do', async () => {
    const missing = await MinistralTokenizer.fromFolder('/no/such/folder').catch((error: unknown) => error);
    expect(missing).toMatchObject({
      message: expect.stringContaining('no tokenizer.json in /no/such/folder'),
      hint: expect.stringMatching(/^tekken\.json alone .* model that has them; .*\(fromPretrained: `processor`\)$/),
      details: { path: '/no/such/folder' },
    });
    await expect(MinistralTokenizer.fromFolder(5 as never)).rejects.toThrow(/MinistralTokenizer\.fromFolder/);
    const json = tinyTokenizerJson();
    json.pre_tokenizer.pretokenizers[0].pattern.Regex = '[a-';
    expect(() => new MinistralTokenizer(json)).toThrow(
      /no tokenizer can be made of it: [\s\S]*may be damaged; download/,
    );
    expect(() => new MinistralTokenizer([])).toThrow(/give the parsed tokenizer\.json of the model folder, not tekken/);
    expect(refusal((change) => delete change.decoder).details).toEqual({ part: 'decoder', found: 'nothing' });
  });

  it('decodes a byte order mark as text, whole or as it comes', () => {
    const ids = tokenizer.encode('\ufeffa');
    expect(tokenizer.decode(ids)).toBe('\ufeffa');
  });
});
