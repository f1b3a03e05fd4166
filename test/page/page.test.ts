import { describe, expect, it } from 'vitest';
import { UPLOT_SCRIPT, UPLOT_STYLES } from '../../src/generated/uplot.js';
import { html } from '../../src/page/html.js';
import { renderPage } from '../../src/page/page.js';
import { THEME } from '../../src/page/theme.js';

/** Relative luminance after WCAG 2. */
function luminance(color: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}

function contrast(a: string, b: string): number {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high! + 0.05) / (low! + 0.05);
}

describe('a page', () => {
  it('is one document that may connect to nothing', () => {
    const page = renderPage({ title: 'a <b>', body: html`<h1>${'x & y'}</h1>`, scripts: ['const a = "</script>";'] });
    expect(page).toContain('<title>a &lt;b&gt;</title>');
    expect(page).toContain('<h1>x &amp; y</h1>');
    expect(page).toContain("default-src 'none'");
    expect(page).not.toContain('connect-src');
    expect(page.match(/<\/script>/g)).toHaveLength(1);
    expect(page).not.toMatch(/(?:src|href)="(?!#)/);
  });

  it('ends a program where it ends, whatever its texts hold', () => {
    const page = renderPage({
      title: 't',
      body: html``,
      scripts: ['const a = "<!--<script>", b = /<!--/u, c = "</SCRIPT>";'],
    });
    const [, program] = /<script>(.*)<\/script>/s.exec(page)!;
    expect(program).not.toMatch(/<!--|<\/script/i);
    expect(new Function(`${program} return [a, b.test(a), c]`)()).toEqual(['<!--<script>', true, '</SCRIPT>']);
  });

  it('runs no program where it has none', () => {
    expect(renderPage({ title: 't', body: html`` })).not.toContain('script-src');
  });

  it('has colours that WCAG AA asks for, in light and dark', () => {
    const [light, dark] = THEME.split('@media screen and (prefers-color-scheme: dark)').map((text) =>
      Object.fromEntries([...text.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map(([, name, color]) => [name, color!])),
    );
    for (const colors of [light!, dark!]) {
      for (const background of [colors.page!, colors.card!, colors.mark!]) {
        for (const name of ['text', 'quiet', 'accent', 'good', 'bad', 'warn']) {
          expect({ name, background, enough: contrast(colors[name]!, background) >= 4.5 }).toMatchObject({
            enough: true,
          });
        }
        for (let i = 1; i <= 5; i++) expect(contrast(colors[`series-${i}`]!, background)).toBeGreaterThanOrEqual(3);
      }
    }
  });

  it('has the notice that the licence of uPlot asks for in whatever it takes from it', () => {
    for (const part of [UPLOT_SCRIPT, UPLOT_STYLES]) {
      expect(part).toMatch(/^\/\*!\nThe MIT License \(MIT\)\n\nCopyright \(c\) \d{4} Leon Sorokin\n.*\n\*\/\n\S/s);
    }
  });
});
