import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatMask } from '../../src/data/format-mask.js';
import type { MaskView } from '../../src/data/mask-view.js';
import { ConfigError } from '../../src/errors.js';
import { displayWidth } from '../../src/messages/display-width.js';
import { usesColor } from '../../src/messages/terminal-color.js';
import { wrapText } from '../../src/messages/wrap-text.js';
import { type Given, sampleOf, viewOf } from './mask-samples.js';

const words = (...texts: string[]): Given[] => texts.map((text) => ({ text }));
const learned = (...texts: string[]): Given[] => texts.map((text) => ({ text, isLearned: true }));

const cells = (rows: number, columns: number, isLearned = false): Given[] =>
  Array.from({ length: rows }, (_, row): Given[] => [
    ...Array.from(
      { length: columns },
      (_, column): Given => ({ text: '[IMG]', kind: 'cell', cell: { image: 0, row, column } }),
    ),
    { text: '[X]', kind: row === rows - 1 ? 'end' : 'break', cell: { image: 0, row, column: columns }, isLearned },
  ]).flat();
const imageOf = (rows: number, columns: number, brightness: readonly number[]) => ({
  images: [{ width: columns * 28, height: rows * 28, rows, columns, cellSize: 28, position: 0, brightness }],
});

/** Lines without the summary and the legend. */
const body = (view: MaskView, options = {}): string[] => {
  const lines = formatMask(view, { width: 60, color: false, ...options }).split('\n');
  const from = lines.findIndex((line) => line.startsWith('Sample'));
  const end = lines.lastIndexOf('');
  return lines.slice(from, end > from ? end : undefined);
};

describe('formatMask', () => {
  it('marks what is learned without colours, with the position of each line', () => {
    const sample = sampleOf([...words('Is', '·it', '?↵'), ...learned('骨折', '</s>')], { id: 'x.png' });
    expect(body(viewOf(sample))).toEqual([
      'Sample 1 of 1: x.png',
      '  2 of 5 tokens learned (40.0 %)',
      '     0 Is│·it│?↵',
      '     3 骨折│</s>',
      '       ════ ════',
    ]);
  });

  it('colours them where it may, and then needs no marks', () => {
    const text = formatMask(viewOf(sampleOf([...words('Is'), ...learned('no')])), { width: 60, color: true });
    expect(text).toContain('\u001b[1m\u001b[32mno\u001b[39m\u001b[22m');
    expect(text).not.toContain('═');
    expect(
      text
        .split('\u001b')
        .slice(1)
        .filter((part) => !/^\[\d+m/.test(part)),
    ).toEqual([]);
  });

  it('draws the cells of an image in their rows', () => {
    const sample = sampleOf(
      [...words('a'), ...cells(2, 3), ...learned('b')],
      imageOf(2, 3, [0, 60, 110, 160, 210, 255]),
    );
    expect(body(viewOf(sample)).slice(2)).toEqual([
      '     0 a',
      '       image 1: 84 × 56 pixels, 3 × 2 cells of 28 pixels',
      '     1 ..░░▒▒┤',
      '     5 ▓▓████┘',
      '     9 b',
      '       ═',
    ]);
    const labelled = sampleOf(cells(2, 2, true), imageOf(2, 2, [0, 0, 0, 0]));
    expect(body(viewOf(labelled)).slice(3)).toEqual(['     0 ....╣', '     3 ....╝']);
  });

  it('draws images wider than the terminal, several cells as one character', () => {
    const sample = sampleOf(
      cells(1, 120),
      imageOf(
        1,
        120,
        Array.from({ length: 120 }, (_, i) => (i < 60 ? 0 : 255)),
      ),
    );
    expect(body(viewOf(sample)).slice(2)).toEqual([
      '       image 1: 3360 × 28 pixels, 120 × 1 cells of 28',
      '       pixels, a character for 3 cells',
      `     0 ${'.'.repeat(20)}${'█'.repeat(20)}┘`,
    ]);
  });

  it('names samples by the end of their paths', () => {
    const titleOf = (id: string) => formatMask(viewOf({ ...sampleOf(words('a')), id }), { width: 80 }).split('\n')[2];
    expect(titleOf('/home/me/.cache/data/bones/Train/wrist/0017.jpg')).toBe('Sample 1 of 1: …/Train/wrist/0017.jpg');
    expect(titleOf('C:\\data\\bones\\Train\\wrist\\0017.jpg')).toBe('Sample 1 of 1: …/Train/wrist/0017.jpg');
    expect(titleOf('/data/wrist/0017.jpg')).toBe('Sample 1 of 1: /data/wrist/0017.jpg');
    expect(titleOf('What is 1/2/3/4/5?')).toBe('Sample 1 of 1: What is 1/2/3/4/5?');
  });

  it('fits the narrowest terminal, the line of what is left out included', () => {
    const lines = Array.from({ length: 1030 }, (_, i) => `line${i}↵`);
    const text = formatMask(viewOf(sampleOf([...words(...lines), ...learned('yes')])), { width: 40 });
    expect(text).toContain('1012 more lines');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(40);
  });

  it('leaves out the middle of a long text of which nothing is learned, unless all is asked for', () => {
    const lines = Array.from({ length: 30 }, (_, i) => `line${i}↵`);
    const view = viewOf(sampleOf([...words(...lines), ...learned('yes')]));
    const shown = body(view).join('\n');
    expect(shown).toContain('12 more lines, none learned');
    expect(shown).toContain('line11↵');
    expect(shown).not.toContain('line12↵');
    expect(shown).toContain('line24↵');
    expect(body(view, { full: true }).join('\n')).toContain('line12↵');
  });

  it('begins a line with each turn, and counts padding', () => {
    const control = (text: string): Given => ({ text, kind: 'control' });
    const padding = new Array<Given>(9).fill({ text: '<pad>', kind: 'padding' });
    const sample = sampleOf(
      [control('<s>'), control('[INST]'), ...words('a'), control('</s>'), control('[INST]'), ...words('b'), ...padding],
      { length: 6 },
    );
    expect(body(viewOf(sample)).slice(1)).toEqual([
      '  0 of 6 tokens learned (0.0 %), 9 padding',
      '     0 <s>│[INST]│a│</s>',
      '     4 [INST]│b│<pad> × 9',
    ]);
  });

  it('says why a sample is not learned, and what was cut', () => {
    const failed = sampleOf([], { id: 'bad\n\u001b[2J', status: 'failed', reason: 'no such file\n\u001b[31m' });
    const cut = sampleOf(words('a'), { truncated: { length: 40, text: ' more\u202e text' } });
    const empty = sampleOf(words('a'), { status: 'empty', reason: 'there is nothing to learn' });
    const dropped = sampleOf(words('a'), { status: 'dropped', reason: '9 tokens; maxLength is 8' });
    const text = formatMask(viewOf(failed, cut, empty, dropped), { width: 120, color: false });
    expect(text).toContain(
      'Sample 1 of 4: bad\\n\\u001b[2J\n  no tokens\n  ! stops the run: no such file\\n\\u001b[31m',
    );
    expect(text).toContain(
      '! cut from 40 to 1 token: 11 characters of user text are missing, beginning with " more\\u202e text"',
    );
    expect(text).toContain('! stops the run: there is nothing to learn');
    expect(text).toContain('! left out: 9 tokens; maxLength is 8');
    expect(text).toContain('4 samples, 1 token, 0 of them learned (0.0 %)');
    expect(text).toContain('; 3 not learned');
  });

  it('shows the findings of the inspection', () => {
    const inspection = {
      labels: 1,
      openAnswers: 1,
      openReason: 'it writes nothing',
      endTokens: [],
      promptFault: 'it differs',
      spelledTokens: { '[INST]': 2 },
      leftOut: ['the tools'],
    };
    const text = formatMask(viewOf(sampleOf(learned('a'), { inspection })), { width: 100, color: false });
    expect(text.match(/^ {2}! .*/gm)).toEqual([
      '  ! the end of the answer is not learned: it writes nothing',
      '  ! generation asks in another way than training shows: it differs',
      '  ! texts spell control tokens, which stay text: [INST] 2 ×',
      '  ! the chat template does not show the tools',
    ]);
  });

  it('has a line for each token as a table, and for each row of cells', () => {
    const sample = sampleOf(
      [...words('Is'), ...cells(2, 3), { text: '\\xe9', partOf: '骨', isLearned: true }],
      imageOf(2, 3, new Array(6).fill(0)),
    );
    const lines = formatMask(viewOf(sample), { width: 60, color: false, layout: 'table' }).split('\n');
    expect(lines.slice(4)).toEqual([
      '   position       id  label    token',
      '          0        7  -        Is',
      '        1-3        7  -        [IMG] × 3  image 1, row 0',
      '          4        7  -        [X]  image 1, row 0',
      '        5-7        7  -        [IMG] × 3  image 1, row 1',
      '          8        7  -        [X]  image 1, row 1',
      '          9        7  learned  \\xe9(骨)',
    ]);
  });

  it('has no line that is wider than the terminal, whatever the texts', () => {
    const text = fc.oneof(
      fc.string({ maxLength: 90 }),
      fc.constantFrom('日本語'.repeat(30), '👩‍🔬🇩🇪', 'e\u0301', 'a↵', '❤️1️⃣'),
    );
    const token = fc.record({ text: text.map((one) => one.replace(/[\p{Cc}\s]/gu, '·')), isLearned: fc.boolean() });
    fc.assert(
      fc.property(fc.array(token, { maxLength: 30 }), text, fc.integer({ min: 40, max: 90 }), (tokens, id, width) => {
        const view = viewOf(sampleOf(tokens, { id, status: 'dropped', reason: id }));
        for (const layout of ['text', 'table'] as const) {
          const lines = formatMask(view, { width, color: false, layout }).split('\n');
          expect(lines.filter((line) => displayWidth(line) > width)).toEqual([]);
          expect(lines.join('')).not.toMatch(/\p{Cc}/u);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('refuses what is no mask view, and options that it does not have', () => {
    const call = formatMask as (...given: unknown[]) => string;
    expect(() => call(Promise.resolve({}))).toThrow(/Await it/);
    expect(() => call({ messages: [] })).toThrow(ConfigError);
    expect(() => call(viewOf(sampleOf([])), { colour: true })).toThrow(/color/);
    expect(() => call(viewOf(sampleOf([])), { width: 10 })).toThrow(ConfigError);
  });
});

describe('the terminal', () => {
  it('gets colours by NO_COLOR and FORCE_COLOR, else if it is one', () => {
    const [terminal, file] = [{ isTTY: true }, {}];
    expect(usesColor(terminal, {})).toBe(true);
    expect(usesColor(file, {})).toBe(false);
    expect(usesColor(terminal, { NO_COLOR: '1' })).toBe(false);
    expect(usesColor(terminal, { NO_COLOR: '' })).toBe(true);
    expect(usesColor(terminal, { TERM: 'dumb' })).toBe(false);
    expect(usesColor(file, { FORCE_COLOR: '1' })).toBe(true);
    expect(usesColor(terminal, { FORCE_COLOR: '0' })).toBe(false);
  });

  it('gets sentences in lines that are broken at spaces', () => {
    expect(wrapText('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrapText('日本語日本語 x', 5)).toEqual(['日本', '語日', '本語', 'x']);
    expect(wrapText('', 5)).toEqual(['']);
    expect(wrapText('  a', 9)).toEqual(['  a']);
  });
});
