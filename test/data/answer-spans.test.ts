/** Whose each stretch of a rendering is, and what of it is in a range that is learned. */
import { describe, expect, it } from 'vitest';
import {
  assignOwners,
  commonLength,
  cutAtRanges,
  gapsBefore,
  missingLeaves,
  type OwnedPiece,
  openedByTemplate,
  requireOrder,
} from '../../src/data/assistant-spans.js';
import type { Piece } from '../../src/data/marked-texts.js';
import type { TextError } from '../../src/errors.js';

type Leaf = NonNullable<Piece['leaf']>;
const written = (text: string): Piece => ({ text });
const leaf = (text: string, role?: Leaf['role'], messageIndex?: number, kind: Leaf['kind'] = 'text'): Piece => {
  return { text, leaf: { kind, text, ...(role && { role }), ...(messageIndex !== undefined && { messageIndex }) } };
};
const tool = leaf('zoom', undefined, undefined, 'tool');

describe('messages whose first string is no text', () => {
  it('are the assistant’s alone, each once', () => {
    const pieces = [
      tool,
      leaf('ask', 'user', 0),
      leaf('zoom', 'assistant', 1, 'call'),
      leaf('text', 'assistant', 1),
      leaf('cat', 'tool', 2, 'result'),
      leaf('text', 'assistant', 3),
      leaf('zoom', 'assistant', 3, 'call'),
      leaf('hm', 'assistant', 4, 'thinking'),
    ];
    expect(openedByTemplate(pieces)).toEqual([1, 4]);
  });
});

describe('the owner of a stretch', () => {
  const owners = (pieces: readonly Piece[], header = 0) => {
    const asked: [number, string, number][] = [];
    const owned = assignOwners(pieces, (...given) => {
      asked.push(given);
      return header;
    });
    return { asked, owned: owned.map(({ leaf: _, ...piece }) => piece) };
  };

  it('is the message of a string, or none for a tool that may be called', () => {
    const { owned } = owners([tool, leaf('a', 'user', 0), leaf('1', 'tool', 1, 'detail')]);
    expect(owned).toStrictEqual([{ text: 'zoom' }, { text: 'a', owner: 0 }, { text: '1', owner: 1 }]);
  });

  it('is the assistant’s message between its strings, with its calls', () => {
    const pieces = [
      leaf('a', 'user', 0),
      leaf('b', 'assistant', 1),
      written('[CALL]'),
      leaf('zoom', 'assistant', 1, 'call'),
      written('[ARGS]'),
      leaf('{}', 'assistant', 1, 'detail'),
      written('</s>'),
    ];
    expect(owners(pieces).owned.slice(2)).toStrictEqual([
      { text: '[CALL]', owner: 1, isCall: true },
      { text: 'zoom', owner: 1, isCall: true },
      { text: '[ARGS]', owner: 1, isCall: true },
      { text: '{}', owner: 1, isCall: true },
      { text: '</s>' },
    ]);
  });

  it('is the assistant’s message before its first string, but for the header there', () => {
    const pieces = [
      written('<s>'),
      leaf('ask', 'user', 0),
      written('[/INST][T]'),
      leaf('hm', 'assistant', 1, 'thinking'),
    ];
    const { asked, owned } = owners(pieces, 7);
    expect(asked).toEqual([[1, '[/INST][T]', 6]]);
    expect(owned.slice(2, 4)).toStrictEqual([{ text: '[/INST]' }, { text: '[T]', owner: 1 }]);
    expect(owners(pieces, 0).owned[2]).toStrictEqual({ text: '[/INST][T]', owner: 1 });
    expect(owners(pieces, 10).owned.slice(2)).toStrictEqual([{ text: '[/INST][T]' }, { text: 'hm', owner: 1 }]);
    // Once a message has begun, what leads to its next string from elsewhere is the template's.
    const again = [leaf('a', 'assistant', 0), tool, written('x'), leaf('b', 'assistant', 0)];
    expect(owners(again)).toMatchObject({ asked: [], owned: [{}, {}, { text: 'x' }, {}] });
    expect(owners(again).owned[2]).toStrictEqual({ text: 'x' });
  });
});

describe('stretches and ranges', () => {
  it('begin alike up to the first difference', () => {
    expect([
      commonLength('ab', 'ab'),
      commonLength('ab', 'abc'),
      commonLength('abc', 'ax'),
      commonLength('', 'a'),
    ]).toEqual([2, 2, 1, 0]);
  });

  it('have the template’s text before the first string of a kind, if there is any', () => {
    const pieces = [
      leaf('a', 'user', 0),
      written('x'),
      tool,
      leaf('b', 'assistant', 1),
      written('y'),
      leaf('c', 'assistant', 2),
      written('z'),
      leaf('d', 'assistant', 2),
    ];
    expect([...gapsBefore(pieces, ({ leaf }) => leaf?.kind === 'text')]).toEqual([
      [0, ''],
      [1, ''],
      [2, 'y'],
    ]);
    expect([...gapsBefore(pieces, ({ text }) => text === 'd')]).toEqual([[2, 'z']]);
    expect([...gapsBefore(pieces, ({ leaf }) => leaf?.kind === 'tool')]).toEqual([]);
  });

  const cut = (pieces: readonly OwnedPiece[], ...ranges: [number, number][]) =>
    cutAtRanges(pieces, ranges).map(({ text, inRange, owner }) => [text, inRange, owner]);

  it('are cut where a range begins or ends, in whatever order they come', () => {
    const pieces = [
      { text: 'abcdef', owner: 0 },
      { text: 'ghi', owner: 1 },
    ];
    expect(cut(pieces)).toEqual([
      ['abcdef', false, 0],
      ['ghi', false, 1],
    ]);
    expect(cut(pieces, [4, 6], [0, 2])).toEqual([
      ['ab', true, 0],
      ['cd', false, 0],
      ['ef', true, 0],
      ['ghi', false, 1],
    ]);
    expect(cut(pieces, [2, 8])).toEqual([
      ['ab', false, 0],
      ['cdef', true, 0],
      ['gh', true, 1],
      ['i', false, 1],
    ]);
    const [first, second, third] = [2, 6, 10].map((start): [number, number] => [start, start + 2]);
    expect(cut([{ text: 'abcdefghijklm' }], third!, first!, second!).map(([text]) => text)).toEqual([
      'ab',
      'cd',
      'ef',
      'gh',
      'ij',
      'kl',
      'm',
    ]);
  });

  it('give the template’s text in a range to the message before it there, or behind it', () => {
    const pieces: OwnedPiece[] = [
      { text: 'a', owner: 0 },
      { text: '-' },
      { text: 'b', owner: 1 },
      { text: '+' },
      { text: 'c', owner: 2 },
      { text: '!' },
    ];
    expect(cut(pieces, [1, 6])).toEqual([
      ['a', false, 0],
      ['-', true, 1],
      ['b', true, 1],
      ['+', true, 1],
      ['c', true, 2],
      ['!', true, 2],
    ]);
    expect(cut(pieces, [4, 5]).map(([, , owner]) => owner)).toEqual([0, undefined, 1, undefined, 2, undefined]);
    const alone = cutAtRanges([{ text: 'a', owner: 0 }, { text: '-' }], [[1, 2]]);
    expect(alone).toStrictEqual([
      { text: 'a', owner: 0, inRange: false },
      { text: '-', inRange: true },
    ]);
  });
});

describe('strings of a rendering', () => {
  it('that are missing are named, unless they are details or need not be there', () => {
    const [shown, text, detail] = [leaf('a', 'user', 0), leaf('b', 'user', 0), leaf('c', 'user', 0, 'detail')];
    const leaves = [shown, text, detail].map((piece) => piece.leaf!);
    expect(missingLeaves([shown], leaves, () => true)).toEqual([text.leaf]);
    expect(missingLeaves([shown], leaves, () => false)).toEqual([]);
  });

  it('come in the order of their turns, system texts and details aside', () => {
    const turns = [
      leaf('a', 'user', 1),
      leaf('s', 'system', 0),
      leaf('d', 'tool', 0, 'detail'),
      leaf('b', 'assistant', 2),
    ];
    expect(requireOrder(turns)).toBeUndefined();
    expect(requireOrder([])).toBeUndefined();
    let error: TextError | undefined;
    try {
      requireOrder([tool, leaf('a', 'user', 1), leaf('b', 'assistant', 2), leaf('c', 'user', 0), leaf('d', 'user', 3)]);
    } catch (thrown) {
      error = thrown as TextError;
    }
    expect(error!.summary).toBe('the chat template puts message 2 before message 0');
    expect(error!.hint).toBe('it is made for a single turn; use the template of the model for longer conversations');
    expect(error!.details).toEqual({ order: [1, 2, 0, 3] });
  });
});
