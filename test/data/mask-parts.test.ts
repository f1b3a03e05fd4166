import { describe, expect, it } from 'vitest';
import { cutAtMarks, isUnmarked, looksLikeToken, marker, unusedMarks } from '../../src/data/marked-texts.js';
import { placeTokens, rowOf } from '../../src/data/mask-tokens.js';
import { requireMaskView } from '../../src/data/mask-view.js';
import { imageDigest, type PrefixSample, sharedPrefixLength } from '../../src/data/shared-prefix.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import { TextError } from '../../src/errors.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

describe('a prefix that two samples share', () => {
  const ids = (length: number, rest: readonly number[] = []) => [...Array.from({ length }, (_, i) => i), ...rest];
  const sample = (
    inputIds: readonly number[],
    ...images: (readonly [first: number, last: number, digest: string])[]
  ): PrefixSample => ({
    ...{
      inputIds,
      spans: images.map(([first, last]) => ({ first, last })),
      digests: images.map(([, , digest]) => digest),
    },
  });

  it('has at least 16 tokens, and leaves each sample one of its own', () => {
    const shared = (a: readonly number[], b: readonly number[]) => sharedPrefixLength(sample(a), sample(b));
    expect(shared(ids(15, [-1]), ids(15, [-2]))).toBe(0);
    expect(shared(ids(16, [-1]), ids(16, [-2]))).toBe(16);
    expect(shared(ids(20, [-1]), ids(20, [-2]))).toBe(20);
    expect([
      shared(ids(16), ids(16)),
      shared(ids(17), ids(17)),
      shared(ids(17), ids(20)),
      shared(ids(20), ids(17)),
    ]).toEqual([0, 16, 16, 17]);
    expect(shared([], ids(20))).toBe(0);
  });

  it('ends before an image that differs, or is not whole', () => {
    const of = (own: readonly [number, number, string], other: readonly [number, number, string], length = 40) =>
      sharedPrefixLength(sample(ids(length, [-1]), own), sample(ids(length, [-2]), other));
    expect(of([20, 29, 'a'], [20, 29, 'a'])).toBe(40);
    expect(of([20, 29, 'a'], [20, 29, 'b'])).toBe(20);
    expect(of([16, 29, 'a'], [16, 29, 'b'])).toBe(16);
    expect(of([15, 29, 'a'], [15, 29, 'b'])).toBe(0);
    // The last of the image's cells is the first token that differs.
    expect(of([20, 40, 'a'], [20, 40, 'a'])).toBe(20);
    expect(of([20, 39, 'a'], [20, 39, 'a'])).toBe(40);
    expect(of([40, 45, 'a'], [40, 45, 'b'])).toBe(40);
    expect(of([45, 50, 'a'], [45, 50, 'a'])).toBe(40);
    // The token that a sample keeps for itself may be one of an image.
    const same = sample(ids(40), [30, 39, 'a']);
    expect(sharedPrefixLength(same, same)).toBe(30);
    const early = sample(ids(40), [10, 39, 'a']);
    expect(sharedPrefixLength(early, early)).toBe(0);
  });

  it('depends on pixels and on the size of images', () => {
    const image = (height: number, width: number, value: number) => ({
      ...{ height, width, pixelValues: new Float32Array(3 * height * width).fill(value) },
    });
    expect(imageDigest(image(1, 2, 0))).toBe(imageDigest(image(1, 2, 0)));
    const others = [image(1, 2, 0), image(2, 1, 0), image(1, 2, 1)].map(imageDigest);
    expect(new Set(others).size).toBe(3);
  });
});

describe('the tokens of images', () => {
  const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
  const [image, rowEnd, end] = [10, 12, 13];

  it('have their places, from the first cell to the last', () => {
    const inputIds = [1, image, image, image, rowEnd, image, image, image, end, 301, image, rowEnd, image, end, 2];
    const labels = inputIds.map((id) => (id === 301 || id === 2 ? id : -100));
    const images = [
      { width: 12, height: 8 },
      { width: 4, height: 8 },
    ];
    const { tokens, spans, cellSizes } = placeTokens({ id: 'a', inputIds, labels, images } as never, tokenizer);
    expect(spans).toEqual([
      { first: 1, last: 7 },
      { first: 10, last: 12 },
    ]);
    expect(cellSizes).toEqual([4, 4]);
    expect(tokens.map(({ kind }) => kind)).toEqual([
      ...['control', 'cell', 'cell', 'cell', 'break', 'cell', 'cell', 'cell', 'end'],
      ...['text', 'cell', 'break', 'cell', 'end', 'control'],
    ]);
    expect(tokens[6]!.cell).toEqual({ image: 0, row: 1, column: 1 });
    expect(tokens[8]!.cell).toEqual({ image: 0, row: 1, column: 3 });
    expect(tokens[12]!.cell).toEqual({ image: 1, row: 1, column: 0 });
    expect(tokens.map(({ isLearned }) => isLearned).lastIndexOf(true)).toBe(14);
    expect(tokens.filter(({ isLearned }) => isLearned)).toHaveLength(2);
  });

  it('are padded on either side, and the first of all is never learned', () => {
    const { tokens } = placeTokens({ id: 'a', inputIds: [301, 302], labels: [301, 302], images: [] }, tokenizer);
    expect(tokens.map(({ isLearned }) => isLearned)).toEqual([false, true]);
    const row = (side: 'left' | 'right') =>
      rowOf(tokens, 1, side, 1, tokenizer).map(({ position, kind, isShared, label }) => [
        position,
        kind,
        isShared,
        label,
      ]);
    expect(row('right')).toEqual([
      [0, 'text', true, 301],
      [1, 'text', false, 302],
      [2, 'padding', false, -100],
    ]);
    expect(rowOf(tokens, 1, 'left', 0, tokenizer)[0]).toMatchObject({ id: 11, text: '<pad>' });
    expect(row('left').map(([position, kind]) => [position, kind])).toEqual([
      [0, 'padding'],
      [1, 'text'],
      [2, 'text'],
    ]);
    const { tokens: prompt } = placeTokens({ id: 'a', inputIds: [1, 301], images: [] }, tokenizer);
    expect(prompt.map(({ label, isLearned }) => [label, isLearned])).toEqual([
      [-100, false],
      [-100, false],
    ]);
  });
});

describe('marks around texts', () => {
  it('are characters that do not occur', () => {
    expect([isUnmarked('a'), isUnmarked('a\ue000'), isUnmarked('a\uf8ff'), isUnmarked('akeyOfAPart')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(unusedMarks('a')).toEqual({ open: '\ue000', middle: '\ue001', close: '\ue002', leak: 'keyOfAPart' });
    expect(unusedMarks('\ue000\ue002keyOfAPart keyOfAPartx')).toEqual({
      ...{ open: '\ue001', middle: '\ue003', close: '\ue004', leak: 'keyOfAPartxx' },
    });
    const all = Array.from({ length: 0xf8ff - 0xe000 + 1 }, (_, i) => String.fromCharCode(0xe000 + i));
    expect(unusedMarks(all.slice(0, -3).join('')).close).toBe('\uf8ff');
    expect(() => unusedMarks(all.slice(0, -2).join(''))).toThrow(TextError);
    expect(() => unusedMarks(all.join(''))).toThrow(/uses every private-use character, none is left/);
  });

  const marks = unusedMarks('');
  const put = (leaf: object, marking = { keepEnds: true, tools: true }) => {
    const leaves: object[] = [];
    const text = marker(marks, marking, leaves as never)(leaf as never);
    return [text.replaceAll(/[\ue000-\ue002]/g, (mark) => '<|>'[mark.charCodeAt(0) - 0xe000]!), leaves.length];
  };

  it('go around what a template may not look at', () => {
    expect(put({ kind: 'text', text: ' a ' })).toEqual(['<0| a >', 1]);
    expect(put({ kind: 'text', text: ' a ' }, { keepEnds: false, tools: true })).toEqual([' <0|a> ', 1]);
    expect(put({ kind: 'text', text: '' })).toEqual(['', 0]);
    expect(put({ kind: 'text', text: ' ' }, { keepEnds: false, tools: true })).toEqual([' ', 0]);
    expect(put({ kind: 'detail', text: 'call_1', messageIndex: 0 })).toEqual(['call_1', 0]);
    expect(put({ kind: 'detail', text: '[INST]', messageIndex: 0 })).toEqual(['<0|[INST]>', 1]);
    expect(put({ kind: 'text', text: 'call_1' })).toEqual(['<0|call_1>', 1]);
    for (const number of ['5', '-1.5e3', '1e+5', '5e12', ' 7 ', 'nan', '-Infinity'])
      expect(put({ kind: 'result', text: number })).toEqual([number, 0]);
    for (const text of ['a5', '5a', '5e', 'xnan', 'nanx']) expect(put({ kind: 'result', text })[1]).toBe(1);
    expect(put({ kind: 'result', text: '1'.repeat(401) })[1]).toBe(1);
    expect(put({ kind: 'result', text: '1'.repeat(400) })[1]).toBe(0);
    expect(put({ kind: 'text', text: '5' })[1]).toBe(1);
    const plain = { keepEnds: true, tools: false };
    expect(put({ kind: 'tool', text: 'a' }, plain)).toEqual(['a', 0]);
    expect(put({ kind: 'text', text: 'a' }, plain)[1]).toBe(1);
    expect(put({ kind: 'detail', text: '[a]' }, plain)).toEqual(['[a]', 0]);
    expect(put({ kind: 'detail', text: '[a]', messageIndex: 1 }, plain)[1]).toBe(1);
    expect(put({ kind: 'tool', text: 'a' })[1]).toBe(1);
  });

  const leaves = [
    { kind: 'text', text: 'a "b"\n' },
    { kind: 'text', text: '<&>' },
    { kind: 'text', text: `"it's"` },
  ] as never;
  const { open, middle, close } = marks;
  const cut = (rendered: string) =>
    cutAtMarks(rendered, marks, leaves)?.map(({ text, leaf }) => (leaf ? [text] : text));
  const mark = (index: number | string, text: string) => `${open}${index}${middle}${text}${close}`;

  it('cut a rendering into what the template wrote and what it was given', () => {
    expect(cut('')).toEqual([]);
    expect(cut('x')).toEqual(['x']);
    expect(cut(`x${mark(0, 'a "b"\n')}y${mark(1, '<&>')}`)).toEqual(['x', ['a "b"\n'], 'y', ['<&>']]);
    expect(cut(mark(0, 'a \\"b\\"\\n'))).toEqual([['a \\"b\\"\\n']]);
    expect(cut(mark(0, 'a \\\\\\"b\\\\\\"\\\\n'))).toEqual([['a \\\\\\"b\\\\\\"\\\\n']]);
    expect(cut(mark(1, '&lt;&amp;&gt;'))).toEqual([['&lt;&amp;&gt;']]);
    expect(cut(mark(2, '&#34;it&#39;s&#34;'))).toEqual([['&#34;it&#39;s&#34;']]);
  });

  it('are missed where the template tampered with them', () => {
    for (const rendered of [
      mark(0, 'A "B"\n'),
      mark(0, 'a "b"'),
      mark(0, 'a \\"b\\q'),
      mark(1, '&lt;&amp;'),
      mark(3, 'a'),
      // JSON in JSON in JSON in JSON.
      mark(0, JSON.stringify(JSON.stringify(JSON.stringify('a "b"\n').slice(1, -1)).slice(1, -1)).slice(1, -1)),
      mark('x', 'a'),
      `${open}0${middle}a "b"\n`,
      `${open}0${middle}a "b"\nx`,
      `${open}0`,
      open,
      `x${close}`,
      `${mark(0, 'a "b"\n')}${close}`,
    ]) {
      expect(cut(rendered)).toBeUndefined();
    }
  });

  it('are given to strings of tools that look like control tokens', () => {
    for (const text of ['[INST]', 'a <s> b', '</s>', '[/INST]']) expect(looksLikeToken(text)).toBe(true);
    for (const text of ['a', '[a b]', '[]', '<>', '< s>', '[a', 'a > b < c']) expect(looksLikeToken(text)).toBe(false);
  });
});

describe('a mask view', () => {
  it('is told from what is none', () => {
    expect(requireMaskView({ samples: [], paddingSide: 'left' }, 'formatMask')).toBeUndefined();
    for (const other of [undefined, null, 5, [], { samples: [] }, { samples: 5, paddingSide: 'left' }]) {
      expect(() => requireMaskView(other, 'formatMask')).toThrow(
        /^formatMask: expected a mask view, got .*\n {2}hint: await maskView\(samples, collator\) gives one\.$/m,
      );
    }
    expect(() => requireMaskView(Promise.resolve(), 'formatMask')).toThrow(/hint: Await it\.$/m);
  });
});
