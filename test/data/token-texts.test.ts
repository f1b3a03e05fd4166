import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BYTE_TO_CHAR, tokenBytes } from '../../src/data/byte-alphabet.js';
import { tokenTexts } from '../../src/data/token-texts.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
const texts = (text: string) => tokenTexts(tokenizer, tokenizer.encode(text)).map((token) => token.text);
const ofBytes = (...bytes: number[]) =>
  tokenTexts(
    tokenizer,
    bytes.map((byte) => tokenizer.tokenToId(BYTE_TO_CHAR[byte]!)!),
  );

/** The bytes that a text of a view stands for. */
function bytesOf(text: string): Buffer {
  const pieces = text.match(/\\x[0-9a-f]{2}|\\u\{[0-9a-f]+\}|\\u[0-9a-f]{4}|\\r|./gsu) ?? [];
  const signs: Record<string, string> = { '·': ' ', '↵': '\n', '⇥': '\t', '\\r': '\r', '◌': '' };
  return Buffer.concat(
    pieces.map((piece) => {
      if (/^\\x/.test(piece)) return Buffer.from(piece.slice(2), 'hex');
      const code = /^\\u\{?([0-9a-f]+)/.exec(piece)?.[1];
      if (code === undefined) return Buffer.from(signs[piece] ?? piece);
      return Buffer.from(String.fromCodePoint(Number.parseInt(code, 16)));
    }),
  );
}

describe('texts of tokens', () => {
  it('show spaces, line ends and what nobody sees', () => {
    expect(texts(' it\n\n\tno\r')).toEqual(['·it', '↵↵', '⇥', 'no', '\\r']);
    expect(texts('\u001b[31m')).toEqual(['\\u001b', '[', '3', '1', 'm']);
    expect(texts('\u007f')).toEqual(['\\u007f']);
  });

  it('write out the signs that they use themselves', () => {
    const given = '·↵⇥◌│\u00a0';
    const shown = texts(given).join('');
    expect(shown).not.toMatch(/[·↵⇥◌│]/);
    expect(bytesOf(shown).toString()).toBe(given);
  });

  it('tell which character the bytes of several tokens are', () => {
    expect(ofBytes(0xe9, 0xaa, 0xa8, 0x41)).toEqual([
      { text: '\\xe9', partOf: '骨' },
      { text: '\\xaa', partOf: '骨' },
      { text: '\\xa8', partOf: '骨' },
      { text: 'A' },
    ]);
    const [first, second] = tokenTexts(tokenizer, tokenizer.encode('日本'));
    expect([first, second]).toEqual([{ text: '日本' }, undefined]);
  });

  it('know the first and the last characters of each length', () => {
    const edges = ['\u0080', '\u07ff', '\u0800', '\uffff', '\u{10000}', '\u{10fffd}', '\u00b7', '\u00a0'];
    const shown = edges.map((character) => ofBytes(...Buffer.from(character)));
    expect(shown.map((tokens) => tokens.length)).toEqual([2, 2, 3, 3, 4, 4, 2, 2]);
    for (const [i, tokens] of shown.entries()) {
      const bytes = Buffer.from(edges[i]!);
      expect(tokens.map(({ text }) => text)).toEqual([...bytes].map((byte) => `\\x${byte.toString(16)}`));
      expect(new Set(tokens.map(({ partOf }) => partOf)).size).toBe(1);
    }
    expect(shown[1]![0]!.partOf).toBe('\u07ff');
    expect(shown[4]![0]!.partOf).toBe('\u{10000}');
    expect(shown[6]![0]!.partOf).toBe('\\u00b7');
    expect(shown[7]![1]!.partOf).toBe('\\u00a0');
    expect(ofBytes(0xf4, 0x90, 0x80, 0x80)[0]).toEqual({ text: '\\xf4' });
    expect(ofBytes(0xef, 0xbb, 0xbf)[0]!.partOf).toBe('\\ufeff');
  });

  it('show bytes that are no UTF-8 as bytes', () => {
    expect(
      ofBytes(0x80, 0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80, 0xf0, 0x9f)
        .map(({ text }) => text)
        .join(''),
    ).toBe('\\x80\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xf0\\x9f');
    expect(ofBytes(0xe9, 0xaa).every(({ partOf }) => partOf === undefined)).toBe(true);
  });

  it('do not join characters across a control token', () => {
    const byte = (value: number) => tokenizer.tokenToId(BYTE_TO_CHAR[value]!)!;
    const shown = tokenTexts(tokenizer, [byte(0xe9), byte(0xaa), tokenizer.eosTokenId, byte(0xa8)]);
    expect(shown.map(({ text }) => text)).toEqual(['\\xe9', '\\xaa', '</s>', '\\xa8']);
    expect(shown.every(({ partOf }) => partOf === undefined)).toBe(true);
  });

  it('give a mark without its letter something to stand on', () => {
    const [letter, ...mark] = tokenTexts(tokenizer, tokenizer.encode('xe\u0301'.slice(1)));
    expect(letter).toEqual({ text: 'e' });
    expect(mark.map(({ partOf }) => partOf)).toEqual(['◌\u0301', '◌\u0301']);
  });

  it('name an id without a token by its number', () => {
    expect(tokenTexts(tokenizer, [99_999])).toEqual([{ text: '<99999>' }]);
  });

  it('stand for the bytes of their tokens, and hold nothing that is not seen', () => {
    const words = Array.from({ length: tokenizer.vocabSize }, (_, id) => id).filter(
      (id) => !tokenizer.specialTokenIds.has(id) && !tokenizer.idToToken(id)!.includes('\\'),
    );
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 30 }), (ids) => {
        const shown = tokenTexts(tokenizer, ids);
        const bytes = ids.map((id) => Buffer.from(tokenBytes(tokenizer.idToToken(id)!)!));
        expect(shown.map(({ text }) => bytesOf(text))).toEqual(bytes);
        expect(shown.map(({ text }) => text).join('')).not.toMatch(/[\s\p{Cc}\p{Zs}\u200b\u202e\u2066]/u);
      }),
      { numRuns: 200 },
    );
  });
});
