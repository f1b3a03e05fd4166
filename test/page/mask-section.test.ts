import { describe, expect, it } from 'vitest';
import type { MaskImage, MaskView } from '../../src/data/mask-view.js';
import { ConfigError } from '../../src/errors.js';
import { maskSection, renderMaskPage } from '../../src/page/mask-section.js';
import { MASK_STYLES } from '../../src/page/mask-styles.js';
import { type Given, sampleOf, viewOf } from '../data/mask-samples.js';

const IMAGE: MaskImage = {
  width: 84,
  height: 56,
  rows: 2,
  columns: 3,
  cellSize: 28,
  position: 1,
  brightness: [0, 10, 20, 30, 40, 50],
  uri: 'data:image/webp;base64,AAAA',
};
const cellsOf = (isLearned = false): Given[] =>
  [0, 1].flatMap((row): Given[] => [
    ...[0, 1, 2].map((column): Given => ({ text: '[IMG]', kind: 'cell', cell: { image: 0, row, column } })),
    {
      text: `[${row}]`,
      id: 12 + row,
      kind: row === 1 ? 'end' : 'break',
      cell: { image: 0, row, column: 3 },
      isLearned,
    },
  ]);
const withImage = (isLearned = false, image = IMAGE) =>
  viewOf(sampleOf([{ text: 'Is' }, ...cellsOf(isLearned), { text: 'no', isLearned: true }], { images: [image] }));

const count = (text: string, part: string | RegExp): number => text.split(part).length - 1;

describe('the mask section', () => {
  it('marks learned tokens, and says of each token its position and id', () => {
    const { markup } = maskSection(
      viewOf(
        sampleOf([
          { text: '<s>', id: 1, kind: 'control', label: 1, isShared: true },
          { text: '\\xe9', id: 5, partOf: '骨' },
          { text: 'yes', id: 9, isLearned: true },
        ]),
      ),
    );
    expect(markup).toContain(
      '<span class="token shared control" tabindex="0" data-about="token 0: id 1, control token, ' +
        'not learned, as nothing predicts the first token, shared with an earlier sample">&lt;s&gt;</span>',
    );
    expect(markup).toContain(
      '<span class="token" tabindex="0" data-about="token 1: id 5, bytes of 骨, not learned">\\xe9<small>骨</small></span>',
    );
    expect(markup).toContain('<mark class="token learned" tabindex="0" data-about="token 2: id 9, learned">yes</mark>');
  });

  it('puts the cells over the image where its tokens are', () => {
    const { markup } = maskSection(withImage());
    const figure = markup.slice(markup.indexOf('<figure'), markup.indexOf('</figure>'));
    expect(figure).toContain('Image 1: 84 × 56 pixels, 3 × 2 cells of 28 pixels, tokens 1 to 8');
    expect(figure).toContain('<img src="data:image/webp;base64,AAAA" alt="">');
    // Counters number the cells: the first one is token 1.
    expect(figure).toContain('--ratio: 3 / 2; counter-reset: mask-token 0 mask-row -1');
    expect(
      figure.match(/<div class="mask-row".*?<\/div>/g)!.map((row) => [count(row, '<i>'), count(row, '<b')]),
    ).toEqual([
      [3, 1],
      [3, 1],
    ]);
    expect(figure).toContain('aria-label="tokens 1 to 4: row 0, 3 × [IMG] (id 7) and [0] (id 12), not learned"');
    expect(figure).toContain('<b data-about="token 8: [1], id 13, not learned"></b>');
    const order = ['>Is<', '<figure', '>no<'].map((part) => markup.indexOf(part));
    expect(order).toEqual([...order].sort((a, b) => a - b));
  });

  it('shows where the token behind a row is learned', () => {
    const { markup } = maskSection(withImage(true));
    expect(markup).toContain('<b class="learned" data-about="token 4: [0], id 12, learned"></b>');
    expect(markup).toContain('and [0] (id 12), [0] is learned"');
  });

  it('draws the brightness of cells where the view has no image', () => {
    const { uri: _, ...image } = IMAGE;
    const { markup } = maskSection(withImage(false, image));
    expect(markup).not.toContain('<img');
    expect([...markup.matchAll(/<i style="--level: (\d+)">/g)].map(([, level]) => Number(level))).toEqual(
      IMAGE.brightness,
    );
  });

  it('folds long texts of which nothing is learned, and counts padding', () => {
    const tokens = [
      ...Array.from({ length: 500 }, (_, i): Given => ({ text: `w${i}` })),
      { text: 'yes', isLearned: true },
      ...new Array<Given>(400).fill({ text: '<pad>', kind: 'padding' }),
    ];
    const { markup } = maskSection(viewOf(sampleOf(tokens, { length: 501 })));
    expect(markup).toContain('<summary>250 further tokens, none of them learned</summary>');
    expect(count(markup, /data-about="token \d/)).toBe(501);
    expect(markup).toContain('data-about="tokens 501 to 900: id 7, padding">&lt;pad&gt; × 400</span>');
  });

  it('has a table of all tokens, cells of a row on one line', () => {
    const { markup } = maskSection(withImage());
    const lines = [
      ...markup.matchAll(/<tr><td class="number">(.*?)<\/td><td class="number">(\d+)<\/td><td class="number">(-?\d+)/g),
    ];
    expect(lines.map(([, ...cells]) => cells.join(' '))).toEqual([
      '0 7 -100',
      '1–3 7 -100',
      '4 12 -100',
      '5–7 7 -100',
      '8 13 -100',
      '9 7 7',
    ]);
  });

  it('shows samples that are not learned with the reason, in any texts', () => {
    const hostile = '"><script>alert(1)</script><b a=\'';
    const view = viewOf(
      sampleOf([{ text: hostile, partOf: hostile }], { id: hostile, status: 'dropped', reason: hostile }),
      sampleOf([], { status: 'failed', reason: 'no such file' }),
    );
    const page = renderMaskPage(view);
    expect(page).not.toMatch(/<script|<b a/);
    expect(page).toContain('left out: &quot;&gt;&lt;script&gt;');
    expect(page).toContain('<p class="warn">stops the run: no such file</p>');
    expect(count(page, 'The tokens as a table')).toBe(1);
  });

  it('is a page without programs or requests, and without samples', () => {
    const page = renderMaskPage(withImage());
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(/script-src|<script/);
    expect(page.match(/(?:src|href)="(?!#|data:)/g)).toBeNull();
    expect(page).toContain(MASK_STYLES);
    expect(renderMaskPage(viewOf())).toContain('0 samples');
    expect(() => renderMaskPage({} as MaskView)).toThrow(ConfigError);
  });

  it('has a place to skip to for each sample', () => {
    const { markup } = maskSection(viewOf(sampleOf([{ text: 'a' }]), sampleOf([{ text: 'b' }])));
    const targets = [...markup.matchAll(/href="#([\w-]+)"/g)].map(([, id]) => id);
    expect(targets).toEqual(['mask-0-end', 'mask-1-end']);
    for (const id of targets) expect(count(markup, `id="${id}"`)).toBe(1);
  });
});
