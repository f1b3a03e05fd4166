/** Names in other scripts than Latin: a font where there is one, Latin letters and a warning where not. */
import { describe, expect, it } from 'vitest';
import { barChart } from '../../src/chart/bar-chart.js';
import { drawableText } from '../../src/chart/drawable-text.js';
import { hasStrokes, text } from '../../src/chart/font.js';
import { svgToPng } from '../../src/chart/render.js';
import { svgDocument } from '../../src/chart/svg.js';
import { transliterate } from '../../src/chart/transliterate.js';
import { decode } from './pixels.js';

const NAMES = ['Перелом', 'كسر مفتت', '骨折', 'שבר', 'Κάταγμα', 'हड्डी', '한국어', 'Brøken'];
const everywhere = async (characters: readonly string[]) => characters.map(() => true);
const nowhere = async (characters: readonly string[]) => characters.map(() => false);
const page = (...names: string[]) =>
  svgDocument(
    400,
    60 * names.length,
    '',
    names.map((name, i) => text(20, 60 * i + 40, name, { size: 20 })),
  );

describe('names in other scripts', () => {
  it('are left whole to the fonts, and need no warning where there are some', async () => {
    const warnings: string[] = [];
    const svg = page(...NAMES);
    expect(await drawableText(svg, everywhere, (line) => warnings.push(line))).toBe(svg);
    for (const name of NAMES) expect(svg).toMatch(new RegExp(`<text [^>]*>${name}</text>`));
    expect(warnings).toEqual([]);
  });

  it('are written in Latin letters or code points, with one warning, where there are none', async () => {
    const warnings: string[] = [];
    const svg = page(...NAMES, 'plain', 'Über');
    const drawn = await drawableText(svg, nowhere, (line) => warnings.push(line));
    expect(drawn).not.toContain('<text');
    expect(drawn.match(/<path/g)).toHaveLength(NAMES.length + 2);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/characters of 8 texts \(e\.g\. "Перелом"\).*Install a font/);
  });

  it('stay where a font has them beside others that it lacks', async () => {
    const hasCyrillic = async (characters: readonly string[]) =>
      characters.map((one) => /\p{Script=Cyrillic}/u.test(one));
    const drawn = await drawableText(page('Перелом', '骨折'), hasCyrillic, () => undefined);
    expect(drawn).toContain('>Перелом</text>');
    expect(drawn).not.toContain('骨折</text>');
  });

  it('are transliterated so that they stay apart', () => {
    expect(transliterate('Перелом со смещением')).toBe('Perelom so smeshcheniem');
    expect(transliterate('Щука')).toBe('Shchuka');
    expect(transliterate('Κάταγμα').normalize('NFC')).toBe('Kátagma');
    expect(transliterate('骨折 (2)')).toBe('9AA8 6298 (2)');
    expect(transliterate('a骨b')).toBe('a 9AA8 b');
    expect(transliterate('한')).toBe('D55C');
    expect(transliterate('Brøken Æ')).toBe('Broken Ae');
    for (const name of NAMES) expect(hasStrokes(transliterate(name))).toBe(true);
    expect(new Set(NAMES.map(transliterate)).size).toBe(NAMES.length);
  });

  it('are drawn in the same place, of the same extent', async () => {
    const latin = await drawableText(page('骨折骨折'), nowhere, () => undefined);
    const image = await decode(await svgToPng(latin));
    expect(image.count('#ffffff', { right: 19 })).toBe(19 * image.height);
    expect(image.count('#ffffff', { left: 20 + 4 * 20 * 1.8 })).toBe((image.width - 164) * image.height);
    expect(image.count('#ffffff')).toBeLessThan(image.width * image.height - 50);
  });

  it('never come out as boxes, whatever this machine has', async () => {
    // A frame of a missing glyph is as high as the line: in no column is there so much ink that is straight.
    const svg = page('\u{e123}\u{e124}');
    const rendered = await decode(await svgToPng(svg));
    const own = await decode(await svgToPng(await drawableText(svg, nowhere, () => undefined)));
    expect(rendered.count('#1f2933')).toBe(own.count('#1f2933'));
  });

  it('cannot break the SVG', async () => {
    const svg = barChart({
      title: 'Ж<>&"\u202e\u0000',
      labels: ['</text><script>Ж', '"Ж"'],
      series: [{ name: 'a', values: [1, 2] }],
    });
    for (const part of ['<script', '\u202e', '\u0000']) expect(svg).not.toContain(part);
    expect((await svgToPng(svg)).length).toBeGreaterThan(1000);
    expect(await drawableText(svg, nowhere, () => undefined)).not.toContain('<text');
  });
});
