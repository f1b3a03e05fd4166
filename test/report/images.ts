/**
 * Images of a run's report for the README, in light and dark: `npm run report:images -- REPORT.html [FOLDER]`. The report
 * is that of `npm run example`, whose radiographs are drawn; without Chromium nothing is made.
 */
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { Chromium, findChromium } from '../chromium.js';

/** From the top of one element to the end of another. */
const PARTS = [
  { name: 'report', from: 'h1', to: '#mistakes .card' },
  { name: 'report-confusion', from: '#confusion', to: '#confusion .matrices' },
  { name: 'report-training', from: '#training', to: '#training .chart:nth-child(4)' },
];
const WIDTH = 1240;
const MAX_BYTES = 250_000;

const [file, folder = 'docs/images'] = process.argv.slice(2);
const path = findChromium();
if (!file || path === undefined) {
  console.error(
    file ? 'no Chromium was found: set CHROMIUM to its path' : 'usage: npm run report:images -- REPORT.html',
  );
  process.exit(1);
}
const chromium = new Chromium(path);
for (const scheme of ['light', 'dark']) {
  const url = pathToFileURL(resolve(file)).href;
  const page = await chromium.open(url, { width: WIDTH, isDark: scheme === 'dark' });
  await page.evaluate('new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))');
  for (const { name, from, to } of PARTS) {
    const place = (selector: string, edge: string): Promise<number | null> =>
      page.evaluate(
        `{ const part = document.querySelector('${selector}'); part && part.getBoundingClientRect().${edge} + scrollY }`,
      );
    const [top, bottom] = [await place(from, 'top'), await place(to, 'bottom')];
    if (top === null || bottom === null) continue;
    const y = Math.max(0, top - 8);
    const shot = await page.screenshot({ x: 0, y, width: WIDTH, height: bottom + 16 - y });
    const image = await sharp(shot).png({ palette: true, quality: 90, effort: 10 }).toBuffer();
    const target = join(folder, `${name}-${scheme}.png`);
    if (image.length > MAX_BYTES) throw new Error(`${target} would have ${image.length} bytes`);
    await writeFile(target, image);
    console.log(`${target}: ${image.length} bytes`);
  }
  if (page.faults.length > 0) throw new Error(`the page has faults: ${page.faults.join('; ')}`);
  await page.close();
}
await chromium.close();
