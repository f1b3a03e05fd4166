import { describe, expect, it } from 'vitest';
import { fitText, measureText, text, wrapText } from '../../src/chart/font.js';
import { svgDocument } from '../../src/chart/svg.js';
import { draw, type Pixels } from './pixels.js';

const ASCII = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i));

/** The smallest box around everything that is not white. */
function inkBox(pixels: Pixels): { left: number; right: number; top: number; bottom: number } {
  const box = { left: Infinity, right: -Infinity, top: Infinity, bottom: -Infinity };
  for (let y = 0; y < pixels.height; y++)
    for (let x = 0; x < pixels.width; x++)
      if (Math.min(...pixels.at(x, y)) < 200) {
        box.left = Math.min(box.left, x);
        box.right = Math.max(box.right, x);
        box.top = Math.min(box.top, y);
        box.bottom = Math.max(box.bottom, y);
      }
  return box;
}

const strokesOf = (content: string) => /\bd="([^"]*)"/.exec(text(0, 0, content))?.[1] ?? '';
const drawText = (...args: Parameters<typeof text>) => draw(svgDocument(400, 200, '', [text(...args)]));

describe('text', () => {
  it('has a glyph of its own for every printable ASCII character', () => {
    const paths = ASCII.map(strokesOf);
    expect(paths[0]).toBe('');
    expect(new Set(paths).size).toBe(95);
    for (const character of ASCII) expect(text(0, 0, character)).not.toContain('<text');
  });

  it('uses no font: paths only', () => {
    expect(text(0, 0, 'Ag')).not.toContain('<text');
    expect(text(0, 0, '   ')).toBe('');
  });

  it('puts capitals between the baseline and 0.7 of the size', async () => {
    const box = inkBox(await drawText(50, 150, 'HEIL', { size: 100 }));
    expect(Math.abs(box.bottom - 150)).toBeLessThanOrEqual(5);
    expect(Math.abs(box.top - 80)).toBeLessThanOrEqual(5);
    expect(box.left).toBeGreaterThanOrEqual(50);
    expect(box.right).toBeLessThanOrEqual(50 + measureText('HEIL', 100));
  });

  it('keeps the ink within the measured width, for every glyph but for the stroke', async () => {
    for (let i = 1; i < 95; i += 6) {
      const line = ASCII.slice(i, i + 6).join('');
      const box = inkBox(await drawText(50, 100, line, { size: 40 }));
      expect(box.left).toBeGreaterThanOrEqual(48);
      expect(box.right).toBeLessThanOrEqual(52 + measureText(line, 40));
      expect(box.top).toBeGreaterThanOrEqual(100 - 34);
      expect(box.bottom).toBeLessThanOrEqual(100 + 11);
    }
  });

  it('anchors, aligns and rotates about its point', async () => {
    const middle = inkBox(await drawText(200, 100, 'HOH', { size: 40, anchor: 'middle', align: 'middle' }));
    expect(Math.abs(middle.left + middle.right - 400)).toBeLessThanOrEqual(3);
    expect(Math.abs(middle.top + middle.bottom - 200)).toBeLessThanOrEqual(3);
    const end = inkBox(await drawText(200, 100, 'HOH', { size: 40, anchor: 'end' }));
    expect(end.right).toBeLessThanOrEqual(200);
    expect(end.right).toBeGreaterThan(190);
    const upwards = inkBox(await drawText(200, 150, 'HOH', { size: 40, rotate: -90 }));
    expect(upwards.bottom).toBeLessThanOrEqual(150);
    expect(upwards.bottom - upwards.top).toBeGreaterThan(2 * (upwards.right - upwards.left));
  });

  it('draws in the colour that it is given, heavier when bold', async () => {
    const regular = await drawText(20, 100, 'HHH', { size: 80, colour: '#d55e00' });
    const bold = await drawText(20, 100, 'HHH', { size: 80, colour: '#d55e00', weight: 'bold' });
    expect(regular.count('#d55e00')).toBeGreaterThan(1000);
    expect(bold.count('#d55e00')).toBeGreaterThan(1.25 * regular.count('#d55e00'));
  });

  it('puts accents above their letters', async () => {
    const plain = inkBox(await drawText(50, 150, 'u', { size: 100 }));
    const accented = inkBox(await drawText(50, 150, 'ü', { size: 100 }));
    expect(accented.top).toBeLessThan(plain.top - 5);
    expect([accented.left, accented.right, accented.bottom]).toEqual([plain.left, plain.right, plain.bottom]);
    expect(measureText('ü')).toBe(measureText('u'));
    expect(strokesOf('\u201cß\u2026\u201d')).toBe(strokesOf('"ss..."'));
  });
});

describe('measuring', () => {
  it('grows with size and adds up', () => {
    expect(measureText('')).toBe(0);
    expect(measureText('Hairline', 28)).toBeCloseTo(2 * measureText('Hairline', 14), 10);
    expect(measureText('ab') + measureText('cd')).toBeCloseTo(measureText('abcd'), 10);
    expect(measureText('ab', 14, 'bold')).toBeGreaterThan(measureText('ab', 14));
  });

  it('shortens only what does not fit', () => {
    expect(fitText('short', 100)).toBe('short');
    const fitted = fitText('Pathological fracture of the bone', 100);
    expect(fitted).toMatch(/^Path.*\.\.\.$/);
    expect(measureText(fitted)).toBeLessThanOrEqual(100);
    expect(measureText(`${fitted.slice(0, -3)}xx...`)).toBeGreaterThan(90);
  });

  it('wraps at spaces and new lines', () => {
    const lines = wrapText('one two three four five six', 60);
    expect(lines.join(' ')).toBe('one two three four five six');
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(measureText(line)).toBeLessThanOrEqual(60);
    expect(wrapText('a\nb', 60)).toEqual(['a', 'b']);
    const cut = wrapText('one two three four five six', 60, 14, 2);
    expect(cut).toHaveLength(2);
    expect(cut[1]).toMatch(/\.\.\.$/);
    expect(wrapText('', 60)).toEqual(['']);
  });

  it('breaks words of scripts without spaces', () => {
    const lines = wrapText('\u9aa8\u6298\u5206\u7c7b\u7684\u6807\u7b7e abc', 60);
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.join('').replace(' ', '')).toBe('\u9aa8\u6298\u5206\u7c7b\u7684\u6807\u7b7eabc');
    for (const line of lines) expect(measureText(line)).toBeLessThanOrEqual(60);
  });

  it('bears texts of megabytes', () => {
    for (const piece of ['x', 'word ', '\u9aa8', '\n']) {
      const lines = wrapText(piece.repeat(300_000), 100, 14, 3);
      expect(lines.length).toBeLessThanOrEqual(3);
      expect(measureText(fitText(piece.repeat(300_000), 100))).toBeLessThanOrEqual(100);
    }
  });
});
