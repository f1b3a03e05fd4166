import { describe, expect, it } from 'vitest';
import type { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { AnswerText } from '../../src/model/answer-text.js';
import { MersenneTwister } from '../../src/random.js';

/** Each token is one byte; 256 is a control token. */
const BYTES = {
  streamingDecoder: () => {
    const utf8 = new TextDecoder('utf-8');
    return {
      push: (id: number) => (id === 256 ? '' : utf8.decode(Uint8Array.of(id), { stream: true })),
      end: () => utf8.decode(),
    };
  },
} as unknown as MinistralTokenizer;

/** The pieces, up to the token at which a stop string was complete. */
function stream(text: string, stops?: readonly string[]): { pieces: string[]; tokens: number; isStopped: boolean } {
  const answer = new AnswerText(BYTES, stops);
  const pieces: string[] = [];
  const bytes = Buffer.from(text);
  let tokens = 0;
  for (const byte of bytes) {
    tokens++;
    pieces.push(answer.push(byte));
    if (answer.isStopped) break;
  }
  pieces.push(answer.end());
  return { pieces, tokens, isStopped: answer.isStopped };
}

describe('the text of an answer as it comes', () => {
  it('has whole characters only', () => {
    const { pieces } = stream('añ手😀');
    expect(pieces).toEqual(['a', '', 'ñ', '', '', '手', '', '', '', '😀', '']);
    const cut = new AnswerText(BYTES);
    expect([cut.push(0xf0), cut.push(0x9f), cut.end()]).toEqual(['', '', '\ufffd']);
  });

  it('never shows a part of a stop string, and all of what is none', () => {
    expect(stream('one. two', ['. '])).toEqual({
      pieces: ['o', 'n', 'e', '', '', ''],
      tokens: 5,
      isStopped: true,
    });
    expect(stream('one.two.', ['. ']).pieces.join('')).toBe('one.two.');
    // A held beginning that begins again.
    expect(stream('aaab', ['aab']).pieces.join('')).toBe('a');
    expect(stream('手手!', ['手!']).pieces.join('')).toBe('手');
    // The one that is complete first, and of two at once the longer.
    expect(stream('abcd', ['bcd', 'c']).pieces.join('')).toBe('ab');
    expect(stream('abcd', ['c', 'bc']).pieces.join('')).toBe('a');
    expect(stream('abcd', ['bc', 'c']).pieces.join('')).toBe('a');
  });

  it('does not depend on how it comes in pieces', () => {
    const random = new MersenneTwister(8);
    const below = (count: number): number => random.nextUint32() % count;
    const word = (most: number): string => Array.from({ length: 1 + below(most) }, () => 'ab手'[below(3)]!).join('');
    for (let i = 0; i < 400; i++) {
      const text = word(14);
      const stops = Array.from({ length: 1 + below(3) }, () => word(4));
      // Character by character: the shortest text that ends with a stop string.
      const ends = Array.from({ length: text.length }, (_, n) => text.slice(0, n + 1));
      const stopped = ends.find((part) => stops.some((stop) => part.endsWith(stop)));
      const longest = Math.max(...stops.filter((stop) => stopped?.endsWith(stop)).map(({ length }) => length));
      const expected = stopped === undefined ? text : stopped.slice(0, stopped.length - longest);
      const whole = new AnswerText({ streamingDecoder: () => ({ push: () => text, end: () => '' }) } as never, stops);
      expect(whole.push(0) + whole.end()).toBe(expected);
      const { pieces, isStopped } = stream(text, stops);
      expect(pieces.join('')).toBe(expected);
      expect(isStopped).toBe(stopped !== undefined);
    }
  });
});
