/** The page in a browser, where there is one: nothing is asked for, nothing fails, all of it can be read and reached. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { renderRunReport } from '../../src/report/run-report.js';
import { type BrowserPage, Chromium, findChromium } from '../chromium.js';
import { MARKUP_NAMES } from '../markup.js';
import { where } from '../where.js';
import { FAINT_TEXTS } from './faint-texts.js';
import { CHINESE, FRACTURES, runParts } from './run-parts.js';

const path = findChromium();
const folder = mkdtempSync(join(tmpdir(), 'report-'));
const PIXEL = 'data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7';

function written(name: string, classNames: readonly string[], samples: number, isScored = false): string {
  const parts = runParts({ classNames, samples, isScored });
  const images = new Map(parts.after!.samples.slice(0, 20).map(({ id }) => [id, { uri: PIXEL, width: 1, height: 1 }]));
  writeFileSync(join(folder, name), renderRunReport({ ...parts, images }));
  return pathToFileURL(join(folder, name)).href;
}

where(path !== undefined, 'needs Chromium').describe('the report of a run in a browser', () => {
  let chromium: Chromium;
  beforeAll(() => {
    chromium = new Chromium(path!);
  });
  afterAll(async () => {
    await chromium.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const width = (page: BrowserPage): Promise<number> => page.evaluate('document.documentElement.scrollWidth');

  it.each([
    ['10 classes', FRACTURES, 140, false],
    ['Chinese names', CHINESE, 140, true],
    ['200 classes', Array.from({ length: 200 }, (_, i) => `Species number ${i} of a long list of names`), 1000, true],
    ['names that are markup', MARKUP_NAMES, 200, true],
  ])('is whole at each width, in light and dark: %s', async (_, classNames, samples, isScored) => {
    const page = await chromium.open(written('page.html', classNames, samples, isScored), { width: 1280 });
    // Thousands of cells more take seconds to lay out.
    if (samples < 1000) {
      await page.evaluate('document.querySelectorAll("details").forEach((one) => { one.open = true; })');
    }
    for (const isDark of [false, true]) {
      await page.prefer(isDark);
      for (const size of [1280, 390]) {
        await page.resize(size, 900);
        expect([size, (await width(page)) <= size]).toEqual([size, true]);
      }
      expect(await page.evaluate(FAINT_TEXTS)).toEqual([]);
    }
    expect(await page.evaluate('document.querySelectorAll(".uplot canvas").length')).toBe(
      await page.evaluate('document.querySelectorAll("figure.chart").length'),
    );
    expect([page.requests, page.faults]).toEqual([[], []]);
    await page.close();
  });

  it('is used by keys: charts, filters, headings, shares of rows', async () => {
    const page = await chromium.open(written('keys.html', FRACTURES, 140), { width: 1280 });
    const read = <T>(expression: string): Promise<T> => page.evaluate<T>(expression);
    await page.press('Tab');
    expect(await read('document.activeElement.className')).toBe('skip');
    await read('document.querySelector(".plot").focus()');
    await page.press('ArrowRight');
    await page.press('ArrowRight');
    expect(await read('document.querySelector(".readout").textContent')).toMatch(/^optimizer step 2: training [\d.]+/);

    const first = 'document.querySelector(".sortable tbody tr").textContent';
    const heads = '[...document.querySelectorAll(".sortable button")]';
    await read(`${heads}.at(-1).focus()`);
    await page.press('Enter');
    const scores = await read<number[]>(
      '[...document.querySelectorAll(".sortable tbody tr")].map((row) => Number(row.cells[row.cells.length - 1].dataset.value))',
    );
    expect(scores).toEqual([...scores].sort((a, b) => a - b));
    expect(await read(`${heads}.at(-1).closest("th").ariaSort`)).toBe('ascending');
    expect(await read(first)).toContain(scores[0]!.toFixed(3));

    const row =
      '[...document.querySelector(".matrix tbody tr").cells].slice(1).map((cell) => Number(cell.textContent))';
    const counts = await read<number[]>(row);
    await read('document.querySelector("[name=matrix-cells]").focus()');
    await page.press('ArrowRight');
    const total = counts.reduce((a, b) => a + b, 0);
    expect(await read(row)).toEqual(counts.map((count) => Math.round((100 * count) / total)));

    await read('document.querySelector("#mistakes details").open = true');
    const shown =
      '[...document.querySelectorAll("#mistakes .card")].filter((card) => card.getClientRects().length > 0).length';
    const all = await read<number>(shown);
    await read('document.querySelector("#mistakes select").focus()');
    await page.press('ArrowDown');
    expect(await read<number>(shown)).toBeLessThan(all);
    expect(await read('document.querySelector("#mistakes [role=status]").textContent')).toMatch(/^\d+ of \d+ shown$/);
    expect(page.faults).toEqual([]);
    await page.close();
  });

  it('draws its charts anew for another scheme, a logarithmic scale, and paper', async () => {
    const page = await chromium.open(written('charts.html', FRACTURES, 40), { width: 800 });
    // Schemes change with a frame, and canvases are drawn after it.
    const frames = 'new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))';
    const drawn = async (): Promise<string> => {
      await page.evaluate(frames);
      return page.evaluate('document.querySelector(".uplot canvas").toDataURL()');
    };
    const light = await drawn();
    await page.prefer(true);
    const dark = await drawn();
    expect(dark).not.toBe(light);
    await page.evaluate('document.querySelector(".log-scale").click()');
    expect(await drawn()).not.toBe(dark);
    await page.evaluate('document.querySelector(".log-scale").click()');
    expect(await drawn()).toBe(dark);
    await page.evaluate('dispatchEvent(new Event("beforeprint"))');
    expect(await drawn()).toBe(light);
    await page.evaluate('dispatchEvent(new Event("afterprint"))');
    expect(await drawn()).toBe(dark);
    expect((await page.pdf()).length).toBeGreaterThan(10_000);
    expect(page.faults).toEqual([]);
    await page.close();
  });
});
