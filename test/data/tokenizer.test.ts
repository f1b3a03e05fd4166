import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { TextError } from '../../src/errors.js';
import { CONTROL_TOKENS, TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);

/** Any well-formed text, rich in names of control tokens, halves of them, and odd white space. */
const hostileText = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 6 }),
      fc.constantFrom(...CONTROL_TOKENS, '[INS', 'T]', '</', 's>', '<', '[', ']', 'fracture', ' ', '\n', '\r\n'),
      fc.constantFrom('\ufeff', '\u0085', '\u00a0', '日本', '🦴', '1', '\u2028', 'e\u0301'),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));

// Made with the Rust tokenizers 0.23 from the same tokenizer.json: `encode_special_tokens` on, and `parsed` off.
const GOLDEN: { text: string; ids: number[]; parsed?: number[] }[] = [
  { text: '', ids: [] },
  { text: 'Is it broken?', ids: [291, 293, 299, 83] },
  { text: 'a fracture, a fracture', ids: [117, 290, 64, 52, 117, 290] },
  { text: "l'été 12345", ids: [128, 59, 304, 303, 52, 69, 70, 71, 72, 73] },
  { text: '日本 🦴', ids: [311, 52, 260, 179, 186, 200] },
  { text: ' \n\n x', ids: [52, 312, 52, 140] },
  {
    text: '\ufeff a\u0085b\ufeff\ufeffc \ufeff',
    ids: [259, 207, 211, 52, 117, 214, 153, 118, 259, 207, 211, 259, 207, 211, 119, 52, 259, 207, 211],
  },
  { text: '\u0085\u0085 x', ids: [214, 153, 214, 153, 52, 140] },
  { text: '\u00a0\u3000 y', ids: [214, 180, 247, 148, 148, 52, 141] },
  {
    text: 'A.\n[INST]x[/INST]</s>',
    ids: [85, 315, 111, 318, 113, 140, 111, 67, 318, 113, 80, 67, 135, 82],
    parsed: [85, 315, 3, 140, 4, 2],
  },
  {
    text: '<s>[IMG][IMG_BREAK]',
    ids: [320, 82, 111, 93, 97, 91, 113, 111, 93, 97, 91, 115, 86, 102, 89, 85, 95, 113],
    parsed: [1, 10, 12],
  },
  { text: '[INST[IMG]]', ids: [111, 318, 111, 93, 97, 91, 113, 113], parsed: [111, 318, 10, 113] },
];

describe('MinistralTokenizer.encode', () => {
  it.each(GOLDEN)('gives the ids of the Rust library for $text', ({ text, ids, parsed }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.encode(text, { parseSpecialTokens: true })).toEqual(parsed ?? ids);
  });

  it('never makes a control token of text', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const ids = tokenizer.encode(text);
        expect(ids.filter((id) => tokenizer.specialTokenIds.has(id))).toEqual([]);
        expect(tokenizer.decode(ids)).toBe(text);
      }),
      { numRuns: 500 },
    );
  });

  it('makes none even where one pre-token is the name of a control token', () => {
    const json = tinyTokenizerJson();
    json.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
    const ids = new MinistralTokenizer(json, TINY_CONFIG).encode('<s>');
    expect(ids).not.toContain(1);
    expect(tokenizer.decode(ids)).toBe('<s>');
  });

  it('parses control tokens as their ids, and the text between them as usual', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.constantFrom(...CONTROL_TOKENS), fc.string({ unit: 'grapheme' }))), (parts) => {
        const text = parts.join('');
        const expected = tokenizer
          .splitControlTokens(text)
          .flatMap((piece) => (piece.id === undefined ? tokenizer.encode(piece.text) : [piece.id]));
        expect(tokenizer.encode(text, { parseSpecialTokens: true })).toEqual(expected);
        expect(tokenizer.decode(expected)).toBe(text);
      }),
    );
  });

  it('adds what the post-processor says, and nothing unless asked', () => {
    const withPost = (post: unknown, config = {}) => {
      const made = new MinistralTokenizer(
        { ...tinyTokenizerJson(), post_processor: post },
        { ...TINY_CONFIG, ...config },
      );
      return made.encode('yes', { addSpecialTokens: true });
    };
    const template = tinyTokenizerJson().post_processor;
    const byteLevel = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true };
    expect(tokenizer.encode('yes')).toEqual([301]);
    expect(withPost(template)).toEqual([1, 301]);
    expect(withPost(byteLevel)).toEqual([301]);
    expect(withPost(null)).toEqual([301]);
    expect(withPost({ type: 'Sequence', processors: [byteLevel, template] })).toEqual([1, 301]);
    const closing = [...template.single, { SpecialToken: { id: '</s>', type_id: 0 } }];
    expect(withPost({ ...template, single: closing })).toEqual([1, 301, 2]);
    expect(withPost(byteLevel, { add_bos_token: true })).toEqual([1, 301]);
    expect(withPost(template, { add_bos_token: false, add_eos_token: true })).toEqual([301, 2]);
  });

  it('matches added tokens that are not special in any text', () => {
    const json = tinyTokenizerJson();
    json.added_tokens.push({ id: 900, content: '<bone>', special: false, normalized: true });
    const made = new MinistralTokenizer(json, TINY_CONFIG);
    expect(made.encode('yes<bone>yes<s>')).toEqual([301, 900, 301, 320, 82]);
    expect(made.encodeText('é<bone>').byteEnds.at(-1)).toBe(8);
    expect(made.decode([301, 900], { skipSpecialTokens: true })).toBe('yes<bone>');
  });

  it('reads \\s as Unicode white space in the built-in ByteLevel pattern, too', () => {
    const json = tinyTokenizerJson();
    json.pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
    const made = new MinistralTokenizer(json, TINY_CONFIG);
    // Rust tokenizers 0.23.
    expect(made.encode('\ufeff a\u0085b')).toEqual([259, 207, 211, 52, 117, 214, 153, 118]);
    expect(made.encode("it's \ufeff\u0085 x")).toEqual([125, 136, 59, 135, 52, 259, 207, 211, 214, 153, 52, 140]);
  });

  it('tells where each token ends', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const { ids, byteEnds } = tokenizer.encodeText(text);
        const bytes = Buffer.from(text);
        let start = 0;
        ids.forEach((id, i) => {
          expect(tokenizer.decode([id])).toBe(bytes.subarray(start, byteEnds[i]).toString());
          start = byteEnds[i]!;
        });
        expect(start).toBe(bytes.length);
      }),
    );
  });
});

describe('MinistralTokenizer.decode', () => {
  it('gives an empty string for no ids', () => expect(tokenizer.decode([])).toBe(''));

  it('skips control tokens when asked to, and ids outside the vocabulary always', () => {
    const ids = [1, 3, 301, 4, 302, 2, 9999];
    expect(tokenizer.decode(ids)).toBe('<s>[INST]yes[/INST]no</s>');
    expect(tokenizer.decode(ids, { skipSpecialTokens: true })).toBe('yesno');
  });

  it('changes no spaces before punctuation', () => {
    expect(tokenizer.decode(tokenizer.encode("it 's not , it ?"))).toBe("it 's not , it ?");
  });

  it('streams: holds a character back until it is whole, and joins to the same text', () => {
    const decoder = tokenizer.streamingDecoder();
    const bone = tokenizer.encode('🦴');
    expect(bone.map((id) => decoder.push(id))).toEqual(['', '', '', '🦴']);
    expect(decoder.push(bone[0]!) + decoder.end()).toBe('\ufffd');
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.vocabSize - 1)), (ids) => {
        const stream = tokenizer.streamingDecoder();
        const bytes = ids.flatMap((id) => [...tokenBytesOf(id)]);
        const text = ids.map((id) => stream.push(id)).join('') + stream.end();
        expect(text).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(bytes)));
      }),
    );
  });
});

/** Independent of the decoder: the bytes of single-byte tokens, looked up by encoding them. */
function tokenBytesOf(id: number): Uint8Array {
  const token = tokenizer.idToToken(id)!;
  if (id < CONTROL_TOKENS.length) return Buffer.from(token);
  return Uint8Array.from([...token].map((char) => tokenizer.tokenToId(char)! - CONTROL_TOKENS.length));
}

describe('MinistralTokenizer files', () => {
  const folders: string[] = [];
  const folder = async (files: Record<string, string>): Promise<string> => {
    const dir = await mkdtemp(join(tmpdir(), 'tokenizer-'));
    folders.push(dir);
    for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
    return dir;
  };
  afterAll(() => Promise.all(folders.map((dir) => rm(dir, { recursive: true }))));

  it('reads the ids of control tokens from the files', async () => {
    const json = tinyTokenizerJson();
    json.added_tokens.push({ id: 901, content: '[PIC]', special: true });
    const made = await MinistralTokenizer.fromFolder(
      await folder({
        'tokenizer.json': JSON.stringify(json),
        'tokenizer_config.json': JSON.stringify({ bos_token: { content: '<unk>' }, eos_token: '[PREFIX]' }),
        'processor_config.json': JSON.stringify({ image_token: '[PIC]' }),
      }),
    );
    expect([made.bosTokenId, made.eosTokenId, made.padTokenId]).toEqual([0, 14, 11]);
    expect([made.imageTokenId, made.imageBreakTokenId, made.imageEndTokenId]).toEqual([901, 12, 13]);
    expect(made.vocabSize).toBe(902);
    expect(made.tokenToId('fracture')).toBe(282);
    expect(made.idToToken(282)).toBe('fracture');
  });

  it('pads with EOS where there is no padding token', () => {
    const json = tinyTokenizerJson();
    json.added_tokens = json.added_tokens.filter((token: { content: string }) => token.content !== '<pad>');
    delete json.model.vocab['<pad>'];
    expect(new MinistralTokenizer(json).padTokenId).toBe(2);
  });

  it('names the missing or broken file', async () => {
    await expect(MinistralTokenizer.fromFolder(await folder({}))).rejects.toThrow(/no tokenizer\.json in/);
    const cut = await folder({ 'tokenizer.json': JSON.stringify(tinyTokenizerJson()).slice(0, 1000) });
    await expect(MinistralTokenizer.fromFolder(cut)).rejects.toThrow(/tokenizer\.json is not valid JSON/);
  });

  // biome-ignore lint/suspicious/noExplicitAny: each case damages one place of the file
  const damages: [string, (json: any) => void, RegExp][] = [
    ['another model', (json) => Object.assign(json.model, { type: 'WordPiece' }), /`model.type` must be "BPE"/],
    ['a normalizer', (json) => Object.assign(json, { normalizer: { type: 'NFC' } }), /`normalizer` must be null/],
    ['no byte level', (json) => Object.assign(json, { pre_tokenizer: { type: 'Whitespace' } }), /`pre_tokenizer`/],
    [
      'a prefix space',
      (json) => Object.assign(json.pre_tokenizer.pretokenizers[1], { add_prefix_space: true }),
      /add_prefix_space` must be false, found true/,
    ],
    ['a missing byte', (json) => delete json.model.vocab.A, /no entry for byte 0x41/],
    ['a stripping token', (json) => Object.assign(json.added_tokens[3], { lstrip: true }), /"\[INST\]"\]\.lstrip/],
    [
      'merges that are no pairs',
      (json) => Object.assign(json.model, { merges: [['I', 's'], 'a b'] }),
      /merges` must be a list of pairs of tokens, all written in one way, found "a b"/,
    ],
    [
      'merges that are no list',
      (json) => Object.assign(json.model, { merges: { 0: 'a b' } }),
      /merges` must be a list/,
    ],
    [
      'an id that is no number',
      (json) => Object.assign(json.model.vocab, { Is: '7' }),
      /vocab` must be ids from 0 to .*"Is"/,
    ],
    ['an id beyond all tables', (json) => Object.assign(json.model.vocab, { Is: 1e9 }), /ids from 0 to 4194303/],
    ['two tokens of one id', (json) => Object.assign(json.model.vocab, { Is: 50 }), /vocab` must be unique ids/],
    [
      'a control token with the id of another token',
      (json) => Object.assign(json.added_tokens[3], { id: 77 }),
      /added_tokens` must be unique ids, .*"\[INST\]"/,
    ],
    [
      'a control token with two ids',
      (json) => json.added_tokens.push({ ...json.added_tokens[3], id: 900 }),
      /one id for each token, .*"\[INST\]"/,
    ],
    [
      'a control token of a kilobyte',
      (json) => json.added_tokens.push({ id: 900, content: 'x'.repeat(1000), special: true }),
      /contents of 1 to 256 characters/,
    ],
    ['a token that is null', (json) => json.added_tokens.push(null), /added_tokens`.* found null/],
    [
      'steps that are no list',
      (json) => Object.assign(json.pre_tokenizer, { pretokenizers: 3 }),
      /pre_tokenizer` must/,
    ],
    [
      'a step that is null',
      (json) => json.pre_tokenizer.pretokenizers.unshift(null),
      /isolating Split steps, found null/,
    ],
    [
      'a pattern that is none',
      (json) => Object.assign(json.pre_tokenizer.pretokenizers[0], { pattern: { Regex: ['a'] } }),
      /pattern` must be a Regex or String/,
    ],
    [
      'a regular expression that is damaged',
      (json) => Object.assign(json.pre_tokenizer.pretokenizers[0], { pattern: { Regex: '[a-' } }),
      /no tokenizer can be made of it/,
    ],
    [
      'a processor without a list',
      (json) => Object.assign(json, { post_processor: { type: 'Sequence', processors: 1 } }),
      /post_processor.processors` must be a list, found 1/,
    ],
    [
      'a processor of something else',
      (json) => Object.assign(json, { post_processor: { type: 'TemplateProcessing', single: [null] } }),
      /post_processor.single` must be made of/,
    ],
    ['another decoder', (json) => Object.assign(json, { decoder: { type: 'WordPiece' } }), /`decoder`/],
    ['another processor', (json) => Object.assign(json, { post_processor: { type: 'BertProcessing' } }), /post_proc/],
  ];
  it.each(damages)('refuses %s', (_, damage, message) => {
    const json = tinyTokenizerJson();
    damage(json);
    expect(() => new MinistralTokenizer(json, TINY_CONFIG)).toThrow(TextError);
    expect(() => new MinistralTokenizer(json, TINY_CONFIG)).toThrow(message);
  });

  it('refuses what is no tokenizer.json, and names that are not in it', () => {
    expect(() => new MinistralTokenizer([])).toThrow(/expected an object/);
    expect(() => new MinistralTokenizer(tinyTokenizerJson(), { eos_token: '<end>' })).toThrow(/"<end>" is not a token/);
  });

  it('stops a regular expression that backtracks without end, and lets other unknown ones split', () => {
    const withPattern = (regex: string): MinistralTokenizer => {
      const json = tinyTokenizerJson();
      json.pre_tokenizer.pretokenizers[0].pattern.Regex = regex;
      return new MinistralTokenizer(json, TINY_CONFIG);
    };
    const plain = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
    expect(withPattern('\\p{L}+|[^\\p{L}]').encode('Is it?')).toEqual([
      ...plain.encode('Is'),
      ...plain.encode(' '),
      ...plain.encode('it'),
      ...plain.encode('?'),
    ]);
    const start = process.cpuUsage();
    const hostile = withPattern('(?:[a-z]+)+\\$|[^a-z]');
    expect(() => hostile.encode(`is it ${'a'.repeat(60)}`)).toThrow(TextError);
    expect(() => hostile.encode('a'.repeat(60))).toThrow(/regular expressions of tokenizer.json takes too long/);
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(4);
  });

  it('takes names of objects for ordinary tokens', () => {
    const json = tinyTokenizerJson();
    const ids = ['constructor', '__proto__', 'toString'].map((content, i) => ({ id: 900 + i, content, special: true }));
    json.added_tokens.push(...ids);
    const tokenizer = new MinistralTokenizer(json, TINY_CONFIG);
    expect(tokenizer.encode('constructor__proto__toString', { parseSpecialTokens: true })).toEqual([900, 901, 902]);
    expect(tokenizer.decode(tokenizer.encode('constructor __proto__'))).toBe('constructor __proto__');
    expect(tokenizer.tokenToId('hasOwnProperty')).toBeUndefined();
  });

  it('notices a vocabulary that lacks what its merges make', () => {
    const json = tinyTokenizerJson();
    delete json.model.vocab.Is;
    expect(() => new MinistralTokenizer(json, TINY_CONFIG).encode('Is')).toThrow(
      /`model.merges` must be made of tokens of the vocabulary, found \["I","s"\]/,
    );
  });
});
